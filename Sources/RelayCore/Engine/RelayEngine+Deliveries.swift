import RelayProtocol

/// Handing out and taking acknowledgements.
extension RelayEngine {
    /// Stores one ciphertext for several members and hands it out to those that are there.
    func fanOut(
        _ kind: DeliveryKind, _ content: [UInt8], in group: LiveGroup, to members: MemberSet
    ) throws(StoreError) {
        guard members != 0 else { return }
        // What is stored now must not come before what was handed out before it.
        try storeHeld(of: group)
        let number = try nextMessageNumber()
        try store.addMessage(
            StoredMessage(number: number, kind: kind, waiting: members, content: content),
            in: group.number)
        for case let (index, mailbox?) in group.mailboxes.enumerated() {
            let member = MemberSet(member: index)
            guard members & member != 0 else { continue }
            mailbox.backlog?.add(content.count, in: group.number)
            guard let connection = mailbox.connection else { continue }
            guard !mailbox.isBehind else { continue }
            guard hasRoom(mailbox, connection, content.count) else {
                mailbox.isBehind = true
                wait(mailbox, on: connection)
                continue
            }
            hand(
                StoredMessage(number: number, kind: kind, waiting: members, content: content),
                of: group, member, to: mailbox, on: connection)
        }
    }

    func hasRoom(
        _ mailbox: LiveMailbox, _ connection: Connection, _ byteCount: Int
    ) -> Bool {
        // One is always on its way, however large: on the connection, not to each of its mailboxes.
        guard connection.inFlightByteCount > 0 || !mailbox.inFlight.isEmpty else { return true }
        guard connection.inFlightByteCount + byteCount <= limits.connectionByteCount else {
            return false
        }
        guard !mailbox.inFlight.isEmpty else { return true }
        return mailbox.inFlight.count < limits.windowMessages
            && mailbox.inFlightByteCount + byteCount <= limits.windowByteCount
    }

    func hand(
        _ message: StoredMessage, of group: LiveGroup, _ member: MemberSet,
        to mailbox: LiveMailbox, on connection: Connection, held: HeldMessage? = nil
    ) {
        let byteCount = message.content.count
        mailbox.inFlight[message.number] = LiveMailbox.InFlight(
            group: group, member: member, byteCount: byteCount, isLast: message.waiting == member,
            since: now.monotonicMilliseconds, held: held)
        mailbox.inFlightByteCount += byteCount
        connection.inFlightByteCount += byteCount
        mailbox.cursor = message.number
        deliveryCount += 1
        touch(connection)
        let id = names.id(of: .message(message.number), for: mailbox.number)
        var content = message.content
        if message.isDamaged {
            counters.damagedMessages += 1
            content = Self.unreadable(id, byteCount: byteCount)
        }
        connection.frame.deliveries.append(
            Delivery(
                mailbox: mailbox.record.id, id: id, kind: message.kind, groupID: group.record.id,
                content: content))
    }

    /// What is handed out in place of a message that the disk has damaged: nobody can decrypt it, so
    /// the device shows a gap, or begins the group anew after a commit, and acknowledges it. For
    /// each the same every time, and another for each, for devices skip what they have had before.
    private static func unreadable(_ id: DeliveryID, byteCount: Int) -> [UInt8] {
        (0..<byteCount).map { id.bytes[$0 % id.bytes.count] }
    }

    // MARK: From the store

    func wantRefill(_ mailbox: LiveMailbox) {
        guard !mailbox.wantsRefill else { return }
        mailbox.wantsRefill = true
        refills.append(mailbox)
    }

