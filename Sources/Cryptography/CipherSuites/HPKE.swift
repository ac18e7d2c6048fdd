/// What HPKE encryption in base mode gives (RFC 9180 §5.1.1).
public struct HPKEOutput: Sendable {
    /// The encapsulated key, `enc`.
    public let kemOutput: [UInt8]
    /// The ciphertext with its tag.
    public let ciphertext: [UInt8]

    /// Puts together what came over the wire.
    public init(received kemOutput: [UInt8], _ ciphertext: [UInt8]) {
        self.kemOutput = kemOutput
        self.ciphertext = ciphertext
    }
}

/// HPKE in base mode for one `info` (RFC 9180 §5.1).
///
/// swift-crypto's `HPKE` hashes `info` anew for each recipient. MLS encrypts to a thousand new members
/// under an info of half a megabyte, and to each level of a path under the same one, so the part of
/// the key schedule that doesn't depend on the recipient is computed once here; the KEMs and AEADs
/// stay the libraries'. Tests hold both against each other.
public struct HPKESetup: Sendable {
    private let algorithms: CipherAlgorithms
    /// `key_schedule_context`: the mode and the two hashes.
    private let context: [UInt8]

    /// Hashes an info.
    public init(info: [UInt8], algorithms: CipherAlgorithms) {
        self.algorithms = algorithms
        let idHash = algorithms.hpkeExtract(label: "psk_id_hash", input: [])
        let infoHash = algorithms.hpkeExtract(label: "info_hash", input: info)
        context = [0] + idHash.exposedCopy() + infoHash.exposedCopy()
    }

    /// What both sides derive from the KEM's shared secret.
    private struct Keys {
        let secret: SecretBytes
        let setup: HPKESetup

        init(_ sharedSecret: SecretBytes, _ setup: HPKESetup) {
            self.setup = setup
            secret = setup.algorithms.extract(
                salt: sharedSecret,
                input: SecretBytes(setup.algorithms.hpkeLabel("secret")))
        }

        func expand(_ label: String, count: Int) -> SecretBytes {
            setup.algorithms.hpkeExpand(secret, label: label, info: setup.context, count: count)
        }

        var key: SecretBytes { expand("key", count: setup.algorithms.keyByteCount) }
        var nonce: [UInt8] {
            expand("base_nonce", count: setup.algorithms.nonceByteCount).exposedCopy()
        }
        var exporter: SecretBytes { expand("exp", count: setup.algorithms.hashByteCount) }
    }

    /// `SealBase` without associated data (RFC 9180 §6.1).
    ///
    /// - Throws: `.invalidKey` if the public key is not one.
    public func seal(
        _ plaintext: SecretBytes, to publicKey: [UInt8]
    ) throws(CryptographyError) -> HPKEOutput {
        let (sharedSecret, kemOutput) = try algorithms.encapsulate(to: publicKey)
        let keys = Keys(sharedSecret, self)
        var octets = plaintext.exposedCopy()
        defer { SecretBytes.wipe(&octets) }
        return HPKEOutput(
            received: kemOutput,
            try algorithms.seal(octets, key: keys.key, nonce: keys.nonce, authenticating: []))
    }

    /// `OpenBase` without associated data (RFC 9180 §6.1), or nil if it is not authentic.
    public func open(_ output: HPKEOutput, with privateKey: HPKEPrivateKey) -> SecretBytes? {
        guard let sharedSecret = algorithms.decapsulate(output.kemOutput, with: privateKey) else {
            return nil
        }
        let keys = Keys(sharedSecret, self)
        guard
            var octets = try? algorithms.open(
                output.ciphertext, key: keys.key, nonce: keys.nonce, authenticating: [])
        else { return nil }
        defer { SecretBytes.wipe(&octets) }
        return SecretBytes(octets)
    }

    /// `SendExportBase` (RFC 9180 §6.2): a secret for whoever has the private key.
    public func export(
        to publicKey: [UInt8], context: [UInt8], count: Int
    ) throws(CryptographyError) -> (kemOutput: [UInt8], secret: SecretBytes) {
        let (sharedSecret, kemOutput) = try algorithms.encapsulate(to: publicKey)
        let secret = algorithms.hpkeExpand(
            Keys(sharedSecret, self).exporter, label: "sec", info: context, count: count)
        return (kemOutput, secret)
    }

    /// `ReceiveExportBase` (RFC 9180 §6.2).
    public func export(
        kemOutput: [UInt8], with privateKey: HPKEPrivateKey, context: [UInt8], count: Int
    ) -> SecretBytes? {
        guard let sharedSecret = algorithms.decapsulate(kemOutput, with: privateKey) else {
            return nil
        }
        return algorithms.hpkeExpand(
            Keys(sharedSecret, self).exporter, label: "sec", info: context, count: count)
    }
}

extension CipherAlgorithms {
    /// The numbers of KEM, KDF and AEAD (RFC 9180 §7, draft-ietf-hpke-pq).
    private var hpkeSuite: [UInt8] {
        switch self {
        case .x25519AES128SHA256: [0x00, 0x20, 0x00, 0x01, 0x00, 0x01]
        case .x25519ChaCha20SHA256: [0x00, 0x20, 0x00, 0x01, 0x00, 0x03]
        case .xwingAES256SHA384: [0x64, 0x7a, 0x00, 0x02, 0x00, 0x02]
        }
    }

    /// What `LabeledExtract` and `LabeledExpand` put before their input (RFC 9180 §4).
    fileprivate func hpkeLabel(_ label: String) -> [UInt8] {
        Array("HPKE-v1HPKE".utf8) + hpkeSuite + Array(label.utf8)
    }

    /// `LabeledExtract` with an empty salt.
    fileprivate func hpkeExtract(label: String, input: [UInt8]) -> SecretBytes {
        extract(salt: SecretBytes(count: 0), input: SecretBytes(hpkeLabel(label) + input))
    }

    /// `LabeledExpand`.
    fileprivate func hpkeExpand(
        _ secret: SecretBytes, label: String, info: [UInt8], count: Int
    ) -> SecretBytes {
        let length = [UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
        return expand(secret, info: length + hpkeLabel(label) + info, count: count)
    }
}
