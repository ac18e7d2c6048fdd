import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// A group of four whose first member is hostile: it signs and frames whatever it likes.
struct Forgery {
    let clients: [Client]
    var groups: [Group]
    let policy: GroupPolicy
    let server: SigningKey

    /// What the messages are aimed at.
    var victim: Group { groups[1] }
    var algorithms: CipherAlgorithms { groups[0].algorithms }
    var context: GroupContext { groups[0].current.context }
    var tree: RatchetTree { groups[0].current.tree }
    let own = LeafIndex(rawValue: 0)

    /// A group with these extensions, of clients that support these types.
    init(
        extensions: [Extension] = [], supports: [ExtensionType] = [],
        proposals: [ProposalType] = [.selfRemove]
    ) throws {
        var policy = GroupPolicy.standard
        policy.handshakeFormat = .publicMessage
        policy.acceptsExternalCommits = true
        self.policy = policy
        clients = try (0..<4).map {
            try Client("client \($0)", supports: supports, proposals: proposals)
        }
        server = try SigningKey()
        let senders = ExternalSender.groupContextExtension([
            ExternalSender(
                signatureKey: server.publicKey.bytes, credential: .basic(identity: [7]))
        ])
        groups = try Fixture.group(
            of: clients, extensions: [senders] + extensions, policy: policy)
    }

    /// Gives the message to the victim, who must not be changed by what it refuses.
    func deliver(
        _ message: [UInt8], validator: some CredentialValidator = Anyone()
    ) throws {
        var group = victim
        let before = group.serialized()
        do {
            _ = try group.process(message, validator: validator, at: Fixture.now)
        } catch {
            #expect(group.serialized() == before)
            throw error
        }
    }

    /// Signs and frames a content.
    func frame(
        _ content: MessageContent, sender: Sender? = nil, key: SigningKey? = nil,
        authenticatedData: [UInt8] = [], damagingSignature: Bool = false,
        damagingTag: Bool = false, tag: [UInt8]? = nil
    ) throws -> [UInt8] {
        let framed = FramedContent(
            groupID: context.groupID, epoch: context.epoch, sender: sender ?? .member(own),
            authenticatedData: authenticatedData, content: content)
        var signature = try framed.signature(
            wireFormat: .publicMessage, context: groups[0].current.contextBytes,
            key: key ?? clients[0].signingKey, algorithms: algorithms)
        if damagingSignature { signature[9] ^= 1 }
        let zeros = [UInt8](repeating: 0, count: algorithms.hashByteCount)
        let signed = AuthenticatedContent(
            wireFormat: .publicMessage, content: framed,
            auth: FramedContentAuthData(
                signature: signature,
                confirmationTag: content.type == .commit ? tag ?? zeros : nil))
        var membershipTag = signed.membershipTag(
            key: groups[0].current.secrets.membershipKey,
            context: groups[0].current.contextBytes, algorithms: algorithms)
        if damagingTag { membershipTag[3] ^= 1 }
        var isMember = false
        if case .member = framed.sender { isMember = true }
        return MLSMessage.publicMessage(
            PublicMessage(
                content: framed, auth: signed.auth, membershipTag: isMember ? membershipTag : nil)
        ).encoded()
    }

    /// A commit of these proposals by value, without a path.
    func commit(_ proposals: [Proposal], path: UpdatePath? = nil) throws -> [UInt8] {
        try frame(
            .commit(Commit(proposals: proposals.map { .proposal($0) }, path: path)))
    }

    /// What can be wrong with a path.
    struct PathEdits {
        var keys: ([[UInt8]]) -> [[UInt8]] = { $0 }
        var parentHash: ([UInt8]) -> [UInt8] = { $0 }
        var nodes: ([UpdatePathNode]) -> [UpdatePathNode] = { $0 }
        var leaf: LeafConfiguration?
        var place: LeafIndex?
        var leafKey: [UInt8]?
        var signingKey: SigningKey?
        var source: LeafNodeSource?
    }