    /// Hands out what is stored above the cursor, oldest first over all groups, while there is
    /// room.
    func refill(_ mailbox: LiveMailbox) throws(StoreError) {
        mailbox.wantsRefill = false
        guard let connection = mailbox.connection, mailbox.isBehind, !mailbox.isErased else {
            return
        }
        if mailbox.wantsReceipts {
            mailbox.wantsReceipts = false
            try handReceipts(of: mailbox, on: connection)
        }
        let count = limits.windowMessages - mailbox.inFlight.count
        let byteCount = min(
            limits.windowByteCount - mailbox.inFlightByteCount,
            limits.connectionByteCount - connection.inFlightByteCount)
        guard count > 0, byteCount > 0 else { return wait(mailbox, on: connection) }

        var candidates: [(StoredMessage, LiveGroup, MemberSet)] = []
        /// Above this number some group may have more than was read.
        var horizon = UInt64.max
        let backlog = try backlog(of: mailbox)
        let places = mailbox.record.memberships.filter { backlog.count(in: $0) > 0 }
        // What doesn't fit is read for nothing: of many groups a part of each.
        let parts = max(1, places.count)
        for number in places {
            guard let group = try group(number), let position = group.position(of: mailbox),
                group.record.members[position]?.isServed(on: clock.trustedDay) == true
            else { continue }
            let member = MemberSet(member: position)
            let (found, isComplete) = try store.messages(
                in: number, waitingFor: member, after: mailbox.cursor,
                limit: max(1, count / parts), byteCount: max(1, byteCount / parts))
            if !isComplete, let last = found.last {
                horizon = min(horizon, last.number.rawValue)
            }
            candidates += found.map { ($0, group, member) }
        }
        candidates.sort { $0.0.number < $1.0.number }
        mailbox.isBehind = horizon != .max
        for (message, group, member) in candidates {
            guard message.number.rawValue <= horizon,
                hasRoom(mailbox, connection, message.content.count)
            else {
                mailbox.isBehind = true
                break
            }
            hand(message, of: group, member, to: mailbox, on: connection)
        }
        if mailbox.isBehind { wait(mailbox, on: connection) }
    }

    /// Comes back to a mailbox once its connection has room again.
    private func wait(_ mailbox: LiveMailbox, on connection: Connection) {
        guard mailbox.inFlight.isEmpty else { return }  // Its own acknowledgements will do.
        connection.starved.append(mailbox)
    }

    /// Looks after mailboxes that wait for room on a connection, once half of it is free.
    func wakeStarved(on connection: Connection) {
        guard connection.inFlightByteCount <= limits.connectionByteCount / 2 else { return }
        for starved in connection.starved where starved.connection === connection {
            wantRefill(starved)
        }
        connection.starved.removeAll()
    }

    private func handReceipts(
        of mailbox: LiveMailbox, on connection: Connection
    ) throws(StoreError) {
        for receipt in try store.receipts(for: mailbox.record.id) {
            hand(receipt.content, numbered: receipt.number, to: mailbox, on: connection)
        }
    }

    /// Hands out a receipt beside the order of messages.
    func hand(
        _ receipt: [UInt8], numbered number: UInt64, to mailbox: LiveMailbox,
        on connection: Connection
    ) {
        deliveryCount += 1
        touch(connection)
        connection.frame.deliveries.append(
            Delivery(
                mailbox: mailbox.record.id,
                id: names.id(of: .receipt(number), for: mailbox.number), kind: .receipt,
                groupID: nil, content: receipt))
    }

    // MARK: Acknowledgements

    func acknowledge(
        _ acknowledgement: Acknowledgement, on connection: Connection
    ) throws(StoreError) {
        guard let mailbox = connection.mailboxes[acknowledgement.mailbox] else { return }
        var hasRoom = false
        for id in acknowledgement.deliveries {
            let item = names.item(of: id, for: mailbox.number)
            if case .message(let number)? = item, mailbox.inFlight[number] != nil {
                hasRoom = true
            } else if takesNoMore(connection) {
                continue  // It comes again.
            }
            switch item {
            case .message(let number)?: try acknowledge(number, by: mailbox)
            case .receipt(let number)?:
                try store.removeReceipt(number, of: mailbox.record.id)
            case nil: break
            }
        }
        guard hasRoom else { return }
        if mailbox.isBehind, mailbox.inFlight.count <= limits.windowMessages / 2 {
            wantRefill(mailbox)
        }
        wakeStarved(on: connection)
    }

