import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// A Welcome by somebody who has a key package of the victim and may put any tree into it.
struct HostileWelcome {
    let algorithms = CipherAlgorithms.x25519ChaCha20SHA256
    let attacker: Client
    let victim: KeyPackageBundle

    init() throws {
        attacker = try Client("attacker")
        victim = try Client("victim").bundle(algorithms.suite)
    }

    /// The attacker's leaf.
    func ownLeaf(_ configuration: LeafConfiguration? = nil) throws -> LeafNode {
        try LeafNode(
            configuration ?? attacker.leaf,
            encryptionKey: HPKEPrivateKey.generate(algorithms).publicKey,
            source: .keyPackage(Fixture.lifetime), place: nil, signingKey: attacker.signingKey,
            algorithms: algorithms)
    }

    /// A Welcome that is right in all that one tree alone doesn't decide.
    func message(
        _ tree: inout RatchetTree, signer: LeafIndex, extensions: [Extension] = []
    ) throws -> [UInt8] {
        let context = GroupContext(
            cipherSuite: algorithms.suite, groupID: [1, 2], epoch: 1, treeHash: tree.treeHash(),
            confirmedTranscriptHash: Random.bytes(32), extensions: extensions)
        let joiner = JoinerSecret(.random(count: 32))
        let joined = JoinedSecrets(
            joinerSecret: joiner,
            preSharedKeys: try PreSharedKeys().combined([], algorithms: algorithms),
            algorithms: algorithms)
        let (secrets, _) = EpochSecrets.derive(
            from: joined.epochSecret(context: context.encoded(), algorithms: algorithms),
            algorithms: algorithms)
        func groupInfo(_ signature: [UInt8]) -> GroupInfo {
            GroupInfo(
                groupContext: context,
                extensions: [Extension(type: .ratchetTree, data: tree.encoded())],
                confirmationTag: secrets.confirmationKey.tag(
                    confirmedTranscriptHash: context.confirmedTranscriptHash,
                    algorithms: algorithms),
                signer: signer, signature: signature)
        }
        let signature = try algorithms.sign(
            groupInfo([]).toBeSigned, label: "GroupInfoTBS", with: attacker.signingKey)
        let groupSecrets = GroupSecrets(joinerSecret: joiner, pathSecret: nil, preSharedKeys: [])
        return try joined.welcome(
            groupInfo(signature), groupSecrets, to: victim, suite: algorithms.suite,
            algorithms: algorithms)
    }

    func join(
        _ message: [UInt8], validator: some CredentialValidator = Anyone()
    ) throws -> Group {
        try Group.join(
            welcome: message, bundle: victim, existing: [], validator: validator, at: Fixture.now)
    }
}

@Suite struct `A hostile Welcome` {
    /// A root whose left half is `count` leaves, all but the first unmerged and each stating the
    /// parent hash of the root; `deep`, each parent on the way lists its leaves, too.
    private func tree(
        _ count: Int, hostile: HostileWelcome, deep: Bool
    ) throws -> RatchetTree {
        let algorithms = hostile.algorithms
        let victim = hostile.victim.keyPackage.leafNode
        let rootKey = try HPKEPrivateKey.generate(algorithms).publicKey
        let unmerged = (1..<count).map { LeafIndex(rawValue: UInt32($0)) }
        var right = [Node?](repeating: nil, count: 2 * count - 1)
        right[0] = .leaf(victim)
        right[2] = .leaf(try hostile.ownLeaf())
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

    @Test func `takes bounded time if thousands of leaves may have set one parent`() throws {
        let hostile = try HostileWelcome()
        let count = 4_096
        var tree = try tree(count, hostile: hostile, deep: false)
        let message = try hostile.message(
            &tree, signer: LeafIndex(rawValue: UInt32(count + 1)))
        let elapsed = ContinuousClock().measure {
            // Parent hashes hold, and signatures are looked at afterwards.
            #expect(throws: MLSError.invalid(.leafSignature)) { _ = try hostile.join(message) }
        }
        #expect(elapsed < .seconds(10))
    }

    @Test func `takes bounded time if every parent has all leaves unmerged`() throws {
        let hostile = try HostileWelcome()
        let count = 2_048
        var tree = try tree(count, hostile: hostile, deep: true)
        let message = try hostile.message(
            &tree, signer: LeafIndex(rawValue: UInt32(count + 1)))
        let elapsed = ContinuousClock().measure {
            #expect(throws: MLSError.invalid(.parentHash)) { _ = try hostile.join(message) }
        }
        #expect(elapsed < .seconds(10))
    }
}
