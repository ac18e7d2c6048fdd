import Crypto
import Cryptography
import Foundation

/// What an operation costs that works through octets: microseconds.
struct Price {
    let perCall: Double
    let perOctet: Double

    /// From the cost of two sizes.
    init(of cost: (Int) throws -> Double) rethrows {
        let (small, large) = (16, 65_536)
        let smallCost = try cost(small)
        perOctet = max(0, try cost(large) - smallCost) / Double(large - small)
        perCall = smallCost - perOctet * Double(small)
    }

    func microseconds(calls: Int, octets: Int) -> Double {
        Double(calls) * perCall + Double(octets) * perOctet
    }
}

/// What a suite's primitives cost on this machine: microseconds, each from the fastest library at
/// hand, called bare.
struct Primitives {
    let sign: Price
    let verify: Price
    let seal: Price
    let open: Price
    let hash: Price
    let expand: Double
    let keyPair: Double
    let hpkeSeal: Double
    let hpkeOpen: Double

    init(suite: CipherSuite) throws {
        guard let algorithms = CipherAlgorithms(suite) else {
            throw BenchmarkError.unexpected("no such suite")
        }
        let signer = Curve25519.Signing.PrivateKey()
        sign = try Price { count in
            let content = Random.bytes(count)
            return try processorMicrosecondsPerCall(calls: count > 1024 ? 20 : 500) {
                _ = try signer.signature(for: content)
            }
        }
        verify = try Price { try Self.verification(of: Random.bytes($0)) }
        seal = try Price { try Self.aead(algorithms, Random.bytes($0)).seal }
        open = try Price { try Self.aead(algorithms, Random.bytes($0)).open }
        hash = Price { count in
            let content = Random.bytes(count)
            return processorMicrosecondsPerCall(calls: count > 1024 ? 20 : 500) {
                _ = algorithms.hash(content)
            }
        }

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
        let setup = HPKESetup(info: label, algorithms: algorithms)
        let sealed = try setup.seal(text, to: key.publicKey)
        hpkeSeal = min(
            kem.encapsulate + seal.perCall + 5 * expand,
            try processorMicrosecondsPerCall(calls: 200) {
                _ = try setup.seal(text, to: key.publicKey)
            })
        hpkeOpen = min(
            kem.decapsulate + open.perCall + 5 * expand,
            processorMicrosecondsPerCall(calls: 200) { _ = setup.open(sealed, with: key) })
    }

    /// Of many keys and signatures, for the cost hangs on their bits.
    private static func verification(of content: [UInt8]) throws -> Double {
        let signed = try (0..<100).map { _ in
            let signer = Curve25519.Signing.PrivateKey()
            return (
                verifier: try VerifyingKey(Array(signer.publicKey.rawRepresentation)),
                signature: Array(try signer.signature(for: content))
            )
        }
        return processorMicrosecondsPerCall(calls: content.count > 1024 ? 1 : 5) {
            for (verifier, signature) in signed {
                precondition(verifier.isValid(signature: signature, for: content))
            }
        } / Double(signed.count)
    }

    private static func aead(
        _ algorithms: CipherAlgorithms, _ content: [UInt8]
    ) throws -> (seal: Double, open: Double) {
        let calls = content.count > 1024 ? 20 : 1000
        let key = SecretBytes.random(count: algorithms.keyByteCount)
        let nonce = Random.bytes(algorithms.nonceByteCount)
        let sealed = try algorithms.seal(content, key: key, nonce: nonce, authenticating: [])
        let ours = try (
            seal: processorMicrosecondsPerCall(calls: calls) {
                _ = try algorithms.seal(content, key: key, nonce: nonce, authenticating: [])
            },
            open: processorMicrosecondsPerCall(calls: calls) {
                _ = try algorithms.open(sealed, key: key, nonce: nonce, authenticating: [])
            }
        )
        let theirs = try bareAEAD(algorithms, content, calls: calls)
        return (min(ours.seal, theirs.seal), min(ours.open, theirs.open))
    }

    private static func bareAEAD(
        _ algorithms: CipherAlgorithms, _ content: [UInt8], calls: Int
    ) throws -> (seal: Double, open: Double) {
        let key = SymmetricKey(
            data: SecretBytes.random(count: algorithms.keyByteCount).exposedCopy())
        if algorithms == .x25519ChaCha20SHA256 {
            let nonce = ChaChaPoly.Nonce()
            let box = try ChaChaPoly.seal(content, using: key, nonce: nonce)
            return try (
                processorMicrosecondsPerCall(calls: calls) {
                    _ = try ChaChaPoly.seal(content, using: key, nonce: nonce)
                },
                processorMicrosecondsPerCall(calls: calls) {
                    _ = try ChaChaPoly.open(box, using: key)
                }
            )
        }
        let nonce = AES.GCM.Nonce()
        let box = try AES.GCM.seal(content, using: key, nonce: nonce)
        return try (
            processorMicrosecondsPerCall(calls: calls) {
                _ = try AES.GCM.seal(content, using: key, nonce: nonce)
            },
            processorMicrosecondsPerCall(calls: calls) { _ = try AES.GCM.open(box, using: key) }
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

/// How many of each primitive an operation can't do without, and over how many octets in all.
struct Floor {
    var signs = 0
    var signed = 0
    var verifies = 0
    var verified = 0
    var seals = 0
    var sealed = 0
    var opens = 0
    var opened = 0
    var hashes = 0
    var hashed = 0
    var expands = 0
    var keyPairs = 0
    var hpkeSeals = 0
    var hpkeOpens = 0

    /// Their price.
    func microseconds(_ price: Primitives) -> Double {
        let signatures =
            price.sign.microseconds(calls: signs, octets: signed)
            + price.verify.microseconds(calls: verifies, octets: verified)
        let asymmetric =
            Double(keyPairs) * price.keyPair + Double(hpkeSeals) * price.hpkeSeal
            + Double(hpkeOpens) * price.hpkeOpen
        let symmetric =
            price.seal.microseconds(calls: seals, octets: sealed)
            + price.open.microseconds(calls: opens, octets: opened)
            + price.hash.microseconds(calls: hashes, octets: hashed)
            + Double(expands) * price.expand
        return signatures + asymmetric + symmetric
    }

    /// In words.
    var text: String {
        [
            (signs, signed, "sign"), (verifies, verified, "verify"), (keyPairs, 0, "key pair"),
            (hpkeSeals, 0, "HPKE seal"), (hpkeOpens, 0, "HPKE open"),
            (seals, sealed, "AEAD seal"), (opens, opened, "AEAD open"), (hashes, hashed, "hash"),
            (expands, 0, "expand"),
        ].filter { $0.0 > 0 }.map { count, octets, name in
            // Where the octets are more than a few messages' they cost more than the calls.
            octets > 8_192 ? "\(count) \(name) (\(octets / 1024) KiB)" : "\(count) \(name)"
        }.joined(separator: ", ")
    }
}
