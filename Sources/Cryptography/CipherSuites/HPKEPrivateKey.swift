private import CSodium
internal import Crypto

/// An HPKE private key of a suite's KEM (RFC 9180 §4), kept ready for use with its public key.
public struct HPKEPrivateKey: Sendable {
    enum Key: Sendable {
        case x25519(Curve25519.KeyAgreement.PrivateKey)
        case xwing(XWing.PrivateKey)
    }

    let key: Key
    /// The encoded private key, X-Wing's seed: 32 octets.
    public let bytes: SecretBytes
    /// The encoded public key: `Npk` octets.
    public let publicKey: [UInt8]

    /// Takes up an encoded private key.
    ///
    /// - Throws: `.wrongLength` unless there are 32 octets.
    public init(_ bytes: SecretBytes, algorithms: CipherAlgorithms) throws(CryptographyError) {
        guard bytes.count == 32 else { throw .wrongLength(expected: 32, actual: bytes.count) }
        switch algorithms {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256:
            defer { StackScrub.run(StackScrub.curve25519) }
            do {
                let key = unsafe try bytes.withUnsafeBytes {
                    try unsafe Curve25519.KeyAgreement.PrivateKey(rawRepresentation: $0)
                }
                self.key = .x25519(key)
                publicKey = Array(key.publicKey.rawRepresentation)
            } catch {
                throw .invalidKey
            }
        case .xwingAES256SHA384:
            let pair = try XWing.keyPair(seed: bytes)
            key = .xwing(pair.privateKey)
            publicKey = pair.publicKey
        }
        self.bytes = bytes
    }

    /// Makes a new key.
    public static func generate(
        _ algorithms: CipherAlgorithms
    ) throws(CryptographyError) -> HPKEPrivateKey {
        try HPKEPrivateKey(.random(count: 32), algorithms: algorithms)
    }

    /// `DeriveKeyPair` (RFC 9180 §7.1.3).
    public static func derive(
        from input: SecretBytes, algorithms: CipherAlgorithms
    ) throws(CryptographyError) -> HPKEPrivateKey {
        switch algorithms {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256:
            let secret = algorithms.extract(
                salt: SecretBytes(count: 0),
                input: SecretBytes(prefix: Self.label("dkp_prk"), input))
            let bytes = algorithms.expand(secret, info: [0, 32] + Self.label("sk"), count: 32)
            return try HPKEPrivateKey(bytes, algorithms: algorithms)
        case .xwingAES256SHA384:
            // SHAKE256.LabeledDerive(ikm, "DeriveKeyPair", "", 32) of draft-ietf-hpke-pq.
            let name = Array("DeriveKeyPair".utf8)
            let suffix =
                Array("HPKE-v1KEM".utf8) + [0x64, 0x7a, 0, UInt8(name.count)] + name + [0, 32]
            let bytes = try SHAKE256.derive(from: input, suffix: suffix, count: 32)
            return try HPKEPrivateKey(bytes, algorithms: algorithms)
        }
    }

    private static func label(_ name: String) -> [UInt8] {
        Array("HPKE-v1KEM".utf8) + [0x00, 0x20] + Array(name.utf8)
    }
}

extension SecretBytes {
    /// Overwrites an ordinary array that held a secret for a moment.
    static func wipe(_ octets: inout [UInt8]) {
        unsafe octets.withUnsafeMutableBytes { buffer in
            if let base = buffer.baseAddress { unsafe sodium_memzero(base, buffer.count) }
        }
    }

    /// A secret behind octets that are not secret.
    init(prefix: [UInt8], _ secret: SecretBytes) {
        self = unsafe SecretBytes(count: prefix.count + secret.count) { output in
            unsafe output.copyBytes(from: prefix)
            unsafe secret.withUnsafeBytes {
                unsafe UnsafeMutableRawBufferPointer(rebasing: output[prefix.count...])
                    .copyMemory(from: $0)
            }
        }
    }
}

extension HPKEPrivateKey: CustomStringConvertible {
    /// Names the type, never the key.
    public var description: String { "HPKEPrivateKey" }
}
