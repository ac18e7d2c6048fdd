import Cryptography
import TLSSyntax
import TestSupport
import Testing

@testable import MLS

/// Hostile bytes: refused in bounded time, and without a trace in the group.
@Suite struct `What is not authentic` {
    /// Messages of every kind from the first to the second member, and the group that gets them.
    private func messages(
        _ format: WireFormat, suite: CipherSuite
    ) throws -> (messages: [[UInt8]], receiver: Group, other: Group) {
        let clients = try (0..<4).map { try Client("client \($0)") }
        var policy = GroupPolicy.standard
        policy.handshakeFormat = format
        policy.selfRemoveFormat = format
        var groups = try Fixture.group(of: Array(clients[..<3]), suite: suite, policy: policy)
        let key = clients[0].signingKey
        var content = CommitContent()
        content.adds = [try clients[3].bundle(suite).keyPackage]
        let messages = [
            try groups[0].encrypt([1, 2, 3], authenticatedData: [4], signingKey: key).bytes,
            try groups[0].commit(content, signingKey: key, validator: Anyone(), at: Fixture.now)
                .message,
            try groups[0].propose(
                .update(leaf: nil, newSigningKey: nil), signingKey: key, validator: Anyone(),
                at: Fixture.now
            ).bytes,
            try groups[0].propose(
                .selfRemove, signingKey: key, validator: Anyone(), at: Fixture.now
            ).bytes,
        ]
        let others = try Fixture.group(of: Array(clients[..<3]), suite: suite, policy: policy)
        return (messages, groups[1], others[1])
    }

    @Test(arguments: [WireFormat.privateMessage, .publicMessage], CipherSuite.supported)
    func `is refused however it is mutated`(format: WireFormat, suite: CipherSuite) throws {
        var random = SeededGenerator(seed: 3)
        let (messages, receiver, other) = try messages(format, suite: suite)
        let before = receiver.serialized()
        for message in messages {
            var mutations: [[UInt8]] = []
            for _ in 0..<60 {
                var flipped = message
                flipped[Int.random(in: message.indices, using: &random)] ^=
                    1 << UInt8.random(in: 0..<8, using: &random)
                mutations.append(flipped)
            }
            for count in stride(from: 0, to: message.count, by: max(1, message.count / 40)) {
                mutations.append(Array(message[..<count]))
            }
            mutations.append(message + [0])
            for mutation in mutations {
                var group = receiver
                #expect(throws: MLSError.self) {
                    _ = try group.process(mutation, validator: Anyone(), at: Fixture.now)
                }
                #expect(group.serialized() == before)
            }
            // Another group, and another epoch of the right one.
            var foreign = other
            #expect(throws: MLSError.wrongGroup) {
                _ = try foreign.process(message, validator: Anyone(), at: Fixture.now)
            }
            var group = receiver
            _ = try group.process(message, validator: Anyone(), at: Fixture.now)
        }
    }

    @Test func `takes bounded time if it claims a billion nodes`() throws {
        let clients = [try Client("a"), try Client("b")]
        let group = try Fixture.group(of: clients)[1]
        let bundle = try clients[0].bundle(group.suite)
        let zeros = [UInt8](repeating: 0, count: 100_000)
        let elapsed = processorTime {
            for format in UInt8(1)...5 {
                for length: [UInt8] in [[0xbf, 0xff, 0xff, 0xff], [0x80, 0x01, 0x86, 0xa0]] {
                    let message = [0, 1, 0, format] + length + zeros
                    var copy = group
                    #expect(throws: MLSError.self) {
                        _ = try copy.process(message, validator: Anyone(), at: Fixture.now)
                    }
                    #expect(throws: MLSError.self) {
                        _ = try Group.join(
                            welcome: message, bundle: bundle, existing: [], validator: Anyone(),
                            at: Fixture.now)
                    }
                }
            }
        }
        #expect(elapsed < .seconds(10))
    }

    @Test func `takes bounded time and memory as a tree of blanks`() throws {
        let leaf = try Client("a").bundle(.x25519ChaCha20).keyPackage.leafNode
        for count in [99_000, 99_001] {
            var writer = TLSWriter()
            writer.writeVector { content in
                for _ in 0..<count { content.write(UInt8(0)) }
                content.write(UInt8(1))
                content.write(Node.leaf(leaf))
            }
            let elapsed = try processorTime {
                guard count.isMultiple(of: 2) else {
                    #expect(throws: MLSError.invalid(.treeShape)) {
                        _ = try RatchetTree(
                            decoding: writer.bytes, algorithms: .x25519ChaCha20SHA256)
                    }
                    return
                }
                var tree = try RatchetTree(
                    decoding: writer.bytes, algorithms: .x25519ChaCha20SHA256)
                #expect(tree.width.rawValue == 65_536)
                _ = tree.treeHash()
                _ = tree.filteredDirectPath(of: LeafIndex(rawValue: UInt32(count / 2)))
                try tree.verifyStructure()
                try tree.verifyParentHashes()
            }
            #expect(elapsed < .seconds(20))
        }
    }

    @Test func `takes bounded time if it nests deeply`() throws {
        var data: [UInt8] = []
        for _ in 0..<5_000 {
            data = Extension(type: ExtensionType(rawValue: 0xF0C9), data: data).encoded()
        }
        let client = try Client(
            "a", extensions: [Extension(type: ExtensionType(rawValue: 0xF0C9), data: data)])
        let bundle = try client.bundle(.x25519ChaCha20)
        let elapsed = try processorTime {
            let read = try KeyPackage(message: bundle.keyPackage.message)
            try read.validate(at: Fixture.now)
            #expect(read == bundle.keyPackage)
        }
        #expect(elapsed < .seconds(10))
    }

    @Test func `is refused as a leaf far outside`() throws {
        let forgery = try Forgery()
        for index in [4, 1 << 30, UInt32.max] as [UInt32] {
            let leaf = LeafIndex(rawValue: index)
            #expect(throws: MLSError.self) {
                try forgery.deliver(forgery.commit([.remove(leaf)]))
            }
            #expect(throws: MLSError.self) {
                try forgery.deliver(forgery.frame(.proposal(.remove(leaf))))
            }
            #expect(throws: MLSError.self) {
                try forgery.deliver(
                    forgery.frame(.proposal(.selfRemove), sender: .member(leaf)))
            }
        }
    }
}

