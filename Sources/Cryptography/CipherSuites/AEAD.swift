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
        let sealed = unsafe try octets(plaintext.count + tagByteCount, key, nonce) { target, key in
            switch self {
            case .x25519ChaCha20SHA256:
                unsafe crypto_aead_chacha20poly1305_ietf_encrypt(
                    target, nil, plaintext, UInt64(plaintext.count), data, UInt64(data.count),
                    nil, nonce, key) == 0
            case .x25519AES128SHA256:
                unsafe AESGCM.aes128.seal(plaintext, key, nonce, data, into: target)
            case .xwingAES256SHA384:
                unsafe AESGCM.aes256.seal(plaintext, key, nonce, data, into: target)
            }
        }
        guard let sealed else { throw .resourceExhausted }
        return sealed
    }

    /// `AEAD.Open`: the plaintext, or nil if the ciphertext is not authentic.
    public func open(
        _ ciphertext: [UInt8], key: SecretBytes, nonce: [UInt8], authenticating data: [UInt8]
    ) throws(CryptographyError) -> [UInt8]? {
        let count = max(0, ciphertext.count - tagByteCount)
        return unsafe try octets(count, key, nonce) { target, key in
            guard ciphertext.count >= tagByteCount else { return false }
            return switch self {
            case .x25519ChaCha20SHA256:
                unsafe crypto_aead_chacha20poly1305_ietf_decrypt(
                    target, nil, nil, ciphertext, UInt64(ciphertext.count), data,
                    UInt64(data.count), nonce, key) == 0
            case .x25519AES128SHA256:
                unsafe AESGCM.aes128.open(ciphertext, key, nonce, data, into: target)
            case .xwingAES256SHA384:
                unsafe AESGCM.aes256.open(ciphertext, key, nonce, data, into: target)
            }
        }
    }

    /// What `write` writes under the key, nil if it refuses.
    private func octets(
        _ count: Int, _ key: SecretBytes, _ nonce: [UInt8],
        _ write: (UnsafeMutablePointer<UInt8>, UnsafePointer<UInt8>) -> Bool
    ) throws(CryptographyError) -> [UInt8]? {
        guard key.count == keyByteCount else {
            throw .wrongLength(expected: keyByteCount, actual: key.count)
        }
        guard nonce.count == nonceByteCount else {
            throw .wrongLength(expected: nonceByteCount, actual: nonce.count)
        }
        var succeeded = false
        let octets = unsafe key.withUnsafeBytes { key in
            // One octet more, so that there is an address also for nothing.
            unsafe [UInt8](unsafeUninitializedCapacity: count + 1) { output, written in
                guard let target = output.baseAddress,
                    let key = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                else { return }
                succeeded = unsafe write(target, key)
                written = succeeded ? count : 0
            }
        }
        return succeeded ? octets : nil
    }
}

/// AES-GCM of libcrypto, which overwrites its key schedule when done; swift-crypto's leaves the key
/// in freed memory, where a search of the process finds it.
///
/// Holds an implementation that libcrypto looked up once; its own look-up per message costs more than
/// the encryption of a short one. Safe because libcrypto only reads it, and it is never freed.
@safe private struct AESGCM: @unchecked Sendable {
    private static let tagByteCount = 16

    static let aes128 = AESGCM("AES-128-GCM")
    static let aes256 = AESGCM("AES-256-GCM")

    private let cipher: OpaquePointer?

    private init(_ name: String) {
        unsafe cipher = EVP_CIPHER_fetch(nil, name, nil)
    }

    func seal(
        _ plaintext: [UInt8], _ key: UnsafePointer<UInt8>, _ nonce: [UInt8], _ data: [UInt8],
        into output: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        let tag = unsafe output + plaintext.count
        return unsafe run(plaintext, plaintext.count, key, nonce, data, output, tag, seals: true)
    }

    func open(
        _ ciphertext: [UInt8], _ key: UnsafePointer<UInt8>, _ nonce: [UInt8], _ data: [UInt8],
        into output: UnsafeMutablePointer<UInt8>
    ) -> Bool {
        let count = ciphertext.count - Self.tagByteCount
        var tag = Array(ciphertext.suffix(Self.tagByteCount))
        return unsafe run(ciphertext, count, key, nonce, data, output, &tag, seals: false)
    }

    private func run(
        _ input: [UInt8], _ count: Int, _ key: UnsafePointer<UInt8>, _ nonce: [UInt8],
        _ data: [UInt8], _ output: UnsafeMutablePointer<UInt8>,
        _ tag: UnsafeMutablePointer<UInt8>, seals: Bool
    ) -> Bool {
        guard let length = Int32(exactly: count), let dataLength = Int32(exactly: data.count),
            let state = unsafe EVP_CIPHER_CTX_new()
        else { return false }
        defer { unsafe EVP_CIPHER_CTX_free(state) }
        let tagLength = Int32(Self.tagByteCount)
        var written: Int32 = 0
        return unsafe EVP_CipherInit_ex(state, cipher, nil, key, nonce, seals ? 1 : 0) == 1
            && EVP_CipherUpdate(state, nil, &written, data, dataLength) == 1
            && EVP_CipherUpdate(state, output, &written, input, length) == 1
            && (seals
                || EVP_CIPHER_CTX_ctrl(state, EVP_CTRL_AEAD_SET_TAG, tagLength, tag) == 1)
            && EVP_CipherFinal_ex(state, output + count, &written) == 1
            && (!seals
                || EVP_CIPHER_CTX_ctrl(state, EVP_CTRL_AEAD_GET_TAG, tagLength, tag) == 1)
    }
}
