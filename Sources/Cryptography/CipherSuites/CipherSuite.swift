/// The number of an MLS cipher suite (RFC 9420 §5.1, §17.1), known to us or not.
public struct CipherSuite: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt16

    /// Any number; peers send ones that we do not know.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, mandatory to implement.
    public static let x25519AES128 = CipherSuite(rawValue: 0x0001)
    /// MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519.
    public static let x25519ChaCha20 = CipherSuite(rawValue: 0x0003)

    /// MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519 (draft-ietf-mls-pq-ciphersuites-06), with
    /// HKDF-SHA384: hybrid post-quantum confidentiality, classical signatures.
    ///
    /// The number is one for private use until one is assigned, and stands here only.
    public static let xwingAES256 = CipherSuite(rawValue: 0xF47A)

    /// The suites that this library can use, the preferred one first.
    public static let supported: [CipherSuite] = [.xwingAES256, .x25519ChaCha20, .x25519AES128]

    /// Whether this library can use the suite.
    public var isSupported: Bool { CipherAlgorithms(self) != nil }
}

/// The algorithms of a suite that this library can use (RFC 9420 §5.1).
public enum CipherAlgorithms: Hashable, Sendable {
    /// X25519, HKDF-SHA256, AES-128-GCM.
    case x25519AES128SHA256
    /// X25519, HKDF-SHA256, ChaCha20-Poly1305.
    case x25519ChaCha20SHA256
    /// X-Wing, HKDF-SHA384, AES-256-GCM.
    case xwingAES256SHA384

    /// The algorithms of `suite`, or nil if this library has not all of them.
    public init?(_ suite: CipherSuite) {
        switch suite {
        case .x25519AES128: self = .x25519AES128SHA256
        case .x25519ChaCha20: self = .x25519ChaCha20SHA256
        case .xwingAES256: self = .xwingAES256SHA384
        default: return nil
        }
    }

    /// The suite's number.
    public var suite: CipherSuite {
        switch self {
        case .x25519AES128SHA256: .x25519AES128
        case .x25519ChaCha20SHA256: .x25519ChaCha20
        case .xwingAES256SHA384: .xwingAES256
        }
    }

    /// `KDF.Nh`: octets of a hash and of most secrets.
    public var hashByteCount: Int {
        switch self {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256: 32
        case .xwingAES256SHA384: 48
        }
    }

    /// `AEAD.Nk`: octets of an AEAD key.
    public var keyByteCount: Int {
        switch self {
        case .x25519AES128SHA256: 16
        case .x25519ChaCha20SHA256, .xwingAES256SHA384: 32
        }
    }

    /// `AEAD.Nn`: octets of an AEAD nonce.
    public var nonceByteCount: Int { 12 }

    /// Octets by which an AEAD ciphertext is longer than its plaintext.
    public var tagByteCount: Int { 16 }

    /// `Npk`: octets of an encoded HPKE public key.
    public var publicKeyByteCount: Int {
        switch self {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256: 32
        case .xwingAES256SHA384: 1_184 + 32
        }
    }
}
