private import CSodium

/// Keys made from a key, one per number and purpose (libsodium's `crypto_kdf`, keyed BLAKE2b).
public enum Subkey {
    /// The `number`th key of 32 octets made from `key` for one purpose.
    ///
    /// - Parameter context: names the purpose; exactly 8 octets.
    /// - Throws: `.wrongLength` unless the key has 32 octets and the context 8.
    public static func derive(
        _ number: UInt64, of key: SecretBytes, context: String
    ) throws(CryptographyError) -> SecretBytes {
        guard key.count == 32 else { throw .wrongLength(expected: 32, actual: key.count) }
        guard context.utf8.count == 8 else {
            throw .wrongLength(expected: 8, actual: context.utf8.count)
        }
        let name = context.utf8.map { CChar(bitPattern: $0) }
        return unsafe SecretBytes(count: 32) { output in
            unsafe key.withUnsafeBytes { key in
                let target = unsafe output.assumingMemoryBound(to: UInt8.self).baseAddress
                let source = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                guard let target = unsafe target, let source = unsafe source else { return }
                _ = unsafe crypto_kdf_derive_from_key(target, 32, number, name, source)
            }
        }
    }
}
