public import TLSSyntax

/// The position of a member among the leaves, counted from the left (RFC 9420 §4.1).
public struct LeafIndex: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt32

    /// Any number; whether there is such a leaf is for the tree to say.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// From left to right.
    public static func < (left: LeafIndex, right: LeafIndex) -> Bool {
        left.rawValue < right.rawValue
    }

    /// The leaf's node.
    var node: NodeIndex { NodeIndex(2 * Int(rawValue)) }
}

extension LeafIndex: TLSCodable {
    /// Reads a `uint32`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        rawValue = try reader.readUInt32()
    }

    /// Writes a `uint32`.
    public func encode(to writer: inout TLSWriter) { writer.write(rawValue) }
}

/// Leaves in increasing order, in lists that a hostile tree may make as long as itself.
extension ArraySlice<LeafIndex> {
    private func position(of number: Int) -> Int {
        var start = startIndex
        var end = endIndex
        while start < end {
            let middle = start + (end - start) / 2
            if Int(self[middle].rawValue) < number { start = middle + 1 } else { end = middle }
        }
        return start
    }

    /// Where a leaf is, or would be.
    func position(of leaf: LeafIndex) -> Int { position(of: Int(leaf.rawValue)) }

    /// Whether a leaf is in the list.
    func holds(_ leaf: LeafIndex) -> Bool {
        let position = position(of: leaf)
        return position < endIndex && self[position] == leaf
    }

    /// Those below a node.
    func below(_ index: NodeIndex) -> ArraySlice<LeafIndex> {
        let range = index.leaves
        return self[position(of: range.lowerBound)..<position(of: range.upperBound + 1)]
    }
}

/// The position of a node in the array form of a tree (RFC 9420 appendix C).
struct NodeIndex: Hashable, Comparable, Sendable {
    let rawValue: Int

    init(_ rawValue: Int) { self.rawValue = rawValue }

    static func < (left: NodeIndex, right: NodeIndex) -> Bool { left.rawValue < right.rawValue }

    /// Leaves are at level 0, their parents at 1.
    var level: Int { (~rawValue).trailingZeroBitCount }

    var isLeaf: Bool { rawValue & 1 == 0 }

    /// The leaf at this node, if it is one.
    var leaf: LeafIndex? {
        isLeaf ? UInt32(exactly: rawValue / 2).map(LeafIndex.init(rawValue:)) : nil
    }

    var left: NodeIndex? {
        let level = self.level
        return level == 0 ? nil : NodeIndex(rawValue ^ (1 << (level - 1)))
    }

    var right: NodeIndex? {
        let level = self.level
        return level == 0 ? nil : NodeIndex(rawValue ^ (3 << (level - 1)))
    }

    /// The parent in a tree wide enough to have one; `LeafCount.parent(of:)` knows the root.
    var parentInWideTree: NodeIndex {
        let level = self.level
        return NodeIndex((rawValue | (1 << level)) & ~(1 << (level + 1)))
    }

    /// Whether `other` is this node or below it.
    func contains(_ other: NodeIndex) -> Bool {
        let reach = 1 << level - 1
        return other.rawValue >= rawValue - reach && other.rawValue <= rawValue + reach
    }

    /// The leaves below this node, or itself.
    var leaves: ClosedRange<Int> {
        let reach = 1 << level - 1
        return (rawValue - reach) / 2...(rawValue + reach) / 2
    }
}

/// The width of a tree: a power of two (RFC 9420 §4.1, appendix C).
struct LeafCount: Hashable, Sendable {
    let rawValue: Int

    /// The narrowest tree with at least `count` leaves.
    init(holding count: Int) {
        var width = 1
        while width < count { width *= 2 }
        rawValue = width
    }

    var nodeCount: Int { 2 * rawValue - 1 }

    var root: NodeIndex { NodeIndex(rawValue - 1) }

    func contains(_ leaf: LeafIndex) -> Bool { Int(leaf.rawValue) < rawValue }

    func parent(of node: NodeIndex) -> NodeIndex? {
        node == root ? nil : node.parentInWideTree
    }

    func sibling(of node: NodeIndex) -> NodeIndex? {
        guard let parent = parent(of: node) else { return nil }
        return node < parent ? parent.right : parent.left
    }

    /// The parents of a node, from its own up to the root.
    func directPath(of node: NodeIndex) -> [NodeIndex] {
        var path: [NodeIndex] = []
        var current = node
        while let parent = parent(of: current) {
            path.append(parent)
            current = parent
        }
        return path
    }

    /// The lowest node above both.
    func commonAncestor(_ first: NodeIndex, _ second: NodeIndex) -> NodeIndex {
        var node = first
        while !node.contains(second), let parent = parent(of: node) { node = parent }
        return node
    }
}
