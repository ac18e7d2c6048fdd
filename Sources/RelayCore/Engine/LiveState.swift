import RelayProtocol

/// A connection as the relay's decisions see it.
final class Connection {
    /// How far the handshake is.
    enum Phase {
        /// The device hasn't said hello.
        case greeting
        /// The challenge is out; mailboxes can be opened with this proof.
        case challenged(OpeningProof)
        /// The end has been decided; what still comes is ignored.
        case ending
    }

    let id: ConnectionID
    /// When it came, or lost its last mailbox.
    private(set) var since: UInt64
    var phase = Phase.greeting
    private(set) var mailboxes: [MailboxID: LiveMailbox] = [:]
    /// Openings after which no mailbox was open.
    var failedOpenings = 0
    var bucket: TokenBucket
    var requestBucket: TokenBucket
    /// For pieces of blobs.
    var pieceBucket: TokenBucket
    /// For acknowledgements of what isn't on its way.
    var acknowledgementBucket: TokenBucket
    /// Octets of stored answers that this batch repeats, and of pieces.
    var repeatedByteCount = 0
    /// Octets on their way without acknowledgement.
    var inFlightByteCount = 0
    /// Mailboxes with more to hand out, waiting for room on this connection.
    var starved: [LiveMailbox] = []

    /// What this batch sends.
    var frame = RelayFrame()
    var closing: ConnectionOutput.Closing?
    var hasOutput = false

    init(id: ConnectionID, since: UInt64, limits: RelayLimits) {
        self.id = id
        self.since = since
        bucket = TokenBucket(burst: limits.openingBurst)
        requestBucket = TokenBucket(burst: limits.connectionRequestBurst)
        pieceBucket = TokenBucket(burst: 2 * limits.pieceBurst)
        acknowledgementBucket = TokenBucket(burst: limits.connectionRequestBurst)
    }

    func add(_ mailbox: LiveMailbox) { mailboxes[mailbox.record.id] = mailbox }

    /// Without any mailbox it may be anybody's again, and has to open one in time.
    func remove(_ id: MailboxID, at now: RelayTime) {
        mailboxes[id] = nil
        starved.removeAll { $0.record.id == id }
        if mailboxes.isEmpty { since = now.monotonicMilliseconds }
    }

    func removeAll() { mailboxes = [:] }
}

/// A mailbox held in memory: its record, and what concerns the connection that has it open.
final class LiveMailbox {
    /// Something handed out and not acknowledged yet.
    struct InFlight {
        var group: LiveGroup?
        var member: MemberSet
        var byteCount: Int
        /// Nobody else waits for the message.
        var isLast: Bool
        /// When it was handed out, by the monotonic clock.
        var since: UInt64
        /// It isn't stored.
        var held: HeldMessage?
    }

    let number: MailboxNumber
    var record: MailboxRecord
    var isDirty = false
    /// Whether the record has changes that may be written later.
    var isLate = false
    var isErased = false
    /// Messages that it sent and that are neither accepted nor refused yet.
    var unanswered: [RequestID: HeldMessage] = [:]

    // While open:
    var connection: Connection?
    var inFlight: [MessageNumber: InFlight] = [:]
    var inFlightByteCount = 0
    /// The highest message handed out on this connection.
    var cursor = MessageNumber(rawValue: 0)
    /// Whether receipts that wait for it are still to be handed out.
    var wantsReceipts = false
    /// Whether messages above the cursor may be stored that weren't handed out.
    var isBehind = false
    /// Messages on their way that aren't stored, and their octets.
    var heldCount = 0
    var heldByteCount = 0
    /// Milliseconds that its latest acknowledgement took; `.max` while one is missing for which a
    /// message was held in vain.
    var acknowledgedAfter: UInt64 = 0
    /// From when on messages to it may be held again, by the monotonic clock.
    private(set) var holdsFrom: UInt64 = 0
    /// For how many milliseconds they weren't, the last time.
    private var holdPause: UInt64 = 0
    /// Whether it is listed for a look into the store at the end of the batch.
    var wantsRefill = false

