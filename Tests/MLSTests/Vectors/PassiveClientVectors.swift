import Cryptography
import TLSSyntax
import Testing

@testable import MLS

/// A client that joins and follows: the epoch authenticators must agree.
@Suite(.enabled(if: VectorFile.isThere, "no vectors: set MLS_VECTORS"))
struct `Vectors: passive client` {
    struct Case: Decodable, SuiteCase {
        struct ExternalKey: Decodable {
            let pskId: Hex
            let psk: Hex
        }
        struct Epoch: Decodable {
            let proposals: [Hex]
            let commit: Hex
            let epochAuthenticator: Hex
        }
        let cipherSuite: UInt16
        let externalPsks: [ExternalKey]
        let keyPackage: Hex
        let signaturePriv: Hex
        let encryptionPriv: Hex
        let initPriv: Hex
        let welcome: Hex
        let ratchetTree: Hex?
        let initialEpochAuthenticator: Hex
        let epochs: [Epoch]
    }

    @Test(
        arguments: VectorFile.names(
            [
                "passive-client-welcome", "passive-client-handling-commit",
                "passive-client-random",
            ], startingWith: "passive-client-"))
    func `joins and follows`(file: String) throws {
        let cases = try VectorFile.cases(file, as: Case.self)
        #expect(!cases.isEmpty)
        for entry in cases { try follow(entry) }
    }

    private func follow(_ entry: Case) throws {
        let algorithms = try #require(entry.algorithms)
        let keyPackage = try KeyPackage(message: entry.keyPackage.bytes)
        let bundle = KeyPackageBundle(
            keyPackage,
            initKey: try HPKEPrivateKey(entry.initPriv.secret, algorithms: algorithms),
            encryptionKey: try HPKEPrivateKey(
                entry.encryptionPriv.secret, algorithms: algorithms),
            algorithms: algorithms)
        #expect(bundle.initKey.publicKey == keyPackage.initKey)
        #expect(bundle.encryptionKey.publicKey == keyPackage.leafNode.encryptionKey)
        let signingKey = try SigningKey(seed: entry.signaturePriv.secret)
        #expect(signingKey.publicKey.bytes == keyPackage.leafNode.signatureKey)
        var keys = PreSharedKeys()
        for key in entry.externalPsks {
            keys.provide(key.psk.secret, externalID: key.pskId.bytes)
        }
        var policy = GroupPolicy.standard
        policy.maximumLifetimeSeconds = .max
        // The leaves are from different times, and some long expired.
        policy.checksLifetimeOnReceipt = false
        // A vector may hold whatever RFC 9420 allows.
        policy.acceptsExternalCommits = true
        policy.acceptsNewMemberProposals = true
        policy.resumptionSecretCount = .max
        let now: UnixSeconds = 0
        var group = try Group.join(
            welcome: entry.welcome.bytes, bundle: bundle, ratchetTree: entry.ratchetTree?.bytes,
            preSharedKeys: keys, existing: [], validator: Anyone(), at: now, policy: policy)
        #expect(group.epochAuthenticator == entry.initialEpochAuthenticator.bytes)
        for epoch in entry.epochs {
            for proposal in epoch.proposals {
                let received = try group.process(
                    proposal.bytes, validator: Anyone(), at: now, preSharedKeys: keys)
                guard case .proposal = received else {
                    Issue.record("not a proposal")
                    return
                }
            }
            let received = try group.process(
                epoch.commit.bytes, validator: Anyone(), at: now, preSharedKeys: keys)
            guard case .commit(let staged) = received else {
                Issue.record("not a commit")
                return
            }
            try group.merge(staged, at: now)
            #expect(group.epochAuthenticator == epoch.epochAuthenticator.bytes)
        }
    }
}

/// Accepts every credential.
struct Anyone: CredentialValidator {
    func accepts(_ subject: CredentialSubject) -> Bool { true }
    func accepts(_ sender: ExternalSender, groupID: [UInt8]) -> Bool { true }
}
