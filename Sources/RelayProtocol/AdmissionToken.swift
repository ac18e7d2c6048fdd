public import Cryptography
private import TLSSyntax

/// The clinic's permission to make one home mailbox at one relay: single use.
///
///     struct {
///         uint8 version = 1;
///         opaque relay_key[32];
///         opaque serial[16];
///         uint64 expires;        // Unix seconds
///         opaque signature[64];  // clinic root, label "admission token"
///     } AdmissionToken;
public struct AdmissionToken: Equatable, Sendable {
    /// Octets of an encoded token.
    public static let byteCount = 1 + 32 + 16 + 8 + 64
    /// Octets of a serial.
    public static let serialByteCount = 16

    /// The identity key of the relay that it is for.
    public let relayKey: [UInt8]
    /// 16 random octets.
    public let serial: [UInt8]
    /// Unix seconds after which it is worth nothing.
    public let expires: UInt64
    private let signature: [UInt8]

    /// Mints a token.
    ///
    /// - Throws: `.wrongLength` unless the serial has 16 octets.
    public init(
        relayKey: VerifyingKey, serial: [UInt8], expires: UInt64, clinicRoot: SigningKey
    ) throws(CryptographyError) {
        guard serial.count == Self.serialByteCount else {
            throw .wrongLength(expected: Self.serialByteCount, actual: serial.count)
        }
        self.relayKey = relayKey.bytes
        self.serial = serial
        self.expires = expires
        signature = try clinicRoot.sign(
            label: Self.label, [Self.version], relayKey.bytes, serial, expires.bigEndianOctets)
    }

    /// Reads a token; nothing is verified yet.
    ///
    /// - Throws: `.invalidStructure`.
    public init(decoding bytes: [UInt8]) throws(RelayProtocolError) {
        do {
            var reader = TLSReader(bytes)
            guard try reader.readUInt8() == Self.version else { throw TLSError.invalidValue }
            relayKey = try reader.readBytes(count: 32)
            serial = try reader.readBytes(count: Self.serialByteCount)
            expires = try reader.readUInt64()
            signature = try reader.readBytes(count: 64)
            try reader.finish()
        } catch {
            throw .invalidStructure
        }
    }

    /// The 121 octets that travel.
    public func encoded() -> [UInt8] {
        [Self.version] + relayKey + serial + expires.bigEndianOctets + signature
    }

    /// Whether the clinic minted it for this relay and its time isn't over.
    ///
    /// - Throws: `.wrongSignature`, `.wrongRelay` or `.expired`.
    public func verify(
        clinicRoot: VerifyingKey, relayKey: VerifyingKey, at unixSeconds: UInt64
    ) throws(RelayProtocolError) {
        let signed = clinicRoot.isValid(
            signature: signature, label: Self.label, [Self.version], self.relayKey, serial,
            expires.bigEndianOctets)
        guard signed else { throw .wrongSignature }
        guard self.relayKey == relayKey.bytes else { throw .wrongRelay }
        guard unixSeconds <= expires else { throw .expired }
    }

    private static let version: UInt8 = 1
    private static let label = "admission token"
}
