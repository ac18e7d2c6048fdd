internal import Cryptography
internal import TLSSyntax

/// Parent hashes: who put which keys into the tree (RFC 9420 §7.9).
extension RatchetTree {
    /// `ParentHashInput`, hashed (RFC 9420 §7.9).
    private func parentHash(of parent: ParentNode, siblingTreeHash: [UInt8]) -> [UInt8] {
        var writer = TLSWriter()
        writer.write(vector: parent.encryptionKey)
        writer.write(vector: parent.parentHash)
        writer.write(vector: siblingTreeHash)
        return algorithms.hash(writer.bytes)
    }

    /// Gives the filtered direct path of `leaf` new keys (RFC 9420 §7.5).
    ///
    /// - Parameter keys: one for each of `steps`, from below.
    /// - Returns: the parent hash for the leaf.
    mutating func setPath(
        of leaf: LeafIndex, steps: [PathStep], keys: [[UInt8]]
    ) -> [UInt8] {
        for parent in width.directPath(of: leaf.node) where self[parent] != nil {
            set(parent, to: nil)
        }
        var hash: [UInt8] = []
        for (step, key) in zip(steps, keys).reversed() {
            let parent = ParentNode(encryptionKey: key, parentHash: hash)
            set(step.parent, to: .parent(parent))
            hash = parentHash(of: parent, siblingTreeHash: treeHash(of: step.copathChild))
        }
        return hash
    }

    /// Checks that each parent can be chained back to a leaf that set it (RFC 9420 §7.9.2).
    ///
    /// Call `verifyStructure` before: the unmerged leaves have to be in order.
    mutating func verifyParentHashes() throws(MLSError) {
        for (index, parent) in parents {
            guard let left = index.left, let right = index.right else { continue }
            let unmerged = parent.unmergedLeaves[...]
            var chains = 0
            for (child, sibling) in [(left, right), (right, left)] {
                guard let link = link(below: child, unmerged: unmerged.below(child)),
                    let stated = self[link]?.parentHash
                else { continue }
                let hash = parentHash(
                    of: parent, siblingTreeHash: treeHash(of: sibling, before: unmerged))
                if stated == hash { chains += 1 }
            }
            guard chains == 1 else { throw .invalid(.parentHash) }
        }
    }

    /// The only node of a child's resolution that is not an unmerged leaf of the parent: what the
    /// parent hash must be in (RFC 9420 §7.9.2).
    private func link(below child: NodeIndex, unmerged: ArraySlice<LeafIndex>) -> NodeIndex? {
        let resolution = resolution(of: child)
        guard resolution.count == unmerged.count + 1 else { return nil }
        var link: NodeIndex?
        for node in resolution {
            if let leaf = node.leaf, unmerged.holds(leaf) { continue }
            guard link == nil else { return nil }
            link = node
        }
        return link
    }
}
