private import Crypto

/// The key encapsulation of each suite (RFC 9180 §4.1; X-Wing of draft-ietf-hpke-pq).
extension CipherAlgorithms {
    /// Whether a secret can be encapsulated to these octets: they are as long as a key, a point of
    /// X25519 is not of small order (RFC 9180 §7.1.4), and numbers of ML-KEM are below its modulus
    /// (FIPS 203 §7.2).
    ///
    /// Says what `encapsulate` would by throwing, at a hundredth of the price.
    public func isPublicKey(_ key: [UInt8]) -> Bool {
        guard key.count == publicKeyByteCount else { return false }
        return switch self {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256: !SmallOrder.contains(key[...])
        case .xwingAES256SHA384: XWing.isReduced(key) && !SmallOrder.contains(key.suffix(32))
        }
    }

    /// `Encap`: a fresh secret, and what lets the owner of the key find it.
    ///
    /// - Throws: `.invalidKey` if the public key is not one.
    func encapsulate(
        to publicKey: [UInt8]
    ) throws(CryptographyError) -> (secret: SecretBytes, output: [UInt8]) {
        switch self {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256:
            let ephemeral = Curve25519.KeyAgreement.PrivateKey()
            let output = Array(ephemeral.publicKey.rawRepresentation)
            guard let agreed = Self.agree(ephemeral, publicKey) else { throw .invalidKey }
            return (sharedSecret(agreed: agreed, context: output + publicKey), output)
        case .xwingAES256SHA384:
            return try XWing.encapsulate(to: publicKey)
        }
    }

    /// `Decap`: the sender's secret, or nil if the output can't be right.
    func decapsulate(_ output: [UInt8], with privateKey: HPKEPrivateKey) -> SecretBytes? {
        switch privateKey.key {
        case .x25519(let key):
            guard let agreed = Self.agree(key, output) else { return nil }
            return sharedSecret(agreed: agreed, context: output + privateKey.publicKey)
        case .xwing(let key):
            return XWing.decapsulate(output, with: key)
        }
    }

    /// X25519; nil for a point of small order, which gives zero (RFC 9180 §7.1.4).
    private static func agree(
        _ key: Curve25519.KeyAgreement.PrivateKey, _ publicKey: [UInt8]
    ) -> SecretBytes? {
        defer { StackScrub.run(StackScrub.curve25519) }
        guard
            let peer = try? Curve25519.KeyAgreement.PublicKey(rawRepresentation: publicKey),
            let agreement = try? key.sharedSecretFromKeyAgreement(with: peer)
        else { return nil }
        let agreed = unsafe agreement.withUnsafeBytes { unsafe SecretBytes($0) }
        return agreed == SecretBytes(count: 32) ? nil : agreed
    }

    /// DHKEM's `ExtractAndExpand` (RFC 9180 §4.1).
    private func sharedSecret(agreed: SecretBytes, context: [UInt8]) -> SecretBytes {
        let prefix = Array("HPKE-v1KEM".utf8) + [0x00, 0x20]
        let extracted = extract(
            salt: SecretBytes(count: 0),
            input: SecretBytes(prefix: prefix + Array("eae_prk".utf8), agreed))
        return expand(
            extracted, info: [0, 32] + prefix + Array("shared_secret".utf8) + context, count: 32)
    }
}
