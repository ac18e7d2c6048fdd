import Cryptography
import Foundation
import MLS

/// MLS operations beside what their primitives cost in the same run.
struct MLSBenchmarks {
    let suite: CipherSuite
    let name: String
    let largest: Int

    private struct Client {
        let signingKey: SigningKey
        let leaf: LeafConfiguration

        init(_ number: Int) throws {
            signingKey = try SigningKey()
            leaf = LeafConfiguration(credential: .basic(identity: Array("client \(number)".utf8)))
        }
    }

    private struct Anyone: CredentialValidator {
        func accepts(_ subject: CredentialSubject) -> Bool { true }
    }

    private let now: UnixSeconds = 1_800_000_000
    private let lifetime = Lifetime(notBefore: 1_799_000_000, notAfter: 1_801_000_000)
    private var policy: GroupPolicy {
        var policy = GroupPolicy.standard
        policy.acceptsExternalCommits = true
        return policy
    }

    private func bundle(_ client: Client) throws -> KeyPackageBundle {
        try KeyPackageBundle(
            suite: suite, leaf: client.leaf, signingKey: client.signingKey, lifetime: lifetime)
    }

    private func create(_ client: Client) throws -> Group {
        try Group.create(
            groupID: Random.bytes(32), suite: suite, leaf: client.leaf,
            signingKey: client.signingKey, lifetime: lifetime, policy: policy)
    }

    private func add(_ bundles: [KeyPackageBundle], to group: Group, by client: Client) throws
        -> (group: Group, commit: PendingCommit)
    {
        var group = group
        var content = CommitContent()
        content.adds = bundles.map(\.keyPackage)
        let commit = try group.commit(
            content, signingKey: client.signingKey, validator: Anyone(), at: now)
        return (group, commit)
    }

    private func join(_ commit: PendingCommit, _ bundle: KeyPackageBundle) throws -> Group {
        try Group.join(
            welcome: commit.welcome ?? [], bundle: bundle, validator: Anyone(), at: now,
            policy: policy)
    }

    private func emptyCommit(_ group: Group, _ client: Client) throws -> PendingCommit {
        var group = group
        return try group.commit(signingKey: client.signingKey, validator: Anyone(), at: now)
    }

    private func process(_ message: [UInt8], _ group: Group) throws -> Group {
        var group = group
        guard
            case .commit(let staged) = try group.process(message, validator: Anyone(), at: now)
        else { throw MLSError.malformed }
        try group.merge(staged, at: now)
        return group
    }

    func run(_ report: (Measurement) -> Void) throws {
        guard let algorithms = CipherAlgorithms(suite) else { return }
        let costs = try MLSPrimitives(algorithms)
        try messages(costs, report)
        try membership(costs, report)
        var size = 2
        for next in [2, 8, 64, 1_000] where next <= largest {
            size = next
            try commits(size, costs, report)
        }
    }

    // MARK: Messages

    private func messages(
        _ costs: MLSPrimitives, _ report: (Measurement) -> Void
    ) throws {
        let clients = [try Client(0), try Client(1)]
        let bundle = try self.bundle(clients[1])
        var (first, commit) = try add([bundle], to: create(clients[0]), by: clients[0])
        try first.merge(commit, at: now)
        var second = try join(commit, bundle)
        let text = [UInt8](repeating: 1, count: 1_024)
        let sendFloor = costs.sign + costs.seal1KiB + 5 * costs.expand
        let receiveFloor = costs.verify + costs.open1KiB + 5 * costs.expand
        let count = 400
        var messages: [[UInt8]] = []
        let sending = try median(of: count) {
            messages.append(try first.encrypt(text, signingKey: clients[0].signingKey).bytes)
        }
        report(
            Measurement(
                name: "\(name): encrypt 1 KiB", microseconds: sending, floor: sendFloor))
        var next = messages.makeIterator()
        let receiving = try median(of: count) {
            guard let message = next.next() else { return }
            _ = try second.process(message, validator: Anyone(), at: now)
        }
        report(
            Measurement(
                name: "\(name): decrypt 1 KiB", microseconds: receiving, floor: receiveFloor))
        let roundTrip = try median(of: count) {
            let sent = try first.encrypt(text, signingKey: clients[0].signingKey)
            _ = try second.process(sent.bytes, validator: Anyone(), at: now)
        }
        report(
            Measurement(
                name: "\(name): round trip of 1 KiB", microseconds: roundTrip,
                floor: sendFloor + receiveFloor))
        _ = second.takeChanges()
        let sent = try first.encrypt(text, signingKey: clients[0].signingKey)
        _ = try second.process(sent.bytes, validator: Anyone(), at: now)
        let delta = second.takeChanges().reduce(0) { $0 + $1.key.count + ($1.value?.count ?? 0) }
        print("\(name): stored per received message \(delta) octets")
        print("\(name): whole group of 2 stored in \(second.serialized().count) octets")
    }

    // MARK: Membership

