import Cryptography
import Testing

@testable import MLS

private let component = ComponentID(rawValue: 0x8001)

@Suite struct `Exported secrets` {
    private func pair(_ policy: GroupPolicy = .standard) throws -> (clients: [Client], [Group]) {
        let clients = [try Client("a"), try Client("b")]
        return (clients, try Fixture.group(of: clients, policy: policy))
    }

    /// Both ways of storing and loading.
    private func reloaded(_ group: Group, _ store: inout [[UInt8]: SecretBytes]) throws -> [Group] {
        var group = group
        for change in group.takeChanges() { store[change.key] = change.value }
        return [
            group, try Group(entries: store, policy: group.policy),
            try Group(serialized: group.serialized(), policy: group.policy),
        ]
    }

    @Test func `of a label are gone when destroyed, also after a restart`() throws {
        var (clients, groups) = try pair()
        let kept = try groups[0].export(label: "kept", context: [1], count: 32)
        let gone = try groups[0].export(label: "gone", context: [1], count: 32)
        #expect(throws: MLSError.misuse(.exporterUnrestricted)) {
            try groups[0].destroyExporter(label: "gone")
        }
        groups[0].restrictExporter(to: ["kept", "gone"])
        #expect(try groups[0].export(label: "kept", context: [1], count: 32) == kept)
        #expect(try groups[0].export(label: "gone", context: [1], count: 32) == gone)
        var store: [[UInt8]: SecretBytes] = [:]
        _ = try reloaded(groups[0], &store)
        try groups[0].destroyExporter(label: "gone")
        for var group in try reloaded(groups[0], &store) {
            #expect(try group.export(label: "kept", context: [1], count: 32) == kept)
            for label in ["gone", "never named"] {
                #expect(throws: MLSError.misuse(.exporterDestroyed)) {
                    _ = try group.export(label: label, context: [1], count: 32)
                }
            }
            // Not even by asking for it again.
            group.restrictExporter(to: ["kept", "gone"])
            #expect(throws: MLSError.misuse(.exporterDestroyed)) {
                _ = try group.export(label: "gone", context: [1], count: 32)
            }
        }
        // The others, and the next epoch, have it.
        #expect(try groups[1].export(label: "gone", context: [1], count: 32) == gone)
        let commit = try groups[1].commit(by: clients[1])
        try groups[1].merge(commit, at: Fixture.now)
        try groups[0].follow(commit.message)
        #expect(
            try groups[0].export(label: "gone", context: [], count: 32)
                == groups[1].export(label: "gone", context: [], count: 32))
    }

    @Test func `are limited to the policy's labels in every epoch`() throws {
        var policy = GroupPolicy.standard
        policy.exporterLabels = ["kept"]
        var (clients, groups) = try pair(policy)
        for _ in 0..<2 {
            for group in groups {
                #expect(group.current.secrets.exporter.secret == nil)
                #expect(throws: MLSError.misuse(.exporterDestroyed)) {
                    _ = try group.export(label: "other", context: [], count: 32)
                }
            }
            #expect(
                try groups[0].export(label: "kept", context: [], count: 32)
                    == groups[1].export(label: "kept", context: [], count: 32))
            let commit = try groups[0].commit(by: clients[0])
            // While it waits, in memory and in storage, it holds no more than the epoch will.
            let stored = try PendingCommit(serialized: commit.serialized())
            #expect(commit.next.secrets.exporter.secret == nil)
            #expect(stored.next.secrets.exporter.secret == nil)
            #expect(Array(stored.next.secrets.exporter.labels.keys) == ["kept"])
            try groups[0].merge(stored, at: Fixture.now)
            try groups[1].follow(commit.message)
        }
    }

    @Test func `are limited when a commit is merged that was made before they were`() throws {
        var (clients, groups) = try pair()
        let commit = try groups[0].commit(by: clients[0])
        groups[0].policy.exporterLabels = ["kept"]
        try groups[0].merge(commit, at: Fixture.now)
        #expect(groups[0].current.secrets.exporter.secret == nil)
    }

    @Test(arguments: CipherSuite.supported)
    func `of a component are given out once, the same to everyone`(suite: CipherSuite) throws {
        let clients = [try Client("a"), try Client("b")]
        var groups = try Fixture.group(of: clients, suite: suite)
        let numbers: [UInt16] = [0, 1, 0x7fff, 0x8000, 0xffff]
        let first = try numbers.map { try groups[0].exportOnce(for: ComponentID(rawValue: $0)) }
        #expect(Set(first.map { $0.exposedCopy() }).count == numbers.count)
        #expect(first.allSatisfy { $0.count == groups[0].algorithms.hashByteCount })
        // In another order, with a restart in between.
        for (number, secret) in zip(numbers, first).reversed() {
            groups[1] = try Group(serialized: groups[1].serialized())
            #expect(try groups[1].exportOnce(for: ComponentID(rawValue: number)) == secret)
        }
        var store: [[UInt8]: SecretBytes] = [:]
        for var group in try reloaded(groups[0], &store) {
            for number in numbers {
                #expect(throws: MLSError.misuse(.exporterDestroyed)) {
                    _ = try group.exportOnce(for: ComponentID(rawValue: number))
                }
            }
        }
    }

    @Test func `of a component follow the tree of the draft`() throws {
        let algorithms = CipherAlgorithms.x25519ChaCha20SHA256
        let root = SecretBytes([UInt8](repeating: 7, count: 32))
        var tree = ExporterTree(TreeNodeSecret(root))
        for component in [5, 4, 0x8000] as [UInt16] {
            var secret = root
            for bit in (0..<16).reversed() {
                secret = algorithms.expandWithLabel(
                    secret, "tree",
                    context: Array((component >> bit & 1 == 0 ? "left" : "right").utf8),
                    count: 32)
            }
            #expect(tree.take(ComponentID(rawValue: component), algorithms: algorithms) == secret)
        }
    }

    @Test func `leave nothing behind from which they follow`() throws {
        var (_, groups) = try pair()
        let before = groups[0].current.secrets.exporter.tree.nodes
        let secret = try groups[0].exportOnce(for: component)
        groups[0].restrictExporter(to: [])
        let exporter = groups[0].current.secrets.exporter
        #expect(exporter.secret == nil && exporter.labels.isEmpty)
        // None of the nodes that are left lies above the leaf, or is what was there before.
        let leaf = LeafIndex(rawValue: UInt32(component.rawValue)).node
        #expect(exporter.tree.nodes.count == 16)
        #expect(exporter.tree.nodes.keys.allSatisfy { !$0.contains(leaf) })
        let stored = groups[0].serialized().exposedCopy()
        for octets in [secret.exposedCopy()] + before.values.map({ $0.bytes.exposedCopy() }) {
            #expect(!stored.indices.contains { stored[$0...].starts(with: octets) })
        }
    }
}
