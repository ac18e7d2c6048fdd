import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault

/// One request per mailbox is under way at a time, so that everything of a consultation reaches the
/// relay in the order in which it was meant. It is stored before it is sent, and what the answer
/// changes is stored together with the request's end. (What is asked about files is another matter:
/// ``Transfers``.)
extension Turn {
    /// Starts whatever can be started.
    mutating func pump() throws {
        guard state.session?.limits != nil, state.openedHome else { return }
        if !state.profile.copied {
            try stopWaitingForReceipts()
            try refillShelf()
            try openMailboxes()
        }
        for id in state.mailboxes.keys { try pump(id) }
        // What was just reopened has a mailbox to open.
        if !state.profile.copied { try openMailboxes() }
    }

    private mutating func pump(_ id: MailboxID) throws {
        guard let mailbox = state.mailboxes[id], mailbox.link == .open else { return }
        if mailbox.pausedUntil > now {
            wake(at: mailbox.pausedUntil)
            return
        }
        guard mailbox.pending == nil else {
            // The relay asked for patience and it is over: the same request again.
            if mailbox.pausedUntil > 0, let pending = mailbox.pending {
                state.mailboxes[id]?.pausedUntil = 0
                ask(pending.request)
            }
            return
        }
        state.mailboxes[id]?.pausedUntil = 0
        if id == state.home { return try pumpHome() }
        guard !state.profile.copied else { return }
        if mailbox.record.kind == .retiring {
            guard !mailbox.isRetained else { return }
            return try start(.retire, for: id)
        }
        for (groupID, closing) in mailbox.closings
        where !closing.confirmed && !state.isHeld(closing) {
            guard let group = GroupID(groupID) else { continue }
            if !closing.closeSent { return try close(closing, of: id) }
            return try start(.confirm(group), for: id)
        }
        let numbers = state.consultations.values.filter { $0.mailbox == id }.map(\.number)
        for number in numbers.sorted() where state.mailboxes[id]?.pending == nil {
            try pumpConsultation(number)
        }
    }

    /// Stores a request and has it sent after the commit.
    mutating func start(
        _ operation: RelayProtocol.Operation, for id: MailboxID,
        consultation: Vault.ConsultationNumber? = nil, message: Int64? = nil
    ) throws {
        guard let mailbox = state.mailboxes[id] else { return }
        let request = try number(operation, for: mailbox)
        let scope = consultation.map { Vault.Scope.consultation($0) } ?? mailbox.scope
        var stored = StoredPendingRequest()
        stored.frame = Data(ClientFrame(requests: [request]).encoded())
        stored.message = message ?? 0
        try transaction.put(stored, of: .pending, in: scope)
        let pending = PendingRequest(
            request: request, scope: scope, consultation: consultation, message: message)
        state.mailboxes[id]?.pending = pending
        ask(request)
    }

    /// Gives an operation the mailbox's next number. Nothing else that is stored waits for its
    /// answer then, so all before it are confirmed.
    mutating func number(
        _ operation: RelayProtocol.Operation, for mailbox: MailboxState
    ) throws -> Request {
        let last = mailbox.record.lastRequest
        try modifyMailbox(mailbox.id) { $0.record.lastRequest = last + 1 }
        return Request(
            mailbox: mailbox.id, id: RequestID(rawValue: last + 1),
            confirmed: RequestID(rawValue: last), operation: operation)
    }

    /// Ends the request that is under way.
    mutating func finishPending(of id: MailboxID) throws {
        guard let pending = state.mailboxes[id]?.pending else { return }
        try transaction.remove(at: 0, of: .pending, in: pending.scope)
        state.mailboxes[id]?.pending = nil
        state.mailboxes[id]?.pausedUntil = 0
        state.mailboxes[id]?.delay = nil
    }

    mutating func receive(_ reply: Reply) throws {
        if reply.id == .opening { return try receiveOpening(reply.outcome, of: reply.mailbox) }
        if let transfer = state.transfers.take(reply.id, of: reply.mailbox, at: now) {
            return try receive(reply.outcome, to: transfer, of: reply.mailbox)
        }
        guard let pending = state.mailboxes[reply.mailbox]?.pending,
            pending.request.id == reply.id
        else { return }
        if case .refused(let refusal, let seconds) = reply.outcome, seconds > 0 {
            return try wait(pending, refusal, seconds: seconds)
        }
        try finishPending(of: reply.mailbox)
        switch pending.request.operation {
        case .drawTickets: try receiveTickets(reply.outcome)
        case .stockShelf(let stock): try receiveShelf(reply.outcome, for: stock)
        case .retire: try retired(reply.mailbox, reply.outcome)
        case .confirm(let group): try receiveConfirmation(reply.outcome, group, reply.mailbox)
        case .close(let request) where pending.consultation == nil:
            try receiveClosing(reply.outcome, of: request.groupID, reply.mailbox)
        default:
            guard let number = pending.consultation else { return }
            try receive(reply.outcome, to: pending, for: number)
        }
    }

    /// The relay isn't ready for it: the same request later, except what can do without.
    private mutating func wait(
        _ pending: PendingRequest, _ refusal: Refusal, seconds: UInt32
    ) throws {
        let id = pending.request.mailbox
        let time = now + UInt64(seconds) * 1_000
        if case .drawTickets = pending.request.operation {
            // The next request tells the relay that this one is given up.
            state.drawingPausedUntil = time
            try finishPending(of: id)
            return wake(at: time)
        }
        if case .claimKeyPackage = pending.request.operation, seconds > 60,
            let number = pending.consultation
        {
            try finishPending(of: id)
            if state.consultations[number]?.record.phase == .reopening {
                return tryLater(number, pause: UInt64(seconds) * 1_000)
            }
            return try fail(number, .refused, refusal: refusal)
        }
        state.mailboxes[id]?.pausedUntil = time
        wake(at: time)
        // Said once, and not what nobody notices.
        guard seconds >= Self.noticedSeconds, state.mailboxes[id]?.delay != refusal,
            let consultation = pending.consultation.flatMap({ state.consultations[$0] })
        else { return }
        state.mailboxes[id]?.delay = refusal
        emit(.trouble(consultation.id, .delayed(refusal, seconds: seconds)))
    }

    private static let noticedSeconds: UInt32 = 5

    private mutating func receive(
        _ outcome: Outcome, to pending: PendingRequest, for number: Vault.ConsultationNumber
    ) throws {
        if case .erased(let receipts) = outcome {
            return try receive(receipts, of: pending.request.mailbox, inPlaceOf: number)
        }
        switch pending.request.operation {
        case .claimKeyPackage: try receiveKeyPackage(outcome, for: number)
        case .createGroup: try receiveCreation(outcome, for: number)
        case .commit: try receiveCommitAnswer(outcome, for: number)
        case .inspectGroup: try receiveInspection(outcome, for: number)
        case .send, .close: try receiveSendAnswer(outcome, to: pending, for: number)
        default: break
        }
    }

    /// The relay answers with receipts where something else was asked.
    mutating func receive(
        _ receipts: [[UInt8]], of id: MailboxID, inPlaceOf number: Vault.ConsultationNumber
    ) throws {
        for receipt in receipts { try receiveReceipt(receipt, of: id) }
        // Not of this group, if it is still here.
        guard state.consultations[number]?.record.phase != .reopening else {
            return tryLater(number)
        }
        try reopen(number, because: .lost, otherwise: .removed)
    }
}
