public import Credentials
public import FoundationEssentials
import RelayProtocol
import SwiftProtobuf
import Vault

extension Device {
    // MARK: Asking and answering

    /// Patient: asks the card's doctor for a consultation. It is durable when this returns, and
    /// reaches the relay with the next connection.
    ///
    /// - Throws: `.credential` or `.foreignCard` for a card that doesn't hold here.
    public func request(
        _ card: Card, at time: Date, minutes: Int = 20, reason: String = ""
    ) throws(DeviceError) -> Consultation {
        guard reason.utf8.count <= Self.textLimit else { throw .tooLong(maximum: Self.textLimit) }
        return try perform { turn in
            let number = try turn.request(
                card, time: time.seconds, minutes: UInt32(clamping: minutes), reason: reason)
            guard let consultation = turn.state.consultations[number] else {
                throw DeviceError.bug("request")
            }
            return turn.state.describe(consultation)
        }
    }

    /// Doctor: takes the consultation on.
    public func accept(_ id: ConsultationID) throws(DeviceError) {
        try perform { turn in
            let number = try turn.pendingRequest(id)
            try turn.modify(number) { consultation, turn in
                consultation.record.standing.accepted = true
                try turn.enqueue(.accept, in: &consultation)
            }
            turn.announce(number)
        }
    }

    /// Doctor: doesn't take it on. It is closed and erased.
    public func decline(_ id: ConsultationID, reason: String? = nil) throws(DeviceError) {
        let reason = reason ?? ""
        guard reason.utf8.count <= Self.textLimit else { throw .tooLong(maximum: Self.textLimit) }
        try perform { turn in
            let number = try turn.pendingRequest(id)
            try turn.modify(number) { consultation, turn in
                consultation.record.standing.declined = true
                consultation.record.standing.ending = true
                try turn.enqueue(.decline(reason: reason), in: &consultation)
            }
            turn.announce(number)
        }
    }

    // MARK: Looking

    /// All of them, oldest first; those that are erased come last and have no names any more.
    public func consultations() throws(DeviceError) -> [Consultation] {
        try read { state, transaction in
            let live = state.consultations.values.filter(\.isShown).map { state.describe($0) }
            let closing = state.mailboxes.values.flatMap { mailbox in
                mailbox.closings.values.filter { !$0.abandoned }.map { state.describe($0) }
            }
            let erased = try transaction.receipts().map {
                Consultation(erased: $0.kept, declined: $0.declined)
            }
            func inOrder(_ list: [Consultation]) -> [Consultation] {
                list.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            }
            return inOrder(live + closing) + inOrder(erased)
        }
    }

    /// One of them.
    public func consultation(_ id: ConsultationID) throws(DeviceError) -> Consultation {
        guard let found = try consultations().first(where: { $0.id == id }) else {
            throw .unknownConsultation
        }
        return found
    }

    /// The one whose id begins so, in either case.
    ///
    /// - Throws: `.unknownConsultation`, or `.ambiguous` with the ids that fit.
    public func consultation(matching prefix: String) throws(DeviceError) -> Consultation {
        let prefix = prefix.lowercased()
        let found = try consultations().filter { $0.id.description.hasPrefix(prefix) }
        guard let first = found.first, !prefix.isEmpty else { throw .unknownConsultation }
        guard found.count == 1 else { throw .ambiguous(found.map(\.id.description)) }
        return first
    }

    // MARK: Messages

    /// Octets of UTF-8 in one text.
    public static let textLimit = 64 << 10

    /// Puts a message into the outbox, from where it leaves by itself.
    public func send(_ text: String, to id: ConsultationID) throws(DeviceError) -> Message {
        guard text.utf8.count <= Self.textLimit else { throw .tooLong(maximum: Self.textLimit) }
        return try perform { turn in
            let number = try turn.writable(id)
            return try turn.post(.text(text), to: number)
        }
    }

