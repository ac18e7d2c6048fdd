import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// A tree before and after one proposal.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS"))
struct `Vectors: tree operations` {
    struct Case: Decodable, SuiteCase {
        let cipherSuite: UInt16
        let proposal: Hex
        let proposalSender: UInt32
        let treeBefore: Hex
        let treeAfter: Hex
        let treeHashBefore: Hex
        let treeHashAfter: Hex
    }

    @Test func `a proposal changes the tree as told`() throws {
        let cases = try VectorFile.cases("tree-operations", as: Case.self)
        #expect(!cases.isEmpty)
        for entry in cases {
            var tree = try RatchetTree(
                decoding: entry.treeBefore.bytes, algorithms: #require(entry.algorithms))
            #expect(tree.encoded() == entry.treeBefore.bytes)
            #expect(tree.treeHash() == entry.treeHashBefore.bytes)
            switch try Proposal(decoding: entry.proposal.bytes) {
            case .add(let keyPackage): _ = try tree.add(keyPackage.leafNode)
            case .update(let leaf):
                tree.update(LeafIndex(rawValue: entry.proposalSender), to: leaf)
            case .remove(let leaf):
                tree.remove(leaf)
                tree.narrow()
            default: Issue.record("unexpected proposal")
            }
            #expect(tree.encoded() == entry.treeAfter.bytes)
            #expect(tree.treeHash() == entry.treeHashAfter.bytes)
        }
    }
}

/// Trees with blanks and unmerged leaves: resolutions, tree hashes, parent hashes, leaf signatures.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS"))
struct `Vectors: tree validation` {
    struct Case: Decodable, SuiteCase {
        let cipherSuite: UInt16
        let tree: Hex
        let groupId: Hex
        let treeHashes: [Hex]
        let resolutions: [[Int]]
    }

    @Test func `resolutions, hashes, signatures`() throws {
        let cases = try VectorFile.cases("tree-validation", as: Case.self)
        #expect(!cases.isEmpty)
        for entry in cases {
            let algorithms = try #require(entry.algorithms)
            var tree = try RatchetTree(decoding: entry.tree.bytes, algorithms: algorithms)
            #expect(tree.width.nodeCount == entry.treeHashes.count)
            for index in 0..<tree.width.nodeCount {
                let node = NodeIndex(index)
                #expect(tree.resolution(of: node).map(\.rawValue) == entry.resolutions[index])
                #expect(tree.treeHash(of: node) == entry.treeHashes[index].bytes)
            }
            try tree.verifyStructure()
            try tree.verifyParentHashes()
            for (index, leaf) in tree.leaves {
                let place = LeafNode.Place(groupID: entry.groupId.bytes, leaf: index)
                #expect(
                    algorithms.isValid(
                        signature: leaf.signature, of: leaf.toBeSigned(at: place),
                        label: "LeafNodeTBS", by: leaf.signatureKey))
            }
        }
    }

    @Test func `a tree with a changed parent key is not parent-hash valid`() throws {
        for entry in try VectorFile.cases("tree-validation", as: Case.self) {
            let algorithms = try #require(entry.algorithms)
            let tree = try RatchetTree(decoding: entry.tree.bytes, algorithms: algorithms)
            for (index, parent) in tree.parents.prefix(2) {
                var changed = tree
                var key = parent.encryptionKey
                key[0] ^= 1
                changed.set(
                    index,
                    to: .parent(
                        ParentNode(
                            encryptionKey: key, parentHash: parent.parentHash,
                            unmergedLeaves: parent.unmergedLeaves)))
                #expect(throws: MLSError.invalid(.parentHash)) {
                    try changed.verifyParentHashes()
                }
            }
        }
    }
}

