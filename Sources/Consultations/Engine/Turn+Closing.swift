import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import Vault

/// The end of a consultation (`protocol/erasure.md`): close, drain, keep what policy says, confirm,
/// erase, and keep the relay's receipt.
extension Turn {
    /// The person wants it to end. What can't be closed at the relay is erased here at once.
    ///
    /// - Parameter givingUp: don't wait any longer, for files that are to leave first or for an
    ///   other side that can't be told.
    mutating func end(
        _ number: Vault.ConsultationNumber, reason: String = "", givingUp: Bool = false
    ) throws {
        guard let consultation = state.consultations[number] else {
            throw DeviceError.unknownConsultation
        }
        if consultation.record.standing.lock != .none || state.profile.copied {
            return try abandon(consultation)
        }
        switch consultation.record.phase {
        case .claiming, .failed:
            try abandon(consultation)
        case .reopening where consultation.record.standing.ending:
            // The other can't be reached to be told.
            if givingUp { try abandon(consultation) }
        default:
            if consultation.record.standing.relayClosed {
                // The other's closing is on its way, if the relay ever gives it.
                if givingUp { return try abandon(consultation) }
                try modify(number) { consultation, _ in consultation.record.standing.ending = true }
                return announce(number)
            }
            guard !consultation.record.standing.closed else { return }
            if givingUp { try giveUpFiles(of: number) }
            guard !consultation.record.standing.ending else { return }
            try modify(number) { consultation, turn in
                consultation.record.standing.ending = true
                // What was sent before goes before.
                guard consultation.unsentFiles.isEmpty else {
                    consultation.record.standing.closeDue = true
                    return
                }
                try turn.enqueue(.close(reason: reason), in: &consultation)
            }
            announce(number)
        }
    }

    /// Erases this device's side of what the relay can't close any more, or never heard of.
    mutating func abandon(_ consultation: ConsultationState) throws {
        let receipt = [UInt8](consultation.record.standing.receipt)
        try eraseContent(of: consultation)
        try transaction.put([1], for: consultation.id.bytes, of: .ended, in: .person)
        try stayReachable()
        try leaveMailbox(of: consultation)
        if receipt.isEmpty {
            emit(.erased(consultation.id, nil))
        } else {
            try keep(
                receipt, of: consultation.id,
                declined: consultation.record.standing.declined, mailbox: consultation.mailbox)
        }
    }

    private mutating func leaveMailbox(of consultation: ConsultationState) throws {
        let phase = consultation.record.phase
        if phase == .claiming || phase == .failed || phase == .reopening,
            state.mailboxes[consultation.mailbox]?.link != .gone
        {
            try modifyMailbox(consultation.mailbox) { $0.record.kind = .retiring }
            if state.mailboxes[consultation.mailbox]?.record.exists == false {
                try forget(consultation.mailbox)
            }
        } else if !isUsed(consultation.mailbox) {
            try forget(consultation.mailbox)
        }
    }

    /// Whether a mailbox serves anything: the last resort's may serve many consultations.
    func isUsed(_ id: MailboxID) -> Bool { isServing(id) || state.mailboxes[id]?.package != nil }

    /// Whether a consultation goes on in a mailbox, or waits for its receipt there.
    func isServing(_ id: MailboxID) -> Bool {
        state.mailboxes[id]?.closings.isEmpty == false
            || state.consultations.values.contains { $0.mailbox == id }
    }

