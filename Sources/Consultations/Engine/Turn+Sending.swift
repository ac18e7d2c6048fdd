import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import SwiftProtobuf
import Vault

/// From the person's words to a ciphertext at the relay. A message is stored as it was written; it
/// is encrypted when it can leave, and again, under the same id, when the epoch was over before it
/// arrived.
extension Turn {
    /// Starts the next thing that a consultation has to ask of the relay.
    mutating func pumpConsultation(_ number: Vault.ConsultationNumber) throws {
        guard let consultation = state.consultations[number] else { return }
        if consultation.record.phase == .claiming { return try claim(consultation) }
        if consultation.record.phase == .reopening { return try claimAgain(consultation) }
        if try inspectIfDue(number, urgently: true) { return }
        if consultation.record.standing.relayClosed {
            _ = try inspectIfDue(number, urgently: false)
            return
        }
        guard consultation.isLive, let group = consultation.group,
            group.epoch >= consultation.awaitedEpoch
        else { return }
        if consultation.record.standing.closeDue, consultation.unsentFiles.isEmpty {
            try modify(number) { consultation, turn in
                consultation.record.standing.closeDue = false
                try turn.enqueue(.close(reason: ""), in: &consultation)
            }
            return try pumpConsultation(number)
        }
        do {
            if consultation.record.reopening.due {
                guard consultation.retryAt <= now else { return wake(at: consultation.retryAt) }
                try modify(number) { try $1.encryptUncounted(.marks, in: &$0) }
            } else if isRefreshOverdue(consultation) {
                try modify(number) { try $1.refreshKeys(of: &$0) }
            } else if let next = consultation.nextMessage, !consultation.isCatchingUp {
                try modify(number) { try $1.encrypt(message: next, in: &$0) }
            } else if consultation.record.traffic.marksDue {
                try modify(number) { try $1.encryptUncounted(.marks, in: &$0) }
            } else if isRefreshDue(consultation) {
                try modify(number) { try $1.refreshKeys(of: &$0) }
            } else if try !inspectIfDue(number, urgently: false) {
                try pumpFiles(number)
            }
        } catch let error as MLSError where error != .corruptState && error != .machine {
            // A member can make a group in which nothing more can be said, by its last epoch for
            // instance. That must not stop the device's other consultations.
            try reopen(number, because: .keyChange)
        }
    }

    /// Stores a message of one's own and puts it into the outbox.
    @discardableResult
    mutating func enqueue(
        _ body: Payload.Body, id: [UInt8] = Random.bytes(MessageID.byteCount),
        in consultation: inout ConsultationState
    ) throws -> Int64 {
        consultation.record.traffic.counter += 1
        let payload = Payload(
            id: id, sentAt: now, counter: consultation.record.traffic.counter, body: body)
        var message = StoredMessage()
        message.id = Data(payload.id)
        message.mine = true
        message.sender = Data(state.identity.publicKey.bytes)
        message.sentAt = now
        message.counter = payload.counter
        message.payload = Data(try payload.encoded())
        message.state = .waiting
        let number = try transaction.append(message, to: .messages, in: consultation.scope)
        try rememberMessage(payload.id, number: number, in: consultation)
        consultation.outbox.append(number)
        consultation.record.traffic.lastMessageAt = now
        emit(.message(consultation.id, state.describe(message, number: number, in: consultation)))
        return number
    }

    func rememberMessage(
        _ id: [UInt8], number: Int64, in consultation: ConsultationState
    ) throws {
        try transaction.put(
            UInt64(bitPattern: number).bigEndianOctets, for: id, of: .messageNumbers,
            in: consultation.scope)
    }

    private mutating func encrypt(
        message number: Int64, in consultation: inout ConsultationState
    ) throws {
        guard
            var message = try transaction.record(
                StoredMessage.self, at: number, of: .messages, in: consultation.scope),
            var payload = Payload(decoding: [UInt8](message.payload))
        else { throw VaultError.damaged(.record) }
        if case .file(let note) = payload.body {
            payload.body = .file(try withKey(note, of: payload.id, in: consultation))
        }
        let ciphertext = try seal(payload, in: &consultation)
        var origin = StoredOrigin()
        origin.leaf = ciphertext.sender.rawValue
        origin.epoch = ciphertext.epoch
        origin.generation = ciphertext.generation ?? 0
        message.origin = origin
        try transaction.put(message, at: number, of: .messages, in: consultation.scope)
        guard let groupID = GroupID(consultation.groupID) else { return }
        let request = MessageRequest(
            groupID: groupID, epoch: ciphertext.epoch, content: ciphertext.bytes)
        try start(
            payload.isLast ? .close(request) : .send(request), for: consultation.mailbox,
            consultation: consultation.number, message: number)
    }

