public import Cryptography
public import TLSSyntax

/// What a client publishes so that others can add it to a group (RFC 9420 §10).
public struct KeyPackage: Hashable, Sendable {
    /// The protocol version.
    public let version: ProtocolVersion
    /// The suite of the keys.
    public let cipherSuite: CipherSuite
    /// The HPKE public key that a Welcome is encrypted to.
    public let initKey: [UInt8]
    /// The leaf that will stand for the client.
    public let leafNode: LeafNode
    /// What else there is to say.
    public let extensions: [Extension]
    /// The client's signature over all of it (label `KeyPackageTBS`).
    public let signature: [UInt8]

    /// Whether it may be used when no other is left (MLS extensions draft, `last_resort`).
    public var isLastResort: Bool { extensions[.lastResort] != nil }
}

extension KeyPackage: TLSCodable {
    /// Reads a `KeyPackage`.
    public init(from reader: inout TLSReader) throws(TLSError) {
        version = try reader.readCode()
        cipherSuite = try reader.readCode()
        initKey = try reader.readVector()
        leafNode = try LeafNode(from: &reader)
        extensions = try reader.readArray()
        signature = try reader.readVector()
    }

    /// Writes a `KeyPackage`.
    public func encode(to writer: inout TLSWriter) {
        writer.write(bytes: toBeSigned)
        writer.write(vector: signature)
    }

    /// `KeyPackageTBS`: what the signature covers (RFC 9420 §10).
    var toBeSigned: [UInt8] {
        var writer = TLSWriter()
        writer.write(code: version)
        writer.write(code: cipherSuite)
        writer.write(vector: initKey)
        writer.write(leafNode)
        writer.write(array: extensions)
        return writer.bytes
    }
}