    /// Waits until the relay has a message of one's own durably, or the time is over.
    public func relayed(
        _ message: MessageID, in id: ConsultationID, timeout: Duration = .seconds(10)
    ) async throws(DeviceError) -> Message {
        connect()
        _ = await wait(for: timeout) { device in
            if case .stopped = device.connection { return true }
            guard let found = try? device.message(message, in: id) else { return true }
            return found.state != .waiting
        }
        let reached = try self.message(message, in: id)
        if reached.state == .waiting, case .stopped(let trouble) = connection {
            throw trouble == .copied ? .copied : .relayUnreachable(trouble)
        }
        return reached
    }

    /// Waits until nothing waits in the outbox, of one consultation or of all.
    public func flush(
        _ id: ConsultationID? = nil, timeout: Duration = .seconds(10)
    ) async throws(DeviceError) -> Bool {
        connect()
        return await wait(for: timeout) { device in
            device.currentState.consultations.values.allSatisfy {
                (id != nil && $0.id != id) || ($0.outbox.isEmpty && $0.unsentFiles.isEmpty)
            }
        }
    }

    /// The messages with numbers above `number`, in the order of this device.
    public func messages(
        of id: ConsultationID, since number: Int64 = 0, limit: Int = .max
    ) throws(DeviceError) -> [Message] {
        try read { state, transaction in
            guard let consultation = state.consultations.values.first(where: { $0.id == id }) else {
                throw DeviceError.unknownConsultation
            }
            guard number < .max else { return [] }
            let records = try transaction.records(
                of: .messages, in: consultation.scope, numbers: (number + 1)...Int64.max,
                limit: limit)
            return try records.map { record in
                state.describe(
                    try StoredMessage(serializedBytes: record.value), number: record.number,
                    in: consultation)
            }
        }
    }

    func message(
        _ message: MessageID, in id: ConsultationID
    ) throws(DeviceError) -> Message {
        try read { state, transaction in
            guard let consultation = state.consultations.values.first(where: { $0.id == id }),
                let octets = try transaction.value(
                    for: message.bytes, of: .messageNumbers, in: consultation.scope)
            else { throw DeviceError.unknownConsultation }
            let number = Int64(bitPattern: UInt64(bigEndianOctets: octets))
            guard
                let record = try transaction.record(
                    StoredMessage.self, at: number, of: .messages, in: consultation.scope)
            else { throw DeviceError.unknownConsultation }
            return state.describe(record, number: number, in: consultation)
        }
    }

    /// Marks messages up to `number`, or all, as read; the others see it.
    public func markRead(
        _ id: ConsultationID, upTo number: Int64? = nil
    ) throws(DeviceError) {
        try perform { turn in
            guard let found = turn.state.consultations.values.first(where: { $0.id == id }) else {
                throw DeviceError.unknownConsultation
            }
            try turn.markRead(found.number, upTo: number ?? .max)
        }
    }

    // MARK: Reopening

    /// Goes on in a fresh group, with fresh keys and mailboxes: by hand, where a consultation is
    /// locked because that was done too often, or where nothing arrives any more. What the other
    /// doesn't have is sent again.
    ///
    /// - Throws: `.notInState` for one that is over, or that never reached the relay.
    public func reopen(_ id: ConsultationID) throws(DeviceError) {
        try perform { turn in
            guard !turn.state.profile.copied else { throw DeviceError.copied }
            guard let found = turn.state.consultations.values.first(where: { $0.id == id }) else {
                if turn.state.isClosing(id) { throw DeviceError.notInState("closing") }
                throw DeviceError.unknownConsultation
            }
            guard found.canReopen else {
                throw DeviceError.notInState(turn.state.describe(found).state.word)
            }
            try turn.reopen(found.number, because: .byHand)
        }
    }

