public import Cryptography
internal import TLSSyntax

/// A change to ask for, in terms of the caller.
public enum ProposalRequest: Sendable {
    /// Add a client.
    case add(KeyPackage)
    /// Renew the own leaf's key, and what else is given.
    case update(leaf: LeafConfiguration?, newSigningKey: SigningKey?)
    /// Remove a member.
    case remove(LeafIndex)
    /// Mix in a pre-shared key.
    case preSharedKey(PreSharedKeySource)
    /// Continue the group under other parameters.
    case reInit(ReInit)
    /// Replace the group's extensions.
    case groupContextExtensions([Extension])
    /// Tell the application something.
    case application(ApplicationProposal)
    /// Leave, without waiting for somebody's consent (MLS extensions draft).
    case selfRemove
}

extension Group {
    /// The longest content that is encoded.
    static var maximumContentByteCount: Int { 1 << 28 }

    /// Encrypts application data for the group (RFC 9420 §15).
    ///
    /// The used generation is gone with this call: store the group before the message leaves.
    ///
    /// - Parameters:
    ///   - plaintext: what only members can read.
    ///   - authenticatedData: sent in the clear, authenticated.
    ///   - paddedTo: data shorter than this is padded so that its message is as long as one of
    ///     exactly this many octets.
    ///   - signingKey: the key in the own leaf.
    public mutating func encrypt(
        _ plaintext: [UInt8], authenticatedData: [UInt8] = [], paddedTo: Int = 0,
        signingKey: SigningKey
    ) throws(MLSError) -> EncryptedMessage {
        try requireActive(signingKey)
        guard
            max(plaintext.count, authenticatedData.count, paddedTo)
                <= Self.maximumContentByteCount
        else { throw .misuse(.messageTooLong) }
        let content = FramedContent(
            groupID: groupID, epoch: epoch, sender: .member(ownLeafIndex),
            authenticatedData: authenticatedData, content: .application(plaintext))
        let signature = try content.signature(
            wireFormat: .privateMessage, context: current.contextBytes, key: signingKey,
            algorithms: algorithms)
        let authenticated = AuthenticatedContent(
            wireFormat: .privateMessage, content: content,
            auth: FramedContentAuthData(signature: signature, confirmationTag: nil))
        return try protectPrivately(authenticated, padding: .applicationData(count: paddedTo))
    }

    /// Makes a proposal and keeps it for the next commit (RFC 9420 §12.1).
    ///
    /// - Parameters:
    ///   - request: what to ask for.
    ///   - authenticatedData: sent in the clear, authenticated.
    ///   - signingKey: the key in the own leaf.
    ///   - validator: is asked about a key package to be added.
    ///   - now: the caller's clock, for the lifetime of an added leaf.
    public mutating func propose(
        _ request: ProposalRequest, authenticatedData: [UInt8] = [], signingKey: SigningKey,
        validator: some CredentialValidator, at now: UnixSeconds
    ) throws(MLSError) -> EncryptedMessage {
        try requireActive(signingKey)
        var updateKey: HPKEPrivateKey?
        let proposal: Proposal
        switch request {
        case .add(let keyPackage): proposal = .add(keyPackage)
        case .remove(let leaf): proposal = .remove(leaf)
        case .preSharedKey(let source): proposal = .preSharedKey(newID(source))
        case .reInit(let reInit): proposal = .reInit(reInit)
        case .groupContextExtensions(let list): proposal = .groupContextExtensions(list)
        case .application(let content): proposal = .application(content)
        case .selfRemove:
            guard !proposals.isLeaving(.member(ownLeafIndex)) else {
                throw .misuse(.alreadyLeaving)
            }
            proposal = .selfRemove
        case .update(let leaf, let newSigningKey):
            let key = try newKey()
            proposal = .update(
                try newLeaf(
                    leaf, key: key, source: .update, signingKey: newSigningKey ?? signingKey))
            updateKey = key
        }
        guard
            proposals.hasRoom(
                for: proposal, from: .member(ownLeafIndex), among: policy.proposalsPerSender)
        else { throw .refusedByPolicy }
        guard current.tree.leaves.allSatisfy({ $0.node.capabilities.supports(proposal.type) })
        else { throw .invalid(.proposalTypeSupport) }
        try validate(
            proposal, from: .member(ownLeafIndex),
            checks(extensions: extensions, validator: validator, now: now, isSending: true))
        let authenticated = try signed(
            .proposal(proposal), authenticatedData: authenticatedData, signingKey: signingKey,
            format: proposal == .selfRemove ? policy.selfRemoveFormat : policy.handshakeFormat)
        let message = try send(authenticated)
        keep(
            PendingProposal(
                reference: authenticated.proposalReference(algorithms),
                sender: .member(ownLeafIndex), proposal: proposal))
        if let updateKey { updateKeys[updateKey.publicKey] = updateKey }
        prunePastEpochs(at: now)
        return message
    }

