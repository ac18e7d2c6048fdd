import RelayProtocol

/// Messages that are accepted because all their recipients have them (`protocol/relay.md`,
/// "Accepted"). While they wait for that, they are in memory only.
extension RelayEngine {
    /// When held messages have to be looked at, by the monotonic clock; `nil` if there are none.
    public var nextDeadline: UInt64? { held.deadline }

    /// Messages in memory that aren't stored, and their octets.
    public var heldMessages: (count: Int, byteCount: Int) { (held.count, held.byteCount) }

    // MARK: Holding

    /// Whether a message needn't be stored for now: everyone who is to get it is there, has nothing
    /// stored before it, and acknowledges fast enough. Takes each backlog from memory; one that
    /// isn't known says no.
    ///
    /// Acknowledgements of stored messages tell as well how long they take. So one that is far away,
    /// or waits in a long queue, isn't tried again and again: where the relay has much to do, holding
    /// would only add the way to the recipient and back to what storing takes anyway.
    func canHold(
        _ content: [UInt8], in group: LiveGroup, for members: MemberSet
    ) -> Bool {
        guard limits.holdMilliseconds > 0, members != 0, !refusesGrowth,
            held.byteCount + content.count <= limits.holdByteCount
        else { return false }
        for case let (index, mailbox?) in group.mailboxes.enumerated()
        where members & MemberSet(member: index) != 0 {
            guard let connection = mailbox.connection, !mailbox.isBehind,
                let backlog = mailbox.backlog, backlog.count == 0,
                mailbox.heldCount < limits.mailboxMessages,
                mailbox.heldByteCount + content.count <= limits.mailboxByteCount,
                mailbox.acknowledgedAfter < limits.holdMilliseconds,
                now.monotonicMilliseconds >= mailbox.holdsFrom,
                hasRoom(mailbox, connection, content.count)
            else { return false }
        }
        return true
    }

    /// Hands a message out without storing it; the answer comes later. Only after `canHold`.
    func hold(
        _ content: [UInt8], in group: LiveGroup, for members: MemberSet,
        from sender: LiveMailbox, _ request: RequestID, on connection: Connection
    ) throws(StoreError) {
        let message = HeldMessage(
            number: try nextMessageNumber(), group: group, content: content, waiting: members,
            sender: sender, request: request, connection: connection,
            deadline: now.monotonicMilliseconds + limits.holdMilliseconds)
        held.add(message)
        group.held.append(message)
        sender.unanswered[request] = message
        let stored = StoredMessage(
            number: message.number, kind: .message, waiting: members, content: content)
        for case let (index, mailbox?) in group.mailboxes.enumerated() {
            let member = MemberSet(member: index)
            guard members & member != 0, let connection = mailbox.connection else { continue }
            mailbox.heldCount += 1
            mailbox.heldByteCount += content.count
            hand(stored, of: group, member, to: mailbox, on: connection, held: message)
        }
    }

    /// A recipient has it on its own disk.
    func acknowledge(_ message: HeldMessage, by member: MemberSet, _ mailbox: LiveMailbox) {
        guard message.waiting & member != 0 else { return }
        message.waiting &= ~member
        mailbox.heldCount -= 1
        mailbox.heldByteCount -= message.content.count
        guard message.waiting == 0 else { return }
        message.group.held.removeAll { $0 === message }
        acceptDelivered(message)
    }

    // MARK: Settling

    /// Stores what is held of a group: its time is up, or something has to be stored behind it.
    func storeHeld(of group: LiveGroup) throws(StoreError) {
        guard !group.held.isEmpty else { return }
        let messages = group.held
        group.held = []
        for message in messages { try store(message) }
    }

    /// Stores every held message, before the relay stops.
    func storeAllHeld() throws(StoreError) {
        while let message = held.first() { try storeHeld(of: message.group) }
    }

    /// Stores the groups of messages whose time is up.
    func storeOverdue() throws(StoreError) {
        while let message = held.first(), message.deadline <= now.monotonicMilliseconds {
            for case let (index, mailbox?) in message.group.mailboxes.enumerated()
            where message.waiting & MemberSet(member: index) != 0 {
                mailbox.noteHeldInVain(at: now.monotonicMilliseconds)
            }
            try storeHeld(of: message.group)
        }
    }

