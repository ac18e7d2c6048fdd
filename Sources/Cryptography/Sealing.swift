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
        unsafe try plaintext.withUnsafeBufferPointer { octets throws(CryptographyError) in
            try unsafe seal(
                UnsafeRawBufferPointer(octets), key: key, associatedData: associatedData)
        }
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
        let byteCount = try plaintextByteCount(of: sealed)
        var result: Result<Void, CryptographyError> = .success(())
        let plaintext = unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
            result = Result { () throws(CryptographyError) in
                try unsafe open(
                    sealed,
                    into: UnsafeMutableRawBufferPointer(
                        start: buffer.baseAddress, count: byteCount), key: key,
                    associatedData: associatedData)
                count = byteCount
            }
        }
        try result.get()
        return plaintext
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
        let byteCount = plaintext.count + overheadByteCount
        return unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { output, count in
            unsafe Random.fill(UnsafeMutableRawBufferPointer(start: output.baseAddress, count: 24))
            unsafe key.withUnsafeBytes { key in
                let text = unsafe plaintext.assumingMemoryBound(to: UInt8.self).baseAddress
                let keyBytes = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                guard let nonce = output.baseAddress, let keyBytes = unsafe keyBytes else { return }
                _ = unsafe crypto_aead_xchacha20poly1305_ietf_encrypt(
                    nonce + 24, nil, text, UInt64(plaintext.count), associatedData,
                    UInt64(associatedData.count), nil, nonce, keyBytes)
                count = byteCount
            }
        }
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
