public import Cryptography
internal import TLSSyntax

/// One entry of a stored group that an operation changed.
///
/// Write it in the transaction of the operation: replace the entry with this key, or delete it.
public struct StateChange: Sendable {
    /// Names the entry within the group.
    public let key: [UInt8]
    /// The entry's new content; nil when it is to be deleted, which must be thorough.
    public let value: SecretBytes?
}

/// The entries that a stored group consists of.
enum StateKey: Hashable, Sendable {
    /// What is left when the others are taken away; small.
    case core
    /// An epoch's public ratchet tree.
    case tree(epoch: UInt64)
    /// An epoch's context and secrets.
    case epoch(UInt64)
    /// A node's secret in an epoch's secret tree.
    case treeSecret(epoch: UInt64, NodeIndex)
    /// A sender's two ratchets in an epoch.
    case ratchets(epoch: UInt64, LeafIndex)
    /// What secrets can still be exported from the current epoch.
    case exporter(epoch: UInt64)
    /// One of the pending proposals, by its number in the epoch.
    case proposal(UInt32)

    var bytes: [UInt8] {
        var writer = TLSWriter()
        switch self {
        case .core:
            writer.write(UInt8(0))
        case .tree(let epoch):
            writer.write(UInt8(1))
            writer.write(epoch)
        case .epoch(let epoch):
            writer.write(UInt8(2))
            writer.write(epoch)
        case .treeSecret(let epoch, let node):
            writer.write(UInt8(3))
            writer.write(epoch)
            writer.write(UInt64(node.rawValue))
        case .ratchets(let epoch, let leaf):
            writer.write(UInt8(4))
            writer.write(epoch)
            writer.write(leaf)
        case .exporter(let epoch):
            writer.write(UInt8(5))
            writer.write(epoch)
        case .proposal(let number):
            writer.write(UInt8(6))
            writer.write(number)
        }
        return writer.bytes
    }

    init(bytes: [UInt8]) throws(TLSError) {
        var reader = TLSReader(bytes)
        switch try reader.readUInt8() {
        case 0: self = .core
        case 1: self = .tree(epoch: try reader.readUInt64())
        case 2: self = .epoch(try reader.readUInt64())
        case 3:
            let epoch = try reader.readUInt64()
            let node = try reader.readUInt64()
            guard node < 1 << 33 else { throw .invalidValue }
            self = .treeSecret(epoch: epoch, NodeIndex(Int(node)))
        case 4:
            self = .ratchets(
                epoch: try reader.readUInt64(), try LeafIndex(from: &reader))
        case 5: self = .exporter(epoch: try reader.readUInt64())
        case 6: self = .proposal(try reader.readUInt32())
        default: throw .invalidValue
        }
        try reader.finish()
    }
}
