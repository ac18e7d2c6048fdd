import Cryptography
import RelayProtocol

/// Opening and making mailboxes.
extension RelayEngine {
    func open(
        _ id: MailboxID, _ opening: Opening, on connection: Connection, _ proof: OpeningProof
    ) throws(StoreError) -> Outcome {
        let isOwner = proof.isValid(opening, of: id)
        // A wrong signature takes the same way as an unknown mailbox, with a name nobody has. It is
        // drawn in any case, because drawing takes time.
        guard let nobody = MailboxID(random(MailboxID.byteCount)) else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        let lookup = isOwner ? id : nobody
        if let mailbox = try mailbox(lookup) {
            return try open(mailbox, counter: opening.counter, on: connection)
        }
        let receipts = try store.receipts(for: lookup)
        guard receipts.isEmpty else { return .erased(receipts: receipts.map(\.content)) }
        guard isOwner, let creation = opening.creation else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        guard connection.mailboxes.count < limits.connectionMailboxes,
            store.mailboxCount < limits.mailboxes
        else { return .refused(.limit, retryAfterSeconds: Self.secondsWithoutRoom) }
        guard !refusesGrowth else { return .refused(.storage, retryAfterSeconds: 60) }

        let record: MailboxRecord
        switch creation {
        case .home(let token):
            if let refusal = try spend(admissionToken: token) {
                return .refused(refusal, retryAfterSeconds: 0)
            }
            record = MailboxRecord(id: id, kind: .home, counter: opening.counter)
        case .fresh(let ticket, let permitHash, let permitUses):
            guard permitUses <= limits.permitUses else {
                return .refused(.limit, retryAfterSeconds: 0)
            }
            if let refusal = try spend(ticket: ticket) {
                return .refused(refusal, retryAfterSeconds: 0)
            }
            record = MailboxRecord(
                id: id, kind: .consultation, counter: opening.counter, permitHash: permitHash,
                permitUses: permitUses)
        }
        let mailbox = hold(
            LiveMailbox(number: try store.addMailbox(record), record: record, limits: limits))
        attach(mailbox, to: connection)
        return .opened(
            Opened(lastCounter: 0, shelf: try shelfIfHome(mailbox), lastRequest: .opening))
    }

    private func open(
        _ mailbox: LiveMailbox, counter: UInt64, on connection: Connection
    ) throws(StoreError) -> Outcome {
        let last = mailbox.record.counter
        guard counter > last else {
            return .refusedCounter(last: last)
        }
        guard
            mailbox.connection === connection
                || connection.mailboxes.count < limits.connectionMailboxes
        else { return .refused(.limit, retryAfterSeconds: Self.secondsWithoutRoom) }
        mailbox.record.counter = counter
        markDirty(mailbox)
        if let older = mailbox.connection, older !== connection {
            notify(older, .displaced(mailbox.record.id))
            try detach(mailbox)
            older.remove(mailbox.record.id, at: now)
        }
        // Open here already: what is on its way stays so.
        if mailbox.connection == nil { attach(mailbox, to: connection) }
        let waiting = try waitingCount(of: mailbox)
        return .opened(
            Opened(
                lastCounter: last, shelf: try shelfIfHome(mailbox),
                lastRequest: mailbox.record.requests.highest, waiting: UInt32(clamping: waiting)))
    }

    private func attach(_ mailbox: LiveMailbox, to connection: Connection) {
        connection.add(mailbox)
        mailbox.connection = connection
        mailbox.wantsReceipts = true
        mailbox.isBehind = true
        wantRefill(mailbox)
    }

    private func shelfIfHome(_ mailbox: LiveMailbox) throws(StoreError) -> ShelfState? {
        mailbox.record.kind == .home ? try shelfState(of: mailbox) : nil
    }

    private func spend(admissionToken bytes: [UInt8]) throws(StoreError) -> Refusal? {
        let token: AdmissionToken
        do {
            token = try AdmissionToken(decoding: bytes)
            try token.verify(
                clinicRoot: relay.clinicRoot, relayKey: relay.identity.publicKey,
                at: now.unixSeconds)
        } catch {
            return .token
        }
        guard token.expires > relay.tokenFloor else { return .token }
        let hash = Hash.sha256(label: "spent token", token.serial)
        let day = Day(unixSeconds: token.expires).adding(days: Self.spentDays)
        return try store.spend(hash, until: day) ? nil : .token
    }

    private func spend(ticket bytes: [UInt8]) throws(StoreError) -> Refusal? {
        let ticket: Ticket
        do {
            ticket = try Ticket(decoding: bytes)
            try ticket.verify(key: relay.ticketKey, on: now.day)
        } catch {
            return .ticket
        }
        let hash = Hash.sha256(label: "spent ticket", ticket.nonce)
        let day = ticket.expires.adding(days: Self.spentDays)
        return try store.spend(hash, until: day) ? nil : .ticket
    }

    /// Days for which a spent token or ticket is remembered after its end, should the clock be set
    /// back.
    private static let spentDays: UInt32 = 400

    func retire(_ mailbox: LiveMailbox) throws(StoreError) -> Outcome {
        guard mailbox.record.memberships.isEmpty else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        try erase(mailbox)
        return .done
    }

    /// Erases a mailbox that is in no group.
    func erase(_ mailbox: LiveMailbox) throws(StoreError) {
        if let connection = mailbox.connection {
            try detach(mailbox)
            connection.remove(mailbox.record.id, at: now)
        }
        mailbox.isErased = true
        mailboxesByID[mailbox.record.id] = nil
        mailboxesByNumber[mailbox.number] = nil
        try store.eraseMailbox(mailbox.number, mailbox.record.id)
        hasErased = true
    }
}