    /// An empty commit with a path that is right but for the edits.
    func path(_ edits: PathEdits) throws -> UpdatePath {
        var tree = tree
        let steps = tree.filteredDirectPath(of: own)
        let secrets = try PathSecrets(
            from: PathSecret(.random(count: algorithms.hashByteCount)), count: steps.count,
            algorithms: algorithms)
        let keys = edits.keys(secrets.keys.map(\.publicKey))
        let parentHash = edits.parentHash(tree.setPath(of: own, steps: steps, keys: keys))
        let leaf = try LeafNode(
            edits.leaf ?? clients[0].leaf,
            encryptionKey: edits.leafKey ?? HPKEPrivateKey.generate(algorithms).publicKey,
            source: edits.source ?? .commit(parentHash: parentHash),
            place: LeafNode.Place(groupID: context.groupID, leaf: edits.place ?? own),
            signingKey: edits.signingKey ?? clients[0].signingKey, algorithms: algorithms)
        tree.set(own.node, to: .leaf(leaf))
        var next = context
        next.epoch += 1
        next.treeHash = tree.treeHash()
        let encrypted = try tree.encrypt(
            secrets, steps: steps, excluding: [], context: next.encoded())
        let nodes = zip(keys, encrypted).map {
            UpdatePathNode(encryptionKey: $0, encryptedPathSecrets: $1.encryptedPathSecrets)
        }
        return UpdatePath(leafNode: leaf, nodes: edits.nodes(nodes))
    }

    /// What can be wrong with a key package.
    struct KeyPackageEdits {
        var configuration: LeafConfiguration?
        var capabilities: ((inout Capabilities) -> Void)?
        var source: LeafNodeSource = .keyPackage(Fixture.lifetime)
        var encryptionKey: [UInt8]?
        var reusesKeyAsInitKey = false
        var initKey: [UInt8]?
        var extensions: [Extension] = []
        var version = ProtocolVersion.mls10
        var suite: CipherSuite?
        var signingKey: SigningKey?
        var damagesLeafSignature = false
        var damagesSignature = false
    }

    /// A newcomer's key package that is right but for the edits.
    func keyPackage(_ edits: KeyPackageEdits = KeyPackageEdits()) throws -> KeyPackage {
        let key = try edits.signingKey ?? SigningKey()
        var configuration =
            edits.configuration ?? LeafConfiguration(credential: .basic(identity: [1, 2, 3]))
        edits.capabilities?(&configuration.capabilities)
        let encryptionKey =
            try edits.encryptionKey ?? HPKEPrivateKey.generate(algorithms).publicKey
        var leaf = try LeafNode(
            configuration, encryptionKey: encryptionKey, source: edits.source, place: nil,
            signingKey: key, algorithms: algorithms)
        if edits.damagesLeafSignature {
            var signature = leaf.signature
            signature[0] ^= 1
            leaf = LeafNode(
                encryptionKey: leaf.encryptionKey, signatureKey: leaf.signatureKey,
                credential: leaf.credential, capabilities: leaf.capabilities,
                source: leaf.source, extensions: leaf.extensions, signature: signature)
        }
        let initKey =
            try edits.reusesKeyAsInitKey
            ? encryptionKey
            : edits.initKey ?? HPKEPrivateKey.generate(algorithms).publicKey
        func keyPackage(_ signature: [UInt8]) -> KeyPackage {
            KeyPackage(
                version: edits.version, cipherSuite: edits.suite ?? algorithms.suite,
                initKey: initKey, leafNode: leaf, extensions: edits.extensions, signature: signature
            )
        }
        var signature = try algorithms.sign(
            keyPackage([]).toBeSigned, label: "KeyPackageTBS", with: key)
        if edits.damagesSignature { signature[0] ^= 1 }
        return keyPackage(signature)
    }

    /// An encrypted message of leaf 0 whose insides are chosen freely.
    func encrypted(
        _ data: [UInt8], padding: [UInt8] = [], claiming leaf: LeafIndex
    ) throws -> [UInt8] {
        let messages = groups[0].current.messages
        let framed = FramedContent(
            groupID: context.groupID, epoch: context.epoch, sender: .member(own),
            authenticatedData: [], content: .application(data))
        let signature = try framed.signature(
            wireFormat: .privateMessage, context: messages.context, key: clients[0].signingKey,
            algorithms: algorithms)
        var plaintext = TLSWriter()
        plaintext.write(vector: data)
        plaintext.write(vector: signature)
        plaintext.write(bytes: padding)
        let (generation, key, _) = try messages.secretTree.nextKey(of: own, .application)
        let senderData = SenderData(
            leaf: leaf, generation: generation, reuseGuard: [1, 2, 3, 4])
        let aad = PrivateMessage.senderDataAAD(
            groupID: context.groupID, epoch: context.epoch, .application)
        let ciphertext = try algorithms.seal(
            plaintext.bytes, key: key.key, nonce: senderData.guarded(key.nonce),
            authenticating: PrivateMessage.contentAAD(aad, authenticatedData: []))
        let (senderKey, nonce) = messages.senderDataSecret.keyAndNonce(
            for: ciphertext, algorithms: algorithms)
        return MLSMessage.privateMessage(
            PrivateMessage(
                groupID: context.groupID, epoch: context.epoch, contentType: .application,
                authenticatedData: [],
                encryptedSenderData: try algorithms.seal(
                    senderData.encoded(), key: senderKey, nonce: nonce, authenticating: aad),
                ciphertext: ciphertext)
        ).encoded()
    }

