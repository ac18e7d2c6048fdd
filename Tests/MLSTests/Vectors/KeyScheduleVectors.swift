import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// Five epochs in a row per suite: inputs, and all secrets that follow from them.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS"))
struct `Vectors: key schedule` {
    struct Case: Decodable, SuiteCase {
        struct Exporter: Decodable {
            let label: String
            let context: Hex
            let length: Int
            let secret: Hex
        }
        struct Epoch: Decodable {
            let treeHash: Hex
            let commitSecret: Hex
            let pskSecret: Hex
            let confirmedTranscriptHash: Hex
            let groupContext: Hex
            let joinerSecret: Hex
            let welcomeSecret: Hex
            let initSecret: Hex
            let senderDataSecret: Hex
            let encryptionSecret: Hex
            let exporterSecret: Hex
            let epochAuthenticator: Hex
            let externalSecret: Hex
            let confirmationKey: Hex
            let membershipKey: Hex
            let resumptionPsk: Hex
            let externalPub: Hex
            let exporter: Exporter
        }
        let cipherSuite: UInt16
        let groupId: Hex
        let initialInitSecret: Hex
        let epochs: [Epoch]
    }

    @Test func `all secrets of all epochs`() throws {
        for entry in try VectorFile.cases("key-schedule", as: Case.self) {
            let algorithms = try #require(entry.algorithms)
            var initSecret = InitSecret(entry.initialInitSecret.secret)
            for (number, epoch) in entry.epochs.enumerated() {
                let context = GroupContext(
                    cipherSuite: algorithms.suite, groupID: entry.groupId.bytes,
                    epoch: UInt64(number), treeHash: epoch.treeHash.bytes,
                    confirmedTranscriptHash: epoch.confirmedTranscriptHash.bytes, extensions: []
                ).encoded()
                #expect(context == epoch.groupContext.bytes)
                let joiner = JoinerSecret(
                    initSecret: initSecret, commitSecret: CommitSecret(epoch.commitSecret.secret),
                    context: context, algorithms: algorithms)
                #expect(joiner.bytes == epoch.joinerSecret.secret)
                let joined = JoinedSecrets(
                    joinerSecret: joiner,
                    preSharedKeys: CombinedPreSharedKeys(epoch.pskSecret.secret),
                    algorithms: algorithms)
                #expect(joined.welcomeSecret.bytes == epoch.welcomeSecret.secret)
                let (secrets, encryption) = EpochSecrets.derive(
                    from: joined.epochSecret(context: context, algorithms: algorithms),
                    algorithms: algorithms)
                #expect(encryption.bytes == epoch.encryptionSecret.secret)
                #expect(secrets.senderDataSecret.bytes == epoch.senderDataSecret.secret)
                #expect(secrets.exporter.secret?.bytes == epoch.exporterSecret.secret)
                #expect(secrets.epochAuthenticator.bytes == epoch.epochAuthenticator.secret)
                #expect(secrets.externalSecret.bytes == epoch.externalSecret.secret)
                #expect(secrets.confirmationKey.bytes == epoch.confirmationKey.secret)
                #expect(secrets.membershipKey.bytes == epoch.membershipKey.secret)
                #expect(secrets.resumptionSecret.bytes == epoch.resumptionPsk.secret)
                #expect(secrets.initSecret.bytes == epoch.initSecret.secret)
                let external = try HPKEPrivateKey.derive(
                    from: secrets.externalSecret.bytes, algorithms: algorithms)
                #expect(external.publicKey == epoch.externalPub.bytes)
                #expect(
                    secrets.exporter.export(
                        label: epoch.exporter.label, context: epoch.exporter.context.bytes,
                        count: epoch.exporter.length, algorithms: algorithms)
                        == epoch.exporter.secret.secret)
                initSecret = secrets.initSecret
            }
        }
    }
}
