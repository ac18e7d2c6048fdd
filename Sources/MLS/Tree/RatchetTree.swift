internal import Cryptography
internal import TLSSyntax

/// The public part of the group's ratchet tree (RFC 9420 §4, §7), in array form.
///
/// The tree is always full: `nodes` has `2 · width - 1` entries, blank ones nil. A copy shares all
/// storage until it is changed. Tree hashes are kept per node and dropped along the path of a change.
struct RatchetTree: Sendable {
    let algorithms: CipherAlgorithms
    private(set) var width: LeafCount
    private var nodes: [Node?]
    private var hashes: TreeHashes
    /// The first octets of each node's encryption key, 0 for a blank node: a short list to search.
    private var keyPrefixes: [UInt64]

    /// A tree of one leaf.
    init(_ leaf: LeafNode, algorithms: CipherAlgorithms) {
        self.algorithms = algorithms
        width = LeafCount(holding: 1)
        nodes = [.leaf(leaf)]
        keyPrefixes = [Self.prefix(of: leaf.encryptionKey)]
        hashes = TreeHashes(nodeCount: 1, hashByteCount: algorithms.hashByteCount)
    }

    /// Takes up a `ratchet_tree` (RFC 9420 §12.4.3.3), checking its shape only.
    ///
    /// - Parameter maximumLeafCount: a blank node takes one octet there, and a hundred here.
    init(
        decoding bytes: [UInt8], algorithms: CipherAlgorithms, maximumLeafCount: Int = .max
    ) throws(MLSError) {
        var nodes: [Node?] = []
        do {
            var reader = TLSReader(bytes)
            var content = try reader.readVectorReader()
            try reader.finish()
            while !content.isAtEnd {
                guard nodes.count / 2 < maximumLeafCount else { throw MLSError.refusedByPolicy }
                nodes.append(try content.readOptional(of: Node.self))
            }
        } catch let error as MLSError {
            throw error
        } catch {
            throw .malformed
        }
        guard let last = nodes.last, last != nil else { throw .invalid(.treeShape) }
        for (index, node) in nodes.enumerated() {
            switch node {
            case .leaf: guard index % 2 == 0 else { throw .invalid(.treeShape) }
            case .parent: guard index % 2 == 1 else { throw .invalid(.treeShape) }
            case nil: break
            }
        }
        self.algorithms = algorithms
        width = LeafCount(holding: nodes.count / 2 + 1)
        nodes.append(contentsOf: repeatElement(nil, count: width.nodeCount - nodes.count))
        self.nodes = nodes
        keyPrefixes = nodes.map { $0.map { Self.prefix(of: $0.encryptionKey) } ?? 0 }
        hashes = TreeHashes(nodeCount: nodes.count, hashByteCount: algorithms.hashByteCount)
    }

    /// The `ratchet_tree` form, which ends with the last node that is not blank.
    func encoded() -> [UInt8] {
        let count = (nodes.lastIndex { $0 != nil } ?? -1) + 1
        var writer = TLSWriter()
        writer.writeVector { content in
            for node in nodes[..<count] { content.write(optional: node) }
        }
        return writer.bytes
    }

    /// The node at an index of this tree, nil if blank or outside.
    subscript(index: NodeIndex) -> Node? {
        nodes.indices.contains(index.rawValue) ? nodes[index.rawValue] : nil
    }

    /// The leaf of a member, nil if blank or outside.
    subscript(leaf: LeafIndex) -> LeafNode? {
        guard width.contains(leaf), case .leaf(let node) = nodes[leaf.node.rawValue] else {
            return nil
        }
        return node
    }

    func parent(at index: NodeIndex) -> ParentNode? {
        guard case .parent(let parent) = self[index] else { return nil }
        return parent
    }

    /// The leaves that are not blank, from the left.
    var leaves: [(index: LeafIndex, node: LeafNode)] {
        stride(from: 0, to: nodes.count, by: 2).compactMap { index in
            guard case .leaf(let node) = nodes[index], let leaf = NodeIndex(index).leaf else {
                return nil
            }
            return (leaf, node)
        }
    }

    /// Looks at the leaves that are not blank, from the left, without copying them.
    func forEachLeaf(
        _ body: (LeafIndex, LeafNode) throws(MLSError) -> Void
    ) throws(MLSError) {
        for index in stride(from: 0, to: nodes.count, by: 2) {
            guard case .leaf(let node) = nodes[index], let leaf = NodeIndex(index).leaf else {
                continue
            }
            try body(leaf, node)
        }
    }

    /// Where exactly this leaf is.
    func index(of leafNode: LeafNode) -> LeafIndex? {
        let wanted = Self.prefix(of: leafNode.encryptionKey)
        for index in keyPrefixes.indices where keyPrefixes[index] == wanted {
            if case .leaf(let node) = nodes[index], node == leafNode {
                return NodeIndex(index).leaf
            }
        }
        return nil
    }