    /// Everything that was sent before the Close has come: this device's side goes, and the relay
    /// is told.
    mutating func finish(_ number: Vault.ConsultationNumber) throws {
        guard let consultation = state.consultations[number],
            let mailbox = state.mailboxes[consultation.mailbox]
        else { return }
        var closing = StoredClosing()
        closing.consultation = Data(consultation.id.bytes)
        closing.groupID = consultation.record.groupID
        let latest = Day(unixSeconds: seconds).adding(days: ProtocolConstants.closingDays)
        closing.untilDay = min(consultation.record.deadlineDay, latest.rawValue)
        closing.declined = consultation.record.standing.declined
        closing.createdAt = consultation.record.createdAt
        closing.abandoned = consultation.record.standing.quiet
        closing.closeSent = true
        closing.epoch = consultation.group?.epoch ?? 0
        try transaction.put(
            closing, for: consultation.groupID, of: .closings, in: mailbox.scope)
        try showLastWords(of: consultation)
        try eraseContent(of: consultation)
        state.mailboxes[mailbox.id]?.closings[consultation.groupID] = closing
        if closing.abandoned { return }
        try stayReachable()
        emit(.erased(consultation.id, nil))
        emit(.consultation(state.describe(closing)))
    }

    /// What the person hasn't read goes with the rest, so it is shown now or never.
    private mutating func showLastWords(of consultation: ConsultationState) throws {
        let unread = try unreadMessages(upTo: .max, in: consultation).filter { _, message in
            guard message.gap == .none, message.notice == .none else { return false }
            if case .close = Payload(decoding: [UInt8](message.payload))?.body { return false }
            return true
        }
        guard !unread.isEmpty else { return }
        let words = unread.map { state.describe($1, number: $0, in: consultation) }
        emit(.lastWords(consultation.id, words))
    }

    /// The relay says that it is closed: by the other, whose closing is on its way, if there is one.
    func noteClosed(_ consultation: inout ConsultationState) {
        consultation.record.standing.relayClosed = true
        consultation.inspection = .due(at: now)
    }

    /// Key slot, tables and everything else of the consultation's scope; its mailbox stays until
    /// the receipt has come.
    mutating func eraseContent(of consultation: ConsultationState) throws {
        try transaction.eraseConsultation(consultation.number)
        hasErased = true
        state.consultations[consultation.number] = nil
        if state.mailboxes[consultation.mailbox]?.pending?.consultation == consultation.number {
            state.mailboxes[consultation.mailbox]?.pending = nil
        }
    }

    mutating func receiveConfirmation(
        _ outcome: Outcome, _ group: GroupID, _ id: MailboxID
    ) throws {
        if case .erased(let receipts) = outcome {
            // The group is gone; the mailbox may serve another one still.
            for receipt in receipts { try receiveReceipt(receipt, of: id) }
            return
        }
        guard let mailbox = state.mailboxes[id], var closing = mailbox.closings[group.bytes] else {
            return
        }
        if closing.abandoned, case .refused = outcome {
            return try forgetClosing(group.bytes, of: id)
        }
        closing.confirmed = true
        try transaction.put(closing, for: group.bytes, of: .closings, in: mailbox.scope)
        state.mailboxes[id]?.closings[group.bytes] = closing
    }

    // MARK: Receipts

    /// Days beyond the last one for which a receipt is waited for: clocks differ.
    private static let receiptPatience: UInt32 = 7

    /// A relay that has lost the group has no receipt of it, though a newer backup may bring it
    /// back: what was ended is over some days after the relay's last day for it, with or without.
    mutating func stopWaitingForReceipts() throws {
        let today = Day(unixSeconds: seconds)
        for (id, mailbox) in state.mailboxes
        where mailbox.link == .gone || (mailbox.link == .open && mailbox.expected == 0) {
            for (groupID, closing) in mailbox.closings
            where !closing.abandoned
                && Day(rawValue: closing.untilDay).adding(days: Self.receiptPatience) <= today
            {
                try transaction.put(
                    [1], for: [UInt8](closing.consultation), of: .ended, in: .person)
                try forgetClosing(groupID, of: id)
                emit(.erased(ConsultationID(groupID: closing.consultation), nil))
            }
        }
    }

    /// The relay says that the mailbox and its groups are gone.
    mutating func erasedAtRelay(_ id: MailboxID, _ receipts: [[UInt8]]) throws {
        state.mailboxes[id]?.link = .gone
        for receipt in receipts { try receiveReceipt(receipt, of: id) }
        // Without a receipt of this group there is no proof that it was erased.
        try lose(id)
    }

