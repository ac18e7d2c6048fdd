import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol

/// From what is stored to what is shown.
extension DeviceState {
    func describe(_ person: StoredPerson) -> Person? {
        guard let key = try? VerifyingKey([UInt8](person.identityKey)),
            let role = PersonRole(rawValue: UInt8(clamping: person.role))
        else { return nil }
        let id = PersonID(identityKey: key)
        func text(_ text: String) -> String? { text.isEmpty ? nil : text }
        return Person(
            id: id, name: person.name, role: role, identityKey: key,
            isVerified: verified[id] != nil, isVouched: person.vouched,
            licence: text(person.licence), specialty: text(person.specialty),
            born: text(person.born), reference: text(person.reference))
    }

    /// Where the shelf lies that serves a reopening, and what its packages are sealed under.
    var reach: Payload.Reach {
        Payload.Reach(shelf: home.bytes, shelfKey: shelfKey.exposedCopy())
    }

    func describe(_ consultation: ConsultationState) -> Consultation {
        let record = consultation.record
        let other = record.hasOther ? describe(record.other) : nil
        return Consultation(
            id: consultation.id, state: stateOf(consultation), other: other,
            members: other.map { [$0] } ?? [], isMine: record.mine,
            time: record.appointment.known ? Date(seconds: record.appointment.time) : nil,
            minutes: record.appointment.known ? Int(record.appointment.minutes) : nil,
            reason: record.appointment.known ? record.appointment.reason : nil,
            createdAt: Date(seconds: record.createdAt), unread: Int(record.traffic.unread),
            waiting: consultation.outbox.count + consultation.unsentFiles.count,
            waitingFiles: consultation.files.count { consultation.isToBePut($0) },
            suite: consultation.group?.suite,
            epoch: consultation.group?.epoch,
            lastMessageAt: record.traffic.lastMessageAt == 0
                ? nil : Date(milliseconds: record.traffic.lastMessageAt),
            declined: record.standing.declined,
            reopening: record.phase == .reopening || record.reopening.unconfirmed
                ? ReopenReason(record.reopening.reason) : nil,
            awaitsOther: consultation.isCatchingUp)
    }

    private func stateOf(_ consultation: ConsultationState) -> Consultation.State {
        let record = consultation.record
        if profile.copied { return .locked(.copiedVault) }
        switch record.standing.lock {
        case .receiptWithoutClose: return .locked(.receiptWithoutClose)
        case .copiedVault: return .locked(.copiedVault)
        case .undecryptableCommit: return .locked(.undecryptableCommit)
        case .removed: return .locked(.removed)
        case .reopenedTooOften: return .locked(.reopenedTooOften)
        case .otherKey: return .locked(.otherKey)
        case .clock: return .locked(.clock)
        case .deadline: return .locked(.deadline)
        case .none, .UNRECOGNIZED: break
        }
        if record.phase == .failed { return .failed(consultation.trouble ?? .wrongKeyPackage) }
        if record.standing.ending || record.standing.closed || record.standing.relayClosed {
            return .closing(until: Date(seconds: UInt64(record.deadlineDay) * 86_400))
        }
        if record.phase != .active && record.phase != .reopening { return .requesting }
        return record.standing.accepted ? .open : .requested
    }

    /// A consultation whose content is gone here already.
    func describe(_ closing: StoredClosing) -> Consultation {
        Consultation(
            id: ConsultationID(groupID: closing.consultation),
            state: .closing(until: Date(seconds: UInt64(closing.untilDay) * 86_400)),
            createdAt: Date(seconds: closing.createdAt), declined: closing.declined)
    }

    func describe(
        _ message: StoredMessage, number: Int64, in consultation: ConsultationState
    ) -> Message {
        let sender = [UInt8](message.sender)
        let other = consultation.record.other
        return Message(
            id: MessageID([UInt8](message.id)), number: number, isMine: message.mine,
            from: message.mine || sender != [UInt8](other.identityKey) ? nil : describe(other),
            sentAt: Date(milliseconds: message.sentAt),
            receivedAt: message.mine ? nil : Date(milliseconds: message.receivedAt),
            body: body(of: message, in: consultation), state: Message.State(message.state),
            isUnread: message.unread,
            mls: message.hasOrigin
                ? Message.Origin(
                    sender: message.origin.leaf, epoch: message.origin.epoch,
                    generation: message.origin.generation) : nil)
    }

