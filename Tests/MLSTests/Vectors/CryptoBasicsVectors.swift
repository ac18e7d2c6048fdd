import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// The labelled functions of RFC 9420 §5 and §8, one case per suite.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS"))
struct `Vectors: crypto basics` {
    struct Case: Decodable, SuiteCase {
        struct RefHash: Decodable {
            let label: String
            let value: Hex
            let out: Hex
        }
        struct Expand: Decodable {
            let secret: Hex
            let label: String
            let context: Hex
            let length: Int
            let out: Hex
        }
        struct Derive: Decodable {
            let secret: Hex
            let label: String
            let out: Hex
        }
        struct DeriveTree: Decodable {
            let secret: Hex
            let label: String
            let generation: UInt32
            let length: Int
            let out: Hex
        }
        struct Sign: Decodable {
            let priv: Hex
            let pub: Hex
            let content: Hex
            let label: String
            let signature: Hex
        }
        struct Encrypt: Decodable {
            let priv: Hex
            let pub: Hex
            let label: String
            let context: Hex
            let plaintext: Hex
            let kemOutput: Hex
            let ciphertext: Hex
        }
        let cipherSuite: UInt16
        let refHash: RefHash
        let expandWithLabel: Expand
        let deriveSecret: Derive
        let deriveTreeSecret: DeriveTree
        let signWithLabel: Sign
        let encryptWithLabel: Encrypt
    }

    @Test func `derivations`() throws {
        for entry in try VectorFile.cases("crypto-basics", as: Case.self) {
            let algorithms = try #require(entry.algorithms)
            #expect(
                algorithms.refHash(entry.refHash.label, entry.refHash.value.bytes)
                    == entry.refHash.out.bytes)
            let expand = entry.expandWithLabel
            #expect(
                algorithms.expandWithLabel(
                    expand.secret.secret, expand.label, context: expand.context.bytes,
                    count: expand.length) == expand.out.secret)
            let derive = entry.deriveSecret
            #expect(
                algorithms.deriveSecret(derive.secret.secret, derive.label) == derive.out.secret)
            let tree = entry.deriveTreeSecret
            #expect(
                algorithms.deriveTreeSecret(
                    tree.secret.secret, tree.label, generation: tree.generation,
                    count: tree.length) == tree.out.secret)
        }
    }

    @Test func `signatures`() throws {
        for entry in try VectorFile.cases("crypto-basics", as: Case.self) {
            let algorithms = try #require(entry.algorithms)
            let sign = entry.signWithLabel
            let key = try SigningKey(seed: sign.priv.secret)
            #expect(key.publicKey.bytes == sign.pub.bytes)
            let own = try algorithms.sign(sign.content.bytes, label: sign.label, with: key)
            for signature in [sign.signature.bytes, own] {
                #expect(
                    algorithms.isValid(
                        signature: signature, of: sign.content.bytes, label: sign.label,
                        by: sign.pub.bytes))
            }
            #expect(
                !algorithms.isValid(
                    signature: own, of: sign.content.bytes, label: sign.label + "x",
                    by: sign.pub.bytes))
        }
    }

    @Test func `encryption to a public key`() throws {
        for entry in try VectorFile.cases("crypto-basics", as: Case.self) {
            let algorithms = try #require(entry.algorithms)
            let encrypt = entry.encryptWithLabel
            let key = try HPKEPrivateKey(encrypt.priv.secret, algorithms: algorithms)
            #expect(key.publicKey == encrypt.pub.bytes)
            let given = HPKECiphertext(
                kemOutput: encrypt.kemOutput.bytes, ciphertext: encrypt.ciphertext.bytes)
            let hpke = algorithms.hpke(encrypt.label, context: encrypt.context.bytes)
            let own = try hpke.encrypt(encrypt.plaintext.secret, to: encrypt.pub.bytes)
            for ciphertext in [given, own] {
                #expect(hpke.decrypt(ciphertext, with: key) == encrypt.plaintext.secret)
                let other = algorithms.hpke(encrypt.label, context: [0])
                #expect(other.decrypt(ciphertext, with: key) == nil)
            }
        }
    }
}
