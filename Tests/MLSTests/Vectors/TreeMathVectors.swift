import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// `n_leaves`, `n_nodes`, `root`, and per node `left`, `right`, `parent`, `sibling`.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS")) struct `Vectors: tree math`
{
    struct Case: Decodable {
        let nLeaves: Int
        let nNodes: Int
        let root: Int
        let left: [Int?]
        let right: [Int?]
        let parent: [Int?]
        let sibling: [Int?]
    }

    @Test func `all relations of all nodes`() throws {
        let cases = try VectorFile.cases("tree-math", as: Case.self)
        #expect(!cases.isEmpty)
        for entry in cases {
            let width = LeafCount(holding: entry.nLeaves)
            #expect(width.nodeCount == entry.nNodes)
            #expect(width.root.rawValue == entry.root)
            let nodes = (0..<entry.nNodes).map { NodeIndex($0) }
            #expect(nodes.map { $0.left?.rawValue } == entry.left)
            #expect(nodes.map { $0.right?.rawValue } == entry.right)
            #expect(nodes.map { width.parent(of: $0)?.rawValue } == entry.parent)
            #expect(nodes.map { width.sibling(of: $0)?.rawValue } == entry.sibling)
        }
    }
}
