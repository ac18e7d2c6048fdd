import Cryptography
import Glibc
import TLSSyntax
import Testing

@testable import MLS

/// Seconds that this thread has run, whatever else the machine does.
private func threadTime() -> Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1_000_000_000
}

@Suite struct `A hostile Welcome` {
    /// A root whose left half is `count` leaves, all but the first unmerged and each stating the
    /// parent hash of the root; `deep`, each parent on the way lists its leaves, too.
    private func tree(
        _ count: Int, hostile: WelcomeForgery, deep: Bool
    ) throws -> RatchetTree {
        let algorithms = hostile.algorithms
        let victim = hostile.victim.keyPackage.leafNode
        let rootKey = try HPKEPrivateKey.generate(algorithms).publicKey
        let unmerged = (1..<count).map { LeafIndex(rawValue: UInt32($0)) }
        var right = [Node?](repeating: nil, count: 2 * count - 1)
        right[0] = .leaf(victim)
        right[2] = .leaf(try WelcomeForgery.leaf(signingKey: hostile.attackerKey))
        // The right half's hash depends on its place, so the tree is put together in two steps.
        func nodes(_ parentHash: [UInt8]) -> [Node?] {
            var left = [Node?](repeating: nil, count: 2 * count - 1)
            for index in 0..<count {
                left[2 * index] = .leaf(
                    LeafNode(
                        encryptionKey: [
                            UInt8(truncatingIfNeeded: index), UInt8(truncatingIfNeeded: index >> 8),
                            1,
                        ],
                        signatureKey: [], credential: .basic(identity: []),
                        capabilities: Capabilities(
                            versions: [], cipherSuites: [], credentials: []),
                        source: .commit(parentHash: parentHash), extensions: [], signature: []))
            }
            if deep {
                for index in stride(from: 1, to: left.count, by: 2) {
                    let below = NodeIndex(index).leaves
                    left[index] = .parent(
                        ParentNode(
                            encryptionKey: Random.bytes(32), parentHash: parentHash,
                            unmergedLeaves: unmerged.filter { below.contains(Int($0.rawValue)) }))
                }
            }
            let root = Node.parent(
                ParentNode(encryptionKey: rootKey, parentHash: [], unmergedLeaves: unmerged))
            return left + [root] + right
        }
        var draft = try RatchetTree(
            decoding: Self.encoded(nodes([])), algorithms: algorithms)
        var input = TLSWriter()
        input.write(vector: rootKey)
        input.write(vector: [])
        let sibling = try #require(draft.width.root.right)
        input.write(vector: draft.treeHash(of: sibling))
        return try RatchetTree(
            decoding: Self.encoded(nodes(algorithms.hash(input.bytes))), algorithms: algorithms)
    }

    private static func encoded(_ nodes: [Node?]) -> [UInt8] {
        var writer = TLSWriter()
        writer.writeVector { content in
            for node in nodes[...(nodes.lastIndex { $0 != nil } ?? 0)] {
                content.write(optional: node)
            }
        }
        return writer.bytes
    }

    /// How many seconds a Welcome with such a tree takes to be refused.
    private func refusal(of count: Int, deep: Bool, for rule: ValidationRule) throws -> Double {
        var hostile = try WelcomeForgery()
        hostile.tree = try tree(count, hostile: hostile, deep: deep)
        hostile.signer = LeafIndex(rawValue: UInt32(count + 1))
        let message = try hostile.message()
        let start = threadTime()
        #expect(throws: MLSError.invalid(rule)) { _ = try hostile.join(message) }
        return threadTime() - start
    }

    @Test func `takes bounded time if thousands of leaves may have set one parent`() throws {
        // Parent hashes hold, and signatures are looked at afterwards.
        #expect(try refusal(of: 4_096, deep: false, for: .leafSignature) < 10)
    }

    @Test func `takes bounded time if every parent has all leaves unmerged`() throws {
        #expect(try refusal(of: 2_048, deep: true, for: .parentHash) < 10)
    }

    /// Each type looked for in each list would be thousands of millions of steps: minutes.
    @Test func `takes bounded time if a leaf and the group list thousands of types`() throws {
        let types = (0..<20_000).map { ExtensionType(rawValue: 0x1000 + $0) }
        let proposals = types.map { ProposalType(rawValue: $0.rawValue) }
        let filler = [UInt16](repeating: 0x0FFF, count: 300_000)
        let leaf = LeafNode(
            encryptionKey: [], signatureKey: [], credential: .basic(identity: []),
            capabilities: Capabilities(
                cipherSuites: [.x25519ChaCha20],
                extensions: filler.map { ExtensionType(rawValue: $0) } + types,
                proposals: filler.map { ProposalType(rawValue: $0) } + proposals),
            source: .update, extensions: types.map { Extension(type: $0, data: []) },
            signature: [])
        let required = RequiredCapabilities(
            extensions: types + types, proposals: proposals + proposals)
        let start = threadTime()
        try LeafChecks(
            algorithms: .x25519ChaCha20SHA256, groupID: [],
            extensions: [required.groupContextExtension] + leaf.extensions, policy: .standard,
            validator: Anyone(), now: Fixture.now, isSending: false
        ).validateCapabilities(of: leaf)
        #expect(threadTime() - start < 10)
    }

    /// To look for each one's place from the left, and to copy the lists of unmerged leaves each time,
    /// would be a thousand million steps.
    @Test func `or commit takes bounded time if it adds thousands`() throws {
        let leaf = try WelcomeForgery.leaf()
        var tree = RatchetTree(leaf, algorithms: .x25519ChaCha20SHA256)
        let count = 1 << 15
        var last: LeafIndex?
        for _ in 1..<count { last = try tree.add(leaf, after: last) }
        let root = tree.width.root
        for index in 1..<count { tree.remove(LeafIndex(rawValue: UInt32(index))) }
        tree.set(root, to: .parent(ParentNode(encryptionKey: [1], parentHash: [])))
        let start = threadTime()
        last = nil
        for _ in 1..<count { last = try tree.add(leaf, after: last) }
        #expect(threadTime() - start < 10)
        #expect(tree.leaves.count == count)
        #expect(
            tree.parent(at: root)?.unmergedLeaves
                == (1..<UInt32(count)).map { LeafIndex(rawValue: $0) })
    }

    @Test func `is no reason to ask about outsiders unless a member signed it`() throws {
        struct MembersOnly: CredentialValidator {
            func accepts(_ subject: CredentialSubject) -> Bool { true }
        }
        var hostile = try WelcomeForgery()
        hostile.context = {
            $0.extensions = [
                ExternalSender.groupContextExtension([
                    ExternalSender(signatureKey: [1], credential: .basic(identity: [8]))
                ])
            ]
        }
        #expect(throws: MLSError.credentialRefused) {
            _ = try hostile.join(validator: MembersOnly())
        }
        hostile.signingKey = hostile.victimKey
        #expect(throws: MLSError.invalid(.groupInfoSignature)) {
            _ = try hostile.join(validator: MembersOnly())
        }
    }
}
