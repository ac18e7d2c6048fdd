import Cryptography
import TestSupport
import Testing

@testable import MLS

/// A group as a perfect observer sees it: who is in, what was sent, and what each has taken in.
///
/// The delivery service orders handshakes, and lets one commit per epoch win. Application messages are
/// lost, repeated and shuffled. All choices come from one seed.
struct ModelGroup {
    /// What travels to everyone in order.
    enum Handshake {
        case proposal([UInt8])
        case commit([UInt8])
    }

    /// Application data on its way.
    struct Sent {
        let bytes: [UInt8]
        let plaintext: [UInt8]
        let sender: Int
        let epoch: UInt64
    }

    /// A client that is or was a member.
    struct Participant {
        let client: Client
        var group: Group
        /// The first epoch of the state it has now.
        var since: UInt64
        var handshakes: [Handshake] = []
        var unread: [Int] = []
        var read = Set<Int>()
        /// A commit never reached it.
        var isStranded = false
        /// Its stored entries, kept up to date by changes alone.
        var stored: [[UInt8]: SecretBytes] = [:]

        var isMember: Bool { group.isActive }
    }

    let seed: UInt64
    let suite: CipherSuite
    let policy: GroupPolicy
    let largest: Int
    var random: SeededGenerator
    var participants: [Participant] = []
    var sent: [Sent] = []
    /// The authenticator of each epoch, as the commit's maker said.
    var authenticators: [UInt64: [UInt8]] = [:]
    /// SelfRemoves of this epoch that an outsider could take along.
    var selfRemoves: [[UInt8]] = []
    var epoch: UInt64 = 0
    var counter = 0
    var commits = 0
    let server: SigningKey
    let preSharedKeys: PreSharedKeys

    static let extensionType = ExtensionType(rawValue: 0xF0D7)
    static let proposalType = ProposalType(rawValue: 0xF0D8)
    static let component = ComponentID(rawValue: 0x8001)

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

    mutating func newClient() throws -> Client {
        counter += 1
        return try Client(
            "client \(counter)", supports: [Self.extensionType, .externalSenders],
            proposals: [.selfRemove, .appEphemeral, Self.proposalType])
    }

    mutating func enter(_ participant: Participant) {
        var participant = participant
        participant.keepChanges()
        participants.append(participant)
    }

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
    func fail(_ what: String) -> ModelFailure { ModelFailure(seed: seed, what: what) }
}

/// What went wrong, with the seed to see it again.
struct ModelFailure: Error {
    let seed: UInt64
    let what: String
}

extension ModelGroup.Participant {
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
            throw ModelFailure(seed: 0, what: "changes do not add up to the whole state")
        }
        group = try Group(serialized: group.serialized(), policy: policy)
    }
}
