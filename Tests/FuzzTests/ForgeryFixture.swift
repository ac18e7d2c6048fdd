internal import Cryptography
internal import TLSSyntax

@testable internal import MLS

/// A group of some size whose members' keys an attacker has, all but the victim's.
///
/// What it makes is signed, hashed and sealed as it must be, whatever its content: so that what is
/// behind the cryptography is reached.
struct ForgeryFixture: FuzzFixture, Sendable {
    static let shared: ForgeryFixture = {
        do { return try ForgeryFixture() } catch {
            fatalError("the fixture can't be made: \(error)")
        }
    }()

    static let algorithms = CipherAlgorithms.x25519ChaCha20SHA256
    static let customExtension = ExtensionType(rawValue: 0xF0AB)

    /// Every member's view, the victim's last.
    let groups: [Group]
    /// All signing keys, by their public keys.
    let signingKeys: [[UInt8]: SigningKey]
    /// Signing keys of nobody in the group.
    let spareKeys: [SigningKey]
    /// What everyone keeps for the next commit.
    let pending: [PendingProposal]
    /// Who is invited.
    let newcomer: KeyPackageBundle
    let newcomerKey: SigningKey
    /// Key packages to add.
    let keyPackages: [KeyPackage]
    let preSharedKeys: PreSharedKeys
    let server: SigningKey

    var victim: Group { groups[groups.count - 1] }
    var tree: RatchetTree { groups[0].current.tree }
    var context: GroupContext { groups[0].current.context }

    struct Anyone: CredentialValidator {
        func accepts(_ subject: CredentialSubject) -> Bool { true }
        func accepts(_ sender: ExternalSender, groupID: [UInt8]) -> Bool { true }
        // A resync by anybody, so that what comes after it is reached as well.
        func isSameClient(_ first: LeafNode, _ second: LeafNode) -> Bool { true }
    }

    static func leaf(_ number: Int) -> LeafConfiguration {
        LeafConfiguration(
            credential: .basic(identity: [UInt8(number)]), supportedExtensions: [customExtension],
            supportedProposals: [.selfRemove, .appEphemeral, customProposal])
    }

