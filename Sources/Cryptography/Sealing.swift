private import CSodium

/// Authenticated encryption of what is stored: XChaCha20-Poly1305 with a random 24-octet nonce.
///
/// A sealed text is the nonce, the ciphertext and the 16-octet tag.
public enum Sealing {
    /// Octets of a key.
    public static let keyByteCount = 32
    /// Octets that a sealed text has more than its plaintext.
    public static let overheadByteCount = 24 + 16

    /// Seals `plaintext` under `key`; opening asks for the same associated data.
    ///
    /// - Throws: `.wrongLength` unless the key has 32 octets.
    public static func seal(
        _ plaintext: [UInt8], key: SecretBytes, associatedData: [UInt8] = []
    ) throws(CryptographyError) -> [UInt8] {
        try seal(SecretBytes(plaintext), key: key, associatedData: associatedData)
    }

    /// Seals a secret, without an ordinary copy of it in memory.
    public static func seal(
        _ plaintext: SecretBytes, key: SecretBytes, associatedData: [UInt8] = []
    ) throws(CryptographyError) -> [UInt8] {
        unsafe try plaintext.withUnsafeBytes { bytes throws(CryptographyError) in
            try unsafe seal(bytes, key: key, associatedData: associatedData)
        }
    }

    /// Opens a sealed text.
    ///
    /// - Throws: `.authenticationFailed` if key, associated data or text aren't the sealed ones.
    public static func open(
        _ sealed: [UInt8], key: SecretBytes, associatedData: [UInt8] = []
    ) throws(CryptographyError) -> [UInt8] {
        try openSecret(sealed, key: key, associatedData: associatedData).exposedCopy()
    }

    /// Opens a sealed secret straight into memory that will be wiped.
    public static func openSecret(
        _ sealed: [UInt8], key: SecretBytes, associatedData: [UInt8] = []
    ) throws(CryptographyError) -> SecretBytes {
        unsafe try SecretBytes(count: try plaintextByteCount(of: sealed)) {
            buffer throws(CryptographyError) in
            try unsafe open(sealed, into: buffer, key: key, associatedData: associatedData)
        }
    }

    private static func plaintextByteCount(of sealed: [UInt8]) throws(CryptographyError) -> Int {
        guard sealed.count >= overheadByteCount else { throw .authenticationFailed }
        return sealed.count - overheadByteCount
    }

    private static func seal(
        _ plaintext: UnsafeRawBufferPointer, key: SecretBytes, associatedData: [UInt8]
    ) throws(CryptographyError) -> [UInt8] {
        guard key.count == keyByteCount else {
            throw .wrongLength(expected: keyByteCount, actual: key.count)
        }
        let nonce = Random.bytes(24)
        var sealed = nonce + [UInt8](repeating: 0, count: plaintext.count + 16)
        unsafe sealed.withUnsafeMutableBytes { output in
            unsafe key.withUnsafeBytes { key in
                let text = unsafe plaintext.assumingMemoryBound(to: UInt8.self).baseAddress
                let target = unsafe output.assumingMemoryBound(to: UInt8.self).baseAddress
                let keyBytes = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                guard let target = unsafe target, let keyBytes = unsafe keyBytes else { return }
                _ = unsafe crypto_aead_xchacha20poly1305_ietf_encrypt(
                    target + 24, nil, text, UInt64(plaintext.count), associatedData,
                    UInt64(associatedData.count), nil, nonce, keyBytes)
            }
        }
        return sealed
    }

    private static func open(
        _ sealed: [UInt8], into output: UnsafeMutableRawBufferPointer, key: SecretBytes,
        associatedData: [UInt8]
    ) throws(CryptographyError) {
        guard key.count == keyByteCount else {
            throw .wrongLength(expected: keyByteCount, actual: key.count)
        }
        let opened: Bool = unsafe sealed.withUnsafeBufferPointer { input in
            unsafe key.withUnsafeBytes { key in
                let keyBytes = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                guard let input = input.baseAddress, let keyBytes = unsafe keyBytes else {
                    return false
                }
                return unsafe crypto_aead_xchacha20poly1305_ietf_decrypt(
                    output.assumingMemoryBound(to: UInt8.self).baseAddress, nil, nil, input + 24,
                    UInt64(sealed.count - 24), associatedData, UInt64(associatedData.count), input,
                    keyBytes) == 0
            }
        }
        guard opened else { throw .authenticationFailed }
    }
}
