internal import Cryptography
internal import TLSSyntax

/// What secrets for other protocols are derived from in an epoch (RFC 9420 §8.5, and §4.4 of the MLS
/// extensions draft).
struct Exporter: Sendable {
    /// The epoch's exporter secret, which gives every label; nil once only some labels were kept.
    private(set) var secret: ExporterSecret?
    /// The labels that were kept.
    private(set) var labels: [String: ExporterLabelSecret]
    /// The secrets that are given out once.
    private(set) var tree: ExporterTree

    init(secret: ExporterSecret?, labels: [String: ExporterLabelSecret] = [:], tree: ExporterTree) {
        self.secret = secret
        self.labels = labels
        self.tree = tree
    }

    /// `MLS-Exporter` (RFC 9420 §8.5), or nil if the label's secret is no longer there.
    func export(
        label: String, context: [UInt8], count: Int, algorithms: CipherAlgorithms
    ) -> SecretBytes? {
        (labels[label] ?? secret?.secret(for: label, algorithms)).map { labelSecret in
            algorithms.expandWithLabel(
                labelSecret.bytes, "exported", context: algorithms.hash(context), count: count)
        }
    }

    /// Keeps the secrets of these labels, as far as they are still there, and nothing else.
    mutating func restrict(to kept: Set<String>, algorithms: CipherAlgorithms) {
        var secrets: [String: ExporterLabelSecret] = [:]
        for label in kept {
            secrets[label] = labels[label] ?? secret?.secret(for: label, algorithms)
        }
        labels = secrets
        secret = nil
    }

    mutating func take(_ component: ComponentID, algorithms: CipherAlgorithms) -> SecretBytes? {
        tree.take(component, algorithms: algorithms)
    }
}

extension ExporterSecret {
    /// The label's own secret, from which all its exports follow (RFC 9420 §8.5).
    fileprivate func secret(for label: String, _ algorithms: CipherAlgorithms)
        -> ExporterLabelSecret
    {
        ExporterLabelSecret(algorithms.deriveSecret(bytes, label))
    }
}

/// A secret tree with a leaf for each component (MLS extensions draft §4.4).
///
/// A node's secret is gone as soon as its children's are there, a leaf's as soon as it was taken.
struct ExporterTree: Sendable {
    private static let width = LeafCount(holding: 1 << 16)
    private(set) var nodes: [NodeIndex: TreeNodeSecret]

    init(_ applicationExportSecret: TreeNodeSecret) {
        nodes = [Self.width.root: applicationExportSecret]
    }

    init(nodes: [NodeIndex: TreeNodeSecret]) { self.nodes = nodes }

    /// The component's secret, the first time.
    mutating func take(
        _ component: ComponentID, algorithms: CipherAlgorithms
    ) -> SecretBytes? {
        let leaf = LeafIndex(rawValue: UInt32(component.rawValue)).node
        var path = [leaf] + Self.width.directPath(of: leaf)
        guard let start = path.firstIndex(where: { nodes[$0] != nil }),
            var secret = nodes.removeValue(forKey: path[start])
        else { return nil }
        path.removeSubrange((start + 1)...)
        for (index, next) in zip(path.reversed(), path.reversed().dropFirst()) {
            guard let left = index.left, let right = index.right else { return nil }
            func child(_ side: String) -> TreeNodeSecret {
                TreeNodeSecret(
                    algorithms.expandWithLabel(
                        secret.bytes, "tree", context: Array(side.utf8),
                        count: algorithms.hashByteCount))
            }
            let isLeft = next == left
            nodes[isLeft ? right : left] = child(isLeft ? "right" : "left")
            secret = child(isLeft ? "left" : "right")
        }
        return secret.bytes
    }
}

extension Exporter {
    func encode(to writer: inout TLSWriter) {
        writer.write(UInt8(secret == nil ? 0 : 1))
        if let secret { writer.write(secret: secret.bytes) }
        writer.write(UInt32(truncatingIfNeeded: labels.count))
        for (label, secret) in labels.sorted(by: { $0.key < $1.key }) {
            writer.write(vector: Array(label.utf8))
            writer.write(secret: secret.bytes)
        }
        writer.write(UInt32(truncatingIfNeeded: tree.nodes.count))
        for (index, secret) in tree.nodes.sorted(by: { $0.key < $1.key }) {
            writer.write(UInt32(truncatingIfNeeded: index.rawValue))
            writer.write(secret: secret.bytes)
        }
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        secret = try reader.readPresence() ? ExporterSecret(try reader.readSecret()) : nil
        labels = [:]
        for _ in 0..<(try reader.readUInt32()) {
            guard let label = String(validating: try reader.readVector(), as: UTF8.self) else {
                throw .invalidValue
            }
            labels[label] = ExporterLabelSecret(try reader.readSecret())
        }
        var nodes: [NodeIndex: TreeNodeSecret] = [:]
        for _ in 0..<(try reader.readUInt32()) {
            let index = NodeIndex(Int(try reader.readUInt32()))
            nodes[index] = TreeNodeSecret(try reader.readSecret())
        }
        tree = ExporterTree(nodes: nodes)
    }
}
