import Cryptography
import TestSupport
import Testing

@testable import MLS

/// A group as a perfect observer sees it: who is in, what was sent, and what each has taken in.
///
/// The delivery service lets one commit per epoch win. Messages of all kinds are lost, repeated and
/// shuffled. All choices come from one seed.
struct ModelGroup {
    /// A proposal or commit on its way.
    struct Handshake {
        let bytes: [UInt8]
        let isCommit: Bool
        /// The epoch it belongs to.
        let epoch: UInt64
    }

    /// Application data on its way.
    struct Sent {
        let bytes: [UInt8]
        let plaintext: [UInt8]
        let sender: Int
        let epoch: UInt64
    }

    /// A client that waits for a Welcome.
    struct Joiner {
        let client: Client
        let bundle: KeyPackageBundle
    }

    let seed: UInt64
    let policy: GroupPolicy
    let largest: Int
    var suite: CipherSuite
    var random: SeededGenerator
    var participants: [Participant] = []
    var sent: [Sent] = []
    /// The authenticator of each epoch, as the commit's maker said.
    var authenticators: [UInt64: [UInt8]] = [:]
    var epoch: UInt64 = 0
    /// What happened, in its order.
    var history: [Operation] = []
    var largestSeen = 1

    // What counts until the epoch's end.

    /// SelfRemoves that an outsider could take along.
    var selfRemoves: [[UInt8]] = []
    /// Clients whose Add was proposed, by their signature keys.
    var candidates: [[UInt8]: Joiner] = [:]
    /// Who has proposed extensions; the server is -1.
    var extensionsProposed: Set<Int> = []

    /// The commits of an epoch that another one's maker lost against.
    var losers: [UInt64: [[UInt8]]] = [:]
    private var clientCount = 0
    let server: SigningKey
    let preSharedKeys: PreSharedKeys

    static let extensionType = ExtensionType(rawValue: 0xF0D7)
    static let proposalType = ProposalType(rawValue: 0xF0D8)
    static let component = ComponentID(rawValue: 0x8001)
    /// Another group's resumption secret, which everyone has.
    static let otherGroup = PreSharedKeySource.resumption(
        usage: .application, groupID: [1, 2, 3], epoch: 7)

    init(seed: UInt64, suite: CipherSuite, largest: Int) throws {
        var random = SeededGenerator(seed: seed)
        self.seed = seed
        self.suite = suite
        self.largest = largest
        var policy = GroupPolicy.standard
        policy.acceptsExternalCommits = true
        policy.acceptsNewMemberProposals = true
        policy.applicationProposals[Self.proposalType] = ApplicationProposalRules(
            requiresPath: Bool.random(using: &random), isOpenToOutsiders: true)
        policy.ephemeralComponents = [Self.component]
        policy.handshakeFormat = Bool.random(using: &random) ? .privateMessage : .publicMessage
        self.policy = policy
        self.random = random
        server = try SigningKey()
        var keys = PreSharedKeys()
        for id in 0..<3 {
            keys.provide(
                SecretBytes([UInt8](repeating: UInt8(id), count: 32)), externalID: [UInt8(id)])
        }
        keys.provide(SecretBytes([9, 9]), groupID: [1, 2, 3], epoch: 7)
        preSharedKeys = keys
        let client = try newClient()
        let group = try Group.create(
            groupID: Random.bytes(16), suite: suite, leaf: client.leaf,
            signingKey: client.signingKey, lifetime: Fixture.lifetime,
            extensions: [senders], policy: policy)
        authenticators[0] = group.epochAuthenticator
        enter(Participant(client: client, group: group, since: 0))
    }

    var senders: Extension {
        ExternalSender.groupContextExtension([
            ExternalSender(signatureKey: server.publicKey.bytes, credential: .basic(identity: [9]))
        ])
    }

    /// Extensions that the group could have.
    mutating func newExtensions() -> [Extension] {
        [senders, Extension(type: Self.extensionType, data: random.bytes(5))]
    }

