import Cryptography
import RelayProtocol

/// Confirming, erasing, and what time brings.
extension RelayEngine {
    func confirm(_ id: GroupID, by mailbox: LiveMailbox) throws(StoreError) -> Outcome {
        guard let group = try group(id), let position = group.position(of: mailbox),
            let member = group.record.members[position], member.role == .owner,
            member.state != .removed, group.record.isClosed
        else { return .refused(.notAllowed, retryAfterSeconds: 0) }
        if member.state == .active {
            group.record.members[position]?.state = .confirmed
            markDirty(group)
            try store.clearWaiting(MemberSet(member: position), in: group.number)
            dropInFlight(of: group, from: mailbox)
        }
        let isLast = group.record.members.allSatisfy {
            $0?.role != .owner || $0?.state == .confirmed
        }
        guard isLast else { return .done }
        let receipt = try erase(group, .confirmed, askedBy: mailbox)
        return .erased(receipts: [receipt])
    }

    /// Looks after what depends on time: connections that prove nothing, deadlines, old receipts.
    ///
    /// - Parameter cursor: where the last look at the groups ended; `nil` to start over.
    /// - Returns: where to go on in a later batch; `nil` when all groups have been looked at.
    public func sweepGroups(from cursor: GroupNumber?) throws(StoreError) -> GroupNumber? {
        guard clock.allowsErasure(at: now) else { return nil }
        let (found, next) = try store.groups(after: cursor, limit: 500)
        let today = now.day
        for (number, stored) in found {
            let isDue = (groupsByNumber[number]?.record ?? stored).deadline <= today
            guard isDue, let group = try group(number), !group.isErased else { continue }
            _ = try erase(group, .deadline, askedBy: nil)
        }
        return next
    }

    /// Forgets receipts and spent tokens whose day is over, and notes that the relay runs.
    public func sweepRecords() throws(StoreError) {
        guard clock.allowsErasure(at: now) else { return }
        try store.prune(before: now.day)
        try store.dropUnfinishedBlobs(
            before: now.day.before(limits.unfinishedBlobDays), empty: now.day.before(1))
        // By a clock that was set back, nobody whose membership has ended is a member again.
        try store.setClockMark(hour: max(try store.clockMark() ?? 0, now.hour))
    }

    /// Deletes some of what is left of blobs that are gone; true if there is more to do.
    public func sweepBlobs() throws(StoreError) -> Bool {
        try defersClearing ? false : store.clearDroppedBlobs(limit: 16)
    }

    /// Ends connections that have had no mailbox open for too long.
    public func sweepConnections() {
        let limit = limits.secondsToOpen * 1_000
        for connection in connections.values
        where connection.mailboxes.isEmpty && now.monotonicMilliseconds > connection.since + limit {
            end(connection, .unproven, "no mailbox was opened in time")
        }
    }

    // MARK: Erasing

    /// Erases a group with its messages and with the mailboxes that serve nothing else, and signs
    /// what was done.
    private func erase(
        _ group: LiveGroup, _ reason: ErasureReceipt.Reason, askedBy asker: LiveMailbox?
    ) throws(StoreError) -> [UInt8] {
        let members = group.mailboxes.compactMap { $0 }
        dropHeld(of: group)
        for mailbox in members {
            dropInFlight(of: group, from: mailbox)
            mailbox.record.memberships.removeAll { $0 == group.number }
            mailbox.backlog = nil
            markDirty(mailbox)
        }
        let dying = members.filter {
            $0.record.memberships.isEmpty && $0.record.permitUses == 0
                && $0.record.kind == .consultation
        }
        group.isErased = true
        groupsByID[group.record.id] = nil
        groupsByNumber[group.number] = nil
        let messageCount = try store.eraseGroup(group.number, group.record.id)
        hasErased = true
        counters.erased += 1

        let signed = try? ErasureReceipt(
            group: group.record.id, erasedAt: now.unixSeconds, reason: reason,
            messageCount: UInt32(clamping: messageCount),
            mailboxCount: UInt8(clamping: dying.count),
            identity: relay.identity)
        guard let receipt = signed?.encoded() else { throw .failed("a receipt can't be signed") }
        let until = latestDay.adding(days: ProtocolConstants.receiptDays)
        for mailbox in members {
            let number = try store.addReceipt(receipt, for: mailbox.record.id, until: until)
            if let connection = mailbox.connection, mailbox !== asker {
                hand(receipt, numbered: number, to: mailbox, on: connection)
            }
        }
        for mailbox in dying { try erase(mailbox) }
        return receipt
    }

    func dropInFlight(of group: LiveGroup, from mailbox: LiveMailbox) {
        for (number, item) in mailbox.inFlight where item.group === group {
            mailbox.inFlight[number] = nil
            mailbox.inFlightByteCount -= item.byteCount
            mailbox.connection?.inFlightByteCount -= item.byteCount
        }
        mailbox.backlog = nil
        if mailbox.isBehind { wantRefill(mailbox) }
        if let connection = mailbox.connection { wakeStarved(on: connection) }
    }
}