    /// What can be wrong with the leaf of an external commit.
    struct JoinEdits {
        var leaf: LeafConfiguration?
        var source: LeafNodeSource?
        var signingKey: SigningKey?
    }

    /// An external commit of a newcomer that is right but for the edits, signed again.
    func externalCommit(
        _ edits: JoinEdits = JoinEdits(), withPath: Bool = true,
        _ edit: ([ProposalOrRef]) throws -> [ProposalOrRef] = { $0 }
    ) throws -> [UInt8] {
        let newcomer = try Client("newcomer")
        let join = try Group.joinExternally(
            groupInfo: groups[0].groupInfo(allowsJoining: true, signingKey: clients[0].signingKey),
            leaf: newcomer.leaf, signingKey: newcomer.signingKey, validator: Anyone(),
            at: Fixture.now, policy: policy)
        guard case .publicMessage(let message) = try MLSMessage(decoding: join.message),
            case .commit(let commit) = message.content.content, let path = commit.path
        else { throw MLSError.misuse(.wrongMessageKind) }
        let key = edits.signingKey ?? newcomer.signingKey
        let leaf = try LeafNode(
            edits.leaf ?? newcomer.leaf, encryptionKey: path.leafNode.encryptionKey,
            source: edits.source ?? path.leafNode.source,
            place: LeafNode.Place(groupID: context.groupID, leaf: join.group.ownLeafIndex),
            signingKey: key, algorithms: algorithms)
        return try frame(
            .commit(
                Commit(
                    proposals: edit(commit.proposals),
                    path: withPath ? UpdatePath(leafNode: leaf, nodes: path.nodes) : nil)),
            sender: .newMemberCommit, key: key)
    }

    /// A leaf for an Update that is right but for what is given.
    func update(
        of leaf: LeafIndex, _ configuration: LeafConfiguration? = nil,
        source: LeafNodeSource = .update, groupID: [UInt8]? = nil, place: LeafIndex? = nil,
        signingKey: SigningKey? = nil
    ) throws -> Proposal {
        let client = clients[Int(leaf.rawValue)]
        return .update(
            try LeafNode(
                configuration ?? client.leaf,
                encryptionKey: HPKEPrivateKey.generate(algorithms).publicKey, source: source,
                place: LeafNode.Place(groupID: groupID ?? context.groupID, leaf: place ?? leaf),
                signingKey: signingKey ?? client.signingKey, algorithms: algorithms))
    }

    /// Has the victim keep a member's proposal, and gives a commit's word for it.
    mutating func tell(
        _ proposal: Proposal, from leaf: LeafIndex, authenticatedData: [UInt8] = []
    ) throws -> ProposalOrRef {
        let bytes = try frame(
            .proposal(proposal), sender: .member(leaf),
            key: clients[Int(leaf.rawValue)].signingKey, authenticatedData: authenticatedData)
        _ = try groups[1].process(bytes, validator: Anyone(), at: Fixture.now)
        guard case .publicMessage(let message) = try MLSMessage(decoding: bytes) else {
            throw MLSError.misuse(.wrongMessageKind)
        }
        return .reference(message.authenticatedContent.proposalReference(algorithms))
    }

    /// A commit that covers these.
    func commit(covering proposals: [ProposalOrRef], path: UpdatePath? = nil) throws -> [UInt8] {
        try frame(.commit(Commit(proposals: proposals, path: path)))
    }

    /// Removes a member, as everybody wants it.
    mutating func remove(_ leaf: LeafIndex) throws {
        var content = CommitContent()
        content.removes = [leaf]
        let commit = try groups[0].commit(content, by: clients[0])
        try groups[0].merge(commit, at: Fixture.now)
        try groups[1].follow(commit.message)
    }

    func preSharedKey(
        _ source: PreSharedKeySource = .external(id: [1]), nonceCount: Int = 32
    ) -> Proposal {
        .preSharedKey(
            PreSharedKeyID(
                source: source, nonce: [UInt8](repeating: 1, count: nonceCount)))
    }
}

extension EncryptedPathSecrets {
    /// Others, made from these.
    func edited(_ edit: ([HPKECiphertext]) -> [HPKECiphertext]) -> EncryptedPathSecrets {
        EncryptedPathSecrets(edit((0..<count).compactMap { self[$0] }))
    }
}
