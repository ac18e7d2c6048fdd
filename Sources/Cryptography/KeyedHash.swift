internal import CSodium

/// BLAKE2b under a key (RFC 7693 §2.9): authenticates what only its maker will check.
public enum KeyedHash {
    /// Octets of a hash.
    public static let byteCount = 32

    /// Hashes labelled fields (`LabelledContent`) under `key` of 16...64 octets: 32 octets.
    ///
    /// - Throws: `.wrongLength` for a key of another size.
    public static func compute(
        key: SecretBytes, label: String, _ fields: [UInt8]...
    ) throws(CryptographyError) -> [UInt8] {
        guard (16...64).contains(key.count) else {
            throw .wrongLength(expected: byteCount, actual: key.count)
        }
        let content = LabelledContent.encode(label: label, fields: fields)
        var output = [UInt8](repeating: 0, count: byteCount)
        unsafe key.withUnsafeBytes { key in
            let keyBytes = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
            _ = unsafe crypto_generichash(
                &output, byteCount, content, UInt64(content.count), keyBytes, key.count)
        }
        return output
    }
}

/// SipHash-2-4: a 64-bit keyed hash for look-up tables and identifiers, quick for short inputs.
public struct ShortHash: Sendable {
    /// Octets of a key.
    public static let keyByteCount = 16
    private let key: SecretBytes

    /// Takes a key of 16 octets.
    ///
    /// - Throws: `.wrongLength` for a key of another size.
    public init(key: SecretBytes) throws(CryptographyError) {
        guard key.count == Self.keyByteCount else {
            throw .wrongLength(expected: Self.keyByteCount, actual: key.count)
        }
        self.key = key
        Sodium.ready
    }

    /// Hashes octets.
    public func hash(_ octets: [UInt8]) -> UInt64 {
        var output: UInt64 = 0
        unsafe withUnsafeMutableBytes(of: &output) { output in
            unsafe key.withUnsafeBytes { key in
                guard let target = output.baseAddress, let key = key.baseAddress else { return }
                _ = unsafe crypto_shorthash(
                    target.assumingMemoryBound(to: UInt8.self), octets, UInt64(octets.count),
                    key.assumingMemoryBound(to: UInt8.self))
            }
        }
        return UInt64(littleEndian: output)
    }

    /// Hashes two numbers.
    public func hash(_ first: UInt64, _ second: UInt64) -> UInt64 {
        var input = (first.littleEndian, second.littleEndian)
        var output: UInt64 = 0
        unsafe withUnsafeMutableBytes(of: &output) { output in
            unsafe withUnsafeBytes(of: &input) { input in
                unsafe key.withUnsafeBytes { key in
                    guard let target = output.baseAddress, let key = key.baseAddress,
                        let content = input.baseAddress
                    else { return }
                    _ = unsafe crypto_shorthash(
                        target.assumingMemoryBound(to: UInt8.self),
                        content.assumingMemoryBound(to: UInt8.self), UInt64(input.count),
                        key.assumingMemoryBound(to: UInt8.self))
                }
            }
        }
        return UInt64(littleEndian: output)
    }
}
