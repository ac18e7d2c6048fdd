import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import SwiftProtobuf
import TLSSyntax
import Vault

/// What the relay delivers. Whatever it is, it is dealt with, remembered and acknowledged in one
/// transaction: nothing is shown twice, and nothing that can't be read blocks what follows.
extension Turn {
    mutating func receive(_ delivery: Delivery) throws {
        guard let mailbox = state.mailboxes[delivery.mailbox], mailbox.link == .open,
            !state.profile.copied
        else { return }
        acknowledge(delivery)
        state.mailboxes[delivery.mailbox]?.expected -= mailbox.expected > 0 ? 1 : 0
        let digest = Hash.sha256(delivery.content)
        let isRepeated = mailbox.handled.containsContent(digest)
        // The name alone isn't enough: a relay that was set back may give it again.
        if isRepeated, mailbox.handled.containsDelivery(delivery.id.bytes) { return }
        try remember(delivery: delivery.id.bytes, digest: digest, of: delivery.mailbox)
        switch delivery.kind {
        case .welcome: if !isRepeated { try receiveWelcome(delivery) }
        case .receipt: try receiveReceipt(delivery.content, of: delivery.mailbox)
        case .closing, .message, .commit:
            // The same octets under another name are a replay, or the echo of one's own commit.
            if !isRepeated { try receiveGroupMessage(delivery) }
        default: break
        }
    }

    /// Remembers a delivery in its mailbox's scope.
    mutating func remember(delivery: [UInt8], digest: [UInt8], of id: MailboxID) throws {
        guard var mailbox = state.mailboxes[id] else { return }
        var record = StoredHandled()
        record.delivery = Data(delivery)
        record.digest = Data(digest)
        let number = try transaction.append(record, to: .handled, in: mailbox.scope)
        mailbox.handled.insert(number: number, name: delivery, digest: digest)
        for old in mailbox.handled.prune() {
            try transaction.remove(at: old, of: .handled, in: mailbox.scope)
        }
        state.mailboxes[id] = mailbox
    }

    private func consultation(of delivery: Delivery) -> Vault.ConsultationNumber? {
        state.consultations.values.first {
            $0.mailbox == delivery.mailbox && $0.groupID == delivery.groupID?.bytes
        }?.number
    }

    private mutating func receiveGroupMessage(_ delivery: Delivery) throws {
        guard let number = consultation(of: delivery),
            let consultation = state.consultations[number], consultation.group != nil,
            consultation.record.standing.lock == .none
        else { return }
        if let commit = consultation.commit,
            commit.commitHash == Hash.sha256(delivery.content)
        {
            try modify(number) { try $1.mergeOwn(commit, in: &$0) }
            return
        }
        switch try modify(number, { try $1.process(delivery, in: &$0) }) {
        case .nothing: break
        case .broken(let reason, let lock): try reopen(number, because: reason, otherwise: lock)
        case .arrived(let arrival): try resolve(arrival, of: number)
        case .unasked: return try turnAway(number)
        }
        announce(number)
        if state.consultations[number]?.record.standing.closed == true { try finish(number) }
    }

    /// What a delivery leads to besides what it changed.
    private enum Consequence {
        case nothing
        /// The group can't go on.
        case broken(StoredReopenReason, otherwise: StoredLock)
        /// Its first message asks to go on with a consultation.
        case arrived(Arrival)
        /// Nobody here is to be shown this group.
        case unasked
    }

