internal import Cryptography
internal import TLSSyntax

/// Everything a member knows in an epoch.
struct EpochState: Sendable {
    let context: GroupContext
    var messages: MessageEpoch
    var secrets: EpochSecrets
    private(set) var privateKeys: TreePrivateKeys
    let confirmationTag: [UInt8]
    let interimTranscriptHash: [UInt8]
    let ownLeaf: LeafIndex

    var algorithms: CipherAlgorithms { messages.algorithms }
    var tree: RatchetTree { messages.tree }
    /// The encoded context.
    var contextBytes: [UInt8] { messages.context }

    /// Starts the epoch that an epoch secret opens (RFC 9420 §8).
    ///
    /// - Parameter tag: the confirmation tag that came with it; nil when it is ours to make.
    init(
        context: GroupContext, epochSecret: EpochSecret, tree: RatchetTree,
        privateKeys: TreePrivateKeys, ownLeaf: LeafIndex, policy: GroupPolicy,
        confirmationTag tag: [UInt8]?
    ) throws(MLSError) {
        let algorithms = tree.algorithms
        let (secrets, encryptionSecret) = EpochSecrets.derive(
            from: epochSecret, algorithms: algorithms)
        let expected = secrets.confirmationKey.tag(
            confirmedTranscriptHash: context.confirmedTranscriptHash, algorithms: algorithms)
        if let tag, !ConstantTime.areEqual(tag, expected) {
            throw .invalid(.confirmationTag)
        }
        self.context = context
        self.secrets = secrets
        self.privateKeys = privateKeys
        self.ownLeaf = ownLeaf
        confirmationTag = expected
        interimTranscriptHash = Transcript.interimHash(
            after: context.confirmedTranscriptHash, confirmationTag: expected,
            algorithms: algorithms)
        messages = MessageEpoch(
            groupID: context.groupID, epoch: context.epoch, context: context.encoded(),
            tree: tree, senderDataSecret: secrets.senderDataSecret,
            secretTree: SecretTree(
                encryptionSecret, width: tree.width, algorithms: algorithms))
        applyExporterPolicy(policy)
    }

    init(
        context: GroupContext, messages: MessageEpoch, secrets: EpochSecrets,
        privateKeys: TreePrivateKeys, confirmationTag: [UInt8],
        interimTranscriptHash: [UInt8], ownLeaf: LeafIndex
    ) {
        self.context = context
        self.messages = messages
        self.secrets = secrets
        self.privateKeys = privateKeys
        self.confirmationTag = confirmationTag
        self.interimTranscriptHash = interimTranscriptHash
        self.ownLeaf = ownLeaf
    }
}

extension EpochState {
    /// Drops what only a member has a use for. What a removed client can still want stays: the
    /// epoch authenticator, the resumption secret and the exporter.
    mutating func retire() {
        func none<Purpose>() -> Secret<Purpose> { Secret(SecretBytes(count: 0)) }
        secrets = EpochSecrets(
            senderDataSecret: none(), exporter: secrets.exporter, externalSecret: none(),
            confirmationKey: none(), membershipKey: none(),
            resumptionSecret: secrets.resumptionSecret,
            epochAuthenticator: secrets.epochAuthenticator, initSecret: none())
        privateKeys = TreePrivateKeys(keys: [:])
        messages = MessageEpoch(
            context: context, tree: tree, senderDataSecret: secrets.senderDataSecret,
            treeSecrets: [:], ratchets: [:])
    }
}

/// A past epoch, of which messages still can be read.
struct PastEpoch: Sendable {
    var messages: MessageEpoch
    let endedAt: UnixSeconds
}
