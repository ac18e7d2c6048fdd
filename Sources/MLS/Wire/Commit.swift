internal import Cryptography
internal import TLSSyntax

/// A proposal, or the hash of one sent before (RFC 9420 §12.4).
enum ProposalOrRef: Hashable, Sendable, TLSCodable {
    // Boxed: an entry of two octets must not take the room of the largest proposal.
    indirect case proposal(Proposal)
    case reference(ProposalRef)

    init(from reader: inout TLSReader) throws(TLSError) {
        switch try reader.readUInt8() {
        case 1: self = .proposal(try Proposal(from: &reader))
        case 2: self = .reference(ProposalRef(bytes: try reader.readVector()))
        default: throw .invalidValue
        }
    }

    func encode(to writer: inout TLSWriter) {
        switch self {
        case .proposal(let proposal):
            writer.write(UInt8(1))
            writer.write(proposal)
        case .reference(let reference):
            writer.write(UInt8(2))
            writer.write(vector: reference.bytes)
        }
    }
}

/// Names a proposal by the hash of the message that brought it (RFC 9420 §5.2).
public struct ProposalRef: Hashable, Sendable {
    /// The hash.
    public let bytes: [UInt8]
}

/// An HPKE ciphertext (RFC 9420 §7.6).
struct HPKECiphertext: Hashable, Sendable, TLSCodable {
    let kemOutput: [UInt8]
    let ciphertext: [UInt8]

    init(kemOutput: [UInt8], ciphertext: [UInt8]) {
        self.kemOutput = kemOutput
        self.ciphertext = ciphertext
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        kemOutput = try reader.readVector()
        ciphertext = try reader.readVector()
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(vector: kemOutput)
        writer.write(vector: ciphertext)
    }
}

/// `HPKECiphertext encrypted_path_secret<V>` (RFC 9420 §7.6), kept as it is encoded.
///
/// A commit to a large group can hold a thousand of them, of which a receiver opens one.
struct EncryptedPathSecrets: Hashable, Sendable, TLSCodable {
    private let encoded: [UInt8]
    let count: Int

    init(_ ciphertexts: [HPKECiphertext]) {
        var writer = TLSWriter()
        for ciphertext in ciphertexts { writer.write(ciphertext) }
        encoded = writer.bytes
        count = ciphertexts.count
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        encoded = try reader.readVector()
        var content = TLSReader(encoded)
        var count = 0
        while !content.isAtEnd {
            try Self.skip(&content)
            count += 1
        }
        self.count = count
    }

    func encode(to writer: inout TLSWriter) { writer.write(vector: encoded) }

    var byteCount: Int { encoded.count }

    /// The ciphertext at a position, nil behind the last.
    subscript(position: Int) -> HPKECiphertext? {
        guard position < count else { return nil }
        var content = TLSReader(encoded)
        do {
            for _ in 0..<position { try Self.skip(&content) }
            return try HPKECiphertext(from: &content)
        } catch {
            return nil
        }
    }

    private static func skip(_ content: inout TLSReader) throws(TLSError) {
        try content.skipVector()
        try content.skipVector()
    }
}

/// The new key of one parent, and its path secret for those who need it (RFC 9420 §7.6).
struct UpdatePathNode: Hashable, Sendable, TLSCodable {
    let encryptionKey: [UInt8]
    let encryptedPathSecrets: EncryptedPathSecrets

    init(encryptionKey: [UInt8], encryptedPathSecrets: EncryptedPathSecrets) {
        self.encryptionKey = encryptionKey
        self.encryptedPathSecrets = encryptedPathSecrets
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        encryptionKey = try reader.readVector()
        encryptedPathSecrets = try EncryptedPathSecrets(from: &reader)
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(vector: encryptionKey)
        writer.write(encryptedPathSecrets)
    }
}

/// The committer's new leaf and parents (RFC 9420 §7.6).
struct UpdatePath: Hashable, Sendable, TLSCodable {
    let leafNode: LeafNode
    let nodes: [UpdatePathNode]

    init(leafNode: LeafNode, nodes: [UpdatePathNode]) {
        self.leafNode = leafNode
        self.nodes = nodes
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        leafNode = try LeafNode(from: &reader)
        nodes = try reader.readArray()
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(leafNode)
        writer.write(array: nodes)
    }
}

/// Starts a new epoch with the changes it lists (RFC 9420 §12.4).
struct Commit: Hashable, Sendable, TLSCodable {
    let proposals: [ProposalOrRef]
    let path: UpdatePath?

    init(proposals: [ProposalOrRef], path: UpdatePath?) {
        self.proposals = proposals
        self.path = path
    }

    init(from reader: inout TLSReader) throws(TLSError) {
        proposals = try reader.readArray()
        path = try reader.readOptional()
    }

    func encode(to writer: inout TLSWriter) {
        writer.write(array: proposals)
        writer.write(optional: path)
    }

    /// About what the encoding takes, so that most are written without moving them.
    var estimatedByteCount: Int {
        // A few octets can state very many.
        let some = 256 * min(proposals.count, 256)
        guard let path else { return some + 256 }
        return path.nodes.reduce(some + path.leafNode.estimatedByteCount) {
            $0 + $1.encryptionKey.count + $1.encryptedPathSecrets.byteCount + 16
        }
    }
}
