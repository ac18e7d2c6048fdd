/// What the relay sends in one WebSocket message.
public struct RelayFrame: Equatable, Sendable {
    /// The relay's first words, and only there.
    public var challenge: Challenge?
    /// Answers to requests.
    public var replies: [Reply]
    /// What came for the opened mailboxes, in order for each.
    public var deliveries: [Delivery]
    /// What no request asked for.
    public var notices: [Notice]

    /// Makes a frame.
    public init(
        challenge: Challenge? = nil, replies: [Reply] = [], deliveries: [Delivery] = [],
        notices: [Notice] = []
    ) {
        self.challenge = challenge
        self.replies = replies
        self.deliveries = deliveries
        self.notices = notices
    }
}

/// The relay's signed introduction of one connection.
public struct Challenge: Equatable, Sendable {
    /// The protocol version that the relay speaks.
    public var version: UInt32
    /// The relay's identity key.
    public var relayKey: [UInt8]
    /// 32 random octets of this connection.
    public var nonce: [UInt8]
    /// 16 octets, new after every restore.
    public var incarnation: [UInt8]
    /// What the relay accepts.
    public var limits: PublishedLimits
    /// Over everything else (`RelayIntroduction`).
    public var signature: [UInt8]

    /// Puts a challenge together; `RelayIntroduction.make` signs one.
    public init(
        version: UInt32, relayKey: [UInt8], nonce: [UInt8], incarnation: [UInt8],
        limits: PublishedLimits, signature: [UInt8]
    ) {
        self.version = version
        self.relayKey = relayKey
        self.nonce = nonce
        self.incarnation = incarnation
        self.limits = limits
        self.signature = signature
    }
}

/// The answer to one request.
public struct Reply: Equatable, Sendable {
    /// Who asked.
    public var mailbox: MailboxID
    /// Under which number.
    public var id: RequestID
    /// What became of it.
    public var outcome: Outcome

    /// Makes a reply.
    public init(mailbox: MailboxID, id: RequestID, outcome: Outcome) {
        self.mailbox = mailbox
        self.id = id
        self.outcome = outcome
    }
}

/// What became of a request. Everything but `.refused` is durable at the relay.
public enum Outcome: Equatable, Sendable {
    /// The mailbox is open on this connection.
    case opened(Opened)
    /// Carried out.
    case done
    /// The tickets drawn.
    case tickets([[UInt8]])
    /// The shelf after stocking.
    case shelf(ShelfState)
    /// The KeyPackage claimed.
    case keyPackage(sealed: [UInt8], lastResort: Bool)
    /// The commit won; the epoch that it began, and its hash.
    case committed(epoch: UInt64, commitHash: [UInt8])
    /// Another epoch is current; its number and the hash of the commit that began it.
    case staleEpoch(epoch: UInt64, commitHash: [UInt8])
    /// The group as the relay has it.
    case groupState(GroupState)
    /// What the relay has of a blob.
    case blobState(BlobState)
    /// A piece of a blob.
    case piece([UInt8])
    /// The mailbox, or the confirmed group, was erased: encoded `ErasureReceipt`s, oldest first.
    case erased(receipts: [[UInt8]])
    /// Not done. With `retryAfterSeconds` above 0 the id stays free for the same request.
    case refused(Refusal, retryAfterSeconds: UInt32)
    /// Not opened: the counter isn't above the relay's last. The vault is a copy or an old backup.
    case refusedCounter(last: UInt64)
}

/// The answer to an opening.
public struct Opened: Equatable, Sendable {
    /// The opening counter before this opening; 0 for a new mailbox.
    public var lastCounter: UInt64
    /// Home mailboxes only.
    public var shelf: ShelfState?
    /// The highest request id answered so far.
    public var lastRequest: RequestID
    /// How many deliveries are stored for it.
    public var waiting: UInt32

    /// Makes an answer.
    public init(
        lastCounter: UInt64, shelf: ShelfState? = nil, lastRequest: RequestID, waiting: UInt32 = 0
    ) {
        self.lastCounter = lastCounter
        self.shelf = shelf
        self.lastRequest = lastRequest
        self.waiting = waiting
    }
}

/// What lies on a shelf.
public struct ShelfState: Equatable, Sendable {
    /// One-use KeyPackages left.
    public var packages: UInt32
    /// How often the last-resort one was given since it was stocked.
    public var lastResortClaims: UInt32

    /// Makes a count.
    public init(packages: UInt32, lastResortClaims: UInt32) {
        self.packages = packages
        self.lastResortClaims = lastResortClaims
    }
}

/// A group as the relay has it.
public struct GroupState: Equatable, Sendable {
    /// The current epoch.
    public var epoch: UInt64
    /// SHA-256 of the commit that began it.
    public var commitHash: [UInt8]
    /// Whether nobody writes any more.
    public var closed: Bool
    /// When the group is erased at the latest.
    public var deadline: Day
    /// The members, without permits.
    public var members: [Member]
    /// How many of the group's messages the asker hasn't acknowledged: commits may be among them.
    public var waiting: UInt32

    /// Makes a state.
    public init(
        epoch: UInt64, commitHash: [UInt8], closed: Bool, deadline: Day, members: [Member],
        waiting: UInt32
    ) {
        self.epoch = epoch
        self.commitHash = commitHash
        self.closed = closed
        self.deadline = deadline
        self.members = members
        self.waiting = waiting
    }
}

/// Something for a mailbox; comes again until it is acknowledged.
public struct Delivery: Equatable, Sendable {
    /// For whom.
    public var mailbox: MailboxID
    /// For acknowledging and for deduplication.
    public var id: DeliveryID
    /// What it is.
    public var kind: DeliveryKind
    /// Which group it belongs to; absent for receipts.
    public var groupID: GroupID?
    /// MLSMessage, or an encoded `ErasureReceipt`.
    public var content: [UInt8]

    /// Makes a delivery.
    public init(
        mailbox: MailboxID, id: DeliveryID, kind: DeliveryKind, groupID: GroupID?, content: [UInt8]
    ) {
        self.mailbox = mailbox
        self.id = id
        self.kind = kind
        self.groupID = groupID
        self.content = content
    }
}

/// What a delivery holds. Kinds that this version doesn't know are stored and acknowledged.
public struct DeliveryKind: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt8
    /// Takes a number.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// An MLS Welcome.
    public static let welcome = DeliveryKind(rawValue: 1)
    /// A commit, the recipient's own included.
    public static let commit = DeliveryKind(rawValue: 2)
    /// An application message or a proposal.
    public static let message = DeliveryKind(rawValue: 3)
    /// The last message of a group.
    public static let closing = DeliveryKind(rawValue: 4)
    /// An erasure receipt.
    public static let receipt = DeliveryKind(rawValue: 5)
}

/// Something about the connection that no request asked for.
public enum Notice: Equatable, Sendable {
    /// The mailbox was opened on a newer connection.
    case displaced(MailboxID)
    /// The relay closes the connection, in words for a log.
    case goodbye(String)
    /// A notice that this version doesn't know.
    case unknown
}
