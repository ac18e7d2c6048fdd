import Cryptography
import Testing

@testable import MLS

/// Groups that follow from others.
extension ModelGroup {
    /// Some members make a group of their own, and leave it again.
    mutating func branch() throws {
        let members = upToDate.shuffled(using: &random)
        guard members.count > 1 else { return }
        let maker = participants[members[0]]
        let others = members.dropFirst().prefix(Int.random(in: 1...2, using: &random))
        let bundles = try others.map { try participants[$0].client.bundle(suite) }
        let branch = try maker.group.branched(
            as: Random.bytes(16), with: bundles.map(\.keyPackage), leaf: maker.client.leaf,
            signingKey: maker.client.signingKey, lifetime: Fixture.lifetime, validator: Anyone(),
            at: Fixture.now)
        var group = branch.group
        let message = try group.encrypt([1], signingKey: maker.client.signingKey)
        for (index, bundle) in zip(others, bundles) {
            var joined = try Group.join(
                welcome: branch.welcome, bundle: bundle, continuing: participants[index].group,
                existing: [], validator: Anyone(), at: Fixture.now, policy: policy)
            guard joined.epochAuthenticator == group.epochAuthenticator,
                try joined.read(message.bytes).plaintext == [1]
            else { throw fail("a branch that disagrees") }
        }
        for index in members {
            do {
                _ = try participants[index].group.process(
                    message.bytes, validator: Anyone(), at: Fixture.now)
                throw fail("a branch's message was read in the group")
            } catch MLSError.wrongGroup {}
        }
        count(.branch)
    }

    /// The group ends, and all of its members go on in another one.
    mutating func reInitialize() throws {
        try settle()
        let members = upToDate
        guard members.count > 1, members.count == memberCount,
            let committer = members.randomElement(using: &random),
            let proposer = members.randomElement(using: &random)
        else { return }
        let suites: [CipherSuite] =
            suite == .xwingAES256 ? [suite] : [.x25519AES128, .x25519ChaCha20]
        let reInit = ReInit(
            groupID: Random.bytes(16), cipherSuite: suites.randomElement(using: &random) ?? suite,
            extensions: [senders])
        var content = CommitContent()
        if Bool.random(using: &random) {
            try propose(.reInit(reInit), by: proposer, mayBeLost: false)
            try settle()
            content.acceptedReInit =
                participants[committer].group.pendingProposals
                .last { $0.proposal == .reInit(reInit) }?.reference
            count(.proposedReInit)
        } else {
            content.reInit = reInit
            count(.reInit)
        }
        let commit = try participants[committer].group.commit(
            content, signingKey: participants[committer].signingKey, validator: Anyone(),
            at: Fixture.now)
        participants[committer].keepChanges()
        try win(commit, by: committer, mayBeLost: false)
        try settle()
        for index in members {
            let group = participants[index].group
            guard group.reInit == reInit, !group.isActive else { throw fail("not ended") }
        }
        try start(reInit, with: members.shuffled(using: &random))
    }

    private mutating func start(_ reInit: ReInit, with members: [Int]) throws {
        let starter = participants[members[0]]
        let others = members.dropFirst()
        let bundles = try others.map { try participants[$0].client.bundle(reInit.cipherSuite) }
        let next = try starter.group.reInitialized(
            with: bundles.map(\.keyPackage), leaf: starter.client.leaf,
            signingKey: starter.client.signingKey, lifetime: Fixture.lifetime,
            validator: Anyone(), at: Fixture.now)
        let joined = try zip(others, bundles).map { index, bundle in
            Participant(
                client: participants[index].client,
                group: try Group.join(
                    welcome: next.welcome, bundle: bundle,
                    continuing: participants[index].group, existing: [], validator: Anyone(),
                    at: Fixture.now,
                    policy: policy), since: 1)
        }
        suite = reInit.cipherSuite
        participants = []
        sent = []
        losers = [:]
        epoch = 0
        authenticators = [:]
        advance(next.group.epochAuthenticator)
        enter(Participant(client: starter.client, group: next.group, since: 1))
        for participant in joined {
            enter(participant)
            try checkAgreement(of: participants.count - 1)
        }
    }
}
