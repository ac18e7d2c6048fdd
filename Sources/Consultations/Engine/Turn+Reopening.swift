import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import TLSSyntax
import Vault

/// A consultation whose group can't go on gets a fresh one (`protocol/payloads.md`, "Reopening"):
/// fresh mailboxes, the same identities and times, and everything that the other doesn't have is
/// sent again under its id.
extension Turn {
    /// The first pause after a KeyPackage or a group could not be had, in milliseconds.
    private static let firstPause: UInt64 = 60_000
    /// The longest.
    private static let longestPause: UInt64 = 3_600_000
    /// Groups that are tried at once when the relay says that a permit was used.
    private static let attemptsAtOnce: UInt32 = 3

    /// Starts a fresh group. Where that isn't possible, or was done too often, the consultation is
    /// locked and says so.
    ///
    /// - Parameter lock: what it is locked with if it can't be reopened.
    mutating func reopen(
        _ number: Vault.ConsultationNumber, because reason: StoredReopenReason,
        otherwise lock: StoredLock = .undecryptableCommit
    ) throws {
        guard let consultation = state.consultations[number] else { return }
        // What is locked goes on only by hand. An attempt that is under way goes on, unless an older
        // vault forgot that its keys were used.
        guard reason == .byHand || consultation.record.standing.lock == .none,
            reason == .byHand || reason == .olderVault || consultation.record.phase != .reopening
        else { return }
        guard consultation.canReopen, !state.profile.copied else {
            return try self.lock(number, lock)
        }
        var times = consultation.record.reopening.times
        if reason == .byHand { times = [] }
        guard let counted = counting(times) else {
            return try self.lock(number, .reopenedTooOften)
        }
        try leaveGroup(of: number)
        let scope = try transaction.createConsultation()
        let mailbox = try makeMailbox(
            in: .consultation(scope), kind: .consultation, ticket: nil, permitHash: nil)
        try modify(number) { consultation, turn in
            consultation.mailbox = mailbox
            consultation.record.mailboxScope = scope.rawValue
            consultation.record.groupID = Data(Random.bytes(GroupID.byteCount))
            consultation.record.phase = .reopening
            consultation.record.attempts = 0
            consultation.record.reopening.beganAt = max(
                turn.now, consultation.record.reopening.beganAt + 1)
            consultation.record.reopening.unconfirmed = true
            consultation.record.reopening.due = true
            consultation.record.reopening.reason = reason
            consultation.record.reopening.times = counted
            try turn.beginAgain(&consultation)
            try turn.append(reopened: reason, by: [], to: &consultation)
        }
        announce(number)
    }

    /// The times of the last hour with the present one; `nil` if there were too many.
    func counting(_ times: [UInt64]) -> [UInt64]? {
        let recent = times.filter { $0 <= seconds && seconds - $0 < 3_600 }
        guard recent.count < options.reopeningsPerHour else { return nil }
        return recent + [seconds]
    }

    /// What doesn't hold any more in a fresh group.
    mutating func beginAgain(_ consultation: inout ConsultationState) throws {
        consultation.awaitedEpoch = 0
        consultation.inspection = .none
        consultation.record.commitHash = Data()
        consultation.record.incarnation = state.profile.registration.incarnation
        consultation.record.standing.lock = .none
        consultation.record.standing.relayClosed = false
        consultation.record.standing.closeSent = false
        consultation.record.standing.receipt = Data()
        consultation.record.traffic.unreadable = 0
        consultation.record.traffic.sentInEpoch = 0
        for index in consultation.files.indices { consultation.files[index].reset() }
        try fetchDamagedAgain(of: &consultation)
        try sendAgain(&consultation, relayed: true) { _ in false }
    }

    /// Puts messages back into the outbox, in their order: those that only the relay had, if
    /// `relayed`, and of those that the other had the ones for which `isLost` holds.
    mutating func sendAgain(
        _ consultation: inout ConsultationState, relayed: Bool, where isLost: (UInt64) -> Bool
    ) throws {
        var outbox: [Int64] = []
        var unsettled: [ConsultationState.Unsettled] = []
        let stored = try transaction.allRecords(
            StoredMessage.self, of: .messages, in: consultation.scope)
        for (number, var message) in stored where message.mine {
            let goes =
                switch message.state {
                case .waiting: true
                case .relayed: relayed
                case .delivered, .read: isLost(message.counter)
                default: false
                }
            guard goes else {
                if message.state == .relayed || message.state == .delivered {
                    unsettled.append(
                        .init(number: number, counter: message.counter, state: message.state))
                }
                continue
            }
            outbox.append(number)
            guard message.state != .waiting else { continue }
            message.state = .waiting
            try transaction.put(message, at: number, of: .messages, in: consultation.scope)
            emit(
                .messageChanged(
                    consultation.id, state.describe(message, number: number, in: consultation)))
        }
        consultation.outbox = outbox
        consultation.unsettled = unsettled
    }