    /// Opens a message. The group is taken over only with what came out of it, and a message that
    /// can't be opened leaves it as it was.
    private mutating func process(
        _ delivery: Delivery, in consultation: inout ConsultationState
    ) throws -> Consequence {
        guard var group = consultation.group else { return .nothing }
        let received: ReceivedMessage
        do {
            received = try group.process(
                delivery.content, validator: MemberValidator(root: state.root), at: seconds)
        } catch .corruptState {
            throw VaultError.damaged(.record)
        } catch {
            // An attempt that was given up before it said what it was for.
            if delivery.kind == .closing, consultation.record.phase == .arriving { return .unasked }
            let epoch = try? PrivateMessageHeader(message: delivery.content).epoch
            // A restored relay gives again what was dealt with long ago. If that was something
            // else after all, the sender's counters tell.
            if let epoch, epoch < group.epoch, delivery.kind == .commit { return .nothing }
            // Nobody is shown this group yet, so there is nothing to lock or to reopen.
            if delivery.kind == .commit, consultation.record.phase == .arriving { return .nothing }
            switch error {
            case .keyUnavailable: return .nothing
            case .wrongEpoch(let past) where past < group.epoch: return .nothing
            default: break
            }
            if delivery.kind == .commit {
                return .broken(.keyChange, otherwise: .undecryptableCommit)
            }
            try noteUndecryptable(in: &consultation)
            guard consultation.record.traffic.unreadable >= Self.unreadableLimit else {
                return .nothing
            }
            return .broken(.unreadable, otherwise: .none)
        }
        consultation.record.traffic.unreadable = 0
        switch received {
        case .application(let message):
            consultation.group = group
            return try receive(message, kind: delivery.kind, in: &consultation)
        case .commit(let staged):
            let lock = try merge(staged, into: group, of: &consultation)
            if let lock { return .broken(.keyChange, otherwise: lock) }
            consultation.record.commitHash = Data(Hash.sha256(delivery.content))
        case .proposal:
            // Nobody proposes yet: the group stays without it, so that no commit takes it up.
            break
        case .own(let own):
            if delivery.kind == .closing, try isClosing(own, in: consultation) {
                consultation.record.standing.closed = true
            }
        }
        return .nothing
    }

    /// Undecryptable messages in a row after which the group counts as broken.
    private static let unreadableLimit: UInt32 = 3

    /// Whether it was a closing of one's own that used up this key. The relay alone says that a
    /// delivery is a closing, and could say so of any other words.
    private func isClosing(
        _ own: OwnMessage, in consultation: ConsultationState
    ) throws -> Bool {
        let stored = try transaction.allRecords(
            StoredMessage.self, of: .messages, in: consultation.scope)
        return stored.contains { _, message in
            guard message.mine, message.origin.epoch == own.epoch,
                message.origin.generation == own.generation
            else { return false }
            switch Payload(decoding: [UInt8](message.payload))?.body {
            case .close, .decline: return true
            default: return false
            }
        }
    }

    /// Takes over a commit of the other owner. Members don't change yet, and neither owner removes
    /// the other (`protocol/relay.md`): anything else isn't this consultation any more.
    private mutating func merge(
        _ staged: StagedCommit, into group: Group, of consultation: inout ConsultationState
    ) throws -> StoredLock? {
        if staged.removesSelf { return .removed }
        guard staged.added.isEmpty, staged.removed.isEmpty, staged.reInit == nil,
            staged.groupContextExtensions == nil,
            staged.committer.signatureKey == [UInt8](consultation.record.other.identityKey)
        else { return .undecryptableCommit }
        var group = group
        do {
            try group.merge(staged, at: seconds)
        } catch .corruptState {
            throw VaultError.damaged(.record)
        } catch {
            return .undecryptableCommit
        }
        consultation.group = group
        beginEpoch(of: &consultation)
        return nil
    }

    // MARK: What it says

    private mutating func receive(
        _ message: ApplicationMessage, kind: DeliveryKind,
        in consultation: inout ConsultationState
    ) throws -> Consequence {
        guard let payload = Payload(decoding: message.plaintext) else {
            try noteUndecryptable(in: &consultation)
            return .nothing
        }
        let sender = message.sender.signatureKey
        if consultation.record.phase == .arriving {
            if case .reopen(let id, let beganAt, let reason) = payload.body {
                return .arrived(
                    Arrival(
                        consultation: ConsultationID(groupID: id), beganAt: beganAt,
                        reason: StoredReopenReason(rawValue: Int(reason)) ?? .unspecified,
                        seen: payload.seen))
            }
            // Any other beginning may be that of a reopened one, kept back by the relay.
            guard state.role == .doctor, case .request = payload.body else { return .unasked }
            consultation.record.phase = .active
        }
        try take(payload, of: message, kind: kind, from: sender, in: &consultation)
        return .nothing
    }