    private init() throws {
        server = try SigningKey()
        let senders = Self.allowing(server)
        let keys = try (0..<14).map { _ in try SigningKey() }
        func bundle(_ number: Int) throws -> KeyPackageBundle {
            try KeyPackageBundle(
                suite: Self.suite, leaf: Self.leaf(number), signingKey: keys[number],
                lifetime: Self.lifetime)
        }
        var groups = [
            try Group.create(
                groupID: [1, 2, 3], suite: Self.suite, leaf: Self.leaf(0),
                signingKey: keys[0], lifetime: Self.lifetime, extensions: [senders],
                policy: Self.policy)
        ]
        /// The member at a place commits, and all follow.
        func commit(
            by place: Int, adding: [Int] = [], removing: [Int] = [], withPath: Bool = true
        ) throws {
            var content = CommitContent()
            let bundles = try adding.map { try bundle($0) }
            content.adds = bundles.map(\.keyPackage)
            content.removes = removing.map { groups[$0].ownLeafIndex }
            content.forcesPath = withPath
            let key = keys.first {
                $0.publicKey.bytes
                    == groups[place].member(at: groups[place].ownLeafIndex)?.signatureKey
            }
            guard let key else { throw MLSError.inactive }
            let commit = try groups[place].commit(
                content, signingKey: key, validator: Anyone(), at: Self.now)
            for index in groups.indices where index != place {
                guard
                    case .commit(let staged) = try groups[index].process(
                        commit.message, validator: Anyone(), at: Self.now)
                else { throw MLSError.malformed }
                try groups[index].merge(staged, at: Self.now)
            }
            try groups[place].merge(commit, at: Self.now)
            for index in removing.sorted(by: >) { groups.remove(at: index) }
            for bundle in bundles {
                groups.append(
                    try Group.join(
                        welcome: commit.welcome ?? [], bundle: bundle, existing: [],
                        validator: Anyone(), at: Self.now, policy: Self.policy))
            }
        }
        // A tree with parents, blank leaves, blank parents and unmerged leaves.
        try commit(by: 0, adding: [1, 2, 3, 4, 5, 6, 7])
        for place in [1, 3, 5, 7, 2] { try commit(by: place) }
        try commit(by: 0, removing: [2, 6])
        try commit(by: 3)
        try commit(by: 4, adding: [8], withPath: false)

        // Proposals that everyone has.
        var pending: [PendingProposal] = []
        func spread(_ message: [UInt8], but place: Int?) throws {
            for index in groups.indices where index != place {
                _ = try groups[index].process(message, validator: Anyone(), at: Self.now)
            }
        }
        let requests: [(Int, ProposalRequest)] = [
            (1, .update(leaf: nil, newSigningKey: nil)), (2, .selfRemove),
            (3, .remove(groups[1].ownLeafIndex)), (0, .add(try bundle(9).keyPackage)),
            (4, .preSharedKey(.external(id: [5]))),
            (5, .groupContextExtensions([senders])),
            (1, .application(.ephemeral(component: Self.component, data: [1]))),
            (2, .reInit(ReInit(groupID: [9], cipherSuite: Self.suite, extensions: []))),
        ]
        for (place, request) in requests {
            let own = groups[place].member(at: groups[place].ownLeafIndex)?.signatureKey
            guard let key = keys.first(where: { $0.publicKey.bytes == own }) else { continue }
            let message = try groups[place].propose(
                request, signingKey: key, validator: Anyone(), at: Self.now)
            try spread(message.bytes, but: place)
        }
        let outside = try Group.externalProposal(
            .application(.custom(type: Self.customProposal, data: [2])), groupID: [1, 2, 3],
            epoch: groups[0].epoch, suite: Self.suite, senderIndex: 0,
            signingKey: server)
        try spread(outside, but: nil)
        let asking = try Group.newMemberProposal(
            try bundle(10).keyPackage, groupID: [1, 2, 3], epoch: groups[0].epoch,
            signingKey: keys[10])
        try spread(asking, but: nil)
        pending = groups[groups.count - 1].pendingProposals

        self.groups = groups
        self.pending = pending
        signingKeys = Dictionary(uniqueKeysWithValues: keys.map { ($0.publicKey.bytes, $0) })
        spareKeys = Array(keys[12...])
        newcomer = try bundle(11)
        newcomerKey = keys[11]
        keyPackages = try [9, 10, 12].map { try bundle($0).keyPackage }
        var preSharedKeys = PreSharedKeys()
        preSharedKeys.provide(SecretBytes([1]), externalID: [5])
        self.preSharedKeys = preSharedKeys
    }

    /// The key by which a leaf's member signs.
    func signingKey(of leaf: LeafNode?) -> SigningKey? {
        leaf.flatMap { signingKeys[$0.signatureKey] }
    }

    /// The leaf, signed by its own key for its place.
    func signed(_ leaf: LeafNode, at place: LeafIndex) -> LeafNode {
        guard let key = signingKey(of: leaf) else { return leaf }
        let signature = try? Self.algorithms.sign(
            leaf.toBeSigned(at: LeafNode.Place(groupID: context.groupID, leaf: place)),
            label: "LeafNodeTBS", with: key)
        return leaf.edited(signature: signature)
    }
}

extension LeafNode {
    func edited(
        encryptionKey: [UInt8]? = nil, signatureKey: [UInt8]? = nil, credential: Credential? = nil,
        capabilities: Capabilities? = nil, source: LeafNodeSource? = nil,
        extensions: [Extension]? = nil, signature: [UInt8]? = nil
    ) -> LeafNode {
        LeafNode(
            encryptionKey: encryptionKey ?? self.encryptionKey,
            signatureKey: signatureKey ?? self.signatureKey,
            credential: credential ?? self.credential,
            capabilities: capabilities ?? self.capabilities, source: source ?? self.source,
            extensions: extensions ?? self.extensions, signature: signature ?? self.signature)
    }
}
