import Crypto
import Cryptography

/// What the primitives under MLS cost here and now; floors are sums of them.
struct MLSPrimitives {
    let sign: Double
    let verify: Double
    /// A new HPKE key pair, or one derived from a secret.
    let keyPair: Double
    /// What the sender of an HPKE ciphertext cannot avoid: an ephemeral key and an agreement, or an
    /// encapsulation.
    let encapsulate: Double
    /// The receiver's half.
    let decapsulate: Double
    let seal1KiB: Double
    let open1KiB: Double
    let expand: Double

    init(_ algorithms: CipherAlgorithms) throws {
        let key = try SigningKey()
        let content = [UInt8](repeating: 7, count: 1_024)
        let signature = try key.sign(content)
        sign = try median(of: 500) { _ = try key.sign(content) }
        verify = median(of: 200) {
            _ = key.publicKey.isValid(signature: signature, for: content)
        }
        keyPair = try median(of: 200) { _ = try HPKEPrivateKey.generate(algorithms) }
        switch algorithms {
        case .x25519AES128SHA256, .x25519ChaCha20SHA256:
            let mine = Curve25519.KeyAgreement.PrivateKey()
            let theirs = Curve25519.KeyAgreement.PrivateKey().publicKey
            let agreement = try median(of: 200) {
                _ = try mine.sharedSecretFromKeyAgreement(with: theirs)
            }
            let ephemeral = median(of: 200) { _ = Curve25519.KeyAgreement.PrivateKey() }
            encapsulate = agreement + ephemeral
            decapsulate = agreement
        case .xwingAES256SHA384:
            let mine = try XWingMLKEM768X25519.PrivateKey.generate()
            let result = try mine.publicKey.encapsulate()
            encapsulate = try median(of: 100) { _ = try mine.publicKey.encapsulate() }
            decapsulate = try median(of: 100) { _ = try mine.decapsulate(result.encapsulated) }
        }
        let aeadKey = SecretBytes.random(count: algorithms.keyByteCount)
        let nonce = Random.bytes(algorithms.nonceByteCount)
        let box = try algorithms.seal(content, key: aeadKey, nonce: nonce, authenticating: [])
        seal1KiB = try median(of: 1_000) {
            _ = try algorithms.seal(content, key: aeadKey, nonce: nonce, authenticating: [])
        }
        open1KiB = try median(of: 1_000) {
            _ = try algorithms.open(box, key: aeadKey, nonce: nonce, authenticating: [])
        }
        let secret = SecretBytes.random(count: algorithms.hashByteCount)
        let info = [UInt8](repeating: 1, count: 20)
        expand = median(of: 2_000) { _ = algorithms.expand(secret, info: info, count: 32) }
    }
}
