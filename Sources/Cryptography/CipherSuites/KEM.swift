private import Crypto

#if canImport(FoundationEssentials)
    private import FoundationEssentials
#else
    private import Foundation
#endif

/// The key encapsulation of each suite (RFC 9180 §4.1; X-Wing of draft-ietf-hpke-pq).
extension CipherAlgorithms {
    /// `Encap`: a fresh secret, and what lets the owner of the key find it.
    ///
    /// - Throws: `.invalidKey` if the public key is not one.
    func encapsulate(
        to publicKey: [UInt8]
    ) throws(CryptographyError) -> (secret: SecretBytes, output: [UInt8]) {
        do {
            switch self {
            case .x25519AES128SHA256, .x25519ChaCha20SHA256:
                let ephemeral = Curve25519.KeyAgreement.PrivateKey()
                let recipient = try Curve25519.KeyAgreement.PublicKey(
                    rawRepresentation: publicKey)
                let output = Array(ephemeral.publicKey.rawRepresentation)
                let agreement = try ephemeral.sharedSecretFromKeyAgreement(with: recipient)
                let agreed = unsafe agreement.withUnsafeBytes { unsafe SecretBytes($0) }
                // A point of small order gives zero (RFC 9180 §7.1.4).
                guard agreed != SecretBytes(count: 32) else { throw CryptographyError.invalidKey }
                return (sharedSecret(agreed: agreed, context: output + publicKey), output)
            case .xwingAES256SHA384:
                let result = try XWingMLKEM768X25519.PublicKey(rawRepresentation: publicKey)
                    .encapsulate()
                let secret = unsafe result.sharedSecret.withUnsafeBytes {
                    unsafe SecretBytes($0)
                }
                return (secret, Array(result.encapsulated))
            }
        } catch {
            throw .invalidKey
        }
    }

    /// `Decap`: the sender's secret, or nil if the output can't be right.
    func decapsulate(_ output: [UInt8], with privateKey: HPKEPrivateKey) -> SecretBytes? {
        switch privateKey.key {
        case .x25519(let key):
            guard
                let sender = try? Curve25519.KeyAgreement.PublicKey(rawRepresentation: output),
                let agreement = try? key.sharedSecretFromKeyAgreement(with: sender)
            else { return nil }
            let agreed = unsafe agreement.withUnsafeBytes { unsafe SecretBytes($0) }
            guard agreed != SecretBytes(count: 32) else { return nil }
            return sharedSecret(agreed: agreed, context: output + privateKey.publicKey)
        case .xwing(let key):
            guard let secret = try? key.decapsulate(Data(output)) else { return nil }
            return unsafe secret.withUnsafeBytes { unsafe SecretBytes($0) }
        }
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
