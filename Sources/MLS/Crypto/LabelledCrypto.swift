internal import Cryptography
internal import TLSSyntax

/// The suite's functions with the labels that keep their uses apart (RFC 9420 §5.1, §5.2, §8).
extension CipherAlgorithms {
    private static func labelled(_ label: String) -> [UInt8] {
        Array("MLS 1.0 ".utf8) + Array(label.utf8)
    }

    private static func labelled(_ label: String, _ content: [UInt8]) -> [UInt8] {
        var writer = TLSWriter()
        writer.reserve(content.count + 40)
        writer.write(vector: labelled(label))
        writer.write(vector: content)
        return writer.bytes
    }

    /// `ExpandWithLabel` (RFC 9420 §8).
    func expandWithLabel(
        _ secret: SecretBytes, _ label: String, context: [UInt8], count: Int
    ) -> SecretBytes {
        var info = TLSWriter()
        info.write(UInt16(truncatingIfNeeded: count))
        info.write(vector: Self.labelled(label))
        info.write(vector: context)
        return expand(secret, info: info.bytes, count: count)
    }

    /// `DeriveSecret` (RFC 9420 §8).
    func deriveSecret(_ secret: SecretBytes, _ label: String) -> SecretBytes {
        expandWithLabel(secret, label, context: [], count: hashByteCount)
    }

    /// `DeriveTreeSecret` (RFC 9420 §9.1).
    func deriveTreeSecret(
        _ secret: SecretBytes, _ label: String, generation: UInt32, count: Int
    ) -> SecretBytes {
        var context = TLSWriter()
        context.write(generation)
        return expandWithLabel(secret, label, context: context.bytes, count: count)
    }

    /// `RefHash` (RFC 9420 §5.2); the label is used as given.
    func refHash(_ label: String, _ value: [UInt8]) -> [UInt8] {
        var input = TLSWriter()
        input.write(vector: Array(label.utf8))
        input.write(vector: value)
        return hash(input.bytes)
    }

    /// `SignWithLabel` (RFC 9420 §5.1.2).
    func sign(
        _ content: [UInt8], label: String, with key: SigningKey
    ) throws(MLSError) -> [UInt8] {
        do { return try key.sign(Self.labelled(label, content)) } catch { throw .machine }
    }

    /// `VerifyWithLabel` (RFC 9420 §5.1.2).
    func isValid(
        signature: [UInt8], of content: [UInt8], label: String, by publicKey: [UInt8]
    ) -> Bool {
        guard let key = try? VerifyingKey(publicKey) else { return false }
        return key.isValid(signature: signature, for: Self.labelled(label, content))
    }

    /// `EncryptWithLabel` and `DecryptWithLabel` for one label and context (RFC 9420 §5.1.3).
    func hpke(_ label: String, context: [UInt8]) -> LabelledHPKE {
        LabelledHPKE(
            setup: HPKESetup(info: Self.labelled(label, context), algorithms: self))
    }

    /// An all-zero secret of `Nh` octets.
    var zeroSecret: SecretBytes { SecretBytes(count: hashByteCount) }
}

/// HPKE under one label and context, for any number of recipients (RFC 9420 §5.1.3).
struct LabelledHPKE: Sendable {
    fileprivate let setup: HPKESetup

    /// `EncryptWithLabel`.
    func encrypt(
        _ plaintext: SecretBytes, to publicKey: [UInt8]
    ) throws(MLSError) -> HPKECiphertext {
        do {
            let output = try setup.seal(plaintext, to: publicKey)
            return HPKECiphertext(kemOutput: output.kemOutput, ciphertext: output.ciphertext)
        } catch {
            // Whether a secret can be encapsulated to a key is looked at when the key comes.
            throw .machine
        }
    }

    /// `DecryptWithLabel`, nil if the ciphertext is not authentic.
    func decrypt(_ ciphertext: HPKECiphertext, with privateKey: HPKEPrivateKey) -> SecretBytes? {
        setup.open(
            HPKEOutput(received: ciphertext.kemOutput, ciphertext.ciphertext), with: privateKey)
    }
}
