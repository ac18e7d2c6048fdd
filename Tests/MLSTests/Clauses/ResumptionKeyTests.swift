import Cryptography
import Testing

@testable import MLS

/// Pre-shared keys that are resumption secrets, of usage `application` (RFC 9420 §8.4, §8.6).
@Suite struct `A resumption secret` {
    private struct Scene {
        let clients: [Client]
        var groups: [Group]

        init(policy: GroupPolicy = .standard) throws {
            clients = try (0..<3).map { try Client("client \($0)") }
            groups = try Fixture.group(of: Array(clients[..<2]), policy: policy)
        }

        func source(
            _ usage: ResumptionUsage = .application, epoch: UInt64? = nil
        ) -> PreSharedKeySource {
            .resumption(
                usage: usage, groupID: groups[0].groupID, epoch: epoch ?? groups[0].epoch)
        }

        mutating func commit(
            _ content: CommitContent = CommitContent(), keys: PreSharedKeys = PreSharedKeys(),
            readWith others: PreSharedKeys = PreSharedKeys()
        ) throws -> PendingCommit {
            let commit = try groups[0].commit(
                content, signingKey: clients[0].signingKey, validator: Anyone(), at: Fixture.now,
                preSharedKeys: keys)
            try groups[1].follow(commit.message, keys: others)
            try groups[0].merge(commit, at: Fixture.now)
            #expect(groups[0].epochAuthenticator == groups[1].epochAuthenticator)
            return commit
        }
    }

    @Test func `of the own group ties an epoch to this and earlier ones`() throws {
        var scene = try Scene()
        _ = try scene.commit()
        var content = CommitContent()
        content.preSharedKeys = [scene.source(), scene.source(epoch: 1)]
        _ = try scene.commit(content)
        #expect(scene.groups[1].epoch == 3)
        // It changes the epoch: the same commit without it has another one.
        scene.groups = try scene.groups.map { try Group(serialized: $0.serialized()) }
        content.preSharedKeys = [scene.source(epoch: 2)]
        _ = try scene.commit(content)
    }

    @Test func `of the own group can be proposed by any member`() throws {
        var scene = try Scene()
        let proposal = try scene.groups[1].propose(
            .preSharedKey(scene.source()), by: scene.clients[1])
        _ = try scene.groups[0].process(proposal.bytes, validator: Anyone(), at: Fixture.now)
        let commit = try scene.commit()
        #expect(commit.leftOut.isEmpty)
        #expect(scene.groups[0].pendingProposals.isEmpty)
    }

    @Test func `that not all would have is left out if somebody proposes it`() throws {
        var scene = try Scene()
        _ = try scene.commit()
        func propose(epoch: UInt64) throws {
            let proposal = try scene.groups[1].propose(
                .preSharedKey(scene.source(epoch: epoch)), by: scene.clients[1])
            _ = try scene.groups[0].process(proposal.bytes, validator: Anyone(), at: Fixture.now)
        }
        // Who joined in this epoch has no older one.
        try propose(epoch: 1)
        #expect(try scene.commit().leftOut.map(\.reason) == [.missingPreSharedKey])
        // Who joins by the commit has none.
        try propose(epoch: 3)
        var content = CommitContent()
        content.adds = [try scene.clients[2].bundle(scene.groups[0].suite).keyPackage]
        let commit = try scene.commit(content)
        #expect(commit.added.count == 1)
        #expect(commit.leftOut.map(\.reason) == [.missingPreSharedKey])
    }

