import Crypto
import Cryptography
import Foundation
import Testing

@testable import Cryptography

/// X-Wing in HPKE: key derivation by our code, and that the library underneath decapsulates to
/// what the working group's vectors say.
@Suite(.enabled(if: HPKEVectorFile.url != nil, "no vectors")) struct `Vectors: X-Wing` {
    struct Case: Decodable {
        let kdf_id: Int
        let aead_id: Int
        let info: Hex
        let ikmR: Hex
        let skRm: Hex
        let pkRm: Hex
        let enc: Hex
        let shared_secret: Hex
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
        return try JSONDecoder().decode([Case].self, from: Data(contentsOf: url))
    }

    @Test func `key pairs are derived by SHAKE256`() throws {
        for entry in try cases() {
            let key = try HPKEPrivateKey.derive(
                from: entry.ikmR.secret, algorithms: .xwingAES256SHA384)
            #expect(key.bytes == entry.skRm.secret)
            #expect(key.publicKey == entry.pkRm.bytes)
        }
    }

    @Test func `shared secrets and contexts agree`() throws {
        for entry in try cases() {
            let key = try XWingMLKEM768X25519.PrivateKey(
                seedRepresentation: entry.skRm.bytes, publicKey: nil)
            let secret = try key.decapsulate(Data(entry.enc.bytes))
            #expect(octets(secret) == entry.shared_secret.bytes)
            // The rest of the second case wants SHAKE256 as KDF, which our suite does not use.
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

    @Test func `our sealing opens with the derived key only`() throws {
        let algorithms = CipherAlgorithms.xwingAES256SHA384
        let key = try HPKEPrivateKey.generate(algorithms)
        let other = try HPKEPrivateKey.generate(algorithms)
        let sealed = try algorithms.hpkeSeal(
            SecretBytes([1, 2, 3]), to: key.publicKey, info: [4])
        #expect(algorithms.hpkeOpen(sealed, with: key, info: [4]) == SecretBytes([1, 2, 3]))
        #expect(algorithms.hpkeOpen(sealed, with: other, info: [4]) == nil)
        #expect(algorithms.hpkeOpen(sealed, with: key, info: [5]) == nil)
        #expect(throws: CryptographyError.invalidKey) {
            _ = try algorithms.hpkeSeal(
                SecretBytes([1]), to: [UInt8](repeating: 0xff, count: 1_216), info: [])
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
