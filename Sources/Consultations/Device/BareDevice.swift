package import Credentials
package import Cryptography
import FoundationEssentials
package import RelayProtocol
import Vault

/// A device's own decisions over its own vault, without socket, timers and clock: whoever holds it
/// says what time it is, carries its frames, and may stop it before and after every commit. For
/// simulations inside this package; people use `Device`.
package final class BareDevice {
    /// Where a unit of work can be stopped.
    package enum Stop: Sendable {
        /// The process ends with nothing of it stored.
        case beforeCommit
        /// The process ends with all of it stored and nothing sent.
        case afterCommit
        /// The disk is full: nothing of it is stored, and the process goes on.
        case diskFull
    }

    /// The process ended as `stop` said. The device is of no use any more: open it again.
    package struct Stopped: Error {}

    /// What has to be done after a unit of work.
    package enum Output: Sendable {
        /// Send this to the relay.
        case send([UInt8])
        /// Give up the connection; `isFinal`: and don't try another.
        case hangUp(isFinal: Bool)
        /// Tell the person that the relay doesn't take a file.
        case refused(file: String)
    }

    private let engine: Engine
    /// A unit of work stops so.
    package var stop: Stop?
    /// How many are done before that one.
    package var unitsBeforeStop = 0

    /// Makes a device that the relay hasn't heard of.
    package init(
        joining invitation: Invitation, home: String, passphrase: SecretBytes,
        options: DeviceOptions, at now: UInt64
    ) throws(DeviceError) {
        let vault = try Device.makeVault(
            invitation, home: home, passphrase: passphrase, options: options,
            at: Date(milliseconds: now))
        engine = try Engine(vault: vault, options: options)
    }

    /// Opens what lies in `home`.
    package init(
        home: String, passphrase: SecretBytes, options: DeviceOptions, at now: UInt64
    ) throws(DeviceError) {
        let vault = try Engine.translating { try Vault.open(at: home, passphrase: passphrase) }
        engine = try Engine(vault: vault, options: options)
        try engine.dropUnreadFiles(at: now)
    }

    /// Closes the vault's file.
    package func close() { engine.vault.close() }

    // MARK: Units of work

    /// The outputs since the last call, in order.
    package func takeOutputs() -> [Output] {
        engine.takeOutputs().compactMap { output in
            switch output {
            case .send(let frame): .send(frame)
            case .disconnect(let trouble): .hangUp(isFinal: trouble.isFinal)
            case .event(.trouble(_, .fileRefused(let name, _))): .refused(file: name)
            case .event: nil
            }
        }
    }

    /// When something is due (Unix milliseconds).
    package var wakeAt: UInt64? { engine.wakeAt }

    /// The connection is there.
    package func connectionOpened(at now: UInt64) throws {
        try stoppable { try engine.connectionOpened(at: now) }
    }

    /// The connection is gone.
    package func connectionClosed(at now: UInt64) throws {
        try stoppable { try engine.connectionClosed(at: now) }
    }

    /// The relay says something.
    package func receive(_ frame: [UInt8], at now: UInt64) throws {
        try stoppable { try engine.receive(frame, at: now) }
    }

    /// The time of `wakeAt` has come.
    package func wake(at now: UInt64) throws {
        try stoppable { try engine.wake(at: now) }
    }

    private func perform<Result>(
        at now: UInt64, _ body: (inout Turn) throws -> Result
    ) throws -> Result {
        try stoppable { try engine.perform(at: now, body) }
    }

    private func stoppable<Result>(_ body: () throws -> Result) throws -> Result {
        let stop = unitsBeforeStop > 0 ? nil : self.stop
        if stop == nil { unitsBeforeStop = max(0, unitsBeforeStop - 1) } else { self.stop = nil }
        var hasStopped = false
        if let stop {
            engine.checkpoint = { checkpoint in
                switch (stop, checkpoint) {
                case (.beforeCommit, .beforeCommit), (.afterCommit, .afterCommit):
                    hasStopped = true
                    throw Stopped()
                case (.diskFull, .beforeCommit): throw VaultError.diskFull
                default: break
                }
            }
        }
        defer { engine.checkpoint = nil }
        do {
            return try body()
        } catch {
            throw hasStopped ? Stopped() : error
        }
    }

    // MARK: What a person does

    /// The key that the clinic certifies, and the one for prescriptions.
    package var keys: (identity: VerifyingKey, prescription: [UInt8]) {
        (engine.state.identity.publicKey, [UInt8](engine.state.profile.practice.prescriptionKey))
    }

    /// Takes the doctor's identity certificate.
    package func certify(chain: [[UInt8]], at now: UInt64) throws {
        try perform(at: now) { turn in
            turn.state.profile.practice.identityChain = chain.map { Data($0) }
            try turn.saveProfile()
        }
    }

    /// The doctor's card; `nil` before the relay knows the device.
    package func card(at now: UInt64) throws -> Card? {
        let state = engine.state
        guard state.profile.registered, !state.profile.practice.identityChain.isEmpty else {
            return nil
        }
        let date = Date(milliseconds: now)
        return try Card(
            signing: try CardContent(
                relayURL: state.profile.relayURL, relayKey: state.relayKey,
                shelf: state.home.bytes, shelfKey: state.shelfKey,
                chain: state.profile.practice.identityChain.map { [UInt8]($0) },
                cipherSuite: CardSuite.required, issued: date,
                expires: date.addingTimeInterval(86_400)), with: state.identity)
    }

    /// Asks for a consultation.
    package func request(_ card: Card, at now: UInt64) throws {
        _ = try perform(at: now) { turn in
            try turn.request(card, time: now / 1_000 + 3_600, minutes: 20, reason: "?")
        }
    }

    /// Takes a consultation on.
    package func accept(_ id: ConsultationID, at now: UInt64) throws {
        try perform(at: now) { turn in
            let number = try turn.pendingRequest(id)
            try turn.modify(number) { consultation, turn in
                consultation.record.standing.accepted = true
                try turn.enqueue(.accept, in: &consultation)
            }
        }
    }

    /// Says something.
    package func say(_ text: String, in id: ConsultationID, at now: UInt64) throws {
        _ = try perform(at: now) { turn in
            try turn.post(.text(text), to: try turn.writable(id))
        }
    }

    /// Sends a file, as `Device.send(fileAt:)` does.
    package func send(
        _ content: [UInt8], named name: String, to id: ConsultationID, at now: UInt64
    ) throws {
        guard let blob = BlobID(Random.bytes(BlobID.byteCount)),
            let shape = FileShape(byteCount: content.count)
        else { throw DeviceError.file(.tooLarge(maximum: Device.fileLimit)) }
        let note = FileNote(
            blob: blob, hash: [UInt8](repeating: 0, count: 32), shape: shape, name: name,
            mediaType: "")
        let (number, file) = try perform(at: now) { turn in
            let number = try turn.writable(id)
            return (number, try turn.beginFile(note, for: number).file)
        }
        do {
            var sealer = try FileSealer(shape)
            var rest = content[...]
            while let count = sealer.nextByteCount {
                let piece = sealer.seal(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
                try perform(at: now) { try $0.addPieces([piece], to: file, of: number) }
            }
            let (hash, key) = (sealer.hashValue, sealer.key)
            try perform(at: now) { turn in
                try turn.finishFile(file, of: number, hash: hash, key: key)
            }
        } catch let error where !(error is Stopped) {
            try? perform(at: now) { try $0.dropFile(file, of: number) }
            throw error
        }
    }

    /// Ends a consultation.
    package func end(_ id: ConsultationID, at now: UInt64) throws {
        try perform(at: now) { turn in
            guard let found = turn.state.consultations.values.first(where: { $0.id == id }) else {
                throw DeviceError.unknownConsultation
            }
            try turn.end(found.number)
        }
    }

    /// Goes on with this vault although another copy of it has gone on.
    package func recover(at now: UInt64) throws {
        try perform(at: now) { try $0.recover() }
    }

    // MARK: Looking

    /// Whether another copy of this vault has gone on: nothing is sent until somebody says `recover`.
    package var isCopied: Bool { engine.state.profile.copied }

    /// How often it has opened its home mailbox, or meant to.
    package var openingCounter: UInt64 {
        get throws {
            try engine.read { try $0.counter(named: KeyName.opening, in: .person) } ?? 0
        }
    }

    /// Sees each ciphertext and the key that made it, before either is stored.
    package func observeSeals(_ observer: @escaping (Message.Origin, [UInt8]) -> Void) {
        engine.sealObserver = observer
    }

    /// Live consultations in the order in which they were made.
    package var consultations: [Consultation] {
        let state = engine.state
        return state.consultations.values.filter(\.isShown).sorted { $0.number < $1.number }
            .map { state.describe($0) }
    }

    /// The messages of a live consultation.
    package func messages(of id: ConsultationID) throws -> [Message] {
        let state = engine.state
        guard let found = state.consultations.values.first(where: { $0.id == id }) else {
            return []
        }
        return try engine.read { transaction in
            try transaction.allRecords(StoredMessage.self, of: .messages, in: found.scope).map {
                state.describe($0.record, number: $0.number, in: found)
            }
        }
    }

    /// Names of one's own files whose message isn't written yet.
    package func unsentFiles(of id: ConsultationID) -> [String] {
        let found = engine.state.consultations.values.first { $0.id == id }
        return found?.unsentFiles.map(\.note.name) ?? []
    }

    /// What is in the file that a message speaks of.
    package func content(of message: Message, in id: ConsultationID) throws -> [UInt8] {
        let found = engine.state.consultations.values.first { $0.id == id }
        guard let found, let file = found.file(of: message.id.bytes) else {
            throw DeviceError.file(.none)
        }
        var content: [UInt8] = []
        try engine.read { transaction in
            try file.open(in: found.scope, transaction) { content += $0 }
        }
        return content
    }

    /// The group in which a live consultation goes on.
    package func groupID(of id: ConsultationID) -> [UInt8]? {
        engine.state.consultations.values.first { $0.id == id }?.groupID
    }

    /// Receipts kept.
    package func receipts() throws -> [KeptReceipt] {
        try engine.read { try $0.receipts().map(\.kept) }
    }

    /// Whether a mailbox is this device's and still in use.
    package func uses(_ mailbox: MailboxID) -> Bool {
        engine.state.mailboxes[mailbox].map { $0.link != .gone } ?? false
    }

    /// Whether a file is on its way, or is tried again later.
    package var hasTransfers: Bool {
        let group = engine.state.consultations.values.filter(\.isLive)
        return group.contains { it in
            it.files.contains {
                it.isToBePut($0) || $0.record.phase == .fetching
            }
        }
    }

    /// Whether it has the consultation, or knows that it is over.
    package func remembers(_ id: ConsultationID) throws -> Bool {
        let state = engine.state
        if state.isClosing(id) || state.consultations.values.contains(where: { $0.id == id }) {
            return true
        }
        return try engine.read { try $0.hasEnded(id) }
    }

    /// What it waits for, in words; `nil`: nothing. What is locked waits for its person only.
    ///
    /// - Parameter forgotten: consultations that can't be reopened any more: the other side has
    ///   forgotten them.
    package func trouble(at now: UInt64, besides forgotten: [ConsultationID] = []) -> String? {
        let state = engine.state
        guard state.openedHome else { return "not connected" }
        let stuck = state.consultations.values.filter {
            $0.record.standing.lock != .none || forgotten.contains($0.id)
        }.map(\.id.bytes)
        var words: [String] = []
        for mailbox in state.mailboxes.values where mailbox.link != .gone {
            let kind = "\(mailbox.record.kind)"
            if mailbox.link != .open { words.append("\(kind) not open") }
            if mailbox.expected > 0 { words.append("\(kind) expects \(mailbox.expected)") }
            if let pending = mailbox.pending {
                words.append("\(kind) awaits \(pending.request.id.rawValue)")
            }
            if mailbox.closings.values.contains(where: {
                !$0.confirmed && !(state.isHeld($0) && stuck.contains([UInt8]($0.consultation)))
            }) {
                words.append("\(kind) closes")
            }
        }
        for it in state.consultations.values
        where it.isLive || it.record.phase == .reopening && !stuck.contains(it.id.bytes) {
            if !it.outbox.isEmpty || it.record.traffic.marksDue || it.record.phase == .reopening {
                words.append("\(it.record.phase): \(it.outbox.count) to send")
            }
        }
        for it in state.consultations.values
        where it.record.standing.relayClosed && it.isComparable && it.canReopen {
            words.append("\(it.record.phase): closed at the relay")
        }
        if words.isEmpty, !state.hasNothingToDo(at: now) { words = ["something to do"] }
        return words.isEmpty ? nil : words.sorted().joined(separator: ", ")
    }
}
