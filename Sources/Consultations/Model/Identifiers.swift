public import Cryptography

/// Names one consultation to its members: 16 octets of its random MLS group id, the same on both
/// sides, shown as 26 base32 letters of which any unambiguous beginning will do.
public struct ConsultationID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Octets of an identifier.
    public static let byteCount = 16
    /// The 16 octets.
    public let bytes: [UInt8]

    /// Reads the 26 letters, in either case; `nil` for anything else.
    public init?(_ text: String) {
        guard let bytes = Base32.decode(text), bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    init(groupID: some Collection<UInt8>) {
        bytes = Array(groupID.prefix(Self.byteCount))
    }

    /// 26 lower-case base32 letters (RFC 4648 §6, without padding).
    public var description: String { Base32.encode(bytes) }

    /// Orders by the letters.
    public static func < (left: Self, right: Self) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

/// Names one message to all members: 16 random octets that stay when it is encrypted again.
public struct MessageID: Hashable, Sendable, CustomStringConvertible {
    /// Octets of an identifier.
    public static let byteCount = 16
    /// The 16 octets.
    public let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// 32 hexadecimal digits.
    public var description: String { Hexadecimal.encode(bytes) }
}

/// Names one person's device: a hash of its identity key.
public struct PersonID: Hashable, Sendable, CustomStringConvertible {
    /// Octets of an identifier.
    public static let byteCount = 16
    /// The 16 octets.
    public let bytes: [UInt8]

    /// The identifier of the owner of an identity key.
    public init(identityKey: VerifyingKey) {
        bytes = Array(Hash.sha256(label: "person", identityKey.bytes).prefix(Self.byteCount))
    }

    /// 32 hexadecimal digits.
    public var description: String { Hexadecimal.encode(bytes) }
}

/// Base32 with the letters a–z and the digits 2–7 (RFC 4648 §6), without padding.
enum Base32 {
    private static let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        var buffer: UInt32 = 0
        var bits = 0
        for byte in bytes {
            buffer = (buffer << 8 | UInt32(byte)) & 0xfff
            bits += 8
            while bits >= 5 {
                bits -= 5
                text.append(alphabet[Int(buffer >> UInt32(bits) & 31)])
            }
        }
        if bits > 0 { text.append(alphabet[Int(buffer << UInt32(5 - bits) & 31)]) }
        return String(decoding: text, as: UTF8.self)
    }

    static func decode(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        var buffer: UInt32 = 0
        var bits = 0
        for letter in text.lowercased().utf8 {
            guard let value = alphabet.firstIndex(of: letter) else { return nil }
            buffer = (buffer << 5 | UInt32(value)) & 0xfff
            bits += 5
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: buffer >> UInt32(bits)))
            }
        }
        let rest = buffer & (1 << UInt32(bits) - 1)
        return bits < 5 && rest == 0 ? bytes : nil
    }
}

/// Octets as pairs of hexadecimal digits.
enum Hexadecimal {
    static func encode(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}
