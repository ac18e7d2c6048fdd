extension CipherAlgorithms {
    /// `Hash`: the suite's hash of `octets`.
    public func hash(_ octets: [UInt8]) -> [UInt8] {
        unsafe octets.withUnsafeBytes { octets in
            switch self {
            case .x25519AES128SHA256, .x25519ChaCha20SHA256: unsafe SHA256.hash(octets)
            case .xwingAES256SHA384: unsafe SHA384.hash(octets)
            }
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
        unsafe info.withUnsafeBytes { unsafe expand(secret, info: $0, count: count) }
    }

    /// `KDF.Expand` (RFC 5869 §2.3).
    ///
    /// - Parameter count: octets wanted, at most 255 · Nh; more traps, as no caller asks for it.
    public func expand(
        _ secret: SecretBytes, info: UnsafeRawBufferPointer, count: Int
    ) -> SecretBytes {
        precondition(count <= 255 * hashByteCount)
        switch self {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256:
            return unsafe Self.expand(secret, info, count, SHA256.self)
        case .xwingAES256SHA384:
            return unsafe Self.expand(secret, info, count, SHA384.self)
        }
    }

    private static func code<Function: HashFunction, Result>(
        key: SecretBytes, _ octets: UnsafeRawBufferPointer, _: Function.Type,
        _ use: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        unsafe key.withUnsafeBytes { key in
            unsafe HMAC<Function>.keyed(by: key) { unsafe $0.authenticate(octets, use) }
        }
    }

    private static func expand<Function: HashFunction>(
        _ secret: SecretBytes, _ info: UnsafeRawBufferPointer, _ count: Int, _: Function.Type
    ) -> SecretBytes {
        unsafe secret.withUnsafeBytes { secret in
            unsafe SecretBytes(count: count) { output in
                unsafe HMAC<Function>.keyed(by: secret) {
                    unsafe $0.expand(info: info, into: output)
                }
            }
        }
    }
}
