internal import Cryptography

/// A message as it is sent.
public struct EncryptedMessage: Sendable {
    /// The MLSMessage.
    public let bytes: [UInt8]
    /// The epoch it belongs to.
    public let epoch: UInt64
    /// The own leaf.
    public let sender: LeafIndex
    /// The generation of the own ratchet that it used up; nil for a PublicMessage.
    public let generation: UInt32?
    /// What it holds.
    public let contentType: ContentType
}

/// What a received message turned out to be.
public enum ReceivedMessage: Sendable {
    /// Application data.
    case application(ApplicationMessage)
    /// A proposal; the group keeps it until a commit ends the epoch.
    case proposal(PendingProposal)
    /// A commit, checked in full and not merged yet.
    case commit(StagedCommit)
    /// What this client sent itself: its keys are gone, so the content stays closed.
    case own(OwnMessage)
}

/// Application data with its origin.
public struct ApplicationMessage: Sendable {
    /// Who sent it, as of its epoch.
    public let sender: Member
    /// The generation of the sender's ratchet; no other message of the epoch has it.
    public let generation: UInt32
    /// Its epoch.
    public let epoch: UInt64
    /// What was authenticated but not encrypted.
    public let authenticatedData: [UInt8]
    /// The data, without padding.
    public let plaintext: [UInt8]
}

/// The echo of an own message, as far as its sender data say; another member could forge those, but
/// not ``messageHash``.
public struct OwnMessage: Hashable, Sendable {
    /// What it holds.
    public let contentType: ContentType
    /// Its epoch.
    public let epoch: UInt64
    /// The generation it used up; nil for a PublicMessage.
    public let generation: UInt32?
    /// SHA-256 of the message; ``PendingCommit/commitHash`` if it is that commit.
    public let messageHash: [UInt8]
}

/// A received commit that passed every check. Merge it, or drop it.
public struct StagedCommit: Sendable {
    /// The group.
    public let groupID: [UInt8]
    /// The epoch that it opens.
    public let epoch: UInt64
    /// SHA-256 of the message.
    public let commitHash: [UInt8]
    /// Who made it: as before the commit, or as joined by it.
    public let committer: Member
    /// Whether the committer joined by it (RFC 9420 §12.4.3.2).
    public let isExternal: Bool
    /// What was authenticated but not encrypted.
    public let authenticatedData: [UInt8]
    /// The members that it adds, at their new places.
    public let added: [Member]
    /// The members that it removes.
    public let removed: [Member]
    /// The members whose leaves it replaces, the committer included, with their new leaves.
    public let updated: [Member]
    /// Whether this client is among the removed.
    public let removesSelf: Bool
    /// The group's new extensions, if they are replaced.
    public let groupContextExtensions: [Extension]?
    /// What the application's proposals say, in the commit's order.
    public let applicationProposals: [CommittedApplicationProposal]
    /// The parameters under which the group is to be continued, if it ends the group.
    public let reInit: ReInit?
    /// The new epoch's authenticator; empty if this client is removed.
    public let epochAuthenticator: [UInt8]

    /// Whether it used up a key of its sender's handshake ratchet.
    let isEncrypted: Bool
    /// The confirmation tag of the epoch that it ends.
    let base: [UInt8]
    let next: EpochState?
}
