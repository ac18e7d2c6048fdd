private import Crypto

#if canImport(FoundationEssentials)
    private import FoundationEssentials
#else
    private import Foundation
#endif

/// What HPKE encryption in base mode gives (RFC 9180 §5.1.1).
public struct HPKEOutput: Sendable {
    /// The encapsulated key, `enc`.
    public let kemOutput: [UInt8]
    /// The ciphertext with its tag.
    public let ciphertext: [UInt8]
}

extension CipherAlgorithms {
    private var hpke: HPKE.Ciphersuite {
        switch self {
        case .x25519AES128SHA256:
            HPKE.Ciphersuite(
                kem: .Curve25519_HKDF_SHA256, kdf: .HKDF_SHA256, aead: .AES_GCM_128)
        case .x25519ChaCha20SHA256:
            HPKE.Ciphersuite(kem: .Curve25519_HKDF_SHA256, kdf: .HKDF_SHA256, aead: .chaChaPoly)
        case .xwingAES256SHA384:
            HPKE.Ciphersuite(kem: .XWingMLKEM768X25519, kdf: .HKDF_SHA384, aead: .AES_GCM_256)
        }
    }

    private func sender(
        to publicKey: [UInt8], info: [UInt8]
    ) throws(CryptographyError) -> HPKE.Sender {
        do {
            switch self {
            case .x25519AES128SHA256, .x25519ChaCha20SHA256:
                return try HPKE.Sender(
                    recipientKey: Curve25519.KeyAgreement.PublicKey(rawRepresentation: publicKey),
                    ciphersuite: hpke, info: Data(info))
            case .xwingAES256SHA384:
                return try HPKE.Sender(
                    recipientKey: XWingMLKEM768X25519.PublicKey(rawRepresentation: publicKey),
                    ciphersuite: hpke, info: Data(info))
            }
        } catch {
            throw .invalidKey
        }
    }

    private func recipient(
        _ privateKey: HPKEPrivateKey, kemOutput: [UInt8], info: [UInt8]
    ) throws(CryptographyError) -> HPKE.Recipient {
        do {
            switch privateKey.key {
            case .x25519(let key):
                return try HPKE.Recipient(
                    privateKey: key, ciphersuite: hpke, info: Data(info),
                    encapsulatedKey: Data(kemOutput))
            case .xwing(let key):
                return try HPKE.Recipient(
                    privateKey: key, ciphersuite: hpke, info: Data(info),
                    encapsulatedKey: Data(kemOutput))
            }
        } catch {
            throw .invalidKey
        }
    }

    /// `SealBase` without associated data (RFC 9180 §6.1).
    ///
    /// - Throws: `.invalidKey` if the public key is not one.
    public func hpkeSeal(
        _ plaintext: SecretBytes, to publicKey: [UInt8], info: [UInt8]
    ) throws(CryptographyError) -> HPKEOutput {
        var sender = try sender(to: publicKey, info: info)
        do {
            let ciphertext = unsafe try plaintext.withUnsafeBytes {
                try sender.seal(unsafe Data($0))
            }
            return HPKEOutput(
                kemOutput: Array(sender.encapsulatedKey), ciphertext: Array(ciphertext))
        } catch {
            throw .resourceExhausted
        }
    }

    /// `OpenBase` without associated data (RFC 9180 §6.1), or nil if it is not authentic.
    public func hpkeOpen(
        _ output: HPKEOutput, with privateKey: HPKEPrivateKey, info: [UInt8]
    ) -> SecretBytes? {
        guard
            var recipient = try? recipient(privateKey, kemOutput: output.kemOutput, info: info),
            var plaintext = try? recipient.open(output.ciphertext)
        else { return nil }
        defer { plaintext.resetBytes(in: plaintext.startIndex..<plaintext.endIndex) }
        return SecretBytes(plaintext)
    }

    /// `SendExportBase` (RFC 9180 §6.2) with empty info: a secret for whoever has the private key.
    public func hpkeExport(
        to publicKey: [UInt8], context: [UInt8], count: Int
    ) throws(CryptographyError) -> (kemOutput: [UInt8], secret: SecretBytes) {
        let sender = try sender(to: publicKey, info: [])
        do {
            let secret = try sender.exportSecret(context: context, outputByteCount: count)
            return (
                Array(sender.encapsulatedKey),
                unsafe secret.withUnsafeBytes { unsafe SecretBytes($0) }
            )
        } catch {
            throw .resourceExhausted
        }
    }

    /// `ReceiveExportBase` (RFC 9180 §6.2) with empty info.
    public func hpkeExport(
        kemOutput: [UInt8], with privateKey: HPKEPrivateKey, context: [UInt8], count: Int
    ) -> SecretBytes? {
        guard
            let recipient = try? recipient(privateKey, kemOutput: kemOutput, info: []),
            let secret = try? recipient.exportSecret(context: context, outputByteCount: count)
        else { return nil }
        return unsafe secret.withUnsafeBytes { unsafe SecretBytes($0) }
    }
}

extension HPKEOutput {
    /// Puts together what came over the wire.
    public init(received kemOutput: [UInt8], _ ciphertext: [UInt8]) {
        self.kemOutput = kemOutput
        self.ciphertext = ciphertext
    }
}
