public import Cryptography
internal import TLSSyntax

/// A member's view of an MLS group (RFC 9420).
///
/// A value: copy it, work on the copy, and keep the copy when what it did is stored. Every call that
/// throws leaves it as it was. The signing key is never part of it.
public struct Group: Sendable {
    /// What RFC 9420 leaves to the application. Set it again after loading a stored group.
    public var policy: GroupPolicy

    var current: EpochState
    var past: [PastEpoch]
    var proposals: PendingProposals
    /// Private keys of own Update proposals, by their public keys.
    var updateKeys: [[UInt8]: HPKEPrivateKey]
    /// The resumption secrets of the last epochs, the current one last.
    var resumptionSecrets: [(epoch: UInt64, secret: ResumptionSecret)]
    var status: Status
    var changedKeys: Set<StateKey>

    enum Status: Hashable, Sendable {
        case active
        /// A commit removed this client.
        case removed
        /// A commit ended the group, to be continued under these parameters.
        case reInitialized(ReInit)
    }

    init(_ epoch: EpochState, policy: GroupPolicy) {
        self.policy = policy
        current = epoch
        past = []
        proposals = PendingProposals()
        updateKeys = [:]
        resumptionSecrets = [(epoch.context.epoch, epoch.secrets.resumptionSecret)]
        status = .active
        changedKeys = []
        changedKeys = Set(allKeys)
    }

    /// Creates a group of one (RFC 9420 §11).
    ///
    /// - Parameters:
    ///   - groupID: random octets, 32 of them for instance.
    ///   - suite: what protects the group.
    ///   - leaf: what the own leaf says.
    ///   - signingKey: the key in that leaf.
    ///   - lifetime: of the own leaf, until a commit replaces it.
    ///   - extensions: of the group context.
    ///   - policy: the application's choices for this group.
    public static func create(
        groupID: [UInt8], suite: CipherSuite, leaf: LeafConfiguration, signingKey: SigningKey,
        lifetime: Lifetime, extensions: [Extension] = [], policy: GroupPolicy = .standard
    ) throws(MLSError) -> Group {
        guard let algorithms = CipherAlgorithms(suite) else { throw .unsupportedCipherSuite }
        let key: HPKEPrivateKey
        do { key = try .generate(algorithms) } catch { throw .machine }
        let leafNode = try LeafNode(
            leaf, encryptionKey: key.publicKey, source: .keyPackage(lifetime), place: nil,
            signingKey: signingKey, algorithms: algorithms)
        let checks = try LeafChecks(
            algorithms: algorithms, groupID: groupID, extensions: extensions, policy: policy,
            validator: OwnCredential(), now: lifetime.notBefore, isSending: true)
        try checks.validateCapabilities(of: leafNode)
        try checks.validateExternalSenders()
        var tree = RatchetTree(leafNode, algorithms: algorithms)
        let context = GroupContext(
            cipherSuite: suite, groupID: groupID, epoch: 0, treeHash: tree.treeHash(),
            confirmedTranscriptHash: [], extensions: extensions)
        let own = LeafIndex(rawValue: 0)
        let epoch = try EpochState(
            context: context,
            epochSecret: EpochSecret(.random(count: algorithms.hashByteCount)), tree: tree,
            privateKeys: TreePrivateKeys(leaf: own, key: key), ownLeaf: own, policy: policy,
            confirmationTag: nil)
        return Group(epoch, policy: policy)
    }

    // MARK: What the group is

    /// The group's id.
    public var groupID: [UInt8] { current.context.groupID }

    /// The number of the current epoch.
    public var epoch: UInt64 { current.context.epoch }

    /// The suite that protects the group.
    public var suite: CipherSuite { current.context.cipherSuite }

    /// The extensions of the group context.
    public var extensions: [Extension] { current.context.extensions }

    /// The place of this client.
    public var ownLeafIndex: LeafIndex { current.ownLeaf }

    /// Whether messages can be sent: not after a removal or a ReInit.
    public var isActive: Bool { status == .active }

    /// The parameters to continue under, after a commit of a ReInit (RFC 9420 §11.2).
    public var reInit: ReInit? {
        if case .reInitialized(let reInit) = status { reInit } else { nil }
    }

    /// The members, from the left.
    public var members: [Member] {
        current.tree.leaves.map { Member(index: $0.index, leafNode: $0.node) }
    }

    /// The member at a place, if there is one.
    public func member(at index: LeafIndex) -> Member? {
        current.tree[index].map { Member(index: index, leafNode: $0) }
    }

    /// The proposals that a commit can refer to, in the order they came.
    public var pendingProposals: [PendingProposal] { proposals.all }

    /// The same for all members of this epoch and for nobody else (RFC 9420 §8.7).
    public var epochAuthenticator: [UInt8] {
        current.secrets.epochAuthenticator.bytes.exposedCopy()
    }

    /// The secret by which another group can be tied to this epoch (RFC 9420 §8.6).
    public var resumptionSecret: SecretBytes { current.secrets.resumptionSecret.bytes }

    var algorithms: CipherAlgorithms { current.algorithms }

    func requireActive(_ signingKey: SigningKey? = nil) throws(MLSError) {
        guard isActive else { throw .inactive }
        if let signingKey {
            guard current.tree[current.ownLeaf]?.signatureKey == signingKey.publicKey.bytes
            else { throw .misuse(.wrongSigningKey) }
        }
    }

    func checks(
        extensions: [Extension], validator: any CredentialValidator, now: UnixSeconds,
        isSending: Bool
    ) throws(MLSError) -> LeafChecks {
        try LeafChecks(
            algorithms: algorithms, groupID: groupID, extensions: extensions, policy: policy,
            validator: validator, now: now, isSending: isSending)
    }

    /// The caller's pre-shared keys and this group's own resumption secrets.
    func withOwnResumptionSecrets(_ keys: PreSharedKeys) -> PreSharedKeys {
        var keys = keys
        for (epoch, secret) in resumptionSecrets {
            keys.provide(secret.bytes, groupID: groupID, epoch: epoch)
        }
        return keys
    }
}

private struct OwnCredential: CredentialValidator {
    func accepts(_ subject: CredentialSubject) -> Bool { true }
    func accepts(_ sender: ExternalSender, groupID: [UInt8]) -> Bool { true }
}

/// A member of a group.
public struct Member: Hashable, Sendable {
    /// Its place.
    public let index: LeafIndex
    /// What it says of itself.
    public let leafNode: LeafNode

    /// Who it says it is.
    public var credential: Credential { leafNode.credential }
    /// The key it signs with.
    public var signatureKey: [UInt8] { leafNode.signatureKey }
    /// The extensions of its leaf.
    public var extensions: [Extension] { leafNode.extensions }
}
