import Consultations
import Credentials
import Foundation
import Terminal

/// One chat: lines in, events out, both in order. The device keeps everything; this only shows it.
actor ChatSession {
    private let device: Device
    private let id: ConsultationID
    private let output: Output
    private let passphrase: PassphraseOptions
    private let editor: LineEditor
    private var view: ChatView
    /// The number of the last message shown.
    private var lastNumber: Int64 = 0
    /// One's own messages that plain output shows only once the relay has them.
    private var unprinted: Set<MessageID> = []
    private var isClosed = false

    init(
        device: Device, consultation: Consultation, output: Output, passphrase: PassphraseOptions
    ) {
        self.device = device
        id = consultation.id
        self.output = output
        self.passphrase = passphrase
        editor = LineEditor(commands: ChatInput.commands, isPlain: output.isJSON)
        view = ChatView(consultation: consultation)
    }

    /// Talks until the person leaves or the consultation is over.
    ///
    /// - Throws: status 75 if something still waits in the outbox.
    func run() async throws {
        let events = await device.events()
        try await open()
        editor.start()
        defer { editor.stop() }
        await device.connect()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.readInput() }
            group.addTask { try await self.follow(events) }
            group.addTask { try await self.tick() }
            defer { group.cancelAll() }
            try await group.next()
        }
        try Task.checkCancellation()
        try await leave()
    }

    // MARK: Beginning and end

    private static let historyCount = 20

    private func open() async throws {
        view.isDoctor = try await device.me().role == .doctor
        let all = try await device.messages(of: id)
        lastNumber = all.last?.number ?? 0
        let firstUnread = all.firstIndex { $0.isUnread } ?? all.endIndex
        if output.isJSON {
            for message in all where message.isUnread {
                try output.json(MessageRow(message, event: "message"))
            }
        } else {
            var lines: [String] = []
            // Also where a person sits at a terminal that can't do more than plain lines.
            if Prompt.isInteractive {
                lines += view.header(style: output.style, width: editor.width)
            }
            if editor.isInteractive {
                let start = max(0, firstUnread - Self.historyCount)
                if start > 0 {
                    lines.append(output.style.dim("-- \(start) older: curtain read --"))
                }
                for message in all[start..<firstUnread] { lines += show(message) }
            }
            let unread = all[firstUnread...]
            if !unread.isEmpty, editor.isInteractive {
                let count = unread.count { $0.isUnread }
                lines.append(output.style.yellow("-- \(count) new --"))
            }
            for message in unread { lines += show(message) }
            try editor.print(lines)
        }
        for message in all where message.isMine { view.note(message) }
        try await markRead()
        refresh()
    }

    private func leave() async throws {
        guard !isClosed else { return }
        let timeout: Duration = editor.isInteractive ? .seconds(2) : .seconds(15)
        let isDone = try await device.flush(id, timeout: timeout)
        // What the events have not told yet.
        if !unprinted.isEmpty {
            for message in try await device.messages(of: id) { try printOnceRelayed(message) }
        }
        if !isDone { throw try await Delivery.waits("what you wrote", on: device, in: id) }
    }

    // MARK: What the person does

    private func readInput() async throws {
        for await event in editor.events {
            switch event {
            case .line(let line):
                guard try await take(ChatInput(line)) else { return }
            case .interrupted, .endOfInput: return
            }
        }
    }

    /// Carries out one input; false when the person leaves.
    private func take(_ input: ChatInput) async throws -> Bool {
        switch input {
        case .nothing: break
        case .quit: return false
        case .message(let text): try await send(text)
        case .help: try say(ChatInput.help(isDoctor: view.isDoctor))
        case .info: try say(view.info())
        case .verify(let answer): try await explained { try await self.verify(answer) }
        case .end(let ending): try await explained { try await self.end(ending) }
        case .prescribe: try await explained { try await self.prescribe() }
        case .file(let path): try await explained { try await self.send(fileAt: path) }
        case .save(let number, let path):
            try await explained { try await self.save(number, to: path) }
        case .incomplete(let usage): try say([usage])
        case .unknown(let word): try say([ChatInput.advice(on: word)])
        }
        refresh()
        return true
    }

    private func send(_ text: String) async throws {
        do {
            let message = try await device.send(text, to: id)
            if !editor.isInteractive { unprinted.insert(message.id) }
        } catch {
            let failure = Explanation.device(error)
            // A script must learn that its line was not taken; a person sees it and goes on.
            guard editor.isInteractive else { throw failure }
            try say([failure.message], output.style.red)
        }
    }

    private func send(fileAt path: String) async throws {
        let file = try await device.send(fileAt: path, to: id)
        try say([
            "\(Sanitiser.line(file.name)) (\(SizeText.text(file.byteCount))) is on its way"
        ])
    }

    private func save(_ number: Int64, to path: String?) async throws {
        let file = try await device.file(number, of: id)
        guard !file.isComing else { throw DeviceError.file(.notHere) }
        let place = try await device.save(number, file, of: id, to: path)
        let full = URL(fileURLWithPath: place).path
        try say([
            "saved as \(Sanitiser.line(full)); it stays when the consultation is erased"
        ])
    }

    /// Runs a command whose failure doesn't end the chat.
    private func explained(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            guard let failure = Explanation.failure(error) ?? error as? Failure else { throw error }
            try say([failure.message], output.style.red)
        }
    }

    private func verify(_ answer: String?) async throws {
        guard let other = view.consultation.other else {
            return try say(["nobody is known on the other side yet"])
        }
        if let answer {
            let code = answer.lowercased() == "yes" ? nil : answer
            try await device.verify(other.id, matching: code)
            view.consultation = try await device.consultation(id)
            return try say(["\(view.consultation.otherName) is verified"], output.style.green)
        }
        let code = try await device.safetyCode(with: other.id).description
        try say([
            "Safety code with \(view.consultation.otherName):", "  " + code,
            "Read it to one another on the phone. If both see the same digits:",
            "  /verify yes",
        ])
    }

    private func end(_ ending: ChatInput.Ending) async throws {
        guard ending != .asking else {
            return try say([
                "This closes the consultation for both and erases messages and keys for good.",
                EndCommand.keeps(
                    try await EndCommand.prescriptions(of: view.consultation, on: device)),
                "To go on, type: /end yes",
            ])
        }
        try await device.end(id, givingUp: ending == .now)
    }

    private func prescribe() async throws {
        guard view.isDoctor else { throw DeviceError.notPermitted(.doctorsOnly) }
        view.isHeld = true
        editor.stop()
        defer {
            view.isHeld = false
            editor.start()
        }
        let form = PrescriptionForm(
            device: device, consultation: id, passphrase: passphrase, output: Output())
        do {
            try form.output.line("A new prescription; Ctrl-D leaves without signing.")
            _ = try await form.run(from: nil, isCertain: false)
        } catch let failure as Failure where failure.status == .usage {
            view.hold(["nothing was signed"])
        }
        view.isHeld = false
        try editor.print(view.takeHeld())
    }

    // MARK: What happens

    private func follow(_ events: AsyncStream<DeviceEvent>) async throws {
        for await event in events {
            guard try await take(event) else { return }
        }
    }

    /// Shows one event; false when the chat is over.
    private func take(_ event: DeviceEvent) async throws -> Bool {
        switch event {
        case .message(id, let message) where message.number > lastNumber:
            lastNumber = message.number
            view.note(message)
            try announce(message)
            try await markRead()
        case .messageChanged(id, let message):
            view.note(message)
            if output.isJSON, message.isMine ? message.state > .relayed : !message.body.isFile {
                try output.json(MessageRow(message, event: "state"))
            }
            try printOnceRelayed(message)
            if case .file(let file) = message.body, !message.isMine { try announce(file, message) }
        case .transfer(id, let transfer): view.note(transfer, at: Date())
        case .consultation(let now) where now.id == id: return try change(to: now)
        case .connection(let connection): try change(to: connection)
        case .identityChanged(id, let person):
            try say(
                [Explanation.changedIdentity(of: person).message + ": /verify"], output.style.red)
        case .erased(id, let receipt): return try finish(receipt)
        case .receipt(let receipt) where receipt.id == id: return try finish(receipt)
        case .trouble(id, let trouble): try say([Explanation.trouble(trouble).message])
        case .copied: try say([Explanation.connection(.copied).message], output.style.red)
        default: break
        }
        refresh()
        return true
    }

    /// A file that came has been fetched, or can't be.
    private func announce(_ file: FileDetail, _ message: Message) throws {
        if output.isJSON { return try output.json(MessageRow(message, event: "file")) }
        guard let words = file.arrival(with: message) else { return }
        if case .damaged = file.place {
            try say([words], output.style.red)
        } else {
            try say([words])
        }
    }

    private func announce(_ message: Message) throws {
        if output.isJSON {
            try output.json(MessageRow(message, event: "message"))
        } else if editor.isInteractive {
            try put(show(message))
        } else if !message.isMine {
            try editor.print(show(message))
        }
        try printOnceRelayed(message)
    }

    private func printOnceRelayed(_ message: Message) throws {
        guard message.isMine, message.state != .waiting, unprinted.remove(message.id) != nil else {
            return
        }
        if output.isJSON {
            try output.json(MessageRow(message, event: "sent"))
        } else {
            try editor.print(show(message))
        }
    }

    private func change(to now: Consultation) throws -> Bool {
        let before = view.consultation
        view.consultation = now
        if output.isJSON {
            try output.json(ConsultationRow(now, event: "consultation"))
        }
        guard now.state != before.state else { return true }
        guard let words = now.dead else { return true }
        isClosed = true
        if case .erased = now.state { return true }
        if !output.isJSON { try say(words, output.style.yellow) }
        if case .locked = now.state { return false }
        return true
    }

    private func change(to connection: ConnectionState) throws {
        let change = view.change(to: connection)
        if output.isJSON { try output.json(view.connectionRow) }
        if case .stopped(let trouble) = connection { throw Explanation.connection(trouble) }
        guard let change, !output.isJSON else { return }
        if editor.isInteractive {
            try say(["-- \(change) --"], output.style.dim)
        } else {
            Diagnostic.warn(change)
        }
    }

    private func finish(_ receipt: KeptReceipt?) throws -> Bool {
        isClosed = true
        guard let receipt else { return true }
        if output.isJSON {
            try output.json(EndCommand.Row(view.consultation, receipt))
        } else {
            try say([
                "Erased, here and on the relay (\(TimeText.stamp(receipt.erasedAt))).",
                "'curtain receipts' keeps the relay's receipt.",
            ])
        }
        return false
    }

    // MARK: The screen

    private func show(_ message: Message) -> [String] {
        // On the editor's screen a mark would soon be wrong; the status line has the true one.
        let isMarked = !editor.isInteractive || message.state >= .read
        let text = MessageText(width: editor.width, style: output.style)
        return view.lines(of: message, text: text, isMarked: isMarked)
    }

    /// Says something of our own: on the screen, else on standard error.
    private func say(
        _ lines: [String], _ decorate: (String) -> String = { $0 }
    ) throws {
        guard editor.isInteractive else {
            for line in lines { Diagnostic.warn(line) }
            return
        }
        try put(lines.flatMap { TextLayout.wrap($0, width: editor.width).map(decorate) })
    }

    /// Prints lines that are laid out already, later if a form has the screen.
    private func put(_ lines: [String]) throws {
        if view.isHeld { view.hold(lines) } else { try editor.print(lines) }
    }

    private func markRead() async throws {
        do {
            try await device.markRead(id, upTo: lastNumber)
        } catch {
            // Erased meanwhile: nothing is left to be read.
            switch error {
            case .unknownConsultation, .notInState: return
            default: throw error
            }
        }
    }

    private func refresh() {
        editor.setStatus(view.status(at: Date()))
    }

    /// Time passes in the status line too.
    private func tick() async throws {
        while true {
            try await Task.sleep(for: .seconds(5))
            refresh()
        }
    }
}
