private import CSodium

/// Argon2id (RFC 9106) through libsodium: from a passphrase to a key.
public enum PasswordHash {
    /// Octets of a salt.
    public static let saltByteCount = 16

    /// What one derivation costs, kept beside the salt so that it can rise later.
    public struct Cost: Hashable, Sendable {
        /// Passes over memory, 1...64.
        public let passes: UInt32
        /// Memory in KiB, 8...4,194,304.
        public let memoryKiB: UInt32

        /// 2 passes over 64 MiB: about a tenth of a second.
        public static let interactive = Cost(passes: 2, memoryKiB: 65_536)
        /// 3 passes over 256 MiB: for keys that guard others' keys, used rarely.
        public static let moderate = Cost(passes: 3, memoryKiB: 262_144)
        /// 1 pass over 8 MiB: for tests that open hundreds of vaults.
        public static let minimal = Cost(passes: 1, memoryKiB: 8_192)

        /// Takes a stored cost.
        ///
        /// - Throws: `.wrongLength` if it is out of range: a file that asks for a terabyte is hostile.
        public init(validating passes: UInt32, memoryKiB: UInt32) throws(CryptographyError) {
            guard (1...64).contains(passes) else {
                throw .wrongLength(expected: 64, actual: Int(passes))
            }
            guard (8...4_194_304).contains(memoryKiB) else {
                throw .wrongLength(expected: 4_194_304, actual: Int(memoryKiB))
            }
            self.init(passes: passes, memoryKiB: memoryKiB)
        }

        private init(passes: UInt32, memoryKiB: UInt32) {
            self.passes = passes
            self.memoryKiB = memoryKiB
        }
    }

    /// Derives a key of `byteCount` octets (16...64) from a passphrase and a 16-octet salt.
    ///
    /// - Throws: `.wrongLength` for a bad salt, `.resourceExhausted` if memory is lacking.
    public static func deriveKey(
        from passphrase: SecretBytes, salt: [UInt8], cost: Cost, byteCount: Int = 32
    ) throws(CryptographyError) -> SecretBytes {
        Sodium.ready
        guard salt.count == saltByteCount else {
            throw .wrongLength(expected: saltByteCount, actual: salt.count)
        }
        return unsafe try SecretBytes(count: byteCount) { output throws(CryptographyError) in
            let status = unsafe passphrase.withUnsafeBytes { secret in
                let target = unsafe output.assumingMemoryBound(to: UInt8.self).baseAddress
                let text = unsafe secret.assumingMemoryBound(to: CChar.self).baseAddress
                guard let target = unsafe target, let text = unsafe text else { return Int32(-1) }
                return unsafe crypto_pwhash(
                    target, UInt64(byteCount), text, UInt64(secret.count), salt,
                    UInt64(cost.passes), Int(cost.memoryKiB) * 1024, crypto_pwhash_ALG_ARGON2ID13)
            }
            guard status == 0 else { throw .resourceExhausted }
        }
    }
}
