import ArgumentParser
import Consultations
import Cryptography
import Foundation
import RelayProtocol
import Terminal

struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send", abstract: "Send one message, or a file.",
        discussion: """
            Returns when the relay has the message durably. If that can't be reached the message \
            waits in the outbox, goes out with the next command that connects, and the exit \
            status is 75. A file is taken into the vault first and needn't stay where it is; what \
            was interrupted goes on where it stopped.
            """)

    @OptionGroup var consultation: ConsultationArgument

    @Argument(help: "The message, or '-' for standard input.")
    var text: String?

    @Option(
        help: ArgumentHelp("A file to send, behind the message if there is one.", valueName: "f"),
        completion: .file())
    var file: String?

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    private struct Row: Encodable {
        let id: String
        /// None before the message is written, which for a file is when the relay has it.
        let number: Int64?
        let state: String
    }

    func run() async throws {
        let text = file == nil || text != nil ? try message() : nil
        let output = output.output
        try await session.withDevice(showing: output) { device in
            let found = try await device.consultation(matching: consultation.id)
            if let closed = found.closedFailure { throw closed }
            var later: Failure?
            if let text {
                let waiting = try await device.send(text, to: found.id)
                let (message, reason) = try await device.sent(waiting, "the message", in: found.id)
                try show(message.id, message, on: output)
                later = reason
            }
            if let file {
                let transfer = try await device.send(fileAt: file, to: found.id)
                let progress = await ProgressLine(of: device, in: found.id)
                let (message, reason) = try await device.sent(transfer, in: found.id)
                progress.end()
                try show(transfer.id, message, on: output)
                later = later ?? reason
            }
            if let later { throw later }
        }
    }

    private func show(_ id: MessageID, _ message: Message?, on output: Output) throws {
        guard output.isJSON else { return }
        let state = message?.state ?? .waiting
        try output.json(
            Row(id: id.description, number: message?.number, state: state.word))
    }

    private func message() throws -> String {
        var message: String
        if let text, text != "-" {
            message = text
        } else {
            if text == nil, Prompt.isInteractive {
                throw ValidationError("there is nothing to send; give the text, or '-'")
            }
            guard let read = String(validating: try Files.read("-"), as: UTF8.self) else {
                throw Failure(.badData, "standard input is no UTF-8 text")
            }
            message = read
            if message.last?.isNewline == true { message.removeLast() }
        }
        guard !message.isEmpty else { throw ValidationError("the message is empty") }
        return message
    }
}

struct ReadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "read", abstract: "Print the messages of a consultation, oldest first.",
        discussion: """
            Shows what this device has; 'curtain sync' fetches what came since, --follow stays \
            connected and prints as it comes. What is printed counts as read, which the other \
            side sees.
            """)

    @OptionGroup var consultation: ConsultationArgument

    @Flag(help: "Stay connected and print what comes, until Ctrl-C or the end.")
    var follow = false

    @Option(help: ArgumentHelp("Only messages with a number above this.", valueName: "n"))
    var since: Int64 = 0

    @Flag(name: .customLong("keep-unread"), help: "Don't mark what is printed as read.")
    var keepsUnread = false

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await session.withDevice(showing: output.output) { device in
            let found = try await device.consultation(matching: consultation.id)
            let events = await device.events()
            var printer = Printer(output: output.output, last: since)
            for message in try await messages(of: found, on: device) {
                try printer.show(message)
            }
            try await mark(found.id, printer, on: device)
            if let words = found.dead {
                for line in words { Diagnostic.warn(line) }
                return
            }
            guard follow else { return }
            await device.connect()
            for await event in events {
                if try await take(event, about: found.id, on: device, with: &printer) { return }
            }
        }
    }

    /// What is there to read. Of a consultation that is erased here, also before its receipt has
    /// come, that is said instead.
    private func messages(
        of found: Consultation, on device: Device
    ) async throws -> [Message] {
        do {
            return try await device.messages(of: found.id, since: since)
        } catch {
            guard error == .unknownConsultation, let closed = found.closedFailure else {
                throw error
            }
            throw closed
        }
    }

    /// Takes in what happened; true when nothing more will.
    private func take(
        _ event: DeviceEvent, about id: ConsultationID, on device: Device,
        with printer: inout Printer
    ) async throws -> Bool {
        switch event {
        case .message(id, let message) where message.number > printer.last:
            try printer.show(message)
            try await mark(id, printer, on: device)
            return false
        case .connection(.stopped(let trouble)): throw Explanation.connection(trouble)
        case .erased(id, _):
            Diagnostic.warn("this consultation was closed and is erased here")
            return true
        case .consultation(let now) where now.id == id:
            guard let words = now.dead else { return false }
            for line in words { Diagnostic.warn(line) }
            return true
        default: return false
        }
    }

    private func mark(_ id: ConsultationID, _ printer: Printer, on device: Device) async throws {
        if !keepsUnread, printer.last > 0 {
            try await device.markRead(id, upTo: printer.last)
        }
    }

    private struct Printer {
        let output: Output
        var last: Int64
        var day: Date?

        init(output: Output, last: Int64) {
            (self.output, self.last) = (output, last)
        }

        mutating func show(_ message: Message) throws {
            last = max(last, message.number)
            if output.isJSON { return try output.json(MessageRow(message)) }
            let text = MessageText(width: output.width, style: output.style, hasNumbers: true)
            if let separator = text.daySeparator(message.sentAt, after: day) {
                try output.line(separator)
            }
            day = message.sentAt
            for line in text.lines(message) { try output.line(line) }
        }
    }
}

