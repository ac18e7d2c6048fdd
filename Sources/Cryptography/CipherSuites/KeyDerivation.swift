private import Crypto

#if canImport(FoundationEssentials)
    private import FoundationEssentials
#else
    private import Foundation
#endif

extension CipherAlgorithms {
    /// `Hash`: the suite's hash of `octets`.
    public func hash(_ octets: [UInt8]) -> [UInt8] {
        switch self {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256: Self.hash(octets, SHA256.self)
        case .xwingAES256SHA384: Self.hash(octets, SHA384.self)
        }
    }

    /// `MAC`: HMAC with the suite's hash (RFC 9420 §5.1).
    public func authenticationCode(key: SecretBytes, for octets: [UInt8]) -> [UInt8] {
        unsafe octets.withUnsafeBytes { octets in
            switch self {
            case .x25519AES128SHA256, .x25519ChaCha20SHA256:
                unsafe Self.code(key: key, octets, SHA256.self) { unsafe Array($0) }
            case .xwingAES256SHA384:
                unsafe Self.code(key: key, octets, SHA384.self) { unsafe Array($0) }
            }
        }
    }

    /// `KDF.Extract` (RFC 5869 §2.2): `Nh` octets.
    public func extract(salt: SecretBytes, input: SecretBytes) -> SecretBytes {
        unsafe input.withUnsafeBytes { input in
            switch self {
            case .x25519AES128SHA256, .x25519ChaCha20SHA256:
                unsafe Self.code(key: salt, input, SHA256.self) { unsafe SecretBytes($0) }
            case .xwingAES256SHA384:
                unsafe Self.code(key: salt, input, SHA384.self) { unsafe SecretBytes($0) }
            }
        }
    }

    /// `KDF.Expand` (RFC 5869 §2.3).
    ///
    /// - Parameter count: octets wanted, at most 255 · Nh; more traps, as no caller asks for it.
    public func expand(_ secret: SecretBytes, info: [UInt8], count: Int) -> SecretBytes {
        precondition(count <= 255 * hashByteCount)
        switch self {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256:
            return Self.expand(secret, info, count, SHA256.self)
        case .xwingAES256SHA384:
            return Self.expand(secret, info, count, SHA384.self)
        }
    }

    private static func hash<Function: HashFunction>(
        _ octets: [UInt8], _: Function.Type
    ) -> [UInt8] {
        unsafe octets.withUnsafeBytes { octets in
            var hash = Function()
            unsafe hash.update(bufferPointer: octets)
            return unsafe hash.finalize().withUnsafeBytes { unsafe [UInt8]($0) }
        }
    }

    private static func code<Function: HashFunction, Result>(
        key: SecretBytes, _ octets: UnsafeRawBufferPointer, _: Function.Type,
        _ use: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        unsafe key.withUnsafeBytes { key in
            unsafe HMACStates<Function>(key: key).authenticate(
                feeding: { unsafe $0.update(bufferPointer: octets) }, use)
        }
    }

    private static func expand<Function: HashFunction>(
        _ secret: SecretBytes, _ info: [UInt8], _ count: Int, _: Function.Type
    ) -> SecretBytes {
        unsafe secret.withUnsafeBytes { secret in
            unsafe info.withUnsafeBytes { info in
                unsafe SecretBytes(count: count) { output in
                    unsafe HMACStates<Function>(key: secret).expand(info: info, into: output)
                }
            }
        }
    }
}