/// Update paths: merged into the tree, decrypted by every other member, and made anew.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS")) struct `Vectors: TreeKEM` {
    struct Case: Decodable, SuiteCase {
        struct PathSecretOf: Decodable {
            let node: Int
            let pathSecret: Hex
        }
        struct Leaf: Decodable {
            let index: UInt32
            let encryptionPriv: Hex
            let signaturePriv: Hex
            let pathSecrets: [PathSecretOf]
        }
        struct Update: Decodable {
            let sender: UInt32
            let updatePath: Hex
            let pathSecrets: [Hex?]
            let commitSecret: Hex
            let treeHashAfter: Hex
        }
        let cipherSuite: UInt16
        let groupId: Hex
        let epoch: UInt64
        let confirmedTranscriptHash: Hex
        let ratchetTree: Hex
        let leavesPrivate: [Leaf]
        let updatePaths: [Update]

        func context(_ treeHash: [UInt8], _ algorithms: CipherAlgorithms) -> [UInt8] {
            GroupContext(
                cipherSuite: algorithms.suite, groupID: groupId.bytes, epoch: epoch,
                treeHash: treeHash, confirmedTranscriptHash: confirmedTranscriptHash.bytes,
                extensions: []
            ).encoded()
        }

        func privateKeys(
            in tree: RatchetTree, _ algorithms: CipherAlgorithms
        ) throws -> [LeafIndex: TreePrivateKeys] {
            var members: [LeafIndex: TreePrivateKeys] = [:]
            for leaf in leavesPrivate {
                let index = LeafIndex(rawValue: leaf.index)
                var keys = TreePrivateKeys(
                    leaf: index,
                    key: try HPKEPrivateKey(leaf.encryptionPriv.secret, algorithms: algorithms))
                for entry in leaf.pathSecrets {
                    let secrets = try PathSecrets(
                        from: PathSecret(entry.pathSecret.secret), count: 1,
                        algorithms: algorithms)
                    keys[NodeIndex(entry.node)] = secrets.keys[0]
                }
                for (node, key) in keys.keys {
                    #expect(tree[node]?.encryptionKey == key.publicKey)
                }
                members[index] = keys
            }
            return members
        }
    }

    @Test func `given paths are decrypted by everyone`() throws {
        let cases = try VectorFile.cases("treekem", as: Case.self)
        #expect(!cases.isEmpty)
        for entry in cases {
            let algorithms = try #require(entry.algorithms)
            let before = try RatchetTree(
                decoding: entry.ratchetTree.bytes, algorithms: algorithms)
            let members = try entry.privateKeys(in: before, algorithms)
            for update in entry.updatePaths {
                let sender = LeafIndex(rawValue: update.sender)
                let path = try UpdatePath(decoding: update.updatePath.bytes)
                var tree = before
                let steps = tree.filteredDirectPath(of: sender)
                try tree.validate(path, steps: steps, excluding: [])
                let parentHash = tree.setPath(
                    of: sender, steps: steps, keys: path.nodes.map(\.encryptionKey))
                #expect(path.leafNode.source == .commit(parentHash: parentHash))
                tree.set(sender.node, to: .leaf(path.leafNode))
                #expect(tree.treeHash() == update.treeHashAfter.bytes)
                try tree.verifyParentHashes()
                let context = entry.context(tree.treeHash(), algorithms)
                for (receiver, keys) in members where receiver != sender {
                    var keys = keys
                    keys.prune(to: tree)
                    let commitSecret = try tree.decrypt(
                        path, steps: steps, for: receiver, privateKeys: &keys, excluding: [],
                        context: context)
                    #expect(commitSecret.bytes == update.commitSecret.secret)
                    let secret = try #require(update.pathSecrets[Int(receiver.rawValue)])
                    let lowest = try #require(
                        steps.first { $0.copathChild.contains(receiver.node) })
                    let expected = try PathSecrets(
                        from: PathSecret(secret.secret), count: 1, algorithms: algorithms)
                    #expect(keys[lowest.parent]?.publicKey == expected.keys[0].publicKey)
                }
            }
        }
    }

    @Test func `own paths are decrypted by everyone`() throws {
        for entry in try VectorFile.cases("treekem", as: Case.self) {
            let algorithms = try #require(entry.algorithms)
            let before = try RatchetTree(
                decoding: entry.ratchetTree.bytes, algorithms: algorithms)
            let members = try entry.privateKeys(in: before, algorithms)
            // Making a path costs one encryption per member: one sender per case is enough.
            for leaf in entry.leavesPrivate.prefix(1) {
                let sender = LeafIndex(rawValue: leaf.index)
                var tree = before
                let old = try #require(tree[sender])
                let steps = tree.filteredDirectPath(of: sender)
                let secrets = try PathSecrets(
                    from: PathSecret(.random(count: algorithms.hashByteCount)),
                    count: steps.count, algorithms: algorithms)
                let parentHash = tree.setPath(
                    of: sender, steps: steps, keys: secrets.keys.map(\.publicKey))
                let leafNode = try LeafNode(
                    LeafConfiguration(old),
                    encryptionKey: HPKEPrivateKey.generate(algorithms).publicKey,
                    source: .commit(parentHash: parentHash),
                    place: LeafNode.Place(groupID: entry.groupId.bytes, leaf: sender),
                    signingKey: SigningKey(seed: leaf.signaturePriv.secret),
                    algorithms: algorithms)
                tree.set(sender.node, to: .leaf(leafNode))
                let context = entry.context(tree.treeHash(), algorithms)
                let path = UpdatePath(
                    leafNode: leafNode,
                    nodes: try tree.encrypt(
                        secrets, steps: steps, excluding: [], context: context))
                for (receiver, keys) in members where receiver != sender {
                    var keys = keys
                    keys.prune(to: tree)
                    let commitSecret = try tree.decrypt(
                        path, steps: steps, for: receiver, privateKeys: &keys, excluding: [],
                        context: context)
                    #expect(commitSecret.bytes == secrets.commitSecret.bytes)
                }
            }
        }
    }
}