@Suite struct `A tree of a thousand leaves` {
    private static let algorithms = CipherAlgorithms.x25519ChaCha20SHA256

    /// A tree with random parents, unmerged leaves and holes. Nothing in it is signed.
    private func tree(_ random: inout SeededGenerator) throws -> RatchetTree {
        func leaf() -> LeafNode {
            LeafNode(
                encryptionKey: random.bytes(32), signatureKey: random.bytes(32),
                credential: .basic(identity: random.bytes(4)),
                capabilities: Capabilities(cipherSuites: [.x25519ChaCha20]), source: .update,
                extensions: [], signature: random.bytes(64))
        }
        var tree = RatchetTree(leaf(), algorithms: Self.algorithms)
        for _ in 1..<1_000 { _ = try tree.add(leaf()) }
        for _ in 0..<200 {
            let sender = LeafIndex(rawValue: UInt32.random(in: 0..<1_000, using: &random))
            let steps = tree.filteredDirectPath(of: sender)
            _ = tree.setPath(of: sender, steps: steps, keys: steps.map { _ in random.bytes(32) })
            tree.set(sender.node, to: .leaf(leaf()))
        }
        for _ in 0..<400 {
            let index = LeafIndex(rawValue: UInt32.random(in: 0..<1_000, using: &random))
            if tree[index] != nil { tree.remove(index) }
        }
        for _ in 0..<150 { _ = try tree.add(leaf()) }
        tree.narrow()
        return tree
    }

    @Test func `with random holes is the same after a round trip`() throws {
        var random = SeededGenerator(seed: 5)
        var original = try tree(&random)
        let bytes = original.encoded()
        var read = try RatchetTree(decoding: bytes, algorithms: Self.algorithms)
        #expect(read.encoded() == bytes)
        #expect(read.treeHash() == original.treeHash())
        try read.verifyStructure()
        for _ in 0..<50 {
            let leaf = LeafIndex(
                rawValue: UInt32.random(in: 0..<UInt32(read.width.rawValue), using: &random))
            #expect(read.filteredDirectPath(of: leaf) == original.filteredDirectPath(of: leaf))
        }
        let root = read.resolution(of: read.width.root)
        #expect(Set(root).count == root.count)
        #expect(root == original.resolution(of: original.width.root))
    }

    @Test func `never traps when its octets are damaged`() throws {
        var random = SeededGenerator(seed: 6)
        let bytes = try tree(&random).encoded()
        var readable = 0
        for _ in 0..<60 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                damaged[Int.random(in: damaged.indices, using: &random)] =
                    UInt8.random(in: 0...255, using: &random)
            }
            guard
                var tree = try? RatchetTree(decoding: damaged, algorithms: Self.algorithms)
            else { continue }
            readable += 1
            _ = tree.treeHash()
            try? tree.verifyStructure()
            guard readable % 8 == 0 else { continue }
            try? tree.verifyParentHashes()
            tree.narrow()
        }
        #expect(readable > 10)
    }
}
