public import Cryptography

/// What a commit is to do, besides the pending proposals.
public struct CommitContent: Sendable {
    /// Clients to add.
    public var adds: [KeyPackage] = []
    /// Members to remove.
    public var removes: [LeafIndex] = []
    /// The group's new extensions, all of them.
    public var groupContextExtensions: [Extension]?
    /// Pre-shared keys to mix in.
    public var preSharedKeys: [PreSharedKeySource] = []
    /// What the application has to say with this commit.
    public var applicationProposals: [ApplicationProposal] = []
    /// Ends the group; nothing else may be in such a commit.
    public var reInit: ReInit?
    /// What the own leaf is to say from now on; nil leaves it as it is.
    public var leaf: LeafConfiguration?
    /// The key that the own leaf is to have from now on.
    public var newSigningKey: SigningKey?
    /// Whether pending proposals are covered, as far as they go together.
    public var includesPendingProposals = true
    /// Pending proposals that are not to be covered.
    public var excludedProposals: Set<ProposalRef> = []
    /// Whether the own path is renewed also where it needn't be (RFC 9420 §12.4).
    public var forcesPath = true
    /// Whether the Welcome holds the ratchet tree.
    public var welcomeIncludesTree = true
    /// The Welcome's GroupInfo is padded to a multiple of this many octets; 0 for no padding.
    public var welcomePaddingBucket = 0
    /// Sent in the clear with the commit, authenticated.
    public var authenticatedData: [UInt8] = []

    /// What resumption secrets are for, when the commit starts a group that continues another.
    var resumptionUsage: ResumptionUsage = .application

    /// A commit of the pending proposals with a new path.
    public init() {}
}

/// An own commit that waits for the delivery service's word.
///
/// Keep it, serialized, until its fate is known: merge it when it was taken, drop it when another
/// commit was.
public struct PendingCommit: Sendable {
    /// The MLSMessage to send.
    public let message: [UInt8]
    /// SHA-256 of `message`.
    public let commitHash: [UInt8]
    /// The MLSMessage with the Welcome for all added clients.
    public let welcome: [UInt8]?
    /// The group.
    public let groupID: [UInt8]
    /// The epoch that it was made in and that it ends.
    public let epoch: UInt64
    /// The generation of the own handshake ratchet that it used up; nil for a PublicMessage.
    public let generation: UInt32?
    /// The members that it adds, at their new places.
    public let added: [Member]
    /// The members that it removes.
    public let removed: [Member]
    /// What the application's proposals say, in the commit's order.
    public let applicationProposals: [CommittedApplicationProposal]
    /// The parameters under which the group is to be continued, if it ends the group.
    public let reInit: ReInit?

    /// The confirmation tag of the epoch that it ends: no other epoch has it, even of the same number.
    let base: [UInt8]
    let next: EpochState

    /// The new epoch's ratchet tree, for a Welcome without it (RFC 9420 §12.4.3.3).
    public var ratchetTree: [UInt8] { next.tree.encoded() }

    /// The new epoch's authenticator (RFC 9420 §8.7).
    public var epochAuthenticator: [UInt8] {
        next.secrets.epochAuthenticator.bytes.exposedCopy()
    }
}
