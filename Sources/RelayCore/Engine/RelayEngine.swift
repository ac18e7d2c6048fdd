public import Cryptography
public import RelayProtocol

/// What a relay is told at its start.
public struct RelayIdentity: Sendable {
    /// Signs challenges and receipts.
    public var identity: SigningKey
    /// Authenticates tickets: 32 octets.
    public var ticketKey: SecretBytes
    /// Hides numbers in delivery ids: 32 octets, new with every incarnation.
    public var deliveryKey: SecretBytes
    /// 16 octets, new after every restore.
    public var incarnation: [UInt8]
    /// Whose admission tokens are taken.
    public var clinicRoot: VerifyingKey
    /// Admission tokens that end at this time or before are refused: after a restore without a
    /// trail nobody knows which were spent. Seconds since 1970-01-01 UTC.
    public var tokenFloor: UInt64

    /// Puts an identity together.
    public init(
        identity: SigningKey, ticketKey: SecretBytes, deliveryKey: SecretBytes,
        incarnation: [UInt8], clinicRoot: VerifyingKey, tokenFloor: UInt64 = 0
    ) {
        self.identity = identity
        self.ticketKey = ticketKey
        self.deliveryKey = deliveryKey
        self.incarnation = incarnation
        self.clinicRoot = clinicRoot
        self.tokenFloor = tokenFloor
    }
}

/// The relay's decisions: frames in, frames out, over a `RelayStore`. It opens no socket and reads
/// no clock.
///
/// Use: `begin`, any number of events, `finish`, all within one transaction of the store; what
/// `finish` returns may leave only after the commit. A call that throws leaves the engine unusable:
/// roll back and make a new one; devices connect again and repeat what wasn't answered.
///
/// What it holds in memory can all be read again from the store, except which connection has which
/// mailbox open.
public final class RelayEngine {
    let store: any RelayStore
    let relay: RelayIdentity
    let names: DeliveryNames
    /// What the operator allows.
    public var limits: RelayLimits
    /// Random octets; tests give a source of their own.
    let random: (Int) -> [UInt8]

    var now = RelayTime(unixSeconds: 0, monotonicMilliseconds: 0)
    /// The later of the wall clock's day, which may be wrong, and the trusted one, which may be long
    /// ago or one that a clock was ahead of. What is counted from it never ends too soon.
    var latestDay: Day { max(now.day, clock.trustedDay) }
    /// While the disk is nearly full, what would grow is refused.
    public var refusesGrowth = false
    /// While there is little room on the disk, no blob grows.
    public var refusesBlobs = false
    /// Octets that the disk has for more messages, and for more of blobs; `nil`: nobody knows.
    public var spare: (messages: Int, blobs: Int)?
    /// While the disk is full, what is left of blobs stays: deleting it needs room in the log.
    public var defersClearing = false
    /// Watches over the wall clock; the next engine goes on with it.
    public internal(set) var clock: ClockGuard

    var connections: [ConnectionID: Connection] = [:]
    var mailboxesByID: [MailboxID: LiveMailbox] = [:]
    var mailboxesByNumber: [MailboxNumber: LiveMailbox] = [:]
    var groupsByID: [GroupID: LiveGroup] = [:]
    var groupsByNumber: [GroupNumber: LiveGroup] = [:]

    var dirtyMailboxes: [LiveMailbox] = []
    var dirtyGroups: [LiveGroup] = []
    var refills: [LiveMailbox] = []
    /// What was handed out and isn't stored.
    var held = HeldQueue()
    /// Mailboxes whose records may be written later, and since when the first one waits.
    var lateMailboxes: [LiveMailbox] = []
    var lateSince: UInt64 = 0
    var talking: [Connection] = []
    var hasErased = false
    var deliveryCount = 0
    /// What happened so far.
    public internal(set) var counters: RelayCounters

    private var nextMessage: UInt64 = 0
    private var messageLimit: UInt64 = 0
    private static let messageReserve: UInt64 = 1 << 16
    /// Mailboxes held in memory, above which those that aren't needed are let go of.
    var cacheLimit = 200_000
    /// How many were needed at the last look. There is no other before half as many have come, or
    /// every batch would look in vain.
    private var neededCount = 0

    /// Takes up a store.
    ///
    /// - Parameter counters: of the engine before this one.
    /// - Throws: `.wrongLength` if a key of `identity` has the wrong size.
    public init(
        store: any RelayStore, identity: RelayIdentity, limits: RelayLimits, clock: ClockGuard,
        counters: RelayCounters = RelayCounters(),
        random: @escaping (Int) -> [UInt8] = Random.bytes
    ) throws(CryptographyError) {
        self.store = store
        relay = identity
        names = try DeliveryNames(key: identity.deliveryKey)
        self.limits = limits
        self.clock = clock
        self.counters = counters
        self.random = random
    }

    /// They point at one another; after a full disk the relay goes on with another engine.
    deinit {
        for group in groupsByNumber.values { (group.mailboxes, group.held) = ([], []) }
        for mailbox in mailboxesByNumber.values {
            (mailbox.connection, mailbox.inFlight, mailbox.unanswered) = (nil, [:], [:])
        }
    }

