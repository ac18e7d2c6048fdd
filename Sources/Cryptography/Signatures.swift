private import CSodium
private import Crypto

/// An Ed25519 public key (RFC 8032): 32 octets.
public struct VerifyingKey: Hashable, Sendable {
    /// Octets of a public key.
    public static let byteCount = 32
    /// Octets of a signature.
    public static let signatureByteCount = 64

    /// The encoded point: 32 octets.
    public let bytes: [UInt8]

    /// Takes an encoded public key.
    ///
    /// - Throws: `.wrongLength` unless there are 32 octets. A point of small order is accepted here
    ///   and verifies nothing.
    public init(_ bytes: [UInt8]) throws(CryptographyError) {
        guard bytes.count == Self.byteCount else {
            throw .wrongLength(expected: Self.byteCount, actual: bytes.count)
        }
        self.bytes = bytes
    }

    /// Whether `signature` over exactly `content` was made with this key.
    public func isValid(signature: [UInt8], for content: [UInt8]) -> Bool {
        guard signature.count == Self.signatureByteCount else { return false }
        return unsafe crypto_sign_verify_detached(
            signature, content, UInt64(content.count), bytes) == 0
    }

    /// Whether `signature` was made for this purpose and these fields (`LabelledContent`).
    public func isValid(signature: [UInt8], label: String, _ fields: [UInt8]...) -> Bool {
        isValid(
            signature: signature, for: LabelledContent.encode(label: label, fields: fields))
    }
}

/// An Ed25519 private key (RFC 8032), held as its 32-octet seed and wiped with it.
public struct SigningKey: Sendable {
    /// The seed, from which everything else follows: 32 octets.
    public let seed: SecretBytes
    /// The public key.
    public let publicKey: VerifyingKey
    private let key: Curve25519.Signing.PrivateKey

    /// Makes a new key.
    public init() throws(CryptographyError) {
        try self.init(seed: .random(count: 32))
    }

    /// Takes up a key from its seed.
    ///
    /// - Throws: `.wrongLength` unless the seed has 32 octets, `.invalidKey` if it is refused.
    public init(seed: SecretBytes) throws(CryptographyError) {
        guard seed.count == 32 else { throw .wrongLength(expected: 32, actual: seed.count) }
        defer { StackScrub.run(StackScrub.curve25519) }
        do {
            key = unsafe try seed.withUnsafeBytes {
                try unsafe Curve25519.Signing.PrivateKey(rawRepresentation: $0)
            }
        } catch {
            throw .invalidKey
        }
        self.seed = seed
        publicKey = VerifyingKey(unchecked: Array(key.publicKey.rawRepresentation))
    }

    /// Signs exactly `content`: 64 octets.
    public func sign(_ content: [UInt8]) throws(CryptographyError) -> [UInt8] {
        defer { StackScrub.run(StackScrub.curve25519) }
        do {
            return Array(try key.signature(for: content))
        } catch {
            throw .resourceExhausted
        }
    }

    /// Signs for one purpose, so that the signature can't pass for another (`LabelledContent`).
    public func sign(label: String, _ fields: [UInt8]...) throws(CryptographyError) -> [UInt8] {
        try sign(LabelledContent.encode(label: label, fields: fields))
    }
}

extension VerifyingKey {
    fileprivate init(unchecked bytes: [UInt8]) { self.bytes = bytes }
}

extension SigningKey: CustomStringConvertible {
    /// Names the type, never the key.
    public var description: String { "SigningKey(Ed25519)" }
}
