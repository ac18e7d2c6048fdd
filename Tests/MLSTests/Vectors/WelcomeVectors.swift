import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// A Welcome without a tree: its secrets, GroupInfo, signature and confirmation tag.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS")) struct `Vectors: welcome` {
    struct Case: Decodable, SuiteCase {
        let cipherSuite: UInt16
        let initPriv: Hex
        let signerPub: Hex
        let keyPackage: Hex
        let welcome: Hex
    }

    @Test func `the group info opens and its tag is right`() throws {
        let cases = try VectorFile.cases("welcome", as: Case.self)
        #expect(!cases.isEmpty)
        for entry in cases {
            let algorithms = try #require(entry.algorithms)
            let keyPackage = try KeyPackage(message: entry.keyPackage.bytes)
            guard case .welcome(let welcome) = try MLSMessage(decoding: entry.welcome.bytes)
            else {
                Issue.record("not a Welcome")
                continue
            }
            let reference = keyPackage.reference(algorithms)
            let own = try #require(welcome.secrets.first { $0.newMember == reference })
            let opened = try #require(
                algorithms.hpke("Welcome", context: welcome.encryptedGroupInfo).decrypt(
                    own.encryptedGroupSecrets,
                    with: HPKEPrivateKey(entry.initPriv.secret, algorithms: algorithms)))
            let secrets = try GroupSecrets(decoding: opened)
            let joined = JoinedSecrets(
                joinerSecret: secrets.joinerSecret,
                preSharedKeys: try PreSharedKeys().combined(
                    secrets.preSharedKeys, algorithms: algorithms),
                algorithms: algorithms)
            let (key, nonce) = joined.welcomeSecret.keyAndNonce(algorithms)
            let bytes = try #require(
                try algorithms.open(
                    welcome.encryptedGroupInfo, key: key, nonce: nonce, authenticating: []))
            let groupInfo = try GroupInfo(decoding: bytes)
            #expect(
                algorithms.isValid(
                    signature: groupInfo.signature, of: groupInfo.toBeSigned,
                    label: "GroupInfoTBS", by: entry.signerPub.bytes))
            let (epoch, _) = EpochSecrets.derive(
                from: joined.epochSecret(
                    context: groupInfo.groupContext.encoded(), algorithms: algorithms),
                algorithms: algorithms)
            #expect(
                epoch.confirmationKey.tag(
                    confirmedTranscriptHash: groupInfo.groupContext.confirmedTranscriptHash,
                    algorithms: algorithms) == groupInfo.confirmationTag)
        }
    }
}
