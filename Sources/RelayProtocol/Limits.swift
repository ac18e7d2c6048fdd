/// Numbers that `protocol/relay.md` fixes; another value is another protocol.
public enum ProtocolConstants {
    /// The version in `Hello` and `Challenge`.
    public static let version: UInt32 = 1
    /// The WebSocket subprotocol.
    public static let subprotocol = "curtain.v1"
    /// Octets of each side's nonce.
    public static let nonceByteCount = 32
    /// Octets of an incarnation.
    public static let incarnationByteCount = 16
    /// Octets of a commit hash and of a join permit's hash (SHA-256).
    public static let hashByteCount = 32
    /// How far a request's id may be above the highest confirmed one.
    public static let requestWindow: UInt64 = 256
    /// Fields of one frame, those of the messages within it counted too.
    public static let frameFields = 16_384
    /// Days for which a receipt is kept after an erasure.
    public static let receiptDays: UInt32 = 400
    /// Receipts of one mailbox that are told at once, the newest ones.
    public static let receiptsTold = 256
    /// Days between closing and erasure when not all owners confirm.
    public static let closingDays: UInt32 = 30
    /// Members of a group at one time, whatever the operator's limits say.
    public static let groupMembers = 32
}

/// What the relay tells of its limits in the challenge.
public struct PublishedLimits: Equatable, Sendable {
    /// Octets of one frame from the device.
    public var frameByteCount: UInt32
    /// Octets of one content.
    public var messageByteCount: UInt32
    /// Requests of one mailbox without an answer yet.
    public var outstandingRequests: UInt32
    /// One-use KeyPackages on one shelf.
    public var shelfPackages: UInt32
    /// Members of a group.
    public var groupMembers: UInt32
    /// Tickets that one home mailbox draws per day.
    public var ticketsPerDay: UInt32

    /// The relay's defaults.
    public init(
        frameByteCount: UInt32 = 1 << 20, messageByteCount: UInt32 = 256 << 10,
        outstandingRequests: UInt32 = 128, shelfPackages: UInt32 = 100, groupMembers: UInt32 = 16,
        ticketsPerDay: UInt32 = 64
    ) {
        self.frameByteCount = frameByteCount
        self.messageByteCount = messageByteCount
        self.outstandingRequests = outstandingRequests
        self.shelfPackages = shelfPackages
        self.groupMembers = groupMembers
        self.ticketsPerDay = ticketsPerDay
    }

    /// Each as four octets, in the order of `relay.proto`.
    var signedOctets: [UInt8] {
        [
            frameByteCount, messageByteCount, outstandingRequests, shelfPackages, groupMembers,
            ticketsPerDay,
        ].flatMap { UInt64($0).bigEndianOctets.suffix(4) }
    }
}