    /// Sends what takes no counter and isn't kept.
    mutating func encryptUncounted(
        _ body: Payload.Body, in consultation: inout ConsultationState
    ) throws {
        let payload = Payload(
            id: Random.bytes(MessageID.byteCount), sentAt: now,
            counter: consultation.record.traffic.counter, body: body)
        let ciphertext = try seal(payload, in: &consultation)
        guard let groupID = GroupID(consultation.groupID) else { return }
        let request = MessageRequest(
            groupID: groupID, epoch: ciphertext.epoch, content: ciphertext.bytes)
        try start(
            .send(request), for: consultation.mailbox, consultation: consultation.number)
    }

    /// Encrypts with what has been seen so far; the ratchet is stored by the caller's transaction.
    private mutating func seal(
        _ payload: Payload, in consultation: inout ConsultationState
    ) throws -> EncryptedMessage {
        guard var group = consultation.group else { throw DeviceError.bug("group") }
        var payload = payload
        payload.epochTag = Payload.epochTag(of: group.epochAuthenticator)
        payload.reopen = consultation.reopen
        payload.seen = consultation.ledgers.map { member, ledger in
            Payload.Seen(
                member: member, received: ledger.received, missing: ledger.missing,
                read: ledger.read, lacking: consultation.lacking(from: member))
        }
        let octets = try payload.encoded()
        let encrypted = try group.encrypt(
            octets, paddedTo: Padding.bucket(for: octets.count), signingKey: state.identity)
        let origin = Message.Origin(
            sender: encrypted.sender.rawValue, epoch: encrypted.epoch,
            generation: encrypted.generation ?? 0)
        sealObserver?(origin, encrypted.bytes)
        consultation.group = group
        consultation.record.traffic.sentInEpoch += 1
        consultation.record.traffic.marksDue = false
        return encrypted
    }

    // MARK: Answers

    mutating func receiveSendAnswer(
        _ outcome: Outcome, to pending: PendingRequest, for number: Vault.ConsultationNumber
    ) throws {
        switch outcome {
        case .done:
            try modify(number) { consultation, turn in
                if case .close = pending.request.operation {
                    consultation.record.standing.closeSent = true
                }
                guard let message = pending.message else {
                    consultation.record.reopening.due = false
                    return
                }
                try turn.relayed(message, in: &consultation)
            }
            announce(number)
        case .staleEpoch(let epoch, _):
            // The commits that led there are on their way; then it is encrypted again.
            try modify(number) { consultation, _ in
                consultation.awaitedEpoch = epoch
                if pending.message == nil { consultation.record.traffic.marksDue = true }
            }
            // A relay that has forgotten commits it announced: its history isn't this device's.
            // (The answer may be an old one, so it is held against what was asked.)
            if epoch < pending.request.operation.epoch { try reopen(number, because: .history) }
        case .refused(.groupClosed, _):
            try modify(number) { $1.noteClosed(&$0) }
        case .refused(.notAllowed, _):
            try reopen(number, because: .lost, otherwise: .removed)
        case .refused(let refusal, _):
            if pending.message == nil { tryLater(number) }
            try modify(number) { consultation, turn in
                consultation.outbox.removeAll { $0 == pending.message }
                turn.emit(.trouble(consultation.id, .refused(refusal)))
            }
        default: giveUp(.protocolViolation)
        }
    }

    private mutating func relayed(
        _ number: Int64, in consultation: inout ConsultationState
    ) throws {
        consultation.outbox.removeAll { $0 == number }
        guard
            var message = try transaction.record(
                StoredMessage.self, at: number, of: .messages, in: consultation.scope),
            message.state == .waiting
        else { return }
        message.state = .relayed
        sentCount += 1
        try transaction.put(message, at: number, of: .messages, in: consultation.scope)
        consultation.unsettled.append(
            .init(number: number, counter: message.counter, state: .relayed))
        emit(
            .messageChanged(
                consultation.id, state.describe(message, number: number, in: consultation)))
        // The other may have said so before the relay's answer came.
        try settle(&consultation)
    }

