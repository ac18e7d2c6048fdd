public import TLSSyntax

/// An extension of a key package, leaf, group or GroupInfo (RFC 9420 §13.4).
public struct Extension: Hashable, Sendable {
    /// What kind it is.
    public let type: ExtensionType
    /// Its content, encoded as its type says.
    public let data: [UInt8]

    /// Puts an extension together.
    public init(type: ExtensionType, data: [UInt8]) {
        self.type = type
        self.data = data
    }
}

extension Extension: TLSCodable {
    /// Reads an `Extension`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        type = try reader.readCode()
        data = try reader.readVector()
    }

    /// Writes an `Extension`.
    public func encode(to writer: inout TLSWriter) {
        writer.write(code: type)
        writer.write(vector: data)
    }
}

extension [Extension] {
    /// The content of the extension of this type, if there is one.
    public subscript(type: ExtensionType) -> [UInt8]? {
        first { $0.type == type }?.data
    }

    /// Whether no type occurs twice (RFC 9420 §13.4).
    var hasDistinctTypes: Bool { Set(map(\.type)).count == count }

    func decoded<Content: TLSDecodable>(
        _ type: ExtensionType, as content: Content.Type
    ) throws(MLSError) -> Content? {
        guard let data = self[type] else { return nil }
        do { return try Content(decoding: data) } catch { throw .malformed }
    }
}

/// What every member must support beyond the defaults (RFC 9420 §11.1).
public struct RequiredCapabilities: Hashable, Sendable {
    /// Extensions.
    public var extensions: [ExtensionType]
    /// Proposals.
    public var proposals: [ProposalType]
    /// Credentials.
    public var credentials: [CredentialType]

    /// Puts a requirement together.
    public init(
        extensions: [ExtensionType] = [], proposals: [ProposalType] = [],
        credentials: [CredentialType] = []
    ) {
        self.extensions = extensions
        self.proposals = proposals
        self.credentials = credentials
    }

    /// The GroupContext extension that states the requirement.
    public var groupContextExtension: Extension {
        Extension(type: .requiredCapabilities, data: encoded())
    }
}

extension RequiredCapabilities: TLSCodable {
    /// Reads a `RequiredCapabilities`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        extensions = try reader.readCodes()
        proposals = try reader.readCodes()
        credentials = try reader.readCodes()
    }

    /// Writes a `RequiredCapabilities`.
    public func encode(to writer: inout TLSWriter) {
        writer.write(codes: extensions)
        writer.write(codes: proposals)
        writer.write(codes: credentials)
    }
}

/// Someone outside the group who may propose (RFC 9420 §12.1.8.1).
public struct ExternalSender: Hashable, Sendable {
    /// The key that signs the proposals.
    public let signatureKey: [UInt8]
    /// Who that is.
    public let credential: Credential

    /// The GroupContext extension that lets these propose, in this order.
    public static func groupContextExtension(_ senders: [ExternalSender]) -> Extension {
        Extension(type: .externalSenders, data: ExternalSenders(senders).encoded())
    }

    /// Puts an external sender together.
    public init(signatureKey: [UInt8], credential: Credential) {
        self.signatureKey = signatureKey
        self.credential = credential
    }
}

extension ExternalSender: TLSCodable {
    /// Reads an `ExternalSender`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        signatureKey = try reader.readVector()
        credential = try Credential(from: &reader)
    }

    /// Writes an `ExternalSender`.
    public func encode(to writer: inout TLSWriter) {
        writer.write(vector: signatureKey)
        writer.write(credential)
    }
}

/// The key for those who join by themselves (RFC 9420 §12.4.3.2).
struct ExternalPub: TLSCodable {
    let key: [UInt8]

    init(key: [UInt8]) { self.key = key }

    init(from reader: inout TLSReader) throws(TLSError) { key = try reader.readVector() }

    func encode(to writer: inout TLSWriter) { writer.write(vector: key) }
}

/// The list in the `external_senders` extension (RFC 9420 §12.1.8.1).
struct ExternalSenders: TLSCodable {
    var senders: [ExternalSender]

    init(_ senders: [ExternalSender]) { self.senders = senders }

    init(from reader: inout TLSReader) throws(TLSError) { senders = try reader.readArray() }

    func encode(to writer: inout TLSWriter) { writer.write(array: senders) }
}
