internal import Cryptography
internal import TLSSyntax

/// A parent of the ratchet tree (RFC 9420 §7.1).
struct ParentNode: Hashable, Sendable, TLSCodable {
    let encryptionKey: [UInt8]
    let parentHash: [UInt8]
    /// In increasing order.
    var unmergedLeaves: [LeafIndex]

    init(encryptionKey: [UInt8], parentHash: [UInt8], unmergedLeaves: [LeafIndex] = []) {
        self.encryptionKey = encryptionKey
        self.parentHash = parentHash
        self.unmergedLeaves = unmergedLeaves
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        encryptionKey = try reader.readVector()
        parentHash = try reader.readVector()
        unmergedLeaves = try reader.readArray()
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(vector: encryptionKey)
        writer.write(vector: parentHash)
        writer.write(array: unmergedLeaves)
    }
}

/// A node of the ratchet tree that is not blank (RFC 9420 §12.4.3.3).
///
/// Boxed, so that copying a tree costs one reference per node.
indirect enum Node: Hashable, Sendable, TLSCodable {
    case leaf(LeafNode)
    case parent(ParentNode)

    init(from reader: inout TLSReader) throws(TLSError) {
        switch try reader.readUInt8() {
        case 1: self = .leaf(try LeafNode(from: &reader))
        case 2: self = .parent(try ParentNode(from: &reader))
        default: throw .invalidValue
        }
    }

    func encode(to writer: inout TLSWriter) {
        switch self {
        case .leaf(let leaf):
            writer.write(UInt8(1))
            writer.write(leaf)
        case .parent(let parent):
            writer.write(UInt8(2))
            writer.write(parent)
        }
    }

    var encryptionKey: [UInt8] {
        switch self {
        case .leaf(let leaf): leaf.encryptionKey
        case .parent(let parent): parent.encryptionKey
        }
    }

    /// The parent hash that the node states, if it is of a kind that does.
    var parentHash: [UInt8]? {
        switch self {
        case .leaf(let leaf):
            if case .commit(let parentHash) = leaf.source { parentHash } else { nil }
        case .parent(let parent):
            parent.parentHash
        }
    }
}
