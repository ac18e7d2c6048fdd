public import Cryptography
private import TLSSyntax

/// The relay's own permission to make one consultation mailbox, drawn ahead by a home mailbox. It
/// carries nothing of whoever drew it.
///
///     struct {
///         opaque nonce[16];
///         uint32 expires_day;
///         opaque mac[32];   // BLAKE2b under the relay's ticket key, label "ticket"
///     } Ticket;
public struct Ticket: Equatable, Sendable {
    /// Octets of an encoded ticket.
    public static let byteCount = 16 + 4 + 32
    /// Octets of a nonce.
    public static let nonceByteCount = 16

    /// 16 random octets.
    public let nonce: [UInt8]
    /// The last day on which it can be spent.
    public let expires: Day
    private let mac: [UInt8]

    /// Makes a ticket.
    ///
    /// - Throws: `.wrongLength` for a nonce or key of the wrong size.
    public init(nonce: [UInt8], expires: Day, key: SecretBytes) throws(CryptographyError) {
        guard nonce.count == Self.nonceByteCount else {
            throw .wrongLength(expected: Self.nonceByteCount, actual: nonce.count)
        }
        self.nonce = nonce
        self.expires = expires
        mac = try Self.authenticate(nonce, expires, key)
    }

    /// Reads a ticket; nothing is verified yet.
    ///
    /// - Throws: `.invalidStructure`.
    public init(decoding bytes: [UInt8]) throws(RelayProtocolError) {
        do {
            var reader = TLSReader(bytes)
            nonce = try reader.readBytes(count: Self.nonceByteCount)
            expires = Day(rawValue: try reader.readUInt32())
            mac = try reader.readBytes(count: 32)
            try reader.finish()
        } catch {
            throw .invalidStructure
        }
    }

    /// The 52 octets that travel.
    public func encoded() -> [UInt8] {
        nonce + UInt64(expires.rawValue).bigEndianOctets.suffix(4) + mac
    }

    /// Whether the relay made it and it can still be spent.
    ///
    /// - Throws: `.wrongSignature` or `.expired`.
    public func verify(key: SecretBytes, on day: Day) throws(RelayProtocolError) {
        guard let expected = try? Self.authenticate(nonce, expires, key),
            ConstantTime.areEqual(expected, mac)
        else { throw .wrongSignature }
        guard day <= expires else { throw .expired }
    }

    private static func authenticate(
        _ nonce: [UInt8], _ expires: Day, _ key: SecretBytes
    ) throws(CryptographyError) -> [UInt8] {
        try KeyedHash.compute(
            key: key, label: "ticket", nonce, UInt64(expires.rawValue).bigEndianOctets)
    }
}
