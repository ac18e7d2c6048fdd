private import CSodium
private import Crypto

#if canImport(FoundationEssentials)
    private import FoundationEssentials
#else
    private import Foundation
#endif

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
        switch self {
        case .x25519AES128SHA256, .xwingAES256SHA384:
            do {
                let box = try AES.GCM.seal(
                    plaintext, using: key.symmetricKey, nonce: AES.GCM.Nonce(data: nonce),
                    authenticating: data)
                var output: [UInt8] = []
                output.reserveCapacity(plaintext.count + tagByteCount)
                output.append(contentsOf: box.ciphertext)
                output.append(contentsOf: box.tag)
                return output
            } catch {
                throw .resourceExhausted
            }
        case .x25519ChaCha20SHA256:
            let count = plaintext.count + tagByteCount
            return unsafe key.withUnsafeBytes { key in
                unsafe [UInt8](unsafeUninitializedCapacity: count) { output, written in
                    guard let target = output.baseAddress,
                        let key = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                    else { return }
                    unsafe crypto_aead_chacha20poly1305_ietf_encrypt(
                        target, nil, plaintext, UInt64(plaintext.count), data,
                        UInt64(data.count), nil, nonce, key)
                    written = count
                }
            }
        }
    }

    /// `AEAD.Open`: the plaintext, or nil if the ciphertext is not authentic.
    public func open(
        _ ciphertext: [UInt8], key: SecretBytes, nonce: [UInt8], authenticating data: [UInt8]
    ) throws(CryptographyError) -> [UInt8]? {
        try check(key, nonce)
        guard ciphertext.count >= tagByteCount else { return nil }
        let count = ciphertext.count - tagByteCount
        switch self {
        case .x25519AES128SHA256, .xwingAES256SHA384:
            guard let nonce = try? AES.GCM.Nonce(data: nonce),
                let box = try? AES.GCM.SealedBox(
                    nonce: nonce, ciphertext: ciphertext[..<count], tag: ciphertext[count...]),
                let plaintext = try? AES.GCM.open(
                    box, using: key.symmetricKey, authenticating: data)
            else { return nil }
            return Array(plaintext)
        case .x25519ChaCha20SHA256:
            var isAuthentic = false
            let plaintext = unsafe key.withUnsafeBytes { key in
                unsafe [UInt8](unsafeUninitializedCapacity: count) { output, written in
                    guard let key = unsafe key.assumingMemoryBound(to: UInt8.self).baseAddress
                    else { return }
                    isAuthentic =
                        unsafe crypto_aead_chacha20poly1305_ietf_decrypt(
                            output.baseAddress, nil, nil, ciphertext, UInt64(ciphertext.count),
                            data, UInt64(data.count), nonce, key) == 0
                    written = isAuthentic ? count : 0
                }
            }
            return isAuthentic ? plaintext : nil
        }
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

extension SecretBytes {
    /// The same octets as swift-crypto wants them; it wipes its copy.
    fileprivate var symmetricKey: SymmetricKey {
        unsafe withUnsafeBytes { unsafe SymmetricKey(data: $0) }
    }
}
