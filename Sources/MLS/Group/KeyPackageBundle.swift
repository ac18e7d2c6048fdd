public import Cryptography
internal import TLSSyntax

/// What a client says of itself in its leaves.
public struct LeafConfiguration: Hashable, Sendable {
    /// Who the client is.
    public var credential: Credential
    /// What else it says of itself.
    public var extensions: [Extension]
    /// What it supports; the types of `extensions` are added.
    public var capabilities: Capabilities

    /// Describes a client that supports this library's suites and credentials.
    ///
    /// - Parameters:
    ///   - credential: who the client says it is.
    ///   - extensions: what else its leaf says.
    ///   - supportedExtensions: types that may appear in groups and others' leaves.
    ///   - supportedProposals: types beyond the default ones.
    public init(
        credential: Credential, extensions: [Extension] = [],
        supportedExtensions: [ExtensionType] = [],
        supportedProposals: [ProposalType] = [.selfRemove]
    ) {
        self.credential = credential
        self.extensions = extensions
        var types: [ExtensionType] = []
        for type in extensions.map(\.type) + supportedExtensions + [.lastResort]
        where !type.isDefault && !types.contains(type) {
            types.append(type)
        }
        capabilities = Capabilities(
            cipherSuites: CipherSuite.supported, extensions: types, proposals: supportedProposals)
    }

    /// The same with random values that mean nothing, among the others at random places.
    ///
    /// They make sure that peers go on ignoring what they do not know (RFC 9420 §13.5).
    public func greased() -> LeafConfiguration {
        func grease() -> UInt16 {
            let nibble = UInt16(Random.number(below: 15))
            return nibble << 12 | 0x0a00 | nibble << 4 | 0x000a
        }
        func mixing<Code: RawRepresentable<UInt16> & Equatable>(
            _ code: Code?, into codes: [Code]
        ) -> [Code] {
            guard let code, !codes.contains(code) else { return codes }
            var codes = codes
            codes.insert(code, at: Int(Random.number(below: UInt32(codes.count + 1))))
            return codes
        }
        var copy = self
        let type = ExtensionType(rawValue: grease())
        copy.capabilities.cipherSuites = mixing(
            CipherSuite(rawValue: grease()), into: capabilities.cipherSuites)
        copy.capabilities.extensions = mixing(type, into: capabilities.extensions)
        copy.capabilities.proposals = mixing(
            ProposalType(rawValue: grease()), into: capabilities.proposals)
        copy.capabilities.credentials = mixing(
            CredentialType(rawValue: grease()), into: capabilities.credentials)
        if extensions[type] == nil {
            let data = Random.bytes(Int(Random.number(below: 9)))
            copy.extensions.insert(
                Extension(type: type, data: data),
                at: Int(Random.number(below: UInt32(extensions.count + 1))))
        }
        return copy
    }

    /// Takes over what a leaf says.
    init(_ leaf: LeafNode) {
        credential = leaf.credential
        extensions = leaf.extensions
        capabilities = leaf.capabilities
    }
}

extension LeafNode {
    /// Makes and signs a leaf (RFC 9420 §7.2).
    init(
        _ configuration: LeafConfiguration, encryptionKey: [UInt8], source: LeafNodeSource,
        place: Place?, signingKey: SigningKey, algorithms: CipherAlgorithms
    ) throws(MLSError) {
        func leaf(_ signature: [UInt8]) -> LeafNode {
            LeafNode(
                encryptionKey: encryptionKey, signatureKey: signingKey.publicKey.bytes,
                credential: configuration.credential, capabilities: configuration.capabilities,
                source: source, extensions: configuration.extensions, signature: signature)
        }
        self = leaf(
            try algorithms.sign(
                leaf([]).toBeSigned(at: place), label: "LeafNodeTBS", with: signingKey))
    }
}

extension KeyPackage {
    /// The name by which a Welcome calls this key package (RFC 9420 §5.2).
    public func reference() throws(MLSError) -> KeyPackageRef {
        guard let algorithms = CipherAlgorithms(cipherSuite) else {
            throw .unsupportedCipherSuite
        }
        return reference(algorithms)
    }