    // Order of requests:
    /// The lowest id that got a refusal for the time being, and that refusal.
    var blocked: (id: RequestID, refusal: Refusal)?
    var requestBucket: TokenBucket
    var claimBucket: TokenBucket
    var shelfBucket: TokenBucket
    var commitBucket: TokenBucket
    var clearingBucket: TokenBucket
    var pieceBucket: TokenBucket

    /// What is stored for it; `nil` until it was asked for.
    var backlog: Backlog?

    init(number: MailboxNumber, record: MailboxRecord, limits: RelayLimits) {
        self.number = number
        self.record = record
        requestBucket = TokenBucket(burst: limits.requestBurst)
        claimBucket = TokenBucket(burst: limits.claimsPerHour)
        shelfBucket = TokenBucket(burst: limits.shelfClaimsPerHour)
        commitBucket = TokenBucket(burst: limits.commitBurst)
        clearingBucket = TokenBucket(burst: limits.shelfClearingsPerHour)
        pieceBucket = TokenBucket(burst: limits.pieceBurst)
    }

    /// Forgets what concerned a connection; whatever wasn't acknowledged comes again. What was held
    /// for it has to be stored before.
    func detach() {
        connection?.inFlightByteCount -= inFlightByteCount
        connection = nil
        inFlight = [:]
        inFlightByteCount = 0
        cursor = MessageNumber(rawValue: 0)
        wantsReceipts = false
        isBehind = false
        blocked = nil
        acknowledgedAfter = 0
        holdsFrom = 0
        holdPause = 0
    }

    /// Nobody acknowledged a message in time that was held for it. One that is sometimes fast and
    /// sometimes not delays others ever less often: for a second nothing is held for it, and if that is
    /// in vain again soon afterwards, for twice as long, up to a minute.
    func noteHeldInVain(at milliseconds: UInt64) {
        acknowledgedAfter = .max
        // Others that were held before the pause began.
        guard milliseconds >= holdsFrom else { return }
        let isSoon = milliseconds < holdsFrom + holdPause
        holdPause = isSoon ? min(2 * holdPause, 60_000) : 1_000
        holdsFrom = milliseconds + holdPause
    }
}

/// What is stored for a mailbox and not acknowledged, counted once and kept in step afterwards.
struct Backlog {
    private(set) var count = 0
    private(set) var byteCount = 0
    private var countByGroup: [GroupNumber: Int] = [:]

    /// How much of it is a group's.
    func count(in group: GroupNumber) -> Int { countByGroup[group] ?? 0 }

    mutating func add(_ byteCount: Int, count: Int = 1, in group: GroupNumber) {
        self.count += count
        self.byteCount += byteCount
        countByGroup[group, default: 0] += count
    }

    /// One message is acknowledged.
    mutating func remove(_ byteCount: Int, in group: GroupNumber) {
        count = max(0, count - 1)
        self.byteCount = max(0, self.byteCount - byteCount)
        let left = count(in: group) - 1
        countByGroup[group] = left > 0 ? left : nil
    }
}

/// A group held in memory, with its members' mailboxes beside the record's members.
final class LiveGroup {
    let number: GroupNumber
    var record: GroupRecord
    var mailboxes: [LiveMailbox?]
    var commitBucket: TokenBucket
    var isDirty = false
    var isErased = false
    /// What was handed out and isn't stored, oldest first.
    var held: [HeldMessage] = []

    init(
        number: GroupNumber, record: GroupRecord, mailboxes: [LiveMailbox?], limits: RelayLimits
    ) {
        commitBucket = TokenBucket(burst: limits.commitBurst)
        self.number = number
        self.record = record
        self.mailboxes = mailboxes
    }

    /// The place of a mailbox among the members.
    func position(of mailbox: LiveMailbox) -> Int? {
        mailboxes.firstIndex { $0 === mailbox }
    }
}

extension MemberSet {
    /// The set with one member in it.
    init(member position: Int) { self = 1 << MemberSet(position) }
}
