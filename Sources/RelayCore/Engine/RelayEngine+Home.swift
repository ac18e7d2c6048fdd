import RelayProtocol

/// What home mailboxes do: tickets and the KeyPackage shelf.
extension RelayEngine {
    func drawTickets(_ count: UInt32, for mailbox: LiveMailbox) throws(StoreError) -> Outcome {
        guard mailbox.record.kind == .home else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        guard count > 0 else { return .refused(.malformed, retryAfterSeconds: 0) }
        let today = now.day
        // By the wall clock, which goes on while it is doubted. What was drawn on a day that hasn't
        // come, by a clock that was wrong then, isn't held against today.
        let drawn = mailbox.record.ticketDay == today ? mailbox.record.ticketCount : 0
        let (sum, overflow) = drawn.addingReportingOverflow(count)
        guard count <= limits.published.ticketsPerDay else {
            return .refused(.limit, retryAfterSeconds: 0)
        }
        guard !overflow, sum <= limits.published.ticketsPerDay else {
            return .refused(.limit, retryAfterSeconds: seconds(until: today.adding(days: 1)))
        }
        var tickets: [[UInt8]] = []
        for _ in 0..<count {
            let ticket = try? Ticket(
                nonce: random(Ticket.nonceByteCount),
                expires: today.adding(days: limits.ticketDays),
                key: relay.ticketKey)
            guard let ticket else { throw .failed("no ticket could be made") }
            tickets.append(ticket.encoded())
        }
        mailbox.record.ticketDay = today
        mailbox.record.ticketCount = sum
        markDirty(mailbox)
        return .tickets(tickets)
    }

    /// Seconds until a day begins.
    private func seconds(until day: Day) -> UInt32 {
        UInt32(
            clamping: UInt64(day.rawValue) * 86_400
                - min(now.unixSeconds, UInt64(day.rawValue) * 86_400))
    }

    func stockShelf(_ stock: ShelfStock, of mailbox: LiveMailbox) throws(StoreError) -> Outcome {
        guard mailbox.record.kind == .home else {
            return .refused(.notAllowed, retryAfterSeconds: 0)
        }
        for package in stock.packages + (stock.lastResort.map { [$0] } ?? []) {
            guard !package.isEmpty else { return .refused(.malformed, retryAfterSeconds: 0) }
            guard package.count <= limits.packageByteCount else {
                return .refused(.tooLarge, retryAfterSeconds: 0)
            }
        }
        let present = stock.withdraw ? 0 : try store.shelfCount(mailbox.number)
        guard present + stock.packages.count <= Int(limits.published.shelfPackages) else {
            return .refused(.limit, retryAfterSeconds: 0)
        }
        // Each makes an entry in the audit trail, as replacing a last-resort package does.
        if stock.withdraw || stock.lastResort != nil {
            let wait = mailbox.clearingBucket.take(
                perSecond: limits.shelfClearingsPerHour / 3_600,
                burst: limits.shelfClearingsPerHour, at: now.monotonicMilliseconds)
            if let wait { return .refused(.rate, retryAfterSeconds: wait) }
        }
        if stock.withdraw {
            try store.clearShelf(mailbox.number)
            mailbox.record.lastResortClaims = 0
        }
        for package in stock.packages {
            try store.addToShelf(mailbox.number, package, isLastResort: false)
        }
        if let lastResort = stock.lastResort {
            try store.addToShelf(mailbox.number, lastResort, isLastResort: true)
            mailbox.record.lastResortClaims = 0
        }
        markDirty(mailbox)
        return .shelf(try shelfState(of: mailbox))
    }

    func shelfState(of mailbox: LiveMailbox) throws(StoreError) -> ShelfState {
        ShelfState(
            packages: UInt32(clamping: try store.shelfCount(mailbox.number)),
            lastResortClaims: mailbox.record.lastResortClaims)
    }

    func claim(from shelf: MailboxID, for mailbox: LiveMailbox) throws(StoreError) -> Outcome {
        let claimer = mailbox.claimBucket.take(
            perSecond: limits.claimsPerHour / 3_600, burst: limits.claimsPerHour,
            at: now.monotonicMilliseconds)
        if let claimer { return .refused(.rate, retryAfterSeconds: claimer) }
        guard let target = try self.mailbox(shelf), target.record.kind == .home else {
            return .refused(.shelfEmpty, retryAfterSeconds: 0)
        }
        let wait = target.shelfBucket.take(
            perSecond: limits.shelfClaimsPerHour / 3_600, burst: limits.shelfClaimsPerHour,
            at: now.monotonicMilliseconds)
        if let wait { return .refused(.rate, retryAfterSeconds: wait) }
        if let package = try store.takeFromShelf(target.number) {
            return .keyPackage(sealed: package, lastResort: false)
        }
        guard let package = try store.lastResort(target.number) else {
            return .refused(.shelfEmpty, retryAfterSeconds: 0)
        }
        target.record.lastResortClaims = min(target.record.lastResortClaims, .max - 1) + 1
        markDirty(target)
        return .keyPackage(sealed: package, lastResort: true)
    }
}
