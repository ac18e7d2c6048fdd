public import TLSSyntax

/// Who a member says it is (RFC 9420 §5.3). Whether that is true, a ``CredentialValidator`` says.
public enum Credential: Hashable, Sendable {
    /// An identity without further proof.
    case basic(identity: [UInt8])
    /// A chain of X.509 certificates in DER, the member's own first.
    case x509(certificates: [[UInt8]])
    /// A type that this library does not know, with its one opaque field.
    case unknown(type: CredentialType, content: [UInt8])

    /// The type's number.
    public var type: CredentialType {
        switch self {
        case .basic: .basic
        case .x509: .x509
        case .unknown(let type, _): type
        }
    }
}

extension Credential: TLSCodable {
    /// Reads a `Credential` (RFC 9420 §5.3).
    public init(from reader: inout TLSReader) throws(TLSError) {
        let type = try reader.readCode(CredentialType.self)
        switch type {
        case .basic:
            self = .basic(identity: try reader.readVector())
        case .x509:
            var content = try reader.readVectorReader()
            var certificates: [[UInt8]] = []
            while !content.isAtEnd { certificates.append(try content.readVector()) }
            self = .x509(certificates: certificates)
        default:
            self = .unknown(type: type, content: try reader.readVector())
        }
    }

    /// Writes a `Credential` (RFC 9420 §5.3).
    public func encode(to writer: inout TLSWriter) {
        writer.write(code: type)
        switch self {
        case .basic(let identity):
            writer.write(vector: identity)
        case .x509(let certificates):
            writer.writeVector { content in
                for certificate in certificates { content.write(vector: certificate) }
            }
        case .unknown(_, let content):
            writer.write(vector: content)
        }
    }
}
