private import CLibcrypto

/// SHAKE256 (FIPS 202 §6.2), from libcrypto: swift-crypto has none.
enum SHAKE256 {
    /// The first `count` octets of output for a secret followed by `suffix`.
    static func derive(
        from secret: SecretBytes, suffix: [UInt8], count: Int
    ) throws(CryptographyError) -> SecretBytes {
        guard let state = unsafe EVP_MD_CTX_new() else { throw .resourceExhausted }
        // The permutation works on the stack, on a block that begins with the secret.
        defer { StackScrub.run(StackScrub.hash) }
        defer { unsafe EVP_MD_CTX_free(state) }
        var succeeded = false
        let output = unsafe SecretBytes(count: count) { output in
            unsafe secret.withUnsafeBytes { secret in
                succeeded =
                    unsafe EVP_DigestInit_ex(state, EVP_shake256(), nil) == 1
                    && EVP_DigestUpdate(state, secret.baseAddress, secret.count) == 1
                    && EVP_DigestUpdate(state, suffix, suffix.count) == 1
                    && EVP_DigestFinalXOF(
                        state, output.assumingMemoryBound(to: UInt8.self).baseAddress, count)
                        == 1
            }
        }
        guard succeeded else { throw .resourceExhausted }
        return output
    }
}
