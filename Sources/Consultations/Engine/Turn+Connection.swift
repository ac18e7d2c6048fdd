import Credentials
import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault

extension Turn {
    /// Forgets what only the last connection knew.
    mutating func resetConnection() {
        state.session = nil
        state.openedHome = false
        state.transfers = Transfers()
        state.drawingPausedUntil = 0
        state.overtakes = state.profile.registration.recovering
        for id in state.mailboxes.keys where state.mailboxes[id]?.link != .gone {
            state.mailboxes[id]?.link = .closed
            state.mailboxes[id]?.pausedUntil = 0
            state.mailboxes[id]?.isRetained = false
        }
    }

    mutating func receive(_ frame: RelayFrame) throws {
        if let challenge = frame.challenge { try receive(challenge) }
        for reply in frame.replies { try receive(reply) }
        for delivery in frame.deliveries { try receive(delivery) }
        for notice in frame.notices {
            if case .displaced(let mailbox) = notice { try displaced(mailbox) }
        }
    }

    /// A mailbox was opened elsewhere. A copy of this vault opens the home first; whoever has the
    /// keys of another mailbox only is a thief, and the consultations leave it. It is opened again
    /// later, to be closed there, and not at once: two devices don't race each other.
    private mutating func displaced(_ id: MailboxID) throws {
        guard id != state.home else { return giveUp(.displaced) }
        guard state.mailboxes[id]?.link == .open else { return }
        state.mailboxes[id]?.link = .closed
        state.mailboxes[id]?.pausedUntil = now + 60_000
        wake(at: now + 60_000)
        for (number, consultation) in state.consultations where consultation.mailbox == id {
            try reopen(number, because: .olderVault, otherwise: .copiedVault)
        }
    }

    private mutating func receive(_ challenge: Challenge) throws {
        do {
            guard var session = state.session else { throw RelaySession.Failure.unexpected }
            try session.receive(challenge)
            state.session = session
        } catch RelaySession.Failure.untrusted {
            return giveUp(.untrusted)
        } catch {
            return giveUp(.protocolViolation)
        }
        try note(incarnation: challenge.incarnation)
        if state.profile.copied, state.profile.withdrawn || state.role != .doctor {
            return giveUp(.copied)
        }
        try open(state.home)
    }

    /// A relay that was restored takes no ticket of before, and its shelves are empty or of another
    /// day: one-time packages are counted when the home is opened, the last resort is made anew.
    /// Its groups are compared before anything is sent to them.
    private mutating func note(incarnation: [UInt8]) throws {
        for (id, mailbox) in state.mailboxes where !mailbox.record.refusedBy.isEmpty {
            let isRefused = [UInt8](mailbox.record.refusedBy) == incarnation
            state.mailboxes[id]?.link = isRefused ? .gone : .closed
        }
        let known = [UInt8](state.profile.registration.incarnation)
        guard incarnation != known else { return }
        state.profile.registration.incarnation = Data(incarnation)
        try saveProfile()
        guard !known.isEmpty else { return }
        try transaction.removeAll(of: .tickets, in: .person)
        state.tickets = []
        for (id, mailbox) in state.mailboxes where mailbox.record.kind == .lastResort {
            guard var package = mailbox.package, package.stocked else { continue }
            package.notAfter = min(package.notAfter, seconds)
            try transaction.put(package, of: .shelfPackage, in: mailbox.scope)
            state.mailboxes[id]?.package = package
        }
        for id in state.mailboxes.keys {
            try takeBack(of: id)
            try closeAgain(of: id)
        }
    }

    /// A message that was under way goes again when the group has been compared, in its order among
    /// those that the relay had taken and may have lost.
    private mutating func takeBack(of id: MailboxID) throws {
        guard let pending = state.mailboxes[id]?.pending else { return }
        switch pending.request.operation {
        case .send, .close, .confirm:
            try finishPending(of: id)
            guard pending.message == nil, let number = pending.consultation else { return }
            try modify(number) { consultation, _ in consultation.record.traffic.marksDue = true }
        default: return
        }
    }