    // MARK: The old group

    /// Lets go of the group: its keys are gone here, the request that was under way isn't sent
    /// again, and its mailbox closes it at the relay when the fresh group works.
    mutating func leaveGroup(of number: Vault.ConsultationNumber) throws {
        guard let consultation = state.consultations[number] else { return }
        let id = consultation.mailbox
        let wasMade = consultation.group != nil || consultation.record.phase == .active
        if state.mailboxes[id]?.pending?.consultation == number { try finishPending(of: id) }
        try transaction.removeAll(of: .group, in: consultation.scope)
        try modify(number) { consultation, turn in
            // Its name stays, whatever the group's is.
            consultation.record.consultation = Data(consultation.id.bytes)
            let epoch = consultation.group?.epoch ?? 0
            consultation.group = nil
            try turn.dropCommit(of: &consultation)
            guard wasMade else { return }
            try turn.abandon(
                consultation.groupID, epoch: epoch, of: consultation.id, in: id)
        }
        if !wasMade { try retireIfUnused(id, besides: number) }
    }

    /// Has a group closed at the relay that nobody here uses any more.
    mutating func abandon(
        _ groupID: [UInt8], epoch: UInt64, of consultation: ConsultationID, in id: MailboxID
    ) throws {
        guard let mailbox = state.mailboxes[id] else { return }
        var closing = StoredClosing()
        closing.consultation = Data(consultation.bytes)
        closing.groupID = Data(groupID)
        closing.abandoned = true
        closing.epoch = epoch
        closing.createdAt = seconds
        try transaction.put(closing, for: groupID, of: .closings, in: mailbox.scope)
        state.mailboxes[id]?.closings[groupID] = closing
        if mailbox.link == .gone { try forgetClosing(groupID, of: id) }
    }

    /// Closes a group with octets that say nothing: its keys are gone.
    mutating func close(_ closing: StoredClosing, of id: MailboxID) throws {
        guard let group = GroupID([UInt8](closing.groupID)) else { return }
        var writer = TLSWriter()
        writer.write(UInt16(1))
        writer.write(UInt16(2))
        writer.write(vector: group.bytes)
        writer.write(closing.epoch)
        writer.write(UInt8(1))
        writer.write(vector: [UInt8]())
        writer.write(vector: Random.bytes(28))
        writer.write(vector: Random.bytes(Padding.smallestBucket))
        try start(
            .close(
                MessageRequest(groupID: group, epoch: closing.epoch, content: writer.bytes)),
            for: id)
    }

    mutating func receiveClosing(
        _ outcome: Outcome, of group: GroupID, _ id: MailboxID
    ) throws {
        guard let mailbox = state.mailboxes[id], var closing = mailbox.closings[group.bytes] else {
            return
        }
        switch outcome {
        case .done, .refused(.groupClosed, _): closing.closeSent = true
        case .staleEpoch(let epoch, _) where epoch != closing.epoch: closing.epoch = epoch
        case .erased(let receipts):
            for receipt in receipts { try receiveReceipt(receipt, of: id) }
            return
        default:
            guard !closing.abandoned else { return try forgetClosing(group.bytes, of: id) }
            // A newer backup may bring it back.
            closing.closeSent = true
            closing.confirmed = true
        }
        try transaction.put(closing, for: group.bytes, of: .closings, in: mailbox.scope)
        state.mailboxes[id]?.closings[group.bytes] = closing
    }

    /// A group that is gone at the relay, or that it never had.
    mutating func forgetClosing(_ groupID: [UInt8], of id: MailboxID) throws {
        guard let mailbox = state.mailboxes[id] else { return }
        try transaction.remove(for: groupID, of: .closings, in: mailbox.scope)
        state.mailboxes[id]?.closings[groupID] = nil
        try retireIfUnused(id)
    }

    /// Gives up a mailbox that serves nothing any more.
    mutating func retireIfUnused(
        _ id: MailboxID, besides number: Vault.ConsultationNumber? = nil
    ) throws {
        guard let mailbox = state.mailboxes[id], mailbox.closings.isEmpty, mailbox.package == nil,
            !state.consultations.values.contains(where: {
                $0.mailbox == id && $0.number != number
            })
        else { return }
        if mailbox.link == .gone || !mailbox.record.exists { return try forget(id) }
        try modifyMailbox(id) { $0.record.kind = .retiring }
    }

    // MARK: The fresh group