    @Test func `of another group is for those who have it`() throws {
        var scene = try Scene()
        let other = try Fixture.group(of: Array(scene.clients[..<2]))
        #expect(other[0].resumptionSecret == other[1].resumptionSecret)
        let source = PreSharedKeySource.resumption(
            usage: .application, groupID: other[0].groupID, epoch: other[0].epoch)
        var keys = PreSharedKeys()
        keys.provide(
            other[0].resumptionSecret, groupID: other[0].groupID, epoch: other[0].epoch)
        var content = CommitContent()
        content.preSharedKeys = [source]
        #expect(throws: MLSError.unsuitable(.preSharedKey(0), because: .missingPreSharedKey)) {
            _ = try scene.groups[0].commit(content, by: scene.clients[0])
        }
        let commit = try scene.groups[0].commit(
            content, signingKey: scene.clients[0].signingKey, validator: Anyone(),
            at: Fixture.now, preSharedKeys: keys)
        let before = scene.groups[1].serialized()
        func read(_ keys: PreSharedKeys) throws {
            var group = scene.groups[1]
            do {
                _ = try group.process(
                    commit.message, validator: Anyone(), at: Fixture.now, preSharedKeys: keys)
            } catch {
                #expect(group.serialized() == before)
                throw error
            }
        }
        #expect(throws: MLSError.missingPreSharedKey) { try read(PreSharedKeys()) }
        var wrong = PreSharedKeys()
        wrong.provide(
            other[0].resumptionSecret, groupID: other[0].groupID, epoch: other[0].epoch + 1)
        #expect(throws: MLSError.missingPreSharedKey) { try read(wrong) }
        wrong.provide(
            SecretBytes.random(count: 32), groupID: other[0].groupID, epoch: other[0].epoch)
        #expect(throws: MLSError.invalid(.confirmationTag)) { try read(wrong) }
        _ = try scene.commit(content, keys: keys, readWith: keys)
    }

    @Test func `is given to who joins by other means than the Welcome`() throws {
        var scene = try Scene()
        let bundle = try scene.clients[2].bundle(scene.groups[0].suite)
        var content = CommitContent()
        content.adds = [bundle.keyPackage]
        content.preSharedKeys = [scene.source()]
        var keys = PreSharedKeys()
        keys.provide(
            scene.groups[1].resumptionSecret, groupID: scene.groups[1].groupID, epoch: 1)
        let commit = try scene.commit(content)
        let welcome = try #require(commit.welcome)
        #expect(throws: MLSError.missingPreSharedKey) {
            _ = try Group.join(
                welcome: welcome, bundle: bundle, existing: [], validator: Anyone(), at: Fixture.now
            )
        }
        let joined = try Group.join(
            welcome: welcome, bundle: bundle, preSharedKeys: keys, existing: [],
            validator: Anyone(),
            at: Fixture.now)
        #expect(joined.epochAuthenticator == scene.groups[0].epochAuthenticator)
    }

    @Test func `ties an external commit to what its maker knew`() throws {
        var policy = GroupPolicy.standard
        policy.acceptsExternalCommits = true
        var scene = try Scene(policy: policy)
        let source = scene.source()
        var keys = PreSharedKeys()
        keys.provide(
            scene.groups[1].resumptionSecret, groupID: scene.groups[1].groupID, epoch: 1)
        _ = try scene.commit()
        let join = try Group.joinExternally(
            groupInfo: scene.groups[0].groupInfo(
                allowsJoining: true, signingKey: scene.clients[0].signingKey),
            leaf: scene.clients[1].leaf, signingKey: scene.clients[1].signingKey,
            replacing: LeafIndex(rawValue: 1), mixingIn: [source], preSharedKeys: keys,
            validator: Anyone(), at: Fixture.now, policy: policy)
        try scene.groups[0].follow(join.message)
        #expect(scene.groups[0].epochAuthenticator == join.group.epochAuthenticator)
    }

    @Test func `that policy no longer keeps is refused`() throws {
        var policy = GroupPolicy.standard
        policy.resumptionSecretCount = 2
        var scene = try Scene(policy: policy)
        for _ in 0..<2 { _ = try scene.commit() }
        var content = CommitContent()
        content.preSharedKeys = [scene.source(epoch: 1)]
        #expect(throws: MLSError.unsuitable(.preSharedKey(0), because: .missingPreSharedKey)) {
            _ = try scene.commit(content)
        }
        content.preSharedKeys = [scene.source(epoch: 2)]
        _ = try scene.commit(content)
    }
}
