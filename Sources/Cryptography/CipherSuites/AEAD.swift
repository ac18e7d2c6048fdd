private import CLibcrypto
private import CSodium

extension CipherAlgorithms {
    /// `AEAD.Seal`: ciphertext and tag in one.
    ///
    /// - Parameters:
    ///   - key: `Nk` octets.
    ///   - nonce: `Nn` octets, never used before with this key.
    public func seal(
        _ plaintext: [UInt8], key: SecretBytes, nonce: [UInt8], authenticating data: [UInt8]
    ) throws(CryptographyError) -> [UInt8] {
        try check(key, nonce)
        var succeeded = false
        let count = plaintext.count + tagByteCount
        let ciphertext = unsafe key.withUnsafeBytes { key in
            unsafe [UInt8](unsafeUninitializedCapacity: count) { output, written in
                guard let target = output.baseAddress,
                    let key = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                else { return }
                switch self {
                case .x25519ChaCha20SHA256:
                    succeeded =
                        unsafe crypto_aead_chacha20poly1305_ietf_encrypt(
                            target, nil, plaintext, UInt64(plaintext.count), data,
                            UInt64(data.count), nil, nonce, key) == 0
                case .x25519AES128SHA256:
                    succeeded = unsafe AESGCM.seal(
                        plaintext, AESGCM.aes128.cipher, key, nonce, data, into: target)
                case .xwingAES256SHA384:
                    succeeded = unsafe AESGCM.seal(
                        plaintext, AESGCM.aes256.cipher, key, nonce, data, into: target)
                }
                written = succeeded ? count : 0
            }
        }
        guard succeeded else { throw .resourceExhausted }
        return ciphertext
    }

    /// `AEAD.Open`: the plaintext, or nil if the ciphertext is not authentic.
    public func open(
        _ ciphertext: [UInt8], key: SecretBytes, nonce: [UInt8], authenticating data: [UInt8]
    ) throws(CryptographyError) -> [UInt8]? {
        try check(key, nonce)
        guard ciphertext.count >= tagByteCount else { return nil }
        let count = ciphertext.count - tagByteCount
        var isAuthentic = false
        let plaintext = unsafe key.withUnsafeBytes { key in
            // One octet more, so that there is an address also for nothing.
            unsafe [UInt8](unsafeUninitializedCapacity: count + 1) { output, written in
                guard let target = output.baseAddress,
                    let key = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                else { return }
                switch self {
                case .x25519ChaCha20SHA256:
                    isAuthentic =
                        unsafe crypto_aead_chacha20poly1305_ietf_decrypt(
                            target, nil, nil, ciphertext, UInt64(ciphertext.count), data,
                            UInt64(data.count), nonce, key) == 0
                case .x25519AES128SHA256:
                    isAuthentic = unsafe AESGCM.open(
                        ciphertext, AESGCM.aes128.cipher, key, nonce, data, into: target)
                case .xwingAES256SHA384:
                    isAuthentic = unsafe AESGCM.open(
                        ciphertext, AESGCM.aes256.cipher, key, nonce, data, into: target)
                }
                written = isAuthentic ? count : 0
            }
        }
        return isAuthentic ? plaintext : nil
    }

    private func check(_ key: SecretBytes, _ nonce: [UInt8]) throws(CryptographyError) {
        guard key.count == keyByteCount else {
            throw .wrongLength(expected: keyByteCount, actual: key.count)
        }
        guard nonce.count == nonceByteCount else {
            throw .wrongLength(expected: nonceByteCount, actual: nonce.count)
        }
    }
}

/// AES-GCM of libcrypto, which overwrites its key schedule when done; swift-crypto's leaves the key
/// in freed memory, where a search of the process finds it.
private enum AESGCM {
    private static let tagByteCount = 16

    /// An implementation that libcrypto looked up once; its own look-up per message costs more than
    /// the encryption of a short one.
    ///
    /// Safe because libcrypto only reads it, and it is never freed.
    @safe struct Implementation: @unchecked Sendable {
        let cipher: OpaquePointer?

        init(_ name: String) {
            unsafe cipher = EVP_CIPHER_fetch(nil, name, nil)
        }
    }

    static let aes128 = Implementation("AES-128-GCM")
    static let aes256 = Implementation("AES-256-GCM")

    static func seal(
        _ plaintext: [UInt8], _ cipher: OpaquePointer?, _ key: UnsafePointer<UInt8>,
        _ nonce: [UInt8], _ data: [UInt8], into output: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        guard let length = Int32(exactly: plaintext.count),
            let dataLength = Int32(exactly: data.count),
            let state = unsafe EVP_CIPHER_CTX_new()
        else { return false }
        defer { unsafe EVP_CIPHER_CTX_free(state) }
        var written: Int32 = 0
        return unsafe EVP_EncryptInit_ex(state, cipher, nil, key, nonce) == 1
            && EVP_EncryptUpdate(state, nil, &written, data, dataLength) == 1
            && EVP_EncryptUpdate(state, output, &written, plaintext, length) == 1
            && EVP_EncryptFinal_ex(state, output + plaintext.count, &written) == 1
            && EVP_CIPHER_CTX_ctrl(
                state, EVP_CTRL_AEAD_GET_TAG, Int32(tagByteCount), output + plaintext.count) == 1
    }

    static func open(
        _ ciphertext: [UInt8], _ cipher: OpaquePointer?, _ key: UnsafePointer<UInt8>,
        _ nonce: [UInt8], _ data: [UInt8], into output: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        let count = ciphertext.count - tagByteCount
        guard let length = Int32(exactly: count), let dataLength = Int32(exactly: data.count),
            let state = unsafe EVP_CIPHER_CTX_new()
        else { return false }
        defer { unsafe EVP_CIPHER_CTX_free(state) }
        var written: Int32 = 0
        var tag = Array(ciphertext.suffix(tagByteCount))
        return unsafe EVP_DecryptInit_ex(state, cipher, nil, key, nonce) == 1
            && EVP_DecryptUpdate(state, nil, &written, data, dataLength) == 1
            && EVP_DecryptUpdate(state, output, &written, ciphertext, length) == 1
            && EVP_CIPHER_CTX_ctrl(
                state, EVP_CTRL_AEAD_SET_TAG, Int32(tagByteCount), &tag) == 1
            && EVP_DecryptFinal_ex(state, output + count, &written) == 1
    }
}
