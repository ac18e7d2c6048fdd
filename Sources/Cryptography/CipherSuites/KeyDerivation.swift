private import Crypto

extension CipherAlgorithms {
    /// `Hash`: the suite's hash of `octets`.
    public func hash(_ octets: [UInt8]) -> [UInt8] {
        unsafe octets.withUnsafeBytes { octets in
            var hash = SHA256()
            unsafe hash.update(bufferPointer: octets)
            return Array(hash.finalize())
        }
    }

    /// `MAC`: HMAC with the suite's hash (RFC 9420 §5.1).
    public func authenticationCode(key: SecretBytes, for octets: [UInt8]) -> [UInt8] {
        unsafe key.withUnsafeBytes { key in
            unsafe octets.withUnsafeBytes { octets in
                unsafe HMACStates<SHA256>(key: key).authenticate(feeding: {
                    unsafe $0.update(bufferPointer: octets)
                }) { unsafe Array($0) }
            }
        }
    }

    /// `KDF.Extract` (RFC 5869 §2.2): `Nh` octets.
    public func extract(salt: SecretBytes, input: SecretBytes) -> SecretBytes {
        unsafe salt.withUnsafeBytes { salt in
            unsafe input.withUnsafeBytes { input in
                unsafe HMACStates<SHA256>(key: salt).authenticate(feeding: {
                    unsafe $0.update(bufferPointer: input)
                }) { unsafe SecretBytes($0) }
            }
        }
    }

    /// `KDF.Expand` (RFC 5869 §2.3).
    ///
    /// - Parameter count: octets wanted, at most 255 · Nh; more traps, as no caller asks for it.
    public func expand(_ secret: SecretBytes, info: [UInt8], count: Int) -> SecretBytes {
        precondition(count <= 255 * hashByteCount)
        return unsafe secret.withUnsafeBytes { secret in
            unsafe info.withUnsafeBytes { info in
                unsafe SecretBytes(count: count) { output in
                    unsafe HMACStates<SHA256>(key: secret).expand(info: info, into: output)
                }
            }
        }
    }
}
