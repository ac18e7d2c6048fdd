import Cryptography
import MLS

/// A client of a benchmark.
struct BenchmarkClient {
    static let now: UnixSeconds = 1_800_000_000
    static let lifetime = Lifetime(notBefore: now - 3600, notAfter: now + 86_400)

    let suite: CipherSuite
    let signer: SigningKey
    let leaf: LeafConfiguration

    init(_ suite: CipherSuite) throws {
        self.suite = suite
        signer = try SigningKey()
        leaf = LeafConfiguration(credential: .basic(identity: signer.publicKey.bytes))
    }

    func keyPackage() throws -> KeyPackageBundle {
        try KeyPackageBundle(
            suite: suite, leaf: leaf, signingKey: signer, lifetime: Self.lifetime)
    }

    func group() throws -> Group {
        var policy = GroupPolicy.standard
        policy.acceptsExternalCommits = true
        return try Group.create(
            groupID: Random.bytes(32), suite: suite, leaf: leaf, signingKey: signer,
            lifetime: Self.lifetime, policy: policy)
    }
}

/// A member of a benchmark's group.
struct BenchmarkMember {
    let client: BenchmarkClient
    var group: Group

    /// Adds them all by one commit, and merges it.
    mutating func add(_ bundles: [KeyPackageBundle]) throws -> [UInt8] {
        var content = CommitContent()
        content.adds = bundles.map(\.keyPackage)
        let commit = try commit(content)
        guard let welcome = commit.welcome else { throw BenchmarkError.unexpected("no Welcome") }
        try group.merge(commit, at: BenchmarkClient.now)
        return welcome
    }

    mutating func commit(_ content: CommitContent = CommitContent()) throws -> PendingCommit {
        try group.commit(
            content, signingKey: client.signer, validator: EveryoneAccepted(),
            at: BenchmarkClient.now)
    }

    mutating func stage(_ commit: [UInt8]) throws -> StagedCommit {
        guard
            case .commit(let staged) = try group.process(
                commit, validator: EveryoneAccepted(), at: BenchmarkClient.now)
        else { throw BenchmarkError.unexpected("not a commit") }
        return staged
    }

    mutating func follow(_ commit: [UInt8]) throws {
        try group.merge(stage(commit), at: BenchmarkClient.now)
    }

    mutating func encrypt(_ plaintext: [UInt8]) throws -> [UInt8] {
        try group.encrypt(plaintext, signingKey: client.signer).bytes
    }

    mutating func read(_ message: [UInt8], count: Int) throws {
        guard
            case .application(let received) = try group.process(
                message, validator: EveryoneAccepted(), at: BenchmarkClient.now),
            received.plaintext.count == count
        else { throw BenchmarkError.unexpected("not the message that was sent") }
    }
}

/// Accepts any credential.
struct EveryoneAccepted: CredentialValidator {
    func accepts(_ subject: CredentialSubject) -> Bool { true }
}

/// Members at three places of a group: the first, its neighbour, and the last.
struct BenchmarkGroup {
    let count: Int
    var first: BenchmarkMember
    var second: BenchmarkMember
    var last: BenchmarkMember

    /// A tree in which every parent has a key: all members came by external commits of their own.
    static func populated(_ suite: CipherSuite, count: Int) throws -> BenchmarkGroup {
        var first = try creator(suite)
        var second: BenchmarkMember?
        var last = first
        for number in 1..<count {
            let client = try BenchmarkClient(suite)
            let info = try first.group.groupInfo(
                allowsJoining: true, signingKey: first.client.signer)
            let joined = try Group.joinExternally(
                groupInfo: info, leaf: client.leaf, signingKey: client.signer,
                validator: EveryoneAccepted(), at: BenchmarkClient.now,
                policy: first.group.policy)
            try first.follow(joined.message)
            try second?.follow(joined.message)
            last = BenchmarkMember(client: client, group: joined.group)
            if number == 1 { second = last }
        }
        return BenchmarkGroup(count: count, first: first, second: second ?? last, last: last)
    }

    /// A tree right after the first member added all others by one commit.
    static func fresh(_ suite: CipherSuite, count: Int) throws -> BenchmarkGroup {
        var first = try creator(suite)
        let clients = try (1..<count).map { _ in try BenchmarkClient(suite) }
        let bundles = try clients.map { try $0.keyPackage() }
        let welcome = try first.add(bundles)
        func join(_ index: Int) throws -> BenchmarkMember {
            BenchmarkMember(
                client: clients[index],
                group: try Group.join(
                    welcome: welcome, bundle: bundles[index], existing: [],
                    validator: EveryoneAccepted(),
                    at: BenchmarkClient.now))
        }
        return BenchmarkGroup(
            count: count, first: first, second: try join(0), last: try join(count - 2))
    }

    private static func creator(_ suite: CipherSuite) throws -> BenchmarkMember {
        let client = try BenchmarkClient(suite)
        return BenchmarkMember(client: client, group: try client.group())
    }

    /// Parents above a leaf.
    var depth: Int {
        var depth = 0
        while 1 << depth < count { depth += 1 }
        return depth
    }
}