    /// Asks for a KeyPackage of the other's home shelf.
    mutating func claimAgain(_ consultation: ConsultationState) throws {
        guard consultation.group == nil, consultation.record.standing.lock == .none else { return }
        // The relay erases on that day. Only a clock says so here, and one can be wrong: the person
        // decides, or has decided, or a receipt of the group that was left does.
        guard !consultation.isDue(at: seconds) else {
            return consultation.record.standing.ending
                ? try abandon(consultation) : try lock(consultation.number, .deadline)
        }
        guard consultation.retryAt <= now else { return wake(at: consultation.retryAt) }
        guard let shelf = MailboxID([UInt8](consultation.record.shelf)) else { return }
        try start(
            .claimKeyPackage(shelf: shelf), for: consultation.mailbox,
            consultation: consultation.number)
    }

    mutating func receiveKeyPackageAgain(
        _ outcome: Outcome, for number: Vault.ConsultationNumber
    ) throws {
        guard case .keyPackage(let sealed, let isLastResort) = outcome else {
            return tryLater(number)
        }
        let record = state.consultations[number]?.record
        let source = ShelfSource(
            shelf: [UInt8](record?.shelf ?? Data()),
            shelfKey: SecretBytes([UInt8](record?.shelfKey ?? Data())),
            suite: UInt16(clamping: record?.suite ?? 0),
            identity: [UInt8](record?.other.identityKey ?? Data()),
            role: record?.other.role ?? 0)
        do {
            try modify(number) { consultation, turn in
                let (keyPackage, entry) = try turn.check(
                    sealed, from: source, isLastResort: isLastResort)
                try turn.createGroup(&consultation, with: keyPackage, entry, phase: .reopening)
            }
        } catch let unfit as UnfitKeyPackage {
            if unfit.isAnothers { return try lock(number, .otherKey) }
            if unfit.fault == .clock, let consultation = state.consultations[number],
                consultation.failures == 0
            {
                emit(.trouble(consultation.id, .clock))
            }
            tryLater(number)
        }
    }

    mutating func receiveCreationAgain(
        _ outcome: Outcome, for number: Vault.ConsultationNumber
    ) throws {
        if outcome == .done {
            try modify(number) { consultation, _ in
                consultation.record.phase = .active
                consultation.record.reopening.base = consultation.record.reopening.beganAt
            }
            return announce(number)
        }
        let scope = state.consultations[number]?.scope
        if let scope { try transaction.removeAll(of: .group, in: scope) }
        let attempts = try modify(number) { consultation, _ in
            consultation.group = nil
            return consultation.record.attempts
        }
        if case .refused(.permit, _) = outcome, attempts % Self.attemptsAtOnce != 0 { return }
        tryLater(number)
    }

    /// It can't be had at the moment: not before a pause that grows.
    mutating func tryLater(_ number: Vault.ConsultationNumber, pause: UInt64? = nil) {
        guard var consultation = state.consultations[number] else { return }
        let grown = Self.firstPause << UInt64(min(consultation.failures, 6))
        consultation.failures += 1
        consultation.retryAt = now + (pause ?? min(grown, Self.longestPause))
        state.consultations[number] = consultation
        wake(at: consultation.retryAt)
    }
}

extension ConsultationState {
    /// Whether this device can start a fresh group for it: it knows the other and its shelf, and
    /// nobody has closed it.
    var canReopen: Bool {
        (record.phase == .active || record.phase == .reopening) && record.hasOther
            && !record.shelf.isEmpty && record.suite != 0 && !record.standing.closed
            && !record.standing.quiet
    }

    /// Which consultation goes on in the group, and why: said with every message until the other has
    /// answered in it, so that none of them alone can be kept back; `nil` otherwise.
    var reopen: Payload.Reopen? {
        guard record.reopening.unconfirmed else { return nil }
        return Payload.Reopen(
            consultation: id.bytes, beganAt: record.reopening.beganAt,
            reason: UInt32(clamping: record.reopening.reason.rawValue))
    }

    /// Whether the other is to say first which counters are taken: this vault has forgotten some.
    /// Nothing is worth waiting for when it ends.
    var isCatchingUp: Bool {
        record.reopening.fellBack && record.reopening.unconfirmed && !record.standing.ending
    }

    /// Whether the day has come on which the relay erases it at the latest.
    func isDue(at seconds: UInt64) -> Bool {
        Day(unixSeconds: seconds).rawValue >= record.deadlineDay
    }

    /// Whether it is this consultation that is shown to the person.
    var isShown: Bool { record.phase != .arriving && !record.standing.quiet }
}

extension DeviceState {
    /// Whether an abandoned group stays as it is for now: the other may not know yet that the
    /// consultation goes on elsewhere.
    func isHeld(_ closing: StoredClosing) -> Bool {
        closing.abandoned
            && consultations.values.contains {
                $0.id.bytes == [UInt8](closing.consultation)
                    && ($0.record.phase == .reopening || $0.record.reopening.unconfirmed)
            }
    }
}