    func reference(_ algorithms: CipherAlgorithms) -> KeyPackageRef {
        KeyPackageRef(bytes: algorithms.refHash("MLS 1.0 KeyPackage Reference", encoded()))
    }

    /// The key package in an MLSMessage, as it is published (RFC 9420 §6).
    public var message: [UInt8] { MLSMessage.keyPackage(self).encoded() }

    /// Reads a key package from an MLSMessage (RFC 9420 §6).
    public init(message: [UInt8]) throws(MLSError) {
        guard let decoded = try? MLSMessage(decoding: message) else { throw .malformed }
        guard case .keyPackage(let keyPackage) = decoded else {
            throw .misuse(.wrongMessageKind)
        }
        self = keyPackage
    }
}

/// A key package with its private keys (RFC 9420 §10).
///
/// Store it before the key package is published, and destroy it when its Welcome was used, unless
/// it is a last resort.
public struct KeyPackageBundle: Sendable {
    /// The public part, to be published.
    public let keyPackage: KeyPackage
    /// The name by which a Welcome calls it.
    public let reference: KeyPackageRef
    let initKey: HPKEPrivateKey
    let encryptionKey: HPKEPrivateKey

    /// Makes new keys and a signed key package for them.
    ///
    /// - Throws: `.unsupportedCipherSuite`.
    public init(
        suite: CipherSuite, leaf: LeafConfiguration, signingKey: SigningKey, lifetime: Lifetime,
        isLastResort: Bool = false, extensions: [Extension] = []
    ) throws(MLSError) {
        guard let algorithms = CipherAlgorithms(suite) else { throw .unsupportedCipherSuite }
        let initKey: HPKEPrivateKey
        let encryptionKey: HPKEPrivateKey
        do {
            initKey = try .generate(algorithms)
            encryptionKey = try .generate(algorithms)
        } catch {
            throw .machine
        }
        let leafNode = try LeafNode(
            leaf, encryptionKey: encryptionKey.publicKey, source: .keyPackage(lifetime),
            place: nil, signingKey: signingKey, algorithms: algorithms)
        let lastResort = isLastResort ? [Extension(type: .lastResort, data: [])] : []
        func keyPackage(_ signature: [UInt8]) -> KeyPackage {
            KeyPackage(
                version: .mls10, cipherSuite: suite, initKey: initKey.publicKey,
                leafNode: leafNode, extensions: extensions + lastResort, signature: signature)
        }
        let signature = try algorithms.sign(
            keyPackage([]).toBeSigned, label: "KeyPackageTBS", with: signingKey)
        self.init(
            keyPackage(signature), initKey: initKey, encryptionKey: encryptionKey,
            algorithms: algorithms)
    }

    init(
        _ keyPackage: KeyPackage, initKey: HPKEPrivateKey, encryptionKey: HPKEPrivateKey,
        algorithms: CipherAlgorithms
    ) {
        self.keyPackage = keyPackage
        reference = keyPackage.reference(algorithms)
        self.initKey = initKey
        self.encryptionKey = encryptionKey
    }

    private static var formatVersion: UInt8 { 1 }

    /// Everything, private keys included, for storing.
    public func serialized() -> SecretBytes {
        SecretBytes(
            encodedBy: { writer in
                writer.write(Self.formatVersion)
                writer.write(keyPackage)
                writer.write(secret: initKey.bytes)
                writer.write(secret: encryptionKey.bytes)
            }, capacity: 4_096)
    }

    /// Reads back what `serialized` gave.
    public init(serialized: SecretBytes) throws(MLSError) {
        self = try serialized.decoded { reader in
            guard try reader.readUInt8() == Self.formatVersion else {
                throw MLSError.corruptState
            }
            let keyPackage = try KeyPackage(from: &reader)
            let initKey = try reader.readSecret()
            let encryptionKey = try reader.readSecret()
            guard let algorithms = CipherAlgorithms(keyPackage.cipherSuite) else {
                throw MLSError.unsupportedCipherSuite
            }
            return KeyPackageBundle(
                keyPackage, initKey: try HPKEPrivateKey(initKey, algorithms: algorithms),
                encryptionKey: try HPKEPrivateKey(encryptionKey, algorithms: algorithms),
                algorithms: algorithms)
        }
    }
}