    /// What was closed and confirmed is closed and confirmed again: a relay that was set back to
    /// before it has forgotten, and the other side would write to nobody.
    private mutating func closeAgain(of id: MailboxID) throws {
        guard let mailbox = state.mailboxes[id] else { return }
        for (groupID, var closing) in mailbox.closings where closing.closeSent {
            closing.closeSent = false
            closing.confirmed = false
            try transaction.put(closing, for: groupID, of: .closings, in: mailbox.scope)
            state.mailboxes[id]?.closings[groupID] = closing
        }
    }

    /// Opens every mailbox that isn't open yet; the home mailbox goes first and alone, because its
    /// counter tells whether this vault is a copy.
    mutating func openMailboxes() throws {
        guard state.openedHome, !state.profile.copied else { return }
        try reopenHomeless()
        for (id, mailbox) in state.mailboxes where mailbox.link == .closed {
            if mailbox.pausedUntil > now {
                wake(at: mailbox.pausedUntil)
            } else {
                try open(id)
            }
        }
    }

    /// Raises the opening counter and asks to open. Without a ticket a new mailbox waits.
    mutating func open(_ id: MailboxID) throws {
        guard let session = state.session, session.limits != nil,
            let mailbox = state.mailboxes[id], mailbox.link == .closed
        else { return }
        guard let creation = try creation(for: mailbox) else { return }
        let counter = try transaction.raiseCounter(named: KeyName.opening, in: mailbox.scope)
        let request = try session.opening(of: mailbox.key, counter: counter, creation: creation.it)
        guard let request else { return }
        state.mailboxes[id]?.link = .opening
        ask(request)
    }

    /// What makes the mailbox, if the relay doesn't have it; `nil` if a ticket is lacking.
    private mutating func creation(
        for mailbox: MailboxState
    ) throws -> (it: Opening.Creation?, Void)? {
        if mailbox.record.exists { return (nil, ()) }
        if mailbox.id == state.home {
            return (.home(admissionToken: [UInt8](state.profile.admissionToken)), ())
        }
        if mailbox.record.ticket.isEmpty {
            guard let ticket = try takeTicket() else { return nil }
            try modifyMailbox(mailbox.id) { $0.record.ticket = Data(ticket) }
        }
        guard let record = state.mailboxes[mailbox.id]?.record else { return nil }
        let permitHash = record.permitHash.isEmpty ? nil : [UInt8](record.permitHash)
        return (
            .fresh(
                ticket: [UInt8](record.ticket), permitHash: permitHash,
                permitUses: record.permitUses), ()
        )
    }

    // MARK: Answers to Open

    mutating func receiveOpening(_ outcome: Outcome, of id: MailboxID) throws {
        guard state.mailboxes[id]?.link == .opening else { return }
        switch outcome {
        case .opened(let opened): try noteOpened(id, opened)
        case .erased(let receipts): try erasedAtRelay(id, receipts)
        case .refusedCounter(let last): try refusedCounter(id, last: last)
        case .refused(let refusal, let seconds): try refusedOpening(id, refusal, seconds)
        default: giveUp(.protocolViolation)
        }
    }

    private mutating func noteOpened(_ id: MailboxID, _ opened: Opened) throws {
        // No device ever gets there; what is left must do for its life.
        guard opened.lastRequest.rawValue <= RequestID.last.rawValue / 2 else {
            return giveUp(.protocolViolation)
        }
        let isBehind = state.mailboxes[id].map { self.isBehind($0, opened) } ?? false
        try modifyMailbox(id) { mailbox in
            mailbox.link = .open
            mailbox.expected = Int(opened.waiting)
            mailbox.record.exists = true
            mailbox.record.refusedBy = Data()
            mailbox.record.ticket = Data()
            // A vault that fell back must not use the same number for something else.
            mailbox.record.lastRequest = max(
                mailbox.record.lastRequest, opened.lastRequest.rawValue)
        }
        if id == state.home {
            state.openedHome = true
            if !state.profile.copied { state.profile.registration.recovering = false }
            if !state.profile.registered {
                state.profile.registered = true
                state.profile.admissionToken = Data()
            }
            if let shelf = opened.shelf {
                state.profile.practice.shelfPackages = shelf.packages
                state.profile.practice.lastResortClaims = shelf.lastResortClaims
            }
            try saveProfile()
        }
        if isBehind { try stop() }
        if id == state.home {
            if !state.profile.copied { emit(.connection(.connected)) }
            try openMailboxes()
        }
        for (number, consultation) in state.consultations where consultation.mailbox == id {
            state.consultations[number]?.inspection = .due(at: now)
            state.consultations[number]?.mismatches = 0
            state.consultations[number]?.retryAt = 0
            for index in consultation.files.indices {
                state.consultations[number]?.files[index].reset()
            }
        }
        if !state.profile.copied {
            if let pending = state.mailboxes[id]?.pending { ask(pending.request) }
        } else if id == state.home {
            // What it asked for as another's copy is in the way of emptying the shelf.
            try finishPending(of: id)
        }
    }

