internal import Cryptography
internal import TLSSyntax

@testable internal import MLS

/// Changing trees, and making the changed ones fit again.
extension ForgeryFixture {
    /// Changes a leaf as the script says.
    func edited(_ leaf: LeafNode, in tree: RatchetTree, by script: inout Script) -> LeafNode {
        switch script.number(11) {
        case 0: return leaf.edited(encryptionKey: key(in: tree, &script))
        case 1:
            return leaf.edited(
                signatureKey: script.choice(
                    Array(signingKeys.keys.sorted { $0.lexicographicallyPrecedes($1) })))
        case 2: return leaf.edited(source: .update)
        case 3: return leaf.edited(source: .commit(parentHash: script.octets(script.number(34))))
        case 4:
            let start = Self.now &- 200 &+ UInt64(script.octet())
            let end = script.flag() ? start &+ UInt64(script.octet()) &* 400_000 : .max
            return leaf.edited(source: .keyPackage(Lifetime(notBefore: start, notAfter: end)))
        case 5:
            var capabilities = leaf.capabilities
            switch script.number(5) {
            case 0: capabilities.versions = []
            case 1: capabilities.cipherSuites = [.x25519AES128]
            case 2: capabilities.extensions = [ExtensionType(rawValue: UInt16(script.octet()))]
            case 3: capabilities.proposals = []
            default: capabilities.credentials = [.x509]
            }
            return leaf.edited(capabilities: capabilities)
        case 6:
            return leaf.edited(
                credential: script.flag()
                    ? .x509(certificates: [script.octets(3)])
                    : .unknown(type: CredentialType(rawValue: 0x0a0a), content: []))
        case 7:
            let type = script.flag() ? Self.customExtension : ExtensionType(rawValue: 0xF0FF)
            return leaf.edited(
                extensions: leaf.extensions + [Extension(type: type, data: script.octets(2))])
        case 8: return leaf.edited(signature: script.octets(script.number(66)))
        case 9: return leaf.edited(signatureKey: script.octets(script.number(34)))
        default:
            var octets = leaf.encoded()
            script.damage(&octets)
            return (try? LeafNode(decoding: octets)) ?? leaf
        }
    }

    /// An encryption key: somebody's, no point at all, or anything.
    private func key(in tree: RatchetTree, _ script: inout Script) -> [UInt8] {
        switch script.number(3) {
        case 0:
            let node = NodeIndex(script.number(tree.width.nodeCount))
            return tree[node]?.encryptionKey ?? []
        case 1: return [UInt8](repeating: 0, count: 32)
        default: return script.octets(32)
        }
    }

    /// Changes one node as the script says.
    func edit(_ tree: inout RatchetTree, by script: inout Script) {
        let index = NodeIndex(script.number(tree.width.nodeCount))
        let other = NodeIndex(script.number(tree.width.nodeCount))
        switch script.number(8) {
        case 0: tree.set(index, to: nil)
        case 1 where index.isLeaf == other.isLeaf: tree.set(index, to: tree[other])
        case 2:
            guard let leaf = index.leaf, tree[leaf] != nil else { return }
            tree.remove(leaf)
            if script.flag() { tree.narrow() }
        case 3:
            if let keyPackage = script.choice(keyPackages) {
                _ = try? tree.add(keyPackage.leafNode)
            }
        default:
            if let leaf = index.leaf {
                guard let node = tree[leaf] else { return }
                tree.set(index, to: .leaf(edited(node, in: tree, by: &script)))
            } else {
                let node = tree.parent(at: index)
                tree.set(index, to: .parent(edited(node, in: tree, by: &script)))
            }
        }
    }

    private func edited(
        _ parent: ParentNode?, in tree: RatchetTree, by script: inout Script
    ) -> ParentNode {
        var unmerged = parent?.unmergedLeaves ?? []
        var hash = parent?.parentHash ?? []
        var encryptionKey = parent?.encryptionKey ?? key(in: tree, &script)
        switch script.number(6) {
        case 0: unmerged.append(LeafIndex(rawValue: UInt32(script.octet() % 18)))
        case 1 where !unmerged.isEmpty: unmerged.remove(at: script.number(unmerged.count))
        case 2:
            unmerged.append(LeafIndex(rawValue: UInt32(script.number(tree.width.rawValue))))
            unmerged.sort()
        case 3: hash = script.octets(script.number(34))
        case 4: encryptionKey = key(in: tree, &script)
        default: unmerged = []
        }
        return ParentNode(encryptionKey: encryptionKey, parentHash: hash, unmergedLeaves: unmerged)
    }