    mutating func receiveReceipt(_ bytes: [UInt8], of id: MailboxID) throws {
        guard let receipt = try? ErasureReceipt(decoding: bytes),
            (try? receipt.verify(relayKey: state.relayKey)) != nil,
            let mailbox = state.mailboxes[id]
        else { return }
        for (groupID, closing) in mailbox.closings where receipt.isFor(groupID) {
            if closing.abandoned {
                try forgetClosing(groupID, of: id)
                return try receiveReceipt(bytes, receipt, ofPast: closing)
            }
            try transaction.remove(for: groupID, of: .closings, in: mailbox.scope)
            state.mailboxes[id]?.closings[groupID] = nil
            return try keep(
                bytes, of: ConsultationID(groupID: closing.consultation),
                declined: closing.declined, mailbox: id)
        }
        for (number, consultation) in state.consultations
        where consultation.mailbox == id && receipt.isFor(consultation.groupID) {
            return try receiveReceipt(bytes, receipt, for: number)
        }
    }

    /// A receipt of a group that was left ends nothing: its consultation goes on elsewhere, or was
    /// none. But one by the deadline, which a fresh group has as well, ends what never came to one.
    private mutating func receiveReceipt(
        _ bytes: [UInt8], _ receipt: ErasureReceipt, ofPast closing: StoredClosing
    ) throws {
        let id = ConsultationID(groupID: closing.consultation)
        guard receipt.reason == .deadline,
            var consultation = state.consultations.values.first(where: {
                $0.id == id && $0.record.phase == .reopening
            }), consultation.isDue(at: seconds)
        else { return }
        try showLastWords(of: consultation)
        consultation.record.standing.receipt = Data(bytes)
        try abandon(consultation)
    }

    /// A receipt for a consultation that is still here. If it was closed, or the day that both
    /// sides knew of has come, it goes; else nobody closed it, and the person decides.
    private mutating func receiveReceipt(
        _ bytes: [UInt8], _ receipt: ErasureReceipt, for number: Vault.ConsultationNumber
    ) throws {
        guard let consultation = state.consultations[number] else { return }
        if !consultation.isShown {
            try eraseContent(of: consultation)
            return try retireIfUnused(consultation.mailbox)
        }
        let isDue = consultation.isDue(at: seconds) && receipt.reason == .deadline
        let isClosed = consultation.record.standing.closed || consultation.record.standing.closeSent
        if isClosed || isDue {
            try showLastWords(of: consultation)
            try eraseContent(of: consultation)
            try keep(
                bytes, of: consultation.id,
                declined: consultation.record.standing.declined,
                mailbox: consultation.mailbox)
        } else {
            try modify(number) { consultation, _ in
                consultation.record.standing.receipt = Data(bytes)
            }
            try lock(number, .receiptWithoutClose)
        }
    }

    private mutating func keep(
        _ bytes: [UInt8], of consultation: ConsultationID, declined: Bool, mailbox id: MailboxID
    ) throws {
        var record = StoredKeptReceipt()
        record.consultation = Data(consultation.bytes)
        record.receipt = Data(bytes)
        record.storedAt = seconds
        record.declined = declined
        try transaction.put(record, for: consultation.bytes, of: .receipts, in: .person)
        // One that is being retired goes when the relay has let go of it.
        if !isUsed(id), state.mailboxes[id]?.record.kind != .retiring { try forget(id) }
        guard let receipt = KeptReceipt(record) else { return }
        emit(.erased(consultation, receipt))
        emit(.receipt(receipt))
        emit(.consultation(Consultation(erased: receipt, declined: declined)))
    }
}

extension ErasureReceipt {
    func isFor(_ groupID: [UInt8]) -> Bool {
        GroupID(groupID).map { groupHash == Self.groupHash(of: $0) } ?? false
    }
}