struct ReceiptsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "receipts", abstract: "The relay's signed receipts of what it erased.",
        subcommands: [List.self, Verify.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the receipts kept.")

        @Option(
            help: ArgumentHelp(
                "Write each receipt into this folder, as ID.receipt.", valueName: "dir"),
            completion: .directory)
        var out: String?

        @OptionGroup var session: SessionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let receipts = try await session.withDevice { try await $0.receipts() }
            let output = output.output
            for receipt in receipts {
                if let out {
                    let text = Base64URL.encode(receipt.bytes) + "\n"
                    try Files.create(
                        "\(out)/\(receipt.id).receipt", contents: Array(text.utf8), replacing: true)
                }
                if output.isJSON { try output.json(ReceiptRow(receipt)) }
            }
            guard !output.isJSON else { return }
            guard !receipts.isEmpty else {
                return Diagnostic.warn("there are no receipts yet; 'curtain end' leads to one")
            }
            var table = Table(["ID", "ERASED", "MESSAGES", "BECAUSE"])
            for receipt in receipts {
                table.add([
                    String(receipt.id.description.prefix(8)), TimeText.stamp(receipt.erasedAt),
                    receipt.receipt.map { "\($0.messageCount)" } ?? "-", receipt.reason.word,
                ])
            }
            try output.table(table)
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify", abstract: "Check a receipt against the relay's pinned key.",
            discussion: """
                A receipt says what this relay deleted and when; it says nothing about copies that \
                others may have made.
                """)

        @Argument(
            help: "A file of 'receipts --out', a line of 'receipts --json', or '-'.",
            completion: .file())
        var file: String

        @OptionGroup var session: SessionOptions
        @OptionGroup var output: OutputOptions

        private struct Row: Encodable {
            let valid: Bool
        }

        func run() async throws {
            let bytes = try Self.receipt(in: Files.read(file))
            let output = output.output
            let isValid = try await session.withDevice { device in
                do {
                    _ = try device.verifyReceipt(bytes)
                    return true
                } catch let error as DeviceError {
                    guard error == .invalidReceipt else { throw error }
                    return false
                }
            }
            if output.isJSON {
                try output.json(Row(valid: isValid))
            } else {
                let style = output.style
                try output.line(
                    isValid
                        ? style.green("PASS") + " signed by your relay"
                        : style.red("FAIL") + " not a receipt of your relay")
            }
            if !isValid { throw Failure.quiet(.badData) }
        }

        /// The receipt's octets, from base64url text or from the JSON object that holds it.
        static func receipt(in contents: [UInt8]) throws -> [UInt8] {
            struct Holder: Decodable { let receipt: String }
            var text = String(decoding: contents, as: UTF8.self)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            if text.hasPrefix("{"),
                let holder = try? JSONDecoder().decode(Holder.self, from: Data(contents))
            {
                text = holder.receipt
            }
            guard let bytes = Base64URL.decode(text.utf8), !bytes.isEmpty else {
                throw Failure(.badData, "this file holds no receipt", advice: "copy it whole")
            }
            return bytes
        }
    }
}