    private func membership(
        _ costs: MLSPrimitives, _ report: (Measurement) -> Void
    ) throws {
        let clients = [try Client(0), try Client(1)]
        report(
            Measurement(
                name: "\(name): make a key package",
                microseconds: try median(of: 100) { _ = try self.bundle(clients[1]) },
                floor: 2 * costs.sign + 2 * costs.keyPair))
        let bundle = try self.bundle(clients[1])
        let group = try create(clients[0])
        // Two key pairs for the path, three signatures, the key package's two, one encryption.
        report(
            Measurement(
                name: "\(name): add and Welcome, 1 → 2",
                microseconds: try median(of: 50) {
                    var (first, commit) = try add([bundle], to: group, by: clients[0])
                    try first.merge(commit, at: now)
                },
                floor: 3 * costs.sign + 2 * costs.verify + 2 * costs.keyPair
                    + costs.encapsulate))
        let (_, commit) = try add([bundle], to: group, by: clients[0])
        report(
            Measurement(
                name: "\(name): join a group of 2",
                microseconds: try median(of: 50) { _ = try join(commit, bundle) },
                floor: 3 * costs.verify + costs.decapsulate + costs.keyPair))
    }

    // MARK: Commits

    private func commits(
        _ size: Int, _ costs: MLSPrimitives, _ report: (Measurement) -> Void
    ) throws {
        let clients = try (0..<size).map { try Client($0) }
        let bundles = try clients.dropFirst().map { try bundle($0) }
        guard let last = bundles.last else { return }
        let runs = size >= 1_000 ? 3 : 5
        let repeats = size >= 1_000 ? 1 : 10
        let levels = Double(size.trailingZeroBitCount == 0 ? 10 : log2(Double(size)).rounded(.up))

        let alone = try create(clients[0])
        if size >= 1_000 {
            report(
                Measurement(
                    name: "\(name): add \(size - 1) at once",
                    microseconds: try median(runs: runs, of: repeats) {
                        _ = try add(bundles, to: alone, by: clients[0])
                    },
                    floor: Double(size - 1) * (2 * costs.verify + costs.encapsulate)))
        }
        var (fresh, commit) = try add(bundles, to: alone, by: clients[0])
        try fresh.merge(commit, at: now)
        report(
            Measurement(
                name: "\(name): join a group of \(size)",
                microseconds: try median(runs: runs, of: repeats) {
                    _ = try join(commit, last)
                }, floor: Double(size + 1) * costs.verify + costs.decapsulate))
        let receiver = try join(commit, last)
        let message = try emptyCommit(fresh, clients[0]).message
        report(
            Measurement(
                name: "\(name): empty commit, \(size) members, fresh tree: create",
                microseconds: try median(runs: runs, of: repeats) {
                    _ = try emptyCommit(fresh, clients[0])
                },
                floor: Double(size - 1) * costs.encapsulate + 2 * costs.sign
                    + (levels + 1) * costs.keyPair))
        report(
            Measurement(
                name: "\(name): empty commit, \(size) members, fresh tree: process",
                microseconds: try median(runs: runs, of: repeats) {
                    _ = try process(message, receiver)
                }, floor: 2 * costs.verify + costs.decapsulate + costs.keyPair))

        var (first, populated) = try populate(clients)
        let update = try emptyCommit(first, clients[0])
        report(
            Measurement(
                name: "\(name): empty commit, \(size) members, populated: create",
                microseconds: try median(runs: runs, of: 10) {
                    _ = try emptyCommit(first, clients[0])
                },
                floor: levels * costs.encapsulate + 2 * costs.sign
                    + (levels + 1) * costs.keyPair))
        report(
            Measurement(
                name: "\(name): empty commit, \(size) members, populated: process",
                microseconds: try median(runs: runs, of: 10) {
                    _ = try process(update.message, populated)
                }, floor: 2 * costs.verify + costs.decapsulate + costs.keyPair))
        try first.merge(update, at: now)
        populated = try process(update.message, populated)
        guard first.epochAuthenticator == populated.epochAuthenticator else {
            throw MLSError.malformed
        }
        print(
            "\(name): whole group of \(size) stored in \(populated.serialized().count) octets;",
            "commit of \(update.message.count) octets")
        if size >= 1_000 { print("\(name): peak memory \(Self.peakMemoryMiB()) MiB") }
    }

    /// A group in which every parent has a key, because each member joined by an external commit;
    /// as the first and the last member see it.
    private func populate(_ clients: [Client]) throws -> (Group, Group) {
        var first = try create(clients[0])
        var last = first
        for client in clients.dropFirst() {
            let info = try first.groupInfo(
                allowsJoining: true, signingKey: clients[0].signingKey)
            let join = try Group.joinExternally(
                groupInfo: info, leaf: client.leaf, signingKey: client.signingKey,
                validator: Anyone(), at: now, policy: policy)
            first = try process(join.message, first)
            last = join.group
        }
        return (first, last)
    }

    private static func peakMemoryMiB() -> Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        let digits = line?.filter(\.isNumber) ?? ""
        return (Int(digits) ?? 0) / 1_024
    }
}