    private mutating func refusedOpening(
        _ id: MailboxID, _ refusal: Refusal, _ seconds: UInt32
    ) throws {
        if id == state.home {
            return giveUp(.rejected(refusal))
        }
        if refusal == .ticket {
            try modifyMailbox(id) { mailbox in
                mailbox.record.ticket = Data()
                mailbox.link = .closed
            }
            return try open(id)
        }
        if seconds > 0, refusal != .limit {
            let time = now + UInt64(seconds) * 1_000
            state.mailboxes[id]?.link = .closed
            state.mailboxes[id]?.pausedUntil = time
            return wake(at: time)
        }
        guard refusal == .notAllowed else { return try postpone(id, refusal, seconds) }
        try lose(id, mayReturn: true)
    }

    /// The relay doesn't have the mailbox any more: what goes on in it goes on elsewhere.
    ///
    /// - Parameter mayReturn: another backup may bring it back.
    mutating func lose(_ id: MailboxID, mayReturn: Bool = false) throws {
        state.mailboxes[id]?.link = .gone
        try loseConsultations(of: id)
        for (groupID, closing) in state.mailboxes[id]?.closings ?? [:] where closing.abandoned {
            try forgetClosing(groupID, of: id)
        }
        if isServing(id) { return }
        if mayReturn, try setAside(id) { return }
        try forget(id)
    }

    /// Consultations whose mailbox isn't in the vault go on elsewhere, as if the relay had lost it.
    private mutating func reopenHomeless() throws {
        for consultation in state.consultations.values
        where state.mailboxes[consultation.mailbox] == nil {
            // Nobody can ask that any more.
            try transaction.remove(at: 0, of: .pending, in: consultation.scope)
            try loseConsultations(of: consultation.mailbox)
        }
    }

    /// The relay doesn't know the mailbox, and has no receipt of what it was for.
    mutating func loseConsultations(of id: MailboxID) throws {
        for (number, consultation) in state.consultations where consultation.mailbox == id {
            switch consultation.record.phase {
            case .claiming, .creating: try fail(number, .refused, refusal: .notAllowed)
            case .arriving: try eraseContent(of: consultation)
            // It never began, and says so.
            case .failed: break
            case .reopening:
                // Its ticket was taken by a relay that has forgotten it: another mailbox.
                try modify(number) { consultation, _ in consultation.record.phase = .active }
                try reopen(number, because: .lost, otherwise: .removed)
            // A relay that was set back to before this mailbox was made, or forgot it.
            default: try reopen(number, because: .lost, otherwise: .removed)
            }
        }
    }

    /// The relay has no room for this mailbox at the moment, or doesn't understand the question.
    private mutating func postpone(
        _ id: MailboxID, _ refusal: Refusal, _ seconds: UInt32
    ) throws {
        for (number, consultation) in state.consultations where consultation.mailbox == id {
            emit(.trouble(consultation.id, .refused(refusal)))
            guard consultation.record.phase == .claiming else { continue }
            state.mailboxes[id]?.link = .gone
            return try fail(number, .refused, refusal: refusal)
        }
        state.mailboxes[id]?.link = .closed
        let time = now + UInt64(seconds > 0 ? seconds : 3_600) * 1_000
        state.mailboxes[id]?.pausedUntil = time
        wake(at: time)
    }
}