    private mutating func take(
        _ payload: Payload, of message: ApplicationMessage, kind: DeliveryKind,
        from sender: [UInt8], in consultation: inout ConsultationState
    ) throws {
        try confirm(payload.seen, of: sender, in: &consultation)
        try noteProgress(payload.seen, of: sender, in: &consultation)
        if message.epoch == consultation.group?.epoch,
            payload.epochTag
                != Payload.epochTag(of: consultation.group?.epochAuthenticator ?? [])
        {
            try append(notice: .epochMismatch, in: &consultation)
        }
        var ledger = consultation.ledgers[sender] ?? Ledger()
        if payload.isUncounted {
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
        if finding == .next, payload.sentAt < consultation.record.reopening.beganAt {
            // Sent again in a fresh group: one of those that couldn't be read before.
            try dropUndecryptable(in: &consultation)
        }
        try store(payload, message: message, in: &consultation)
        consultation.record.traffic.marksDue = true
        try act(on: payload, kind: kind, from: sender, in: &consultation)
    }

    private mutating func store(
        _ payload: Payload, message: ApplicationMessage, in consultation: inout ConsultationState
    ) throws {
        var kept = payload
        kept.seen = []
        kept.epochTag = []
        var record = StoredMessage()
        record.id = Data(payload.id)
        record.sender = Data(message.sender.signatureKey)
        record.sentAt = payload.sentAt
        record.receivedAt = now
        record.counter = payload.counter
        record.payload = Data(try kept.encoded())
        record.state = .received
        record.unread = true
        record.origin.leaf = message.sender.index.rawValue
        record.origin.epoch = message.epoch
        record.origin.generation = message.generation
        let number = try append(record, to: &consultation)
        try rememberMessage(payload.id, number: number, in: consultation)
        receivedCount += 1
    }

    /// Puts a received message, a gap or a notice behind the others.
    @discardableResult
    mutating func append(
        _ record: StoredMessage, to consultation: inout ConsultationState
    ) throws -> Int64 {
        let number = try transaction.append(record, to: .messages, in: consultation.scope)
        if record.unread { consultation.record.traffic.unread += 1 }
        consultation.record.traffic.lastMessageAt = now
        emit(.message(consultation.id, state.describe(record, number: number, in: consultation)))
        return number
    }

    private mutating func act(
        on payload: Payload, kind: DeliveryKind, from sender: [UInt8],
        in consultation: inout ConsultationState
    ) throws {
        let isDoctor = consultation.record.other.role == UInt32(PersonRole.doctor.rawValue)
        let isOther = sender == [UInt8](consultation.record.other.identityKey)
        switch payload.body {
        case .request(let time, let minutes, let reason, let deadline, let reach):
            guard !consultation.record.mine, isOther, !consultation.record.appointment.known else {
                return
            }
            consultation.record.appointment.known = true
            consultation.record.appointment.time = time
            consultation.record.appointment.minutes = minutes
            consultation.record.appointment.reason = reason
            consultation.record.deadlineDay = deadline
            if let reach, let suite = consultation.group?.suite {
                consultation.record.shelf = Data(reach.shelf)
                consultation.record.shelfKey = Data(reach.shelfKey)
                consultation.record.suite = UInt32(suite.rawValue)
            }
        case .accept where isDoctor && isOther:
            consultation.record.standing.accepted = true
        case .decline where isOther:
            consultation.record.standing.declined = true
            consultation.record.standing.closed = kind == .closing
        case .close where isOther:
            consultation.record.standing.closed = kind == .closing
        case .prescription(let jws) where isDoctor && isOther:
            try keepReceivedPrescription(jws, in: consultation)
        default: break
        }
    }

    // MARK: Marks

    private mutating func noteProgress(
        _ seen: [Payload.Seen], of member: [UInt8], in consultation: inout ConsultationState
    ) throws {
        let me = state.identity.publicKey.bytes
        guard let mine = seen.first(where: { $0.member == me }) else { return }
        var progress = consultation.progress[member] ?? Progress()
        progress.update(
            received: mine.received, missing: mine.missing, read: mine.read,
            sent: consultation.record.traffic.counter)
        consultation.progress[member] = progress
        try settle(&consultation)
    }

    /// Moves own messages on to delivered and read, once every other member has them.
    mutating func settle(_ consultation: inout ConsultationState) throws {
        let all = Array(consultation.progress.values)
        guard !all.isEmpty else { return }
        var rest: [ConsultationState.Unsettled] = []
        for var item in consultation.unsettled {
            let isRead = all.allSatisfy { $0.hasRead(item.counter) }
            let isDelivered = all.allSatisfy { $0.has(item.counter) }
            let reached: StoredDelivery = isRead ? .read : isDelivered ? .delivered : .relayed
            if reached.rawValue > item.state.rawValue {
                try raise(item.number, to: reached, in: consultation)
                item.state = reached
            }
            if item.state != .read { rest.append(item) }
        }
        consultation.unsettled = rest
    }

    private mutating func raise(
        _ number: Int64, to reached: StoredDelivery, in consultation: ConsultationState
    ) throws {
        guard
            var message = try transaction.record(
                StoredMessage.self, at: number, of: .messages, in: consultation.scope)
        else { return }
        message.state = reached
        try transaction.put(message, at: number, of: .messages, in: consultation.scope)
        emit(
            .messageChanged(
                consultation.id, state.describe(message, number: number, in: consultation)))
    }

    /// The person has read everything up to `number`.
    mutating func markRead(
        _ number: Vault.ConsultationNumber, upTo last: Int64
    ) throws {
        let changed = try modify(number) { consultation, turn in
            try turn.markRead(upTo: last, in: &consultation)
        }
        if changed { announce(number) }
    }

    private mutating func markRead(
        upTo last: Int64, in consultation: inout ConsultationState
    ) throws -> Bool {
        guard consultation.record.traffic.unread > 0 else { return false }
        var changed = false
        for (number, var message) in try unreadMessages(upTo: last, in: consultation) {
            message.unread = false
            changed = true
            try transaction.put(message, at: number, of: .messages, in: consultation.scope)
            consultation.record.traffic.unread -= min(1, consultation.record.traffic.unread)
            guard message.gap == .none, message.counter > 0 else { continue }
            let sender = [UInt8](message.sender)
            if consultation.ledgers[sender]?.noteRead(upTo: message.counter) == true {
                consultation.record.traffic.marksDue = true
            }
        }
        return changed
    }

    /// The messages not read yet, oldest first: the latest ones, as a rule, so that a long talk isn't
    /// read from its beginning for each.
    func unreadMessages(
        upTo last: Int64, in consultation: ConsultationState
    ) throws -> [(Int64, StoredMessage)] {
        var found: [(Int64, StoredMessage)] = []
        var end = last
        while found.count < Int(clamping: consultation.record.traffic.unread) {
            let some = try transaction.records(
                of: .messages, in: consultation.scope, numbers: .min...end, limit: 32,
                descending: true)
            for record in some {
                let message = try StoredMessage(serializedBytes: record.value)
                if message.unread { found.append((record.number, message)) }
            }
            guard let oldest = some.last?.number, oldest > .min else { break }
            end = oldest - 1
        }
        return found.reversed()
    }

    mutating func append(
        notice: StoredNotice, subject: String = "", in consultation: inout ConsultationState
    ) throws {
        var record = StoredMessage()
        record.id = Data(Random.bytes(MessageID.byteCount))
        record.sentAt = now
        record.receivedAt = now
        record.notice = notice
        record.subject = subject
        record.unread = true
        try append(record, to: &consultation)
    }

    /// Shows that the consultation goes on in a fresh group, and why.
    ///
    /// - Parameter sender: the identity key of the one who began it; empty: this device.
    mutating func append(
        reopened reason: StoredReopenReason, by sender: [UInt8],
        to consultation: inout ConsultationState
    ) throws {
        var record = StoredMessage()
        record.id = Data(Random.bytes(MessageID.byteCount))
        record.sender = Data(sender)
        record.sentAt = now
        record.receivedAt = now
        record.notice = .reopened
        record.detail = UInt64(clamping: reason.rawValue)
        record.unread = true
        try append(record, to: &consultation)
    }

    // MARK: Locks

    /// Nothing more can be sent in this consultation; what was sent stays readable.
    mutating func lock(_ number: Vault.ConsultationNumber, _ lock: StoredLock) throws {
        try modify(number) { consultation, turn in
            guard consultation.record.standing.lock == .none, lock != .none else { return }
            consultation.record.standing.lock = lock
            try turn.dropCommit(of: &consultation)
        }
        announce(number)
    }
}