    /// Why erasure by deadline is paused; `nil` if it isn't.
    public var clockDoubt: ClockGuard.Doubt? { clock.doubt }

    /// When the batch at hand began.
    public var time: RelayTime { now }

    /// How many connections there are.
    public var connectionCount: Int { connections.count }

    // MARK: Batches

    /// Begins a batch.
    public func begin(at time: RelayTime) {
        now = time
        hasErased = false
        deliveryCount = 0
    }

    /// Ends a batch: hands out what waits, writes what changed, and says what to send.
    public func finish() throws(StoreError) -> BatchOutput {
        try storeOverdue()
        for connection in talking where connection.closing != nil {
            try disconnected(connection.id)
        }
        while !refills.isEmpty {
            let batch = refills
            refills.removeAll(keepingCapacity: true)
            for mailbox in batch { try refill(mailbox) }
        }
        writeLate()
        for mailbox in dirtyMailboxes where !mailbox.isErased {
            mailbox.isDirty = false
            try store.updateMailbox(mailbox.number, mailbox.record)
        }
        dirtyMailboxes.removeAll(keepingCapacity: true)
        for group in dirtyGroups where !group.isErased {
            group.isDirty = false
            try store.updateGroup(group.number, group.record)
        }
        dirtyGroups.removeAll(keepingCapacity: true)

        let output = takeOutput()
        if mailboxesByNumber.count > max(cacheLimit, neededCount / 2 * 3) { forgetIdle() }
        return output
    }

    /// What is to be sent. Among few, those who wait for an answer go first. Among many, who is
    /// delivered to: what they acknowledge makes room for what the others send next.
    func takeOutput() -> BatchOutput {
        var output = BatchOutput(hasErased: hasErased, deliveryCount: deliveryCount)
        output.connections.reserveCapacity(talking.count)
        let answersGoFirst = talking.count <= 4
        _ = talking.partition { $0.frame.replies.isEmpty == answersGoFirst }
        for connection in talking {
            connection.hasOutput = false
            connection.repeatedByteCount = 0
            output.connections.append(
                ConnectionOutput(
                    connection: connection.id, frame: connection.frame,
                    closing: connection.closing, hasMailbox: !connection.mailboxes.isEmpty))
            connection.frame = RelayFrame()
        }
        talking.removeAll(keepingCapacity: true)
        counters.delivered += UInt64(deliveryCount)
        return output
    }

    // MARK: Connections

    /// A connection was made.
    public func connected(_ id: ConnectionID) {
        connections[id] = Connection(
            id: id, since: now.monotonicMilliseconds, limits: limits)
    }

    /// A connection is gone; what it hadn't acknowledged comes again on the next one.
    public func disconnected(_ id: ConnectionID) throws(StoreError) {
        guard let connection = connections.removeValue(forKey: id) else { return }
        for mailbox in connection.mailboxes.values where mailbox.connection === connection {
            try detach(mailbox)
        }
        connection.removeAll()
        connection.phase = .ending
    }

    /// Ends what a mailbox has to do with its connection.
    func detach(_ mailbox: LiveMailbox) throws(StoreError) {
        try storeHeld(for: mailbox)
        if mailbox.isLate { markDirty(mailbox) }
        let connection = mailbox.connection
        mailbox.detach()
        if let connection { wakeStarved(on: connection) }
    }

    /// A frame came.
    public func received(_ frame: ClientFrame, from id: ConnectionID) throws(StoreError) {
        guard let connection = connections[id] else { return }
        switch connection.phase {
        case .ending: return
        case .greeting:
            guard let hello = frame.hello, frame.requests.isEmpty, frame.acknowledgements.isEmpty
            else { return end(connection, .violation, "the first frame must be a greeting alone") }
            greet(connection, hello)
        case .challenged(let proof):
            guard frame.hello == nil else {
                return end(connection, .violation, "a second greeting")
            }
            for acknowledgement in frame.acknowledgements {
                try acknowledge(acknowledgement, on: connection)
            }
            for request in frame.requests {
                try answer(request, on: connection, proof)
                if case .ending = connection.phase { return }
            }
        }
    }

    /// A frame came that is none.
    public func receivedGarbage(from id: ConnectionID) {
        guard let connection = connections[id] else { return }
        end(connection, .violation, "not a frame of this protocol")
    }

    /// Tells every device that the relay stops.
    public func sayGoodbye() throws(StoreError) {
        try storeAllHeld()
        for connection in connections.values { end(connection, .goingAway, "the relay stops") }
    }

    private func greet(_ connection: Connection, _ hello: Hello) {
        guard hello.version == ProtocolConstants.version else {
            return end(connection, .violation, "this relay speaks version 1")
        }
        let nonce = random(ProtocolConstants.nonceByteCount)
        guard
            let challenge = try? RelayIntroduction.make(
                identity: relay.identity, clientNonce: hello.nonce, relayNonce: nonce,
                incarnation: relay.incarnation, limits: limits.published)
        else { return end(connection, .goingAway, "no memory") }
        touch(connection)
        connection.frame.challenge = challenge
        connection.phase = .challenged(
            OpeningProof(
                relayKey: relay.identity.publicKey, clientNonce: hello.nonce, relayNonce: nonce))
    }

