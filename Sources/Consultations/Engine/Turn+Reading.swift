import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import Vault

/// What a message says, once it is open: it is counted, kept once, and acted upon.
extension Turn {
    /// What is known of a message besides its words.
    struct Received {
        /// Identity key.
        let sender: [UInt8]
        let origin: Message.Origin
        let kind: DeliveryKind

        fileprivate init(_ message: ApplicationMessage, kind: DeliveryKind) {
            sender = message.sender.signatureKey
            origin = Message.Origin(
                sender: message.sender.index.rawValue, epoch: message.epoch,
                generation: message.generation)
            self.kind = kind
        }
    }

    mutating func read(
        _ message: ApplicationMessage, of delivery: Delivery,
        in consultation: inout ConsultationState
    ) throws -> Consequence {
        guard let payload = Payload(decoding: message.plaintext) else {
            try noteUndecryptable(in: &consultation)
            return .nothing
        }
        let message = Received(message, kind: delivery.kind)
        if consultation.record.phase == .arriving {
            if let reopen = payload.reopen {
                return .arrived(Arrival(reopen: reopen, payload: payload, message: message))
            }
            // A patient is asked by nobody.
            guard state.role == .doctor else { return .unasked }
            // It begins with the request; if that was kept back, the counters show it.
            consultation.record.phase = .active
        }
        try take(payload, of: message, in: &consultation)
        return .nothing
    }

    mutating func take(
        _ payload: Payload, of message: Received, in consultation: inout ConsultationState
    ) throws {
        let sender = message.sender
        if payload.body == .clock, consultation.record.reopening.unconfirmed {
            return try turnedAway(payload, by: sender, in: &consultation)
        }
        try confirm(payload.seen, of: sender, in: &consultation)
        try noteProgress(payload.seen, of: sender, in: &consultation)
        if message.origin.epoch == consultation.group?.epoch,
            payload.epochTag
                != Payload.epochTag(of: consultation.group?.epochAuthenticator ?? [])
        {
            try append(notice: .epochMismatch, in: &consultation)
        }
        var ledger = consultation.ledgers[sender] ?? Ledger()
        if payload.isUncounted {
            // What the sender has counted may still have to be sent in the fresh group.
            guard payload.reopen == nil else { return }
            let missing = ledger.noteSent(upTo: payload.counter)
            consultation.ledgers[sender] = ledger
            return try noteMissing(missing, from: sender, in: &consultation)
        }
        let known = try transaction.value(
            for: payload.id, of: .messageNumbers, in: consultation.scope)
        let finding = ledger.note(payload.counter)
        consultation.ledgers[sender] = ledger
        if case .gap(let missing) = finding {
            try noteMissing(missing, from: sender, in: &consultation)
        }
        // It was sent again, by a sender that couldn't know.
        guard known == nil else {
            consultation.record.traffic.marksDue = true
            return
        }
        if finding == .filled { try fillGap(payload.counter, from: sender, in: &consultation) }
        try store(payload, message: message, in: &consultation)
        consultation.record.traffic.marksDue = true
        try act(on: payload, of: message, in: &consultation)
    }

    private mutating func store(
        _ payload: Payload, message: Received, in consultation: inout ConsultationState
    ) throws {
        var kept = payload
        kept.seen = []
        kept.epochTag = []
        kept.reopen = nil
        if case .file(let note) = payload.body {
            kept.body = .file(try keep(note, of: payload.id, in: &consultation))
        }
        var record = StoredMessage()
        record.id = Data(payload.id)
        record.sender = Data(message.sender)
        record.sentAt = payload.sentAt
        record.receivedAt = now
        record.counter = payload.counter
        record.payload = Data(try kept.encoded())
        record.state = .received
        record.unread = true
        record.origin.leaf = message.origin.sender
        record.origin.epoch = message.origin.epoch
        record.origin.generation = message.origin.generation
        let number = try append(record, to: &consultation)
        try rememberMessage(payload.id, number: number, in: consultation)
        receivedCount += 1
    }

    /// No relay keeps a group longer.
    private static let furthestDeadlineDays: UInt32 = 400

    private mutating func act(
        on payload: Payload, of message: Received, in consultation: inout ConsultationState
    ) throws {
        let isClosing = message.kind == .closing
        let isDoctor = consultation.record.other.role == UInt32(PersonRole.doctor.rawValue)
        let isOther = message.sender == [UInt8](consultation.record.other.identityKey)
        switch payload.body {
        case .request(let time, let minutes, let reason, let deadline, let reach):
            guard !consultation.record.mine, isOther, !consultation.record.appointment.known else {
                return
            }
            consultation.record.appointment.known = true
            consultation.record.appointment.time = time
            consultation.record.appointment.minutes = minutes
            consultation.record.appointment.reason = reason
            // The patient's word: it must neither have come already nor never come.
            let today = Day(unixSeconds: seconds)
            consultation.record.deadlineDay = min(
                max(deadline, today.adding(days: 1).rawValue),
                today.adding(days: Self.furthestDeadlineDays).rawValue)
            if let reach, let suite = consultation.group?.suite {
                consultation.record.shelf = Data(reach.shelf)
                consultation.record.shelfKey = Data(reach.shelfKey)
                consultation.record.suite = UInt32(suite.rawValue)
            }
        case .accept where isDoctor && isOther:
            consultation.record.standing.accepted = true
        case .decline where isOther:
            // From a patient it is an end like any other: nobody reads that the doctor declined.
            consultation.record.standing.declined = isDoctor
            consultation.record.standing.closed = isClosing
        case .close where isOther:
            consultation.record.standing.closed = isClosing
        case .prescription(let jws) where isDoctor && isOther:
            try keepReceivedPrescription(jws, in: consultation)
        default: break
        }
    }
}
