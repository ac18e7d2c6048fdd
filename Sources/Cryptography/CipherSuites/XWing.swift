private import CXWing

/// The hybrid KEM X-Wing (draft-connolly-cfrg-xwing-kem) of the BoringSSL in swift-crypto.
///
/// Its private key, ML-KEM's expanded one included, lies in a `SecretBytes`; what the functions left
/// on the stack is overwritten after each.
enum XWing {
    static let seedByteCount = 32
    static let publicKeyByteCount = 1_216
    static let outputByteCount = 1_120
    static let secretByteCount = 32

    /// Whether all numbers of the public key are below the modulus of ML-KEM (FIPS 203 §7.2).
    ///
    /// - Parameter publicKey: `publicKeyByteCount` octets: three polynomials of 256 numbers of 12 bits,
    ///   a seed, and a point of X25519.
    static func isReduced(_ publicKey: [UInt8]) -> Bool {
        let modulus: UInt16 = 3_329
        var largest: UInt16 = 0
        for start in stride(from: 0, to: 3 * 256 * 12 / 8, by: 3) {
            let middle = UInt16(publicKey[start + 1])
            largest = max(
                largest, UInt16(publicKey[start]) | (middle & 0x0f) << 8,
                middle >> 4 | UInt16(publicKey[start + 2]) << 4)
        }
        return largest < modulus
    }

    /// A private key in the library's own form.
    struct PrivateKey: Sendable {
        fileprivate let expanded: SecretBytes
    }

    /// Octets that the library's form of a private key takes: as many as its header says, or what it is
    /// seen to write, should another version of it need more.
    private static let expandedByteCount: Int = {
        let known = 512 * 15 + 160
        let pattern: UInt8 = 0xa5
        let written = unsafe SecretBytes(count: 65_536) { memory in
            unsafe memory.initializeMemory(as: UInt8.self, repeating: pattern)
            _ = unsafe expand(SecretBytes(count: seedByteCount), into: memory)
        }
        let used = unsafe written.withUnsafeBytes { memory in
            unsafe memory.lastIndex { $0 != pattern } ?? 0
        }
        return max(known, used + 1)
    }()

    private static func expand(
        _ seed: SecretBytes, into memory: UnsafeMutableRawBufferPointer
    ) -> Bool {
        defer { StackScrub.run(StackScrub.xwing) }
        return unsafe seed.withUnsafeBytes { seed in
            var octets = unsafe curtain_octets(
                data: seed.assumingMemoryBound(to: UInt8.self).baseAddress, count: seed.count)
            return unsafe CCryptoBoringSSL_XWING_parse_private_key(memory.baseAddress, &octets) == 1
        }
    }

    /// Takes up a private key from its seed.
    ///
    /// - Throws: `.wrongLength` unless the seed has 32 octets.
    static func keyPair(
        seed: SecretBytes
    ) throws(CryptographyError) -> (privateKey: PrivateKey, publicKey: [UInt8]) {
        guard seed.count == seedByteCount else {
            throw .wrongLength(expected: seedByteCount, actual: seed.count)
        }
        var succeeded = false
        let expanded = unsafe SecretBytes(count: expandedByteCount) { memory in
            succeeded = unsafe expand(seed, into: memory)
        }
        guard succeeded else { throw .invalidKey }
        var publicKey = [UInt8](repeating: 0, count: publicKeyByteCount)
        defer { StackScrub.run(StackScrub.xwing) }
        succeeded = unsafe expanded.withUnsafeBytes { key in
            unsafe CCryptoBoringSSL_XWING_public_from_private(&publicKey, key.baseAddress) == 1
        }
        guard succeeded else { throw .invalidKey }
        return (PrivateKey(expanded: expanded), publicKey)
    }

    /// `Encap`.
    ///
    /// - Throws: `.invalidKey` if the public key is not one.
    static func encapsulate(
        to publicKey: [UInt8]
    ) throws(CryptographyError) -> (secret: SecretBytes, output: [UInt8]) {
        guard publicKey.count == publicKeyByteCount else { throw .invalidKey }
        defer { StackScrub.run(StackScrub.xwing) }
        var output = [UInt8](repeating: 0, count: outputByteCount)
        var succeeded = false
        let secret = unsafe SecretBytes(count: secretByteCount) { secret in
            succeeded =
                unsafe CCryptoBoringSSL_XWING_encap(
                    &output, secret.assumingMemoryBound(to: UInt8.self).baseAddress, publicKey) == 1
        }
        guard succeeded else { throw .invalidKey }
        return (secret, output)
    }

    /// `Decap`: the sender's secret, or nil if the output can't be right.
    static func decapsulate(_ output: [UInt8], with key: PrivateKey) -> SecretBytes? {
        guard output.count == outputByteCount else { return nil }
        defer { StackScrub.run(StackScrub.xwing) }
        var succeeded = false
        let secret = unsafe SecretBytes(count: secretByteCount) { secret in
            unsafe key.expanded.withUnsafeBytes { key in
                succeeded =
                    unsafe CCryptoBoringSSL_XWING_decap(
                        secret.assumingMemoryBound(to: UInt8.self).baseAddress, output,
                        key.baseAddress) == 1
            }
        }
        return succeeded ? secret : nil
    }
}