    // MARK: Key refreshes

    private func isRefreshDue(_ consultation: ConsultationState) -> Bool {
        guard consultation.commit == nil, !consultation.record.standing.ending,
            consultation.retryAt <= now
        else { return false }
        let age = seconds - min(seconds, consultation.record.traffic.epochBegan)
        return Int(consultation.record.traffic.sentInEpoch) >= options.refreshAfterMessages
            || Duration.seconds(Int64(clamping: age)) >= options.refreshAfter
    }

    /// A member that never stops writing must not keep its keys for ever.
    private func isRefreshOverdue(_ consultation: ConsultationState) -> Bool {
        let (limit, isTooLarge) = options.refreshAfterMessages.multipliedReportingOverflow(by: 2)
        return !isTooLarge && Int(consultation.record.traffic.sentInEpoch) >= limit
            && isRefreshDue(consultation)
    }

    private mutating func refreshKeys(of consultation: inout ConsultationState) throws {
        guard var group = consultation.group, let groupID = GroupID(consultation.groupID) else {
            return
        }
        var content = CommitContent()
        content.includesPendingProposals = false
        let commit = try group.commit(
            content, signingKey: state.identity, validator: MemberValidator(root: state.root),
            at: seconds)
        consultation.group = group
        consultation.commit = commit
        try transaction.put(
            commit.serialized(), at: 0, of: .pendingCommit, in: consultation.scope)
        let request = CommitRequest(
            groupID: groupID, epoch: commit.epoch, content: commit.message)
        try start(
            .commit(request), for: consultation.mailbox, consultation: consultation.number)
    }

    mutating func receiveCommitAnswer(
        _ outcome: Outcome, for number: Vault.ConsultationNumber
    ) throws {
        let asked = state.consultations[number]?.commit?.epoch ?? 0
        try modify(number) { consultation, turn in
            switch outcome {
            case .committed(_, let hash), .staleEpoch(_, let hash):
                if let commit = consultation.commit, commit.commitHash == hash {
                    try turn.mergeOwn(commit, in: &consultation)
                } else {
                    try turn.dropCommit(of: &consultation)
                }
                if case .staleEpoch(let epoch, _) = outcome { consultation.awaitedEpoch = epoch }
            case .refused(.groupClosed, _):
                turn.noteClosed(&consultation)
                try turn.dropCommit(of: &consultation)
            default:
                try turn.dropCommit(of: &consultation)
            }
        }
        switch outcome {
        case .staleEpoch(let epoch, _) where epoch < asked:
            try reopen(number, because: .history)
        case .refused(.notAllowed, _): try reopen(number, because: .lost, otherwise: .removed)
        case .refused: tryLater(number)
        default: break
        }
    }

    /// The relay took the commit, as its answer or its echo says.
    mutating func mergeOwn(
        _ commit: PendingCommit, in consultation: inout ConsultationState
    ) throws {
        guard var group = consultation.group else { return }
        // Another's was taken in its place.
        guard commit.epoch == group.epoch else { return try dropCommit(of: &consultation) }
        try group.merge(commit, at: seconds)
        consultation.group = group
        consultation.record.commitHash = Data(commit.commitHash)
        try dropCommit(of: &consultation)
        beginEpoch(of: &consultation)
        // The echo, if it is still to come, is known already.
        try remember(
            delivery: [], digest: Hash.sha256(commit.message), of: consultation.mailbox)
    }

    mutating func dropCommit(of consultation: inout ConsultationState) throws {
        consultation.commit = nil
        try transaction.removeAll(of: .pendingCommit, in: consultation.scope)
    }

    func beginEpoch(of consultation: inout ConsultationState) {
        consultation.record.traffic.epochBegan = seconds
        consultation.record.traffic.sentInEpoch = 0
    }
}

extension RelayProtocol.Operation {
    /// The epoch in which a message was encrypted; 0 for everything else.
    fileprivate var epoch: UInt64 {
        switch self {
        case .send(let request), .close(let request): request.epoch
        default: 0
        }
    }
}