    private func body(
        of message: StoredMessage, in consultation: ConsultationState
    ) -> Message.Body {
        switch message.gap {
        case .undecryptable: return .gap(.undecryptable)
        case .missing where message.detail > message.counter:
            return .gap(.missingSeveral(counters: message.counter...message.detail))
        case .missing: return .gap(.missing(counter: message.counter))
        case .none, .UNRECOGNIZED: break
        }
        switch message.notice {
        case .memberAdded: return .notice(.memberAdded(name: message.subject))
        case .memberRemoved: return .notice(.memberRemoved(name: message.subject))
        case .epochMismatch: return .notice(.epochMismatch)
        case .reopened:
            return .notice(
                .reopened(
                    ReopenReason(
                        StoredReopenReason(rawValue: Int(clamping: message.detail)) ?? .unspecified)
                ))
        case .otherKey: return .notice(.otherKey)
        case .clock: return .notice(.clock(theirs: Date(milliseconds: message.detail)))
        case .none, .UNRECOGNIZED: break
        }
        func text(_ text: String) -> String? { text.isEmpty ? nil : text }
        switch Payload(decoding: [UInt8](message.payload))?.body {
        case .text(let text): return .text(text)
        case .request(let time, let minutes, let reason, _, _):
            return .request(time: Date(seconds: time), minutes: Int(minutes), reason: reason)
        case .accept: return .accept
        case .decline(let reason): return .decline(reason: text(reason))
        case .prescription(let jws): return .prescription(jws: jws, id: prescriptionID(of: jws))
        case .close(let reason): return .close(reason: text(reason))
        case .file:
            let file = consultation.file(of: [UInt8](message.id))
            return file.map { .file(FileDetail($0)) } ?? .needsNewerVersion
        case .marks, .clock, .unknown, nil: return .needsNewerVersion
        }
    }
}

extension Message.State {
    init(_ stored: StoredDelivery) {
        switch stored {
        case .received, .UNRECOGNIZED: self = .received
        case .waiting: self = .waiting
        case .relayed: self = .relayed
        case .delivered: self = .delivered
        case .read: self = .read
        }
    }
}

extension Consultation {
    /// One of which nothing is left but its name and when it was.
    init(id: ConsultationID, state: State, createdAt: Date, declined: Bool) {
        self.init(
            id: id, state: state, other: nil, members: [], isMine: false, time: nil, minutes: nil,
            reason: nil, createdAt: createdAt, unread: 0, waiting: 0, waitingFiles: 0, suite: nil,
            epoch: nil,
            lastMessageAt: nil, declined: declined, reopening: nil, awaitsOther: false)
    }

    init(erased receipt: KeptReceipt, declined: Bool) {
        self.init(
            id: receipt.id, state: .erased(at: receipt.erasedAt), createdAt: receipt.storedAt,
            declined: declined)
    }
}

extension KeptReceipt {
    init?(_ record: StoredKeptReceipt) {
        let bytes = [UInt8](record.receipt)
        guard let receipt = try? ErasureReceipt(decoding: bytes) else { return nil }
        self.init(
            id: ConsultationID(groupID: record.consultation), bytes: bytes,
            erasedAt: Date(timeIntervalSince1970: Double(receipt.erasedAtHour) * 3_600),
            reason: receipt.reason, storedAt: Date(seconds: record.storedAt))
    }
}

extension Date {
    init(seconds: UInt64) { self.init(timeIntervalSince1970: Double(seconds)) }
    init(milliseconds: UInt64) { self.init(timeIntervalSince1970: Double(milliseconds) / 1_000) }

    /// Unix milliseconds; 0 before 1970.
    var milliseconds: UInt64 { UInt64(exactly: (timeIntervalSince1970 * 1_000).rounded()) ?? 0 }
    /// Unix seconds; 0 before 1970.
    var seconds: UInt64 { UInt64(exactly: timeIntervalSince1970.rounded()) ?? 0 }
}
