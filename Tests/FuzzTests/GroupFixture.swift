internal import Cryptography
internal import MLS
internal import TLSSyntax

/// A group of three whose second member receives what is fuzzed.
struct GroupFixture: FuzzFixture, Sendable {
    static let shared: GroupFixture = {
        do { return try GroupFixture() } catch { fatalError("the fixture can't be made: \(error)") }
    }()

    let messages: [[UInt8]]
    let proposals: [[UInt8]]
    let keyPackage: [UInt8]
    let welcome: [UInt8]
    let ratchetTree: [UInt8]
    let groupInfo: [UInt8]
    let state: [UInt8]
    private let committer: Group
    private let group: Group
    private let serialized: SecretBytes
    private let committerKey: SigningKey
    private let signingKey: SigningKey
    private let outsider: SigningKey
    private let leaf: LeafConfiguration
    private let bundle: KeyPackageBundle
    private let treelessWelcome: [UInt8]

    private struct Client {
        let key: SigningKey
        let leaf: LeafConfiguration

        init() throws {
            key = try SigningKey()
            leaf = LeafConfiguration(
                credential: .basic(identity: key.publicKey.bytes),
                supportedProposals: [.selfRemove, .appEphemeral, customProposal])
        }

        func bundle() throws -> KeyPackageBundle {
            try KeyPackageBundle(
                suite: suite, leaf: leaf, signingKey: key, lifetime: lifetime)
        }
    }

    private init() throws {
        let clients = try (0..<4).map { _ in try Client() }
        outsider = try SigningKey()
        let senders = Self.allowing(outsider)
        var first = try Group.create(
            groupID: [1, 2, 3], suite: Self.suite, leaf: clients[0].leaf,
            signingKey: clients[0].key, lifetime: Self.lifetime, extensions: [senders],
            policy: Self.policy)
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
        committer = first
        committerKey = clients[0].key
        group = try Group.join(
            welcome: commit.welcome ?? [], bundle: bundles[0], existing: [], validator: Anyone(),
            at: Self.now, policy: Self.policy)
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
            at: Self.now, policy: Self.policy)
        let ephemeral = ApplicationProposal.ephemeral(component: Self.component, data: [1])
        let custom = ApplicationProposal.custom(type: Self.customProposal, data: [2, 3])
        let reInit = ReInit(groupID: [9], cipherSuite: Self.suite, extensions: [])
        let preSharedKey = PreSharedKeySource.external(id: [5])
        let all: [Proposal] = [
            .add(bundle.keyPackage), .remove(LeafIndex(rawValue: 2)),
            .preSharedKey(PreSharedKeyID(source: preSharedKey, nonce: Random.bytes(32))),
            .reInit(reInit), .groupContextExtensions([senders]),
            .application(ephemeral), .application(custom),
        ]
        proposals = all.map { $0.encoded() }
        func proposed(_ request: ProposalRequest) throws -> [UInt8] {
            var copy = first
            return try copy.propose(
                request, signingKey: clients[0].key, validator: Anyone(), at: Self.now
            ).bytes
        }
        var messages = try [
            treeless.message, external.message,
            first.encrypt([4, 5, 6], signingKey: clients[0].key).bytes,
            proposed(.add(bundle.keyPackage)),
            proposed(.update(leaf: nil, newSigningKey: nil)), proposed(.selfRemove),
            proposed(.preSharedKey(preSharedKey)), proposed(.reInit(reInit)),
            proposed(.groupContextExtensions([senders])), proposed(.application(ephemeral)),
            proposed(.application(custom)),
        ]
        first.policy.handshakeFormat = .privateMessage
        messages.append(try proposed(.application(custom)))
        messages.append(
            try first.commit(signingKey: clients[0].key, validator: Anyone(), at: Self.now)
                .message)
        self.messages = messages
    }

    private struct Anyone: CredentialValidator {
        func accepts(_ subject: CredentialSubject) -> Bool { true }
        func accepts(_ sender: ExternalSender, groupID: [UInt8]) -> Bool { true }
    }

    func receive(_ bytes: [UInt8]) {
        var copy = group
        do {
            _ = try copy.process(bytes, validator: Anyone(), at: Self.now)
        } catch {
            precondition(copy.serialized() == serialized, "a refused message changed the group")
        }
    }

    func cover(_ bytes: [UInt8]) {
        guard let proposal = try? Proposal(decoding: bytes) else { return }
        precondition(proposal.encoded() == bytes, "another encoding")
        guard
            let message = try? Group.externalProposal(
                proposal, groupID: group.groupID, epoch: group.epoch, suite: Self.suite,
                senderIndex: 0, signingKey: outsider)
        else { return }
        receive(message)
        var (sender, receiver) = (committer, group)
        var keys = PreSharedKeys()
        keys.provide(SecretBytes([1]), externalID: [5])
        _ = try? sender.process(message, validator: Anyone(), at: Self.now)
        _ = try? receiver.process(message, validator: Anyone(), at: Self.now)
        guard
            let commit = try? sender.commit(
                signingKey: committerKey, validator: Anyone(), at: Self.now, preSharedKeys: keys)
        else { return }
        // What the one took into a commit, the other takes out of it.
        do {
            guard
                case .commit(let staged) = try receiver.process(
                    commit.message, validator: Anyone(), at: Self.now, preSharedKeys: keys)
            else { preconditionFailure("not a commit") }
            precondition(
                staged.removesSelf || staged.epochAuthenticator == commit.epochAuthenticator)
        } catch {
            preconditionFailure("a member refuses what another committed: \(error)")
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
            welcome: bytes, bundle: bundle, existing: [], validator: Anyone(), at: Self.now)
    }

    func join(tree bytes: [UInt8]) {
        _ = try? Group.join(
            welcome: treelessWelcome, bundle: bundle, ratchetTree: bytes, existing: [],
            validator: Anyone(),
            at: Self.now)
    }

    func join(groupInfo bytes: [UInt8]) {
        _ = try? Group.joinExternally(
            groupInfo: bytes, leaf: leaf, signingKey: signingKey, validator: Anyone(),
            at: Self.now)
    }
}
