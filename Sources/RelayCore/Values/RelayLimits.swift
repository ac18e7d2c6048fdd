public import RelayProtocol

/// What the operator allows. Over each of these the answer is a refusal, never silence.
public struct RelayLimits: Equatable, Sendable {
    /// What the challenge tells.
    public var published = PublishedLimits()
    /// Messages waiting for one mailbox; only messages are refused over it.
    public var mailboxMessages = 10_000
    /// Octets waiting for one mailbox. Commits have more (`commitRoom`), Welcomes and closings always
    /// have room.
    public var mailboxByteCount = 64 << 20
    /// Octets of one commit.
    public var commitByteCount = 128 << 10
    /// Commits per hour of one group, and of one mailbox, on average.
    public var commitsPerHour = 120.0
    /// Commits of one group, and of one mailbox, at once.
    public var commitBurst = 128.0
    /// Deliveries on their way to one mailbox without acknowledgement.
    public var windowMessages = 128
    /// Their octets.
    public var windowByteCount = 4 << 20
    /// Octets on their way to one connection without acknowledgement.
    public var connectionByteCount = 8 << 20
    /// Octets of all connections that were received and wait to be dealt with.
    public var unreadByteCount = 128 << 20
    /// Octets of all connections that wait to be sent because devices read slowly.
    public var unsentByteCount = 256 << 20
    /// How long a message to connected recipients may wait in memory for their acknowledgements
    /// before it is stored; 0: everything is stored at once.
    public var holdMilliseconds: UInt64 = 100
    /// Octets of all messages that wait so.
    public var holdByteCount = 16 << 20
    /// Mailboxes open on one connection.
    public var connectionMailboxes = 1_024
    /// Openings after which a connection that still has no mailbox open is closed.
    public var failedOpenings = 8
    /// Openings per second of one connection, on average; requests of mailboxes that aren't open on
    /// it count as well.
    public var openingsPerSecond = 50.0
    /// Openings of one connection at once.
    public var openingBurst = 1_100.0
    /// Requests per second of one connection, all its mailboxes together, on average.
    public var connectionRequestsPerSecond = 4_000.0
    /// Requests of one connection at once.
    public var connectionRequestBurst = 8_000.0
    /// Requests per second of one mailbox, on average.
    public var requestsPerSecond = 2_000.0
    /// Requests of one mailbox at once.
    public var requestBurst = 4_000.0
    /// Claims from one shelf per hour, on average, and at once.
    public var shelfClaimsPerHour = 120.0
    /// Claims by one mailbox per hour, on average, and at once.
    public var claimsPerHour = 12.0
    /// How often an hour a shelf may be emptied or its last-resort package replaced, on average, and
    /// at once.
    public var shelfClearingsPerHour = 60.0
    /// Mailboxes in all.
    public var mailboxes = 2_000_000
    /// Groups in all.
    public var groups = 500_000
    /// Octets of one blob.
    public var blobByteCount = 32 << 20
    /// Blobs of one group.
    public var groupBlobs = 256
    /// Octets of all blobs of one group.
    public var groupBlobByteCount = 256 << 20
    /// Octets of all blobs.
    public var allBlobByteCount = 64 << 30
    /// Blobs that one mailbox has begun and not finished.
    public var unfinishedBlobs = 4
    /// Days without a piece after which a blob that isn't whole is deleted.
    public var unfinishedBlobDays: UInt32 = 7
    /// Pieces put and read by one mailbox per second, on average.
    public var piecesPerSecond = 200.0
    /// Pieces put and read by one mailbox at once.
    public var pieceBurst = 1_000.0
    /// Octets of one sealed KeyPackage.
    public var packageByteCount = 32 << 10
    /// Uses of one join permit.
    public var permitUses: UInt32 = 16
    /// Days from making a group to its deadline.
    public var groupDays: UInt32 = 400
    /// Days for which a ticket is good.
    public var ticketDays: UInt32 = 60
    /// Seconds that a connection may take to open its first mailbox.
    public var secondsToOpen: UInt64 = 30

    /// The defaults.
    public init() {}
}
