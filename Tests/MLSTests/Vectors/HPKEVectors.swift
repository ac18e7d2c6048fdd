import Crypto
import Cryptography
import Foundation
import Testing

@testable import Cryptography

/// X-Wing in HPKE: key derivation by our code, and that the library underneath decapsulates to
/// what the working group's vectors say.
@Suite struct `Vectors: X-Wing` {
    struct Case: Decodable {
        let mode: Int
        let kem_id: Int
        let kdf_id: Int
        let aead_id: Int
        let info: Hex
        let ikmR: Hex
        let skRm: Hex
        let pkRm: Hex
        let enc: Hex
        let suite_id: Hex
        let shared_secret: Hex
        let key: Hex
        let base_nonce: Hex
        let exporter_secret: Hex
        let encryptions: [Encryption]
        let exports: [Export]
    }
    struct Encryption: Decodable {
        let aad: Hex
        let ct: Hex
        let pt: Hex
    }
    struct Export: Decodable {
        let exporter_context: Hex
        let L: Int
        let exported_value: Hex
    }

    private func octets(_ key: SymmetricKey) -> [UInt8] {
        unsafe key.withUnsafeBytes { unsafe Array($0) }
    }

    private func cases() throws -> [Case] {
        let url = try #require(HPKEVectorFile.url)
        let cases = try JSONDecoder().decode([Case].self, from: Data(contentsOf: url))
        #expect(!cases.isEmpty)
        for entry in cases {
            // What the tests below know: X-Wing, base mode, ChaCha20-Poly1305, two ways to derive keys.
            #expect(entry.kem_id == 0x647a && entry.mode == 0 && entry.aead_id == 3)
            #expect([1, 0x11].contains(entry.kdf_id))
        }
        return cases
    }

    @Test(.enabled(if: HPKEVectorFile.url != nil, "no vectors"))
    func `key pairs are derived by SHAKE256`() throws {
        for entry in try cases() {
            let key = try HPKEPrivateKey.derive(
                from: entry.ikmR.secret, algorithms: .xwingAES256SHA384)
            #expect(key.bytes == entry.skRm.secret)
            #expect(key.publicKey == entry.pkRm.bytes)
        }
    }

    @Test(.enabled(if: HPKEVectorFile.url != nil, "no vectors"))
    func `shared secrets and contexts agree`() throws {
        for entry in try cases() {
            let key = try XWingMLKEM768X25519.PrivateKey(
                seedRepresentation: entry.skRm.bytes, publicKey: nil)
            let secret = try key.decapsulate(Data(entry.enc.bytes))
            #expect(octets(secret) == entry.shared_secret.bytes)
            guard entry.kdf_id == 1, entry.aead_id == 3 else { continue }
            var recipient = try HPKE.Recipient(
                privateKey: key,
                ciphersuite: HPKE.Ciphersuite(
                    kem: .XWingMLKEM768X25519, kdf: .HKDF_SHA256, aead: .chaChaPoly),
                info: Data(entry.info.bytes), encapsulatedKey: Data(entry.enc.bytes))
            for export in entry.exports {
                let value = try recipient.exportSecret(
                    context: export.exporter_context.bytes, outputByteCount: export.L)
                #expect(octets(value) == export.exported_value.bytes)
            }
            for message in entry.encryptions {
                let text = try recipient.open(message.ct.bytes, authenticating: message.aad.bytes)
                #expect(Array(text) == message.pt.bytes)
            }
        }
    }