    /// Goes on with this vault after the relay has told that it is a copy or an old backup: throws
    /// away what the other copy may have used, and reopens every consultation. The other copy is
    /// then the one that sends nothing. Does nothing for a vault that is none.
    public func recover() throws(DeviceError) {
        try perform { try $0.recover() }
    }

    // MARK: The end

    /// Ends a consultation: closes it, lets what was sent before come in, keeps what policy says,
    /// confirms to the relay and erases this device's side. Goes on by itself while connected. A
    /// locked consultation is erased here at once. Calling it again changes nothing.
    ///
    /// - Parameter givingUp: don't wait any longer for what holds up the end: files that are on their
    ///   way are given up, and where the other can't be told, this side is erased all the same.
    public func end(_ id: ConsultationID, givingUp: Bool = false) throws(DeviceError) {
        try perform { turn in
            if let found = turn.state.consultations.values.first(where: { $0.id == id }) {
                try turn.end(found.number, givingUp: givingUp)
            } else if !turn.state.isClosing(id) {
                throw DeviceError.unknownConsultation
            }
        }
    }

    /// Ends a consultation and waits for the relay's receipt.
    ///
    /// - Returns: the receipt, or `nil` if the other hasn't confirmed in that time.
    public func end(
        _ id: ConsultationID, wait duration: Duration, givingUp: Bool = false
    ) async throws(DeviceError) -> KeptReceipt? {
        if let receipt = try receipt(of: id) { return receipt }
        try end(id, givingUp: givingUp)
        connect()
        _ = await wait(for: duration) { device in
            if case .stopped = device.connection { return true }
            let isHere = device.currentState.consultations.values.contains { $0.id == id }
            return !isHere && !device.currentState.isClosing(id)
        }
        return try receipt(of: id)
    }

    /// All receipts that were kept.
    public func receipts() throws(DeviceError) -> [KeptReceipt] {
        try read { _, transaction in try transaction.receipts().map(\.kept) }
    }

    private func receipt(of id: ConsultationID) throws(DeviceError) -> KeptReceipt? {
        try receipts().first { $0.id == id }
    }
}

extension DeviceState {
    func isClosing(_ id: ConsultationID) -> Bool {
        mailboxes.values.contains { mailbox in
            mailbox.closings.values.contains {
                !$0.abandoned && ConsultationID(groupID: $0.consultation) == id
            }
        }
    }
}

extension Turn {
    /// A consultation in which this device may write.
    func writable(_ id: ConsultationID) throws -> Vault.ConsultationNumber {
        guard !state.profile.copied else { throw DeviceError.copied }
        guard let found = state.consultations.values.first(where: { $0.id == id }) else {
            if state.isClosing(id) { throw DeviceError.notInState("closing") }
            throw DeviceError.unknownConsultation
        }
        let described = state.describe(found).state
        switch described {
        case .requesting, .requested, .open: return found.number
        default: throw DeviceError.notInState(described.word)
        }
    }

    /// A consultation that waits for the doctor's answer.
    func pendingRequest(_ id: ConsultationID) throws -> Vault.ConsultationNumber {
        guard state.role == .doctor else { throw DeviceError.notPermitted(.doctorsOnly) }
        let number = try writable(id)
        guard let found = state.consultations[number] else { throw DeviceError.unknownConsultation }
        let described = state.describe(found).state
        guard described == .requested else { throw DeviceError.notInState(described.word) }
        return number
    }

    /// Puts a message into the outbox and answers it as it is shown.
    mutating func post(
        _ body: Payload.Body, to number: Vault.ConsultationNumber
    ) throws -> Message {
        let (entry, scope) = try modify(number) { consultation, turn in
            (try turn.enqueue(body, in: &consultation), consultation.scope)
        }
        guard let consultation = state.consultations[number],
            let record = try transaction.record(
                StoredMessage.self, at: entry, of: .messages, in: scope)
        else { throw DeviceError.bug("post") }
        return state.describe(record, number: entry, in: consultation)
    }
}