    /// What isn't on its way has to be looked up, and could be sent without end.
    private func takesNoMore(_ connection: Connection) -> Bool {
        connection.acknowledgementBucket.take(
            perSecond: limits.connectionRequestsPerSecond, burst: limits.connectionRequestBurst,
            at: now.monotonicMilliseconds) != nil
    }

    private func acknowledge(
        _ number: MessageNumber, by mailbox: LiveMailbox
    ) throws(StoreError) {
        let group: LiveGroup?
        let byteCount: Int
        if let item = mailbox.inFlight.removeValue(forKey: number) {
            mailbox.inFlightByteCount -= item.byteCount
            mailbox.connection?.inFlightByteCount -= item.byteCount
            mailbox.acknowledgedAfter =
                now.monotonicMilliseconds - min(item.since, now.monotonicMilliseconds)
            guard item.group?.isErased != true else { return }
            if let held = item.held {
                counters.acknowledged += 1
                return acknowledge(held, by: item.member, mailbox)
            }
            try store.acknowledge(
                number, of: item.byteCount, by: item.member, isLast: item.isLast)
            group = item.group
            byteCount = item.byteCount
        } else {
            // Handed out on an earlier connection, and stored by the device since.
            guard let (place, waiting, size) = try store.message(number),
                let found = try self.group(place), let position = found.position(of: mailbox)
            else { return }
            let member = MemberSet(member: position)
            guard waiting & member != 0 else { return }
            try store.acknowledge(number, of: size, by: member, isLast: waiting == member)
            group = found
            byteCount = size
        }
        counters.acknowledged += 1
        guard let group else { return }
        mailbox.backlog?.remove(byteCount, in: group.number)
        if let position = group.position(of: mailbox),
            group.record.members[position]?.state == .removed
        {
            try dropIfServed(position, of: group)
        }
    }

    /// Ends the membership of a removed member whose time in the group was over before: it gets
    /// nothing any more, so it will acknowledge nothing.
    func dropIfExpired(_ position: Int, of group: LiveGroup) throws(StoreError) {
        guard let mailbox = group.mailboxes[position],
            group.record.members[position]?.isServed(on: clock.trustedDay) == false
        else { return }
        try store.clearWaiting(MemberSet(member: position), in: group.number)
        dropInFlight(of: group, from: mailbox)
        try dropIfServed(position, of: group)
    }

    /// Ends the membership of a removed member that has everything it was to get.
    private func dropIfServed(_ position: Int, of group: LiveGroup) throws(StoreError) {
        guard let mailbox = group.mailboxes[position],
            try backlog(of: mailbox).count(in: group.number) == 0
        else { return }
        mailbox.record.memberships.removeAll { $0 == group.number }
        markDirty(mailbox)
        group.record.members[position] = nil
        group.mailboxes[position] = nil
        markDirty(group)
    }

    // MARK: Backlog

    func backlog(of mailbox: LiveMailbox) throws(StoreError) -> Backlog {
        if let backlog = mailbox.backlog { return backlog }
        var sum = Backlog()
        for number in mailbox.record.memberships {
            guard let group = try group(number), let position = group.position(of: mailbox) else {
                continue
            }
            let part = try store.backlog(in: number, of: MemberSet(member: position))
            sum.add(part.byteCount, count: part.count, in: number)
        }
        mailbox.backlog = sum
        return sum
    }

    func waitingCount(of mailbox: LiveMailbox) throws(StoreError) -> Int {
        let receiptCount = try store.receiptCount(for: mailbox.record.id)
        return try backlog(of: mailbox).count + min(receiptCount, ProtocolConstants.receiptsTold)
    }
}