    mutating func newClient() throws -> Client {
        clientCount += 1
        return try Client(
            "client \(clientCount)", supports: [Self.extensionType, .externalSenders],
            proposals: [.selfRemove, .appEphemeral, Self.proposalType])
    }

    mutating func newJoiner() throws -> Joiner {
        let client = try newClient()
        return Joiner(client: client, bundle: try client.bundle(suite))
    }

    mutating func enter(_ participant: Participant) {
        var participant = participant
        participant.keepChanges()
        participants.append(participant)
    }

    /// Opens the next epoch, on which the delivery service decided.
    mutating func advance(_ authenticator: [UInt8]) {
        epoch += 1
        authenticators[epoch] = authenticator
        selfRemoves = []
        candidates = [:]
        extensionsProposed = []
    }

    mutating func count(_ operation: Operation) { history.append(operation) }

    /// Whether something with this chance happens now.
    mutating func happens(oneIn count: Int) -> Bool {
        Int.random(in: 0..<count, using: &random) == 0
    }

    /// Members that have taken in every handshake of the epoch.
    var upToDate: [Int] {
        participants.indices.filter { index in
            let participant = participants[index]
            return participant.isMember && !participant.isStranded
                && participant.group.epoch == epoch && participant.handshakes.isEmpty
        }
    }

    var memberCount: Int {
        upToDate.first.map { participants[$0].group.members.count } ?? 0
    }

    /// Some place where the model and a group differ.
    func fail(_ what: String) -> ModelFailure { ModelFailure(what: what) }
}

/// What went wrong.
struct ModelFailure: Error {
    let what: String
}

extension ModelGroup {
    /// A client that is or was a member.
    struct Participant {
        let client: Client
        var group: Group
        /// The first epoch of the state it has now.
        var since: UInt64
        /// All signing keys that it has had, by their public keys.
        var signingKeys: [[UInt8]: SigningKey]
        var handshakes: [Handshake] = []
        var unread: [Int] = []
        var read = Set<Int>()
        /// A commit never reached it, or can't be followed.
        var isStranded = false
        /// Epochs of which a proposal never reached it.
        var lostProposals: Set<UInt64> = []
        /// Its stored entries, kept up to date by changes alone.
        private var stored: [[UInt8]: SecretBytes] = [:]

        init(client: Client, group: Group, since: UInt64) {
            self.client = client
            self.group = group
            self.since = since
            signingKeys = [client.signingKey.publicKey.bytes: client.signingKey]
        }

        var isMember: Bool { group.isActive }

        /// The key in its leaf.
        var signingKey: SigningKey {
            group.member(at: group.ownLeafIndex).flatMap { signingKeys[$0.signatureKey] }
                ?? client.signingKey
        }

        mutating func newSigningKey() throws -> SigningKey {
            let key = try SigningKey()
            signingKeys[key.publicKey.bytes] = key
            return key
        }

        /// Follows what changed, as a caller's database would.
        mutating func keepChanges() {
            for change in group.takeChanges() { stored[change.key] = change.value }
        }

        /// Forgets everything and reads it back.
        mutating func restart() throws {
            let policy = group.policy
            _ = try? group.exportOnce(for: ModelGroup.component)
            keepChanges()
            let restored = try Group(entries: stored, policy: policy)
            guard restored.serialized() == group.serialized() else {
                throw ModelFailure(what: "changes do not add up to the whole state")
            }
            group = try Group(serialized: group.serialized(), policy: policy)
        }

        /// Whether it is in the same epoch with the same proposals. Looking at a commit may derive keys
        /// of its sender.
        func isInSameState(as before: Group) -> Bool {
            group.epochAuthenticator == before.epochAuthenticator
                && group.isActive == before.isActive
                && group.pendingProposals.map(\.reference)
                    == before.pendingProposals.map(\.reference)
        }

        /// Whether the group is what was stored last; `thorough` compares all of it with `before`.
        mutating func isUnchanged(since before: Group, thorough: Bool) -> Bool {
            group.takeChanges().isEmpty
                && (!thorough || group.serialized() == before.serialized())
        }
    }
}
