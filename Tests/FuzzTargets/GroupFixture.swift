internal import Cryptography
internal import MLS

/// A group of three whose second member receives what is fuzzed.
struct GroupFixture: Sendable {
    static let shared: GroupFixture = {
        do { return try GroupFixture() } catch { fatalError("the fixture can't be made: \(error)") }
    }()

    let messages: [[UInt8]]
    let keyPackage: [UInt8]
    let welcome: [UInt8]
    let ratchetTree: [UInt8]
    let groupInfo: [UInt8]
    let state: [UInt8]
    private let group: Group
    private let serialized: SecretBytes
    private let signingKey: SigningKey
    private let leaf: LeafConfiguration
    private let bundle: KeyPackageBundle
    private let treelessWelcome: [UInt8]

    private static let now: UnixSeconds = 1_800_000_000
    private static let lifetime = Lifetime(notBefore: now - 3600, notAfter: now + 86_400)
    private static let suite = CipherSuite.x25519ChaCha20

    private struct Client {
        let key: SigningKey
        let leaf: LeafConfiguration

        init() throws {
            key = try SigningKey()
            leaf = LeafConfiguration(credential: .basic(identity: key.publicKey.bytes))
        }

        func bundle() throws -> KeyPackageBundle {
            try KeyPackageBundle(
                suite: suite, leaf: leaf, signingKey: key, lifetime: lifetime)
        }
    }

    private init() throws {
        let clients = try (0..<4).map { _ in try Client() }
        var policy = GroupPolicy.standard
        policy.acceptsExternalCommits = true
        policy.acceptsNewMemberProposals = true
        policy.handshakeFormat = .publicMessage
        var first = try Group.create(
            groupID: [1, 2, 3], suite: Self.suite, leaf: clients[0].leaf,
            signingKey: clients[0].key, lifetime: Self.lifetime, policy: policy)
        func add(_ bundles: [KeyPackageBundle], withTree: Bool) throws -> PendingCommit {
            var content = CommitContent()
            content.adds = bundles.map(\.keyPackage)
            content.welcomeIncludesTree = withTree
            return try first.commit(
                content, signingKey: clients[0].key, validator: Anyone(), at: Self.now)
        }
        let bundles = try clients[1..<3].map { try $0.bundle() }
        let commit = try add(bundles, withTree: true)
        try first.merge(commit, at: Self.now)
        group = try Group.join(
            welcome: commit.welcome ?? [], bundle: bundles[0], validator: Anyone(),
            at: Self.now, policy: policy)
        serialized = group.serialized()
        signingKey = clients[1].key
        state = serialized.exposedCopy()

        let newcomer = clients[3]
        leaf = newcomer.leaf
        bundle = try newcomer.bundle()
        keyPackage = bundle.keyPackage.message
        let treeless = try add([bundle], withTree: false)
        treelessWelcome = treeless.welcome ?? []
        ratchetTree = treeless.ratchetTree
        welcome = try add([bundle], withTree: true).welcome ?? []
        groupInfo = try first.groupInfo(allowsJoining: true, signingKey: clients[0].key)
        let external = try Group.joinExternally(
            groupInfo: groupInfo, leaf: leaf, signingKey: newcomer.key, validator: Anyone(),
            at: Self.now, policy: policy)
        var messages = [
            treeless.message, external.message,
            try first.encrypt([4, 5, 6], signingKey: clients[0].key).bytes,
            try first.propose(
                .add(bundle.keyPackage), signingKey: clients[0].key, validator: Anyone(),
                at: Self.now
            ).bytes,
            try first.propose(
                .update(leaf: nil, newSigningKey: nil), signingKey: clients[0].key,
                validator: Anyone(), at: Self.now
            ).bytes,
        ]
        first.policy.handshakeFormat = .privateMessage
        messages.append(
            try first.commit(signingKey: clients[0].key, validator: Anyone(), at: Self.now)
                .message)
        self.messages = messages
    }

    private struct Anyone: CredentialValidator {
        func accepts(_ subject: CredentialSubject) -> Bool { true }
    }

    func receive(_ bytes: [UInt8]) {
        var copy = group
        do {
            _ = try copy.process(bytes, validator: Anyone(), at: Self.now)
        } catch {
            precondition(copy.serialized() == serialized, "a refused message changed the group")
        }
    }

    func add(_ bytes: [UInt8]) {
        guard let keyPackage = try? KeyPackage(message: bytes) else { return }
        precondition(keyPackage.message == bytes, "another encoding")
        var content = CommitContent()
        content.adds = [keyPackage]
        var copy = group
        _ = try? copy.commit(
            content, signingKey: signingKey, validator: Anyone(), at: Self.now)
    }

    func join(welcome bytes: [UInt8]) {
        _ = try? Group.join(
            welcome: bytes, bundle: bundle, validator: Anyone(), at: Self.now)
    }

    func join(tree bytes: [UInt8]) {
        _ = try? Group.join(
            welcome: treelessWelcome, bundle: bundle, ratchetTree: bytes, validator: Anyone(),
            at: Self.now)
    }

    func join(groupInfo bytes: [UInt8]) {
        _ = try? Group.joinExternally(
            groupInfo: bytes, leaf: leaf, signingKey: signingKey, validator: Anyone(),
            at: Self.now)
    }
}
