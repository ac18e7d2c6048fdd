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
        guard !state.profile.copied else { return }
        let link = state.mailboxes[delivery.mailbox]?.link ?? .gone
        // What came for a mailbox that was given up is wanted by nobody, but on its way it takes the
        // others' room on the connection.
        if link == .open || link == .gone { acknowledge(delivery) }
        guard let mailbox = state.mailboxes[delivery.mailbox], link == .open else { return }
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
        guard var number = consultation(of: delivery),
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
        case .arrived(let arrival):
            guard let known = try resolve(arrival, of: number) else { return }
            number = known
            try modify(number) { try $1.take(arrival.payload, of: arrival.message, in: &$0) }
        case .unasked: return try turnAway(number)
        }
        announce(number)
        if state.consultations[number]?.record.standing.closed == true { try finish(number) }
    }

    /// What a delivery leads to besides what it changed.
    enum Consequence {
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
            // Whether it is closed, the relay says.
            if delivery.kind == .closing { consultation.inspection = .due(at: now) }
            guard consultation.record.traffic.unreadable >= Self.unreadableLimit else {
                return .nothing
            }
            return .broken(.unreadable, otherwise: .none)
        }
        consultation.record.traffic.unreadable = 0
        switch received {
        case .application(let message):
            consultation.group = group
            return try read(message, of: delivery, in: &consultation)
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
            return Payload(decoding: [UInt8](message.payload))?.isLast == true
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
