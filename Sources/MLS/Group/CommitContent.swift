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
    /// A pending ReInit that is to be covered. Nobody else's proposal ends the group without this
    /// consent.
    public var acceptedReInit: ProposalRef?
    /// Whether pending proposals are covered, as far as they can be applied.
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

    /// The proposals by value, in the order in which they are sent.
    func parts(
        newID: (PreSharedKeySource) -> PreSharedKeyID
    ) -> [(part: CommitPart, proposal: Proposal)] {
        var parts: [(CommitPart, Proposal)] = []
        if let reInit { parts.append((.reInit, .reInit(reInit))) }
        if let groupContextExtensions {
            parts.append(
                (.groupContextExtensions, .groupContextExtensions(groupContextExtensions)))
        }
        parts += removes.map { (.remove($0), .remove($0)) }
        parts += adds.enumerated().map { (.add($0.offset), .add($0.element)) }
        parts += preSharedKeys.enumerated().map {
            (.preSharedKey($0.offset), .preSharedKey(newID($0.element)))
        }
        parts += applicationProposals.enumerated().map {
            (.applicationProposal($0.offset), .application($0.element))
        }
        return parts
    }
}

/// A part of a ``CommitContent`` that is a proposal; numbers are places in its lists.
public enum CommitPart: Hashable, Sendable {
    /// The ReInit.
    case reInit
    /// The group's new extensions.
    case groupContextExtensions
    /// The removal of this member.
    case remove(LeafIndex)
    /// One of the adds.
    case add(Int)
    /// One of the pre-shared keys.
    case preSharedKey(Int)
    /// One of the application's proposals.
    case applicationProposal(Int)
}

/// A pending proposal that a commit does not cover.
public struct LeftOutProposal: Sendable {
    /// The proposal.
    public let proposal: PendingProposal
    /// Why it can't be applied, or not beside others; `.refusedByPolicy` is a ReInit to which
    /// ``CommitContent/acceptedReInit`` does not consent, or one of too many of its sender.
    public let reason: MLSError
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
    /// The pending proposals that it does not cover, but for those that the caller excluded. Not
    /// stored.
    public let leftOut: [LeftOutProposal]

    /// The confirmation tag of the epoch that it was made in.
    let base: [UInt8]
    let next: EpochState

    /// The new epoch's ratchet tree, for a Welcome without it (RFC 9420 §12.4.3.3).
    public var ratchetTree: [UInt8] { next.tree.encoded() }

    /// The new epoch's authenticator (RFC 9420 §8.7).
    public var epochAuthenticator: [UInt8] {
        next.secrets.epochAuthenticator.bytes.exposedCopy()
    }
}
