/// The tree hashes known so far, side by side in one array so that a copy is cheap.
struct TreeHashes: Sendable {
    private let hashByteCount: Int
    private var bytes: [UInt8]
    private var isKnown: [Bool]

    init(nodeCount: Int, hashByteCount: Int) {
        self.hashByteCount = hashByteCount
        bytes = [UInt8](repeating: 0, count: nodeCount * hashByteCount)
        isKnown = [Bool](repeating: false, count: nodeCount)
    }

    subscript(index: NodeIndex) -> [UInt8]? {
        get {
            guard isKnown[index.rawValue] else { return nil }
            let start = index.rawValue * hashByteCount
            return Array(bytes[start..<start + hashByteCount])
        }
        set {
            isKnown[index.rawValue] = newValue != nil
            guard let newValue, newValue.count == hashByteCount else { return }
            let start = index.rawValue * hashByteCount
            bytes.replaceSubrange(start..<start + hashByteCount, with: newValue)
        }
    }

    /// Forgets the hashes that depend on a node.
    mutating func forget(_ index: NodeIndex, in width: LeafCount) {
        isKnown[index.rawValue] = false
        var current = index
        while let parent = width.parent(of: current) {
            isKnown[parent.rawValue] = false
            current = parent
        }
    }

    /// Keeps what a wider or narrower tree has in common with this one.
    mutating func resize(to nodeCount: Int) {
        let missing = nodeCount - isKnown.count
        if missing > 0 {
            bytes.append(contentsOf: repeatElement(0, count: missing * hashByteCount))
            isKnown.append(contentsOf: repeatElement(false, count: missing))
        } else {
            bytes.removeLast(-missing * hashByteCount)
            isKnown.removeLast(-missing)
        }
    }
}
