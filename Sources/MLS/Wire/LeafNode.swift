public import Cryptography
public import TLSSyntax

/// Seconds since 1970-01-01T00:00:00Z, as leaves state their lifetime (RFC 9420 §7.2).
public typealias UnixSeconds = UInt64

/// When a leaf from a key package counts as valid (RFC 9420 §7.2). Both ends belong to it.
public struct Lifetime: Hashable, Sendable {
    /// The first valid second.
    public let notBefore: UnixSeconds
    /// The last valid second.
    public let notAfter: UnixSeconds

    /// Puts a lifetime together.
    public init(notBefore: UnixSeconds, notAfter: UnixSeconds) {
        self.notBefore = notBefore
        self.notAfter = notAfter
    }

    func contains(_ now: UnixSeconds) -> Bool { notBefore <= now && now <= notAfter }
}

/// What a client supports (RFC 9420 §7.2); defaults of the protocol aren't listed.
public struct Capabilities: Hashable, Sendable {
    /// Protocol versions.
    public var versions: [ProtocolVersion]
    /// Cipher suites.
    public var cipherSuites: [CipherSuite]
    /// Extensions other than the default ones.
    public var extensions: [ExtensionType]
    /// Proposals other than the default ones.
    public var proposals: [ProposalType]
    /// Credentials.
    public var credentials: [CredentialType]

    /// Puts capabilities together.
    public init(
        versions: [ProtocolVersion] = [.mls10], cipherSuites: [CipherSuite],
        extensions: [ExtensionType] = [], proposals: [ProposalType] = [],
        credentials: [CredentialType] = [.basic, .x509]
    ) {
        self.versions = versions
        self.cipherSuites = cipherSuites
        self.extensions = extensions
        self.proposals = proposals
        self.credentials = credentials
    }

    func supports(_ type: ProposalType) -> Bool { type.isDefault || proposals.contains(type) }
}

extension Capabilities: TLSCodable {
    /// Reads a `Capabilities`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        versions = try reader.readCodes()
        cipherSuites = try reader.readCodes()
        extensions = try reader.readCodes()
        proposals = try reader.readCodes()
        credentials = try reader.readCodes()
    }

    /// Writes a `Capabilities`.
    public func encode(to writer: inout TLSWriter) {
        writer.write(codes: versions)
        writer.write(codes: cipherSuites)
        writer.write(codes: extensions)
        writer.write(codes: proposals)
        writer.write(codes: credentials)
    }
}

/// How a leaf came into the tree (RFC 9420 §7.2).
public enum LeafNodeSource: Hashable, Sendable {
    /// From a key package, with the time for which that is valid.
    case keyPackage(Lifetime)
    /// By an Update proposal.
    case update
    /// By the path of a commit, with the hash of the next parent (RFC 9420 §7.9).
    case commit(parentHash: [UInt8])
}

/// A member's place in the tree, signed by it (RFC 9420 §7.2).
public struct LeafNode: Hashable, Sendable {
    /// The HPKE public key of the leaf.
    public let encryptionKey: [UInt8]
    /// The Ed25519 key that signs what the member sends.
    public let signatureKey: [UInt8]
    /// Who the member says it is.
    public let credential: Credential
    /// What the member supports.
    public let capabilities: Capabilities
    /// How the leaf came into the tree.
    public let source: LeafNodeSource
    /// What else the member says of itself.
    public let extensions: [Extension]
    /// The member's signature over all of it (label `LeafNodeTBS`).
    public let signature: [UInt8]

    /// The lifetime, if the leaf comes from a key package.
    public var lifetime: Lifetime? {
        if case .keyPackage(let lifetime) = source { lifetime } else { nil }
    }

    init(
        encryptionKey: [UInt8], signatureKey: [UInt8], credential: Credential,
        capabilities: Capabilities, source: LeafNodeSource, extensions: [Extension],
        signature: [UInt8]
    ) {
        self.encryptionKey = encryptionKey
        self.signatureKey = signatureKey
        self.credential = credential
        self.capabilities = capabilities
        self.source = source
        self.extensions = extensions
        self.signature = signature
    }
}

extension LeafNode: TLSCodable {
    /// Reads a `LeafNode`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        encryptionKey = try reader.readVector()
        signatureKey = try reader.readVector()
        credential = try Credential(from: &reader)
        capabilities = try Capabilities(from: &reader)
        switch try reader.readUInt8() {
        case 1:
            source = .keyPackage(
                Lifetime(
                    notBefore: try reader.readUInt64(), notAfter: try reader.readUInt64()))
        case 2:
            source = .update
        case 3:
            source = .commit(parentHash: try reader.readVector())
        default:
            throw .invalidValue
        }
        extensions = try reader.readArray()
        signature = try reader.readVector()
    }

    /// Writes a `LeafNode`.
    public func encode(to writer: inout TLSWriter) {
        encodeUnsigned(to: &writer)
        writer.write(vector: signature)
    }

    private func encodeUnsigned(to writer: inout TLSWriter) {
        writer.write(vector: encryptionKey)
        writer.write(vector: signatureKey)
        writer.write(credential)
        writer.write(capabilities)
        switch source {
        case .keyPackage(let lifetime):
            writer.write(UInt8(1))
            writer.write(lifetime.notBefore)
            writer.write(lifetime.notAfter)
        case .update:
            writer.write(UInt8(2))
        case .commit(let parentHash):
            writer.write(UInt8(3))
            writer.write(vector: parentHash)
        }
        writer.write(array: extensions)
    }

    /// About what the encoding takes, so that most are written without moving them.
    var estimatedByteCount: Int { encryptionKey.count + signature.count + 256 }

    /// `LeafNodeTBS`: what the signature covers (RFC 9420 §7.2).
    ///
    /// - Parameter place: group and leaf, which sign a leaf made inside a group to its place.
    func toBeSigned(at place: Place?) -> [UInt8] {
        var writer = TLSWriter()
        writer.reserve(estimatedByteCount + 40)
        encodeUnsigned(to: &writer)
        if case .keyPackage = source { return writer.bytes }
        if let place {
            writer.write(vector: place.groupID)
            writer.write(place.leaf)
        }
        return writer.bytes
    }

    /// Where a leaf stands.
    struct Place {
        let groupID: [UInt8]
        let leaf: LeafIndex
    }
}
