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
        for id in state.mailboxes.keys where state.mailboxes[id]?.link != .gone {
            state.mailboxes[id]?.link = .closed
            state.mailboxes[id]?.pausedUntil = 0
        }
    }

    mutating func receive(_ frame: RelayFrame) throws {
        if let challenge = frame.challenge { try receive(challenge) }
        for reply in frame.replies { try receive(reply) }
        for delivery in frame.deliveries { try receive(delivery) }
        for notice in frame.notices {
            if case .displaced(let mailbox) = notice, mailbox == state.home {
                giveUp(.displaced)
            }
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
        if state.profile.copied, state.profile.withdrawn || state.role != .doctor {
            return giveUp(.copied)
        }
        try open(state.home)
    }

    /// Opens every mailbox that isn't open yet; the home mailbox goes first and alone, because its
    /// counter tells whether this vault is a copy.
    mutating func openMailboxes() throws {
        guard state.openedHome, !state.profile.copied else { return }
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
        try modifyMailbox(id) { mailbox in
            mailbox.link = .open
            mailbox.expected = Int(opened.waiting)
            mailbox.record.exists = true
            mailbox.record.ticket = Data()
            // A vault that fell back must not use the same number for something else.
            mailbox.record.lastRequest = max(
                mailbox.record.lastRequest, opened.lastRequest.rawValue)
        }
        if id == state.home {
            state.openedHome = true
            if !state.profile.registered {
                state.profile.registered = true
                state.profile.admissionToken = Data()
            }
            if let shelf = opened.shelf {
                state.profile.practice.shelfPackages = shelf.packages
                state.profile.practice.lastResortClaims = shelf.lastResortClaims
            }
            try saveProfile()
            if !state.profile.copied { emit(.connection(.connected)) }
            try openMailboxes()
        }
        if let pending = state.mailboxes[id]?.pending, !state.profile.copied {
            ask(pending.request)
        }
    }

    /// This vault is a copy or an old backup (`protocol/relay.md`, "Opening a mailbox"): from now on
    /// nothing is sent, and the shelf is emptied, so that nobody writes to keys that two devices may
    /// hold.
    private mutating func refusedCounter(_ id: MailboxID, last: UInt64) throws {
        guard id == state.home else {
            try lockConsultations(of: id, .copiedVault)
            state.mailboxes[id]?.link = .gone
            return
        }
        if !state.profile.copied {
            state.profile.copied = true
            try saveProfile()
            emit(.copied)
            for number in state.consultations.keys.sorted() { announce(number) }
        }
        // Only so far: a copy is a few openings behind.
        for _ in 0..<4_096 {
            let counter = try transaction.counter(named: KeyName.opening, in: .person) ?? 0
            if counter >= last { break }
            _ = try transaction.raiseCounter(named: KeyName.opening, in: .person)
        }
        let counter = try transaction.counter(named: KeyName.opening, in: .person) ?? 0
        if state.profile.withdrawn || state.role != .doctor || counter < last {
            return giveUp(.copied)
        }
        state.mailboxes[id]?.link = .closed
        try open(id)
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
        if seconds > 0 {
            let time = now + UInt64(seconds) * 1_000
            state.mailboxes[id]?.link = .closed
            state.mailboxes[id]?.pausedUntil = time
            return wake(at: time)
        }
        state.mailboxes[id]?.link = .gone
        for (number, consultation) in state.consultations where consultation.mailbox == id {
            emit(.trouble(consultation.id, .refused(refusal)))
            if consultation.record.phase == .claiming {
                try fail(number, .refused, refusal: refusal)
            } else {
                // A relay that was set back to before this mailbox was made, or forgot it.
                try lock(number, .removed)
            }
        }
    }

    mutating func lockConsultations(of id: MailboxID, _ lock: StoredLock) throws {
        for (number, consultation) in state.consultations where consultation.mailbox == id {
            try self.lock(number, lock)
        }
    }
}