    // MARK: Parts

    func newKey() throws(MLSError) -> HPKEPrivateKey {
        do { return try .generate(algorithms) } catch { throw .machine }
    }

    func newID(_ source: PreSharedKeySource) -> PreSharedKeyID {
        PreSharedKeyID(source: source, nonce: Random.bytes(algorithms.hashByteCount))
    }

    /// The own leaf with a new key, as configured or as it was.
    func newLeaf(
        _ configuration: LeafConfiguration?, key: HPKEPrivateKey, source: LeafNodeSource,
        signingKey: SigningKey
    ) throws(MLSError) -> LeafNode {
        guard let old = current.tree[ownLeafIndex] else { throw .inactive }
        return try LeafNode(
            configuration ?? LeafConfiguration(old), encryptionKey: key.publicKey,
            source: source, place: LeafNode.Place(groupID: groupID, leaf: ownLeafIndex),
            signingKey: signingKey, algorithms: algorithms)
    }

    /// Signs a handshake content of the own leaf, in the form that policy says.
    func signed(
        _ content: MessageContent, authenticatedData: [UInt8], signingKey: SigningKey,
        format: WireFormat
    ) throws(MLSError) -> AuthenticatedContent {
        guard authenticatedData.count <= Self.maximumContentByteCount else {
            throw .misuse(.messageTooLong)
        }
        let framed = FramedContent(
            groupID: groupID, epoch: epoch, sender: .member(ownLeafIndex),
            authenticatedData: authenticatedData, content: content)
        let signature = try framed.signature(
            wireFormat: format, context: current.contextBytes, key: signingKey,
            algorithms: algorithms)
        return AuthenticatedContent(
            wireFormat: format, content: framed,
            auth: FramedContentAuthData(signature: signature, confirmationTag: nil))
    }

    /// Frames a signed handshake content in the form it was signed for.
    mutating func send(_ content: AuthenticatedContent) throws(MLSError) -> EncryptedMessage {
        switch content.wireFormat {
        case .publicMessage:
            let message = try current.messages.protectPublicly(
                content, membershipKey: current.secrets.membershipKey)
            return EncryptedMessage(
                bytes: MLSMessage.publicMessage(message).encoded(), epoch: epoch,
                sender: ownLeafIndex, generation: nil, contentType: content.content.content.type)
        case .privateMessage:
            return try protectPrivately(
                content, padding: .multiple(of: policy.handshakePaddingBucket))
        default:
            throw .misuse(.wrongMessageKind)
        }
    }

    private mutating func protectPrivately(
        _ content: AuthenticatedContent, padding: MessageEpoch.Padding
    ) throws(MLSError) -> EncryptedMessage {
        let (message, generation, opened) = try current.messages.protect(
            content, from: ownLeafIndex, padding: padding)
        current.messages.secretTree.keep(opened)
        changedKeys.formUnion(opened.changes(in: epoch))
        return EncryptedMessage(
            bytes: MLSMessage.privateMessage(message).encoded(), epoch: epoch,
            sender: ownLeafIndex, generation: generation,
            contentType: content.content.content.type)
    }
}
