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
    mutating func verifyParentHashes() throws(MLSError) {
        for (index, parent) in parents {
            guard let left = index.left, let right = index.right else { continue }
            let unmerged = Set(parent.unmergedLeaves)
            var chains = 0
            for (child, sibling) in [(left, right), (right, left)] {
                let hash = parentHash(
                    of: parent, siblingTreeHash: treeHash(of: sibling, before: unmerged))
                let resolution = resolution(of: child)
                let range = child.leaves
                let unmergedBelow = unmerged.filter { range.contains(Int($0.rawValue)) }
                guard resolution.count == unmergedBelow.count + 1 else { continue }
                for candidate in resolution where self[candidate]?.parentHash == hash {
                    if unmergedBelow.isEmpty {
                        chains += 1
                        continue
                    }
                    let others = resolution.filter { $0 != candidate }
                    if Set(others) == Set(unmergedBelow.map(\.node)) { chains += 1 }
                }
            }
            guard chains == 1 else { throw .invalid(.parentHash) }
        }
    }
}
