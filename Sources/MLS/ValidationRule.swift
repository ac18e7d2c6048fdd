/// The rules of RFC 9420 that a message can break, by the section that states them.
///
/// `protocol/mls-profile.md` lists each with the file that enforces it and the test that breaks it.
public enum ValidationRule: String, Hashable, Sendable, CaseIterable {
    /// §5.1.1: a public key is one of the suite.
    case publicKey
    /// §6.1: the signature on a framed content holds.
    case contentSignature
    /// §6.1: a commit's confirmation tag is right.
    case confirmationTag
    /// §6.1, §12.1.8: this kind of sender may send this content.
    case senderMaySend
    /// §6.2: the membership tag is right.
    case membershipTag
    /// §6.2: application data is never sent as a PublicMessage.
    case applicationIsPrivate
    /// §6.3.1: padding is all zero.
    case padding
    /// §6.3.2: the sender's leaf is not blank.
    case senderIsMember
    /// §7.3: the signature on a leaf holds.
    case leafSignature
    /// §7.3: a leaf supports what the group requires, its suite and its version.
    case leafSupportsGroup
    /// §7.3: credential types are supported by everyone.
    case credentialTypeSupport
    /// §7.3: the time is within the leaf's lifetime.
    case leafLifetime
    /// §7.2: a leaf's lifetime is no longer than the application allows.
    case leafLifetimeLength
    /// §7.3: a leaf's extensions and credential are among its capabilities.
    case leafSupportsItself
    /// §7.3: a leaf's source fits the place where it stands.
    case leafSource
    /// §7.3: a new leaf has a new encryption key.
    case leafKeyIsNew
    /// §7.3: no two members have the same signature key.
    case uniqueSignatureKey
    /// §7.3: no two members have the same encryption key.
    case uniqueEncryptionKey
    /// §7.5: the path has a node for each parent of the filtered direct path.
    case pathLength
    /// §7.6: a path node has a ciphertext for each node of its copath's resolution.
    case pathCiphertextCount
    /// §7.5: a path secret can be decrypted.
    case pathSecret
    /// §7.5: the keys of the path are those that its secrets give.
    case pathKeys
    /// §12.4.2: the path's keys are nowhere in the tree yet.
    case pathKeysAreNew
    /// §7.9.2: the committer's leaf has the right parent hash.
    case leafParentHash
    /// §7.9.2: each parent is parent-hash valid.
    case parentHash
    /// §12.4.3.3: a ratchet tree has leaves and parents in their places and ends in a node.
    case treeShape
    /// §12.4.3.1: the tree has the hash that the group context states.
    case treeHash
    /// §7.1, §12.4.3.1: unmerged leaves are sorted leaves below their parent and its descendants.
    case unmergedLeaves
    /// §12.4.3.1: no key of a parent occurs twice in the tree.
    case uniqueParentKey
    /// §10: the signature on a key package holds.
    case keyPackageSignature
    /// §10.1: a key package has the group's version and suite.
    case keyPackageSuite
    /// §10.1: a key package's init key differs from its leaf key.
    case initKeyDiffers
    /// §13.4: no extension type occurs twice.
    case duplicateExtension
    /// §13.4: an extension of the group is supported by all members.
    case extensionSupport
    /// §12.2: a committer does not update itself by proposal.
    case committerUpdate
    /// §12.2: a committer does not remove itself.
    case committerRemove
    /// §12.2: at most one update or removal of a leaf.
    case oneChangePerLeaf
    /// §12.2: no client is added twice, and none that is a member.
    case duplicateAdd
    /// §12.1.3: only members can be removed.
    case removedIsMember
    /// §12.2: no pre-shared key twice.
    case duplicatePreSharedKey
    /// §12.1.4: a pre-shared key's nonce has the right length.
    case preSharedKeyNonce
    /// §12.1.4: re-init and branch keys are for those operations only.
    case preSharedKeyUsage
    /// §12.2: at most one replacement of the group's extensions.
    case oneGroupContextExtensions
    /// §12.2: a ReInit stands alone.
    case reInitAlone
    /// §12.1.5: a ReInit's version is no older than the group's.
    case reInitVersion
    /// §12.2: an ExternalInit is for external commits.
    case externalInitInside
    /// §12.2: every member supports the type of each proposal.
    case proposalTypeSupport
    /// §13.2: the application knows a proposal's type, or its component.
    case knownProposal
    /// §12.4: no proposal is covered twice.
    case duplicateReference
    /// §12.4: the path is there when it has to be.
    case pathRequired
    /// §12.4.3.2: an external commit has a path and exactly one ExternalInit.
    case externalCommitShape
    /// §12.4.3.2: an external commit has its proposals by value and only the allowed ones.
    case externalCommitProposals
    /// §12.2: who joins by an external commit removes nobody but its own old self.
    case resyncIdentity
    /// §12.4.3.1: a GroupInfo's signature holds.
    case groupInfoSignature
    /// §12.4.3.1: a Welcome's suite is the key package's, throughout.
    case welcomeSuite
    /// §12.4.3.1: the tree has the key package's leaf.
    case welcomeLeaf
    /// §12.4.3.1: a re-init or branch key is the only one of its kind.
    case welcomePreSharedKeys
    /// §11.2, §11.3: the new group continues the old one.
    case continuesGroup
    /// §12.1.8.1: the list of external senders can be read and holds the sender.
    case externalSender
}