    /// Makes the parent hashes below a node what they must be, as far as there are such, and signs the
    /// leaves.
    func mend(_ tree: inout RatchetTree, below index: NodeIndex, hashes: Bool, signatures: Bool) {
        if let leaf = index.leaf {
            guard signatures, let node = tree[leaf] else { return }
            tree.set(index, to: .leaf(signed(node, at: leaf)))
            return
        }
        guard var first = index.left, var second = index.right else { return }
        var link = link(of: index, below: first, in: tree)
        if link == nil {
            swap(&first, &second)
            link = self.link(of: index, below: first, in: tree)
        }
        mend(&tree, below: second, hashes: hashes, signatures: signatures)
        if hashes, let link, let parent = tree.parent(at: index) {
            let hash = Self.parentHash(of: parent, sibling: second, in: tree)
            switch tree[link] {
            case .leaf(let leaf):
                tree.set(link, to: .leaf(leaf.edited(source: .commit(parentHash: hash))))
            case .parent(let node):
                tree.set(
                    link,
                    to: .parent(
                        ParentNode(
                            encryptionKey: node.encryptionKey, parentHash: hash,
                            unmergedLeaves: node.unmergedLeaves)))
            case nil: break
            }
        }
        mend(&tree, below: first, hashes: hashes, signatures: signatures)
    }

    /// The one node of a child's resolution that isn't unmerged at the parent.
    private func link(
        of index: NodeIndex, below child: NodeIndex, in tree: RatchetTree
    ) -> NodeIndex? {
        guard let parent = tree.parent(at: index) else { return nil }
        let unmerged = Set(parent.unmergedLeaves.map(\.node))
        let rest = tree.resolution(of: child).filter { !unmerged.contains($0) }
        return rest.count == 1 ? rest[0] : nil
    }

    // MARK: The rule, word by word

    /// The hash of a parent, from the sibling's tree hash without the parent's unmerged leaves.
    private static func parentHash(
        of parent: ParentNode, sibling: NodeIndex, in tree: RatchetTree
    ) -> [UInt8] {
        var original = tree
        let unmerged = Set(parent.unmergedLeaves)
        for leaf in unmerged where sibling.contains(leaf.node) && tree[leaf] != nil {
            original.set(leaf.node, to: nil)
        }
        for (index, node) in tree.parents where sibling.contains(index) {
            let rest = node.unmergedLeaves.filter { !unmerged.contains($0) }
            original.set(
                index,
                to: .parent(
                    ParentNode(
                        encryptionKey: node.encryptionKey, parentHash: node.parentHash,
                        unmergedLeaves: rest)))
        }
        var writer = TLSWriter()
        writer.write(vector: parent.encryptionKey)
        writer.write(vector: parent.parentHash)
        writer.write(vector: original.treeHash(of: sibling))
        return algorithms.hash(writer.bytes)
    }

    /// Whether each parent is chained to one node below it, as RFC 9420 §7.9.2 has it.
    static func hasRightParentHashes(_ tree: RatchetTree) -> Bool {
        tree.parents.allSatisfy { index, parent in
            guard let left = index.left, let right = index.right else { return false }
            var chains = 0
            for (child, sibling) in [(left, right), (right, left)] {
                let hash = parentHash(of: parent, sibling: sibling, in: tree)
                let resolution = Set(tree.resolution(of: child))
                let unmerged = Set(parent.unmergedLeaves.map(\.node).filter { child.contains($0) })
                for node in resolution where resolution.subtracting([node]) == unmerged {
                    if tree[node]?.parentHash == hash { chains += 1 }
                }
            }
            return chains == 1
        }
    }

    /// Holds the library's verdict on a tree against the rule, word by word.
    static func compareVerdicts(on octets: [UInt8]) {
        guard var tree = try? RatchetTree(decoding: octets, algorithms: algorithms),
            tree.width.rawValue <= 64, (try? tree.verifyStructure()) != nil
        else { return }
        let isAccepted = (try? tree.verifyParentHashes()) != nil
        precondition(isAccepted == hasRightParentHashes(tree), "another verdict on parent hashes")
    }
}