    /// The one-stage key schedule of draft-ietf-hpke-hpke, which our suites don't use: the library's
    /// SHAKE256 and X-Wing are held against the rest of the case.
    @Test(.enabled(if: HPKEVectorFile.url != nil, "no vectors"))
    func `keys and exports by SHAKE256 agree`() throws {
        func prefixed(_ octets: [UInt8]) -> [UInt8] {
            [UInt8(octets.count >> 8), UInt8(octets.count & 0xff)] + octets
        }
        func labelledDerive(
            _ entry: Case, from input: [UInt8], _ label: String, context: [UInt8], count: Int
        ) throws -> [UInt8] {
            let suffix =
                Array("HPKE-v1".utf8) + entry.suite_id.bytes + prefixed(Array(label.utf8))
                + [UInt8(count >> 8), UInt8(count & 0xff)] + context
            return try SHAKE256.derive(from: SecretBytes(input), suffix: suffix, count: count)
                .exposedCopy()
        }
        let entries = try cases().filter { $0.kdf_id == 0x11 && $0.aead_id == 3 }
        #expect(!entries.isEmpty)
        for entry in entries {
            let key = try HPKEPrivateKey(entry.skRm.secret, algorithms: .xwingAES256SHA384)
            let shared = try #require(
                CipherAlgorithms.xwingAES256SHA384.decapsulate(entry.enc.bytes, with: key))
            #expect(shared == entry.shared_secret.secret)
            let secret = try labelledDerive(
                entry, from: prefixed([]) + prefixed(shared.exposedCopy()), "secret",
                context: [0] + prefixed([]) + prefixed(entry.info.bytes), count: 32 + 12 + 64)
            #expect(Array(secret[..<32]) == entry.key.bytes)
            #expect(Array(secret[32..<44]) == entry.base_nonce.bytes)
            #expect(Array(secret[44...]) == entry.exporter_secret.bytes)
            for export in entry.exports {
                let value = try labelledDerive(
                    entry, from: Array(secret[44...]), "sec",
                    context: export.exporter_context.bytes, count: export.L)
                #expect(value == export.exported_value.bytes)
            }
            for (number, message) in entry.encryptions.enumerated() {
                var nonce = Array(secret[32..<44])
                nonce[11] ^= UInt8(number)
                let text = try CipherAlgorithms.x25519ChaCha20SHA256.open(
                    message.ct.bytes, key: SecretBytes(secret[..<32]), nonce: nonce,
                    authenticating: message.aad.bytes)
                #expect(text == message.pt.bytes)
            }
        }
    }

    @Test(arguments: CipherSuite.supported)
    func `our key schedule and swift-crypto's open each other's ciphertexts`(
        suite: CipherSuite
    ) throws {
        let algorithms = try #require(CipherAlgorithms(suite))
        let key = try HPKEPrivateKey.generate(algorithms)
        let other = try HPKEPrivateKey.generate(algorithms)
        let info: [UInt8] = [4, 5, 6]
        let setup = HPKESetup(info: info, algorithms: algorithms)
        let sealed = try setup.seal(SecretBytes([1, 2, 3]), to: key.publicKey)
        #expect(setup.open(sealed, with: key) == SecretBytes([1, 2, 3]))
        #expect(setup.open(sealed, with: other) == nil)
        #expect(
            HPKESetup(info: [5], algorithms: algorithms).open(sealed, with: key) == nil)
        let exported = try setup.export(to: key.publicKey, context: [9], count: 40)
        #expect(
            setup.export(kemOutput: exported.kemOutput, with: key, context: [9], count: 40)
                == exported.secret)

        var recipient: HPKE.Recipient
        var sender: HPKE.Sender
        switch key.key {
        case .x25519(let key):
            let hpke = HPKE.Ciphersuite(
                kem: .Curve25519_HKDF_SHA256, kdf: .HKDF_SHA256,
                aead: suite == .x25519AES128 ? .AES_GCM_128 : .chaChaPoly)
            recipient = try HPKE.Recipient(
                privateKey: key, ciphersuite: hpke, info: Data(info),
                encapsulatedKey: Data(sealed.kemOutput))
            sender = try HPKE.Sender(
                recipientKey: key.publicKey, ciphersuite: hpke, info: Data(info))
        case .xwing:
            let key = unsafe try key.bytes.withUnsafeBytes {
                try unsafe XWingMLKEM768X25519.PrivateKey(seedRepresentation: $0, publicKey: nil)
            }
            let hpke = HPKE.Ciphersuite(
                kem: .XWingMLKEM768X25519, kdf: .HKDF_SHA384, aead: .AES_GCM_256)
            recipient = try HPKE.Recipient(
                privateKey: key, ciphersuite: hpke, info: Data(info),
                encapsulatedKey: Data(sealed.kemOutput))
            sender = try HPKE.Sender(
                recipientKey: key.publicKey, ciphersuite: hpke, info: Data(info))
        }
        #expect(try Array(recipient.open(sealed.ciphertext)) == [1, 2, 3])
        let theirs = try Array(sender.seal([UInt8]([7, 8])))
        #expect(
            setup.open(HPKEOutput(received: Array(sender.encapsulatedKey), theirs), with: key)
                == SecretBytes([7, 8]))
        let secret = try sender.exportSecret(context: [UInt8]([1]), outputByteCount: 32)
        #expect(
            setup.export(
                kemOutput: Array(sender.encapsulatedKey), with: key, context: [1], count: 32)?
                .exposedCopy() == octets(secret))
    }

    @Test(arguments: CipherSuite.supported)
    func `what is no key is refused`(suite: CipherSuite) throws {
        let algorithms = try #require(CipherAlgorithms(suite))
        let setup = HPKESetup(info: [], algorithms: algorithms)
        let count = algorithms.publicKeyByteCount
        // Zero is a point of small order in X25519; all ones are out of range in ML-KEM.
        for bytes in [[], [UInt8](repeating: suite == .xwingAES256 ? 0xff : 0, count: count)] {
            #expect(throws: CryptographyError.invalidKey) {
                _ = try setup.seal(SecretBytes([1]), to: bytes)
            }
        }
    }
}

enum HPKEVectorFile {
    /// Beside the MLS vectors.
    static let url: URL? = {
        guard let folder = VectorFile.folder else { return nil }
        let url = folder.deletingLastPathComponent()
            .appendingPathComponent("hpke-vectors/hpke-pq-xwing.json")
        return FileManager.default.fileExists(atPath: url.path) ? url : nil
    }()
}
