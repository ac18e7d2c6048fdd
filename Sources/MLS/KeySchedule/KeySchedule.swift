internal import Cryptography
internal import TLSSyntax

/// The secrets of an epoch before its context is known to be right (RFC 9420 §8).
struct JoinedSecrets: Sendable {
    let welcomeSecret: WelcomeSecret
    private let member: SecretBytes

    /// Mixes the pre-shared keys into the joiner secret.
    init(
        joinerSecret: JoinerSecret, preSharedKeys: CombinedPreSharedKeys,
        algorithms: CipherAlgorithms
    ) {
        member = algorithms.extract(salt: joinerSecret.bytes, input: preSharedKeys.bytes)
        welcomeSecret = WelcomeSecret(algorithms.deriveSecret(member, "welcome"))
    }

    /// The epoch's secret, for its context.
    func epochSecret(context: [UInt8], algorithms: CipherAlgorithms) -> EpochSecret {
        EpochSecret(
            algorithms.expandWithLabel(
                member, "epoch", context: context, count: algorithms.hashByteCount))
    }
}

extension WelcomeSecret {
    /// Key and nonce for the GroupInfo in a Welcome (RFC 9420 §12.4.3.1).
    func keyAndNonce(_ algorithms: CipherAlgorithms) -> (key: SecretBytes, nonce: [UInt8]) {
        let key = algorithms.expandWithLabel(
            bytes, "key", context: [], count: algorithms.keyByteCount)
        let nonce = algorithms.expandWithLabel(
            bytes, "nonce", context: [], count: algorithms.nonceByteCount)
        return (key, nonce.exposedCopy())
    }
}

extension JoinerSecret {
    /// From the last epoch's init secret, the commit's secret and the new context (RFC 9420 §8).
    init(
        initSecret: InitSecret, commitSecret: CommitSecret, context: [UInt8],
        algorithms: CipherAlgorithms
    ) {
        let extracted = algorithms.extract(salt: initSecret.bytes, input: commitSecret.bytes)
        self.init(
            algorithms.expandWithLabel(
                extracted, "joiner", context: context, count: algorithms.hashByteCount))
    }
}

/// What an epoch's secret gives (RFC 9420 §8, table of epoch-derived secrets).
struct EpochSecrets: Sendable {
    let senderDataSecret: SenderDataSecret
    var exporter: Exporter
    let externalSecret: ExternalSecret
    let confirmationKey: ConfirmationKey
    let membershipKey: MembershipKey
    let resumptionSecret: ResumptionSecret
    let epochAuthenticator: EpochAuthenticator
    let initSecret: InitSecret

    /// Derives everything but the encryption secret, which goes to the secret tree and nowhere else.
    static func derive(
        from epochSecret: EpochSecret, algorithms: CipherAlgorithms
    ) -> (secrets: EpochSecrets, encryptionSecret: EncryptionSecret) {
        func derive<Purpose>(_ label: String) -> Secret<Purpose> {
            Secret(algorithms.deriveSecret(epochSecret.bytes, label))
        }
        let secrets = EpochSecrets(
            senderDataSecret: derive("sender data"),
            exporter: Exporter(
                secret: derive("exporter"), tree: ExporterTree(derive("application_export"))),
            externalSecret: derive("external"), confirmationKey: derive("confirm"),
            membershipKey: derive("membership"), resumptionSecret: derive("resumption"),
            epochAuthenticator: derive("authentication"), initSecret: derive("init"))
        return (secrets, derive("encryption"))
    }
}

extension ConfirmationKey {
    /// A commit's confirmation tag (RFC 9420 §6.1).
    func tag(confirmedTranscriptHash: [UInt8], algorithms: CipherAlgorithms) -> [UInt8] {
        algorithms.authenticationCode(key: bytes, for: confirmedTranscriptHash)
    }
}

/// The running hashes over all commits (RFC 9420 §8.2).
enum Transcript {
    static func confirmedHash(
        after interimHash: [UInt8], _ content: AuthenticatedContent, algorithms: CipherAlgorithms
    ) -> [UInt8] {
        var writer = TLSWriter()
        writer.reserve(content.content.estimatedByteCount + 160)
        writer.write(bytes: interimHash)
        writer.write(code: content.wireFormat)
        writer.write(content.content)
        writer.write(vector: content.auth.signature)
        return algorithms.hash(writer.bytes)
    }

    static func interimHash(
        after confirmedHash: [UInt8], confirmationTag: [UInt8], algorithms: CipherAlgorithms
    ) -> [UInt8] {
        var writer = TLSWriter()
        writer.write(bytes: confirmedHash)
        writer.write(vector: confirmationTag)
        return algorithms.hash(writer.bytes)
    }
}