    func end(_ connection: Connection, _ closing: ConnectionOutput.Closing, _ words: String) {
        if case .ending = connection.phase { return }
        connection.phase = .ending
        connection.closing = closing
        touch(connection)
        connection.frame.notices.append(.goodbye(words))
    }

    // MARK: Output

    func touch(_ connection: Connection) {
        guard !connection.hasOutput else { return }
        connection.hasOutput = true
        talking.append(connection)
    }

    func reply(_ connection: Connection, to request: Request, _ outcome: Outcome) {
        reply(connection, to: request.mailbox, request.id, outcome)
    }

    func reply(
        _ connection: Connection, to mailbox: MailboxID, _ id: RequestID, _ outcome: Outcome
    ) {
        switch outcome {
        case .refused(let refusal, _): counters.refusals[refusal.rawValue, default: 0] += 1
        case .refusedCounter: counters.refusals[Refusal.counter.rawValue, default: 0] += 1
        default: break
        }
        touch(connection)
        connection.frame.replies.append(
            Reply(mailbox: mailbox, id: id, outcome: outcome))
    }

    func notify(_ connection: Connection, _ notice: Notice) {
        touch(connection)
        connection.frame.notices.append(notice)
    }

    // MARK: What is held in memory

    func markDirty(_ mailbox: LiveMailbox) {
        mailbox.isLate = false
        guard !mailbox.isDirty else { return }
        mailbox.isDirty = true
        dirtyMailboxes.append(mailbox)
    }

    func markDirty(_ group: LiveGroup) {
        guard !group.isDirty else { return }
        group.isDirty = true
        dirtyGroups.append(group)
        // What changes the group could change the answer to a message that it took before.
        for case let mailbox? in group.mailboxes where mailbox.isLate { markDirty(mailbox) }
    }

    func mailbox(_ id: MailboxID) throws(StoreError) -> LiveMailbox? {
        if let live = mailboxesByID[id] { return live }
        guard let (number, record) = try store.mailbox(id) else { return nil }
        return hold(LiveMailbox(number: number, record: record, limits: limits))
    }

    func mailbox(_ number: MailboxNumber) throws(StoreError) -> LiveMailbox? {
        if let live = mailboxesByNumber[number] { return live }
        guard let record = try store.mailbox(number) else { return nil }
        return hold(LiveMailbox(number: number, record: record, limits: limits))
    }

    @discardableResult func hold(_ mailbox: LiveMailbox) -> LiveMailbox {
        mailboxesByID[mailbox.record.id] = mailbox
        mailboxesByNumber[mailbox.number] = mailbox
        return mailbox
    }

    func group(_ id: GroupID) throws(StoreError) -> LiveGroup? {
        if let live = groupsByID[id] { return live }
        guard let (number, record) = try store.group(id) else { return nil }
        return try hold(number, record)
    }

    func group(_ number: GroupNumber) throws(StoreError) -> LiveGroup? {
        if let live = groupsByNumber[number] { return live }
        guard let record = try store.group(number) else { return nil }
        return try hold(number, record)
    }

    func hold(_ number: GroupNumber, _ record: GroupRecord) throws(StoreError) -> LiveGroup {
        var mailboxes: [LiveMailbox?] = []
        for member in record.members {
            if let member {
                mailboxes.append(try mailbox(member.mailbox))
            } else {
                mailboxes.append(nil)
            }
        }
        let group = LiveGroup(
            number: number, record: record, mailboxes: mailboxes, limits: limits)
        groupsByID[record.id] = group
        groupsByNumber[number] = group
        return group
    }

    /// Lets go of groups and mailboxes that no connection has open.
    private func forgetIdle() {
        for (number, group) in groupsByNumber
        where group.mailboxes.allSatisfy({ $0?.connection == nil }) {
            groupsByNumber[number] = nil
            groupsByID[group.record.id] = nil
        }
        var needed: Set<MailboxNumber> = []
        for group in groupsByNumber.values {
            for case let mailbox? in group.mailboxes { needed.insert(mailbox.number) }
        }
        for (number, mailbox) in mailboxesByNumber
        where mailbox.connection == nil && !needed.contains(number) {
            mailboxesByNumber[number] = nil
            mailboxesByID[mailbox.record.id] = nil
        }
        neededCount = mailboxesByNumber.count
    }

    /// Whether the next message gets its number without the store.
    var hasNumbers: Bool { nextMessage < messageLimit }

    func nextMessageNumber() throws(StoreError) -> MessageNumber {
        if nextMessage == messageLimit {
            nextMessage = try store.reserveMessageNumbers(Self.messageReserve).rawValue
            messageLimit = nextMessage + Self.messageReserve
        }
        defer { nextMessage += 1 }
        return MessageNumber(rawValue: nextMessage)
    }
}