    /// Stores what a mailbox was handed without storing, before its connection is forgotten.
    func storeHeld(for mailbox: LiveMailbox) throws(StoreError) {
        while mailbox.heldCount > 0 {
            // The dictionary has no order; the same history is to be stored in the same way.
            let groups = mailbox.inFlight.values.compactMap { $0.held?.group }
            guard let group = groups.min(by: { $0.number < $1.number }) else { return }
            try storeHeld(of: group)
        }
    }

    private func store(_ message: HeldMessage) throws(StoreError) {
        let group = message.group
        var waiting = message.waiting
        for case let (index, mailbox?) in group.mailboxes.enumerated() {
            let member = MemberSet(member: index)
            guard message.waiting & member != 0 else { continue }
            mailbox.heldCount -= 1
            mailbox.heldByteCount -= message.content.count
            if group.record.members[index]?.isServed(on: clock.trustedDay) != true {
                // Its time in the group ended meanwhile: it isn't to get it any more.
                waiting &= ~member
                forget(message.number, inFlightTo: mailbox)
            }
        }
        guard waiting != 0 else { return acceptDelivered(message) }
        try store.addMessage(
            StoredMessage(
                number: message.number, kind: .message, waiting: waiting,
                content: message.content),
            in: group.number)
        for case let (index, mailbox?) in group.mailboxes.enumerated() {
            let member = MemberSet(member: index)
            guard waiting & member != 0 else { continue }
            mailbox.inFlight[message.number]?.held = nil
            mailbox.inFlight[message.number]?.isLast = waiting == member
            mailbox.backlog?.add(message.content.count, in: group.number)
        }
        counters.acceptedStored += 1
        settle(message, .done)
        markDirty(message.sender)
    }

    /// Everyone has it: nothing is left to be stored but the answer, and that later.
    private func acceptDelivered(_ message: HeldMessage) {
        counters.acceptedDelivered += 1
        settle(message, .done)
        markLate(message.sender)
    }

    private func settle(_ message: HeldMessage, _ outcome: Outcome) {
        held.settle(message)
        let sender = message.sender
        sender.unanswered[message.request] = nil
        switch outcome {
        case .refused(let refusal, _):
            sender.record.requests.record(.refused(refusal), for: message.request)
        default:
            sender.record.requests.record(.done, for: message.request)
        }
        guard message.connection.mailboxes[sender.record.id] === sender else { return }
        reply(message.connection, to: sender.record.id, message.request, outcome)
    }

    /// The group is being erased: what is held of it goes without having been stored.
    func dropHeld(of group: LiveGroup) {
        let messages = group.held
        group.held = []
        for message in messages {
            for case let (index, mailbox?) in group.mailboxes.enumerated()
            where message.waiting & MemberSet(member: index) != 0 {
                mailbox.heldCount -= 1
                mailbox.heldByteCount -= message.content.count
                forget(message.number, inFlightTo: mailbox)
            }
            settle(message, .refused(.notAllowed, retryAfterSeconds: 0))
            markDirty(message.sender)
        }
    }

    private func forget(_ number: MessageNumber, inFlightTo mailbox: LiveMailbox) {
        guard let item = mailbox.inFlight.removeValue(forKey: number) else { return }
        mailbox.inFlightByteCount -= item.byteCount
        guard let connection = mailbox.connection else { return }
        connection.inFlightByteCount -= item.byteCount
        wakeStarved(on: connection)
    }

    // MARK: Answers that are stored later

    /// Notes a change of the record that needs no commit of its own: it is written with the next
    /// change of the mailbox or of one of its groups, when its connection ends, and soon anyway.
    func markLate(_ mailbox: LiveMailbox) {
        guard mailbox.connection != nil else { return markDirty(mailbox) }
        guard !mailbox.isDirty, !mailbox.isLate else { return }
        mailbox.isLate = true
        lateMailboxes.append(mailbox)
        if lateMailboxes.count == 1 { lateSince = now.monotonicMilliseconds }
    }

    /// Brings late changes among those that this batch writes, once they have waited long enough.
    func writeLate() {
        guard !lateMailboxes.isEmpty,
            now.monotonicMilliseconds >= lateSince + Self.lateMilliseconds
        else { return }
        for mailbox in lateMailboxes where mailbox.isLate && !mailbox.isErased {
            markDirty(mailbox)
        }
        lateMailboxes.removeAll(keepingCapacity: true)
    }

    private static let lateMilliseconds: UInt64 = 1_000
}
