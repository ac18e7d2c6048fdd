import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// A client with its identity, for tests.
struct Client: Sendable {
    let name: String
    let signingKey: SigningKey
    let leaf: LeafConfiguration

    init(
        _ name: String, extensions: [Extension] = [], supports: [ExtensionType] = [],
        proposals: [ProposalType] = [.selfRemove]
    ) throws {
        self.name = name
        signingKey = try SigningKey()
        leaf = LeafConfiguration(
            credential: .basic(identity: Array(name.utf8)), extensions: extensions,
            supportedExtensions: supports, supportedProposals: proposals)
    }

    func bundle(_ suite: CipherSuite, isLastResort: Bool = false) throws -> KeyPackageBundle {
        try KeyPackageBundle(
            suite: suite, leaf: leaf, signingKey: signingKey, lifetime: Fixture.lifetime,
            isLastResort: isLastResort)
    }
}

/// What tests have in common.
enum Fixture {
    static let now: UnixSeconds = 1_800_000_000
    static let lifetime = Lifetime(notBefore: now - 3_600, notAfter: now + 90 * 86_400)

    /// A group of these clients, as each of them sees it; the first one made it.
    static func group(
        of clients: [Client], suite: CipherSuite = .x25519ChaCha20,
        extensions: [Extension] = [], policy: GroupPolicy = .standard
    ) throws -> [Group] {
        var first = try Group.create(
            groupID: Random.bytes(32), suite: suite, leaf: clients[0].leaf,
            signingKey: clients[0].signingKey, lifetime: lifetime, extensions: extensions,
            policy: policy)
        guard clients.count > 1 else { return [first] }
        let bundles = try clients.dropFirst().map { try $0.bundle(suite) }
        var content = CommitContent()
        content.adds = bundles.map(\.keyPackage)
        let commit = try first.commit(content, by: clients[0])
        try first.merge(commit, at: now)
        let welcome = try #require(commit.welcome)
        return try [first]
            + bundles.map {
                try Group.join(
                    welcome: welcome, bundle: $0, existing: [], validator: Anyone(), at: now,
                    policy: policy)
            }
    }
}

extension Group {
    /// Commits as a client, and takes everyone's credential.
    mutating func commit(
        _ content: CommitContent = CommitContent(), by client: Client
    ) throws -> PendingCommit {
        try commit(
            content, signingKey: client.signingKey, validator: Anyone(), at: Fixture.now)
    }

    /// Proposes as a client, and takes everyone's credential.
    mutating func propose(
        _ request: ProposalRequest, by client: Client
    ) throws -> EncryptedMessage {
        try propose(
            request, signingKey: client.signingKey, validator: Anyone(), at: Fixture.now)
    }

    /// Takes in a commit and merges it.
    mutating func follow(_ commit: [UInt8], keys: PreSharedKeys = PreSharedKeys()) throws {
        let received = try process(
            commit, validator: Anyone(), at: Fixture.now, preSharedKeys: keys)
        guard case .commit(let staged) = received else {
            Issue.record("not a commit")
            return
        }
        try merge(staged, at: Fixture.now)
    }

    /// Takes in application data.
    mutating func read(_ message: [UInt8]) throws -> ApplicationMessage {
        let received = try process(message, validator: Anyone(), at: Fixture.now)
        guard case .application(let message) = received else {
            throw MLSError.misuse(.wrongMessageKind)
        }
        return message
    }
}

extension PendingProposal {
    func isSelfRemove(of leaf: LeafIndex) -> Bool {
        proposal == .selfRemove && sender == .member(leaf)
    }
}