    /// The parents that are not blank, from the left.
    var parents: [(index: NodeIndex, node: ParentNode)] {
        stride(from: 1, to: nodes.count, by: 2).compactMap { index in
            guard case .parent(let node) = nodes[index] else { return nil }
            return (NodeIndex(index), node)
        }
    }

    // MARK: Changing nodes

    mutating func set(_ index: NodeIndex, to node: Node?) {
        nodes[index.rawValue] = node
        keyPrefixes[index.rawValue] = node.map { Self.prefix(of: $0.encryptionKey) } ?? 0
        hashes.forget(index, in: width)
    }

    private mutating func blankDirectPath(of leaf: LeafIndex) {
        for parent in width.directPath(of: leaf.node) where nodes[parent.rawValue] != nil {
            nodes[parent.rawValue] = nil
            keyPrefixes[parent.rawValue] = 0
        }
        hashes.forget(leaf.node, in: width)
    }

    /// The leftmost blank leaf, after doubling the tree if there is none (RFC 9420 §7.7).
    ///
    /// - Parameter known: there is none up to this leaf.
    mutating func makeRoomForLeaf(
        after known: LeafIndex? = nil
    ) throws(MLSError) -> LeafIndex {
        let start = known.map { $0.node.rawValue + 2 } ?? 0
        let blank = stride(from: start, to: nodes.count, by: 2).first { nodes[$0] == nil }
        guard let leaf = NodeIndex(blank ?? nodes.count + 1).leaf else {
            throw .invalid(.treeShape)
        }
        if blank != nil { return leaf }
        width = LeafCount(holding: width.rawValue * 2)
        nodes.append(contentsOf: repeatElement(nil, count: width.nodeCount - nodes.count))
        keyPrefixes.append(contentsOf: repeatElement(0, count: nodes.count - keyPrefixes.count))
        hashes.resize(to: nodes.count)
        return leaf
    }

    /// Applies an Add (RFC 9420 §12.1.1).
    ///
    /// - Parameter last: the leaf that the Add before this one took.
    mutating func add(
        _ leafNode: LeafNode, after last: LeafIndex? = nil
    ) throws(MLSError) -> LeafIndex {
        let leaf = try makeRoomForLeaf(after: last)
        set(leaf.node, to: .leaf(leafNode))
        for index in width.directPath(of: leaf.node) {
            guard case .parent(var parent) = nodes[index.rawValue] else { continue }
            // So that the list is nobody else's, and not copied for each leaf of many.
            nodes[index.rawValue] = nil
            parent.unmergedLeaves.insert(leaf, at: parent.unmergedLeaves[...].position(of: leaf))
            nodes[index.rawValue] = .parent(parent)
        }
        return leaf
    }

    /// Applies an Update (RFC 9420 §12.1.2).
    mutating func update(_ leaf: LeafIndex, to leafNode: LeafNode) {
        blankDirectPath(of: leaf)
        set(leaf.node, to: .leaf(leafNode))
    }

    /// Applies a Remove (RFC 9420 §12.1.3) but for narrowing the tree, which ends a list of them.
    mutating func remove(_ leaf: LeafIndex) {
        blankDirectPath(of: leaf)
        set(leaf.node, to: nil)
    }

    /// Halves the tree while its right half has no leaf (RFC 9420 §7.7).
    mutating func narrow() {
        let last = stride(from: nodes.count - 1, through: 0, by: -2).first { nodes[$0] != nil } ?? 0
        let needed = LeafCount(holding: last / 2 + 1)
        guard needed != width else { return }
        width = needed
        nodes.removeSubrange(width.nodeCount...)
        keyPrefixes.removeSubrange(width.nodeCount...)
        hashes.resize(to: nodes.count)
    }

