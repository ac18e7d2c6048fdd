internal import Cryptography

/// What RFC 9420 leaves to the application, as values. It is not part of the stored group.
public struct GroupPolicy: Hashable, Sendable {
    /// How proposals and commits are sent; both forms are read.
    public var handshakeFormat: WireFormat = .privateMessage
    /// How many generations of a sender may be overtaken and still be read (§9.1).
    public var outOfOrderTolerance: UInt32 = 100
    /// How many generations of a sender may be skipped at once (§9.1).
    public var maximumForwardDistance: UInt32 = 1_000
    /// How many past epochs stay readable.
    public var pastEpochCount: Int = 5
    /// For how long a past epoch stays readable, in seconds.
    public var pastEpochSeconds: UInt64 = 7 * 86_400
    /// How many epochs' resumption secrets are kept, the current one included.
    public var resumptionSecretCount: Int = 5
    /// The longest lifetime that a leaf may have, in seconds (§7.2).
    public var maximumLifetimeSeconds: UInt64 = 400 * 86_400
    /// Whether received leaves must be within their lifetime (§7.3, recommended).
    public var checksLifetimeOnReceipt = true
    /// Encrypted proposals and commits are padded to a multiple of this many octets.
    public var handshakePaddingBucket: Int = 256

    /// The longest message that is looked at, in octets: what is decoded before anything of it is
    /// known to be true may take some ten times its length.
    public var maximumMessageByteCount: Int = 1 << 24
    /// The widest tree that is taken up from a Welcome or GroupInfo, in leaves, blank ones included.
    public var maximumLeafCount: Int = 1 << 16
    /// How many of one sender's proposals in an epoch a commit covers, the first that came; that
    /// somebody leaves is covered in any case. Twice as many are kept, since others may have got them
    /// in another order. All members must have the same.
    public var proposalsPerSender: Int = 100
    /// The longest proposal that is kept for a commit, in octets; all members must have the same.
    public var maximumProposalByteCount: Int = 1 << 16

    /// Whether outsiders may join by an external commit (§12.4.3.2). A delivery service could use it
    /// to bring back whoever was locked out, so it is off unless the application wants it.
    public var acceptsExternalCommits = false
    /// Whether outsiders may propose to be added (§12.1.8).
    public var acceptsNewMemberProposals = false
    /// How a SelfRemove is sent. The MLS extensions draft wants it public, so that external joiners
    /// can refer to it; where there are none, private shows the delivery service less.
    public var selfRemoveFormat: WireFormat = .publicMessage

    /// The application's own proposal types (RFC 9420 §13.2). List them in the capabilities too
    /// (``LeafConfiguration``): a proposal goes only to groups in which everyone does.
    public var applicationProposals: [ProposalType: ApplicationProposalRules] = [:]
    /// The components for which an AppEphemeral is known (MLS extensions draft). List the type in the
    /// capabilities too.
    public var ephemeralComponents: Set<ComponentID> = []

    /// The labels for which secrets can be exported from the epochs to come, if not for all: their
    /// secrets alone are kept, and each can be destroyed (``Group/destroyExporter(label:)``).
    public var exporterLabels: Set<String>?

    /// The values above.
    public static let standard = GroupPolicy()

    /// Starts from the standard values.
    public init() {}

    /// Refuses what is too long to be looked at.
    func checkSize(of message: [UInt8], _ ratchetTree: [UInt8]? = nil) throws(MLSError) {
        guard max(message.count, ratchetTree?.count ?? 0) <= maximumMessageByteCount else {
            throw .refusedByPolicy
        }
    }

    var keptProposalsPerSender: Int {
        let (twice, overflow) = proposalsPerSender.multipliedReportingOverflow(by: 2)
        return overflow ? proposalsPerSender : twice
    }

    var window: HashRatchet.Window {
        HashRatchet.Window(outOfOrder: outOfOrderTolerance, forward: maximumForwardDistance)
    }
}
