import Crypto
import Cryptography
import Foundation

/// What a suite's primitives cost on this machine: microseconds, each from the fastest library at
/// hand, called bare.
struct Primitives {
    let sign: Double
    let verify: Double
    let seal: Double
    let open: Double
    let sealSmall: Double
    let openSmall: Double
    let expand: Double
    let keyPair: Double
    let hpkeSeal: Double
    let hpkeOpen: Double

    init(suite: CipherSuite) throws {
        guard let algorithms = CipherAlgorithms(suite) else {
            throw BenchmarkError.unexpected("no such suite")
        }
        let content = [UInt8](repeating: 0x5a, count: 1100)
        let signer = Curve25519.Signing.PrivateKey()
        let signature = Array(try signer.signature(for: content))
        sign = try processorMicrosecondsPerCall(calls: 500) {
            _ = try signer.signature(for: content)
        }
        let verifier = try VerifyingKey(Array(signer.publicKey.rawRepresentation))
        verify = processorMicrosecondsPerCall(calls: 500) {
            precondition(verifier.isValid(signature: signature, for: content))
        }
        let large = try Self.aead(algorithms, content)
        let small = try Self.aead(algorithms, [UInt8](repeating: 0x5a, count: 12))
        (seal, open) = large
        (sealSmall, openSmall) = small

        let secret = SecretBytes.random(count: algorithms.hashByteCount)
        let label = Array("MLS 1.0 key".utf8) + [0, 0, 0, 0]
        expand = processorMicrosecondsPerCall {
            _ = algorithms.expand(secret, info: label, count: algorithms.keyByteCount)
        }
        let kem = try algorithms == .xwingAES256SHA384 ? Self.xwing() : Self.x25519()
        keyPair = kem.keyPair
        // The KEM's extract and expand, one more extract, a key and a nonce (RFC 9180 §4.1, §5.1;
        // the rest is the same for all recipients), or the library's whole operation if faster.
        let key = try HPKEPrivateKey.generate(algorithms)
        let text = SecretBytes.random(count: algorithms.hashByteCount)
        let setup = HPKESetup(info: content, algorithms: algorithms)
        let sealed = try setup.seal(text, to: key.publicKey)
        hpkeSeal = min(
            kem.encapsulate + sealSmall + 5 * expand,
            try processorMicrosecondsPerCall(calls: 200) {
                _ = try setup.seal(text, to: key.publicKey)
            })
        hpkeOpen = min(
            kem.decapsulate + openSmall + 5 * expand,
            processorMicrosecondsPerCall(calls: 200) { _ = setup.open(sealed, with: key) })
    }

    private static func aead(
        _ algorithms: CipherAlgorithms, _ content: [UInt8]
    ) throws -> (seal: Double, open: Double) {
        let key = SecretBytes.random(count: algorithms.keyByteCount)
        let nonce = Random.bytes(algorithms.nonceByteCount)
        let sealed = try algorithms.seal(content, key: key, nonce: nonce, authenticating: [])
        let ours = try (
            seal: processorMicrosecondsPerCall {
                _ = try algorithms.seal(content, key: key, nonce: nonce, authenticating: [])
            },
            open: processorMicrosecondsPerCall {
                _ = try algorithms.open(sealed, key: key, nonce: nonce, authenticating: [])
            }
        )
        let theirs = try bareAEAD(algorithms, content)
        return (min(ours.seal, theirs.seal), min(ours.open, theirs.open))
    }

    private static func bareAEAD(
        _ algorithms: CipherAlgorithms, _ content: [UInt8]
    ) throws -> (seal: Double, open: Double) {
        let key = SymmetricKey(
            data: SecretBytes.random(count: algorithms.keyByteCount).exposedCopy())
        if algorithms == .x25519ChaCha20SHA256 {
            let nonce = ChaChaPoly.Nonce()
            let box = try ChaChaPoly.seal(content, using: key, nonce: nonce)
            return try (
                processorMicrosecondsPerCall {
                    _ = try ChaChaPoly.seal(content, using: key, nonce: nonce)
                },
                processorMicrosecondsPerCall { _ = try ChaChaPoly.open(box, using: key) }
            )
        }
        let nonce = AES.GCM.Nonce()
        let box = try AES.GCM.seal(content, using: key, nonce: nonce)
        return try (
            processorMicrosecondsPerCall {
                _ = try AES.GCM.seal(content, using: key, nonce: nonce)
            },
            processorMicrosecondsPerCall { _ = try AES.GCM.open(box, using: key) }
        )
    }

    private typealias KEM = (keyPair: Double, encapsulate: Double, decapsulate: Double)

    private static func x25519() throws -> KEM {
        let own = Curve25519.KeyAgreement.PrivateKey()
        let peer = Curve25519.KeyAgreement.PrivateKey().publicKey
        let keyPair = processorMicrosecondsPerCall(calls: 500) {
            _ = Curve25519.KeyAgreement.PrivateKey().publicKey
        }
        let agreement = try processorMicrosecondsPerCall(calls: 500) {
            _ = try own.sharedSecretFromKeyAgreement(with: peer)
        }
        return (keyPair, keyPair + agreement, agreement)
    }

    private static func xwing() throws -> KEM {
        let own = try XWingMLKEM768X25519.PrivateKey.generate()
        let sent = try own.publicKey.encapsulate()
        return try (
            processorMicrosecondsPerCall(calls: 200) {
                _ = try XWingMLKEM768X25519.PrivateKey.generate()
            },
            processorMicrosecondsPerCall(calls: 200) { _ = try own.publicKey.encapsulate() },
            processorMicrosecondsPerCall(calls: 200) { _ = try own.decapsulate(sent.encapsulated) }
        )
    }
}

/// How many of each primitive an operation can't do without.
struct Floor {
    var signs = 0
    var verifies = 0
    var seals = 0
    var opens = 0
    var smallSeals = 0
    var smallOpens = 0
    var expands = 0
    var keyPairs = 0
    var hpkeSeals = 0
    var hpkeOpens = 0

    /// Their price.
    func microseconds(_ price: Primitives) -> Double {
        let asymmetric =
            Double(signs) * price.sign + Double(verifies) * price.verify
            + Double(keyPairs) * price.keyPair + Double(hpkeSeals) * price.hpkeSeal
            + Double(hpkeOpens) * price.hpkeOpen
        let symmetric =
            Double(seals) * price.seal + Double(opens) * price.open
            + Double(smallSeals) * price.sealSmall + Double(smallOpens) * price.openSmall
            + Double(expands) * price.expand
        return asymmetric + symmetric
    }

    /// In words.
    var text: String {
        [
            (signs, "sign"), (verifies, "verify"), (keyPairs, "key pair"),
            (hpkeSeals, "HPKE seal"), (hpkeOpens, "HPKE open"),
            (seals + smallSeals, "AEAD seal"), (opens + smallOpens, "AEAD open"),
            (expands, "expand"),
        ].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
    }
}