    private static func prefix(of key: [UInt8]) -> UInt64 {
        key.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Whether one of these encryption keys is in the tree.
    func contains(anyOf keys: [[UInt8]]) -> Bool {
        contains(anyOf: keys, at: stride(from: 0, to: nodes.count, by: 1))
    }

    /// Whether a parent has one of these encryption keys.
    func hasParent(withKeyAmong keys: [[UInt8]]) -> Bool {
        contains(anyOf: keys, at: stride(from: 1, to: nodes.count, by: 2))
    }

    private func contains(anyOf keys: [[UInt8]], at indices: StrideTo<Int>) -> Bool {
        if keys.isEmpty { return false }
        guard keys.count <= 32 else {
            let wanted = Set(keys.map(EncryptionKey.init))
            return indices.contains { index in
                nodes[index].map { wanted.contains(EncryptionKey(octets: $0.encryptionKey)) }
                    ?? false
            }
        }
        let wanted = keys.map { Self.prefix(of: $0) }
        for index in indices where wanted.contains(keyPrefixes[index]) {
            if let node = nodes[index], keys.contains(node.encryptionKey) { return true }
        }
        return false
    }

    // MARK: Resolutions and paths

    /// The nodes whose keys reach everyone below `index` (RFC 9420 §4.1.1), without `excluded`.
    func resolution(of index: NodeIndex, excluding excluded: Set<LeafIndex> = []) -> [NodeIndex] {
        var resolution: [NodeIndex] = []
        appendResolution(of: index, excluding: excluded, to: &resolution)
        return resolution
    }

    private func appendResolution(
        of index: NodeIndex, excluding excluded: Set<LeafIndex>, to resolution: inout [NodeIndex]
    ) {
        switch nodes[index.rawValue] {
        case .leaf:
            if let leaf = index.leaf, !excluded.contains(leaf) { resolution.append(index) }
        case .parent(let parent):
            resolution.append(index)
            for leaf in parent.unmergedLeaves where !excluded.contains(leaf) {
                resolution.append(leaf.node)
            }
        case nil:
            guard let left = index.left, let right = index.right else { return }
            appendResolution(of: left, excluding: excluded, to: &resolution)
            appendResolution(of: right, excluding: excluded, to: &resolution)
        }
    }

    private func hasEmptyResolution(_ index: NodeIndex) -> Bool {
        if nodes[index.rawValue] != nil { return false }
        guard let left = index.left, let right = index.right else { return true }
        return hasEmptyResolution(left) && hasEmptyResolution(right)
    }

    /// A parent on a filtered direct path, and its child that is not on the path.
    struct PathStep: Hashable, Sendable {
        let parent: NodeIndex
        let copathChild: NodeIndex
    }

    /// The parents that an update of `leaf` gives new keys (RFC 9420 §4.1.2), from below.
    func filteredDirectPath(of leaf: LeafIndex) -> [PathStep] {
        var steps: [PathStep] = []
        var child = leaf.node
        for parent in width.directPath(of: leaf.node) {
            if let sibling = width.sibling(of: child), !hasEmptyResolution(sibling) {
                steps.append(PathStep(parent: parent, copathChild: sibling))
            }
            child = parent
        }
        return steps
    }

    // MARK: Hashes

    /// The tree hash of the whole tree (RFC 9420 §7.8).
    mutating func treeHash() -> [UInt8] { treeHash(of: width.root) }

    /// The tree hash of a subtree (RFC 9420 §7.8).
    mutating func treeHash(of index: NodeIndex) -> [UInt8] {
        if let known = hashes[index] { return known }
        let hash: [UInt8]
        if let left = index.left, let right = index.right {
            let leftHash = treeHash(of: left)
            let rightHash = treeHash(of: right)
            hash = algorithms.hash(
                Self.hashInput(parent: parent(at: index), leftHash, rightHash))
        } else {
            hash = algorithms.hash(hashInput(leafAt: index, isBlanked: false))
        }
        hashes[index] = hash
        return hash
    }

    /// The tree hash of a subtree as it was before `leaves` were added (RFC 9420 §7.9).
    ///
    /// - Parameter leaves: in increasing order; others than those below `index` don't matter.
    mutating func treeHash(
        of index: NodeIndex, before leaves: ArraySlice<LeafIndex>
    ) -> [UInt8] {
        let leaves = leaves.below(index)
        guard !leaves.isEmpty else { return treeHash(of: index) }
        guard let left = index.left, let right = index.right else {
            return algorithms.hash(hashInput(leafAt: index, isBlanked: true))
        }
        let leftHash = treeHash(of: left, before: leaves)
        let rightHash = treeHash(of: right, before: leaves)
        var parent = parent(at: index)
        parent?.unmergedLeaves.removeAll { leaves.holds($0) }
        return algorithms.hash(Self.hashInput(parent: parent, leftHash, rightHash))
    }

    /// `TreeHashInput` of a leaf (RFC 9420 §7.8).
    private func hashInput(leafAt index: NodeIndex, isBlanked: Bool) -> [UInt8] {
        var writer = TLSWriter()
        let node = isBlanked ? nil : index.leaf.flatMap { self[$0] }
        writer.reserve(6 + (node?.estimatedByteCount ?? 0))
        writer.write(UInt8(1))
        if let leaf = index.leaf {
            writer.write(leaf)
            writer.write(optional: node)
        }
        return writer.bytes
    }

    /// `TreeHashInput` of a parent (RFC 9420 §7.8).
    private static func hashInput(
        parent: ParentNode?, _ leftHash: [UInt8], _ rightHash: [UInt8]
    ) -> [UInt8] {
        var writer = TLSWriter()
        writer.reserve(2 * leftHash.count + 64 + (parent?.encryptionKey.count ?? 0))
        writer.write(UInt8(2))
        writer.write(optional: parent)
        writer.write(vector: leftHash)
        writer.write(vector: rightHash)
        return writer.bytes
    }
}
