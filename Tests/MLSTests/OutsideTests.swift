import Cryptography
import TLSSyntax
import Testing

@testable import MLS

private var open: GroupPolicy {
    var policy = GroupPolicy.standard
    policy.acceptsExternalCommits = true
    policy.acceptsNewMemberProposals = true
    policy.handshakeFormat = .publicMessage
    return policy
}

@Suite struct `From outside` {
    @Test(arguments: CipherSuite.supported)
    func `a client joins by an external commit`(suite: CipherSuite) throws {
        let clients = try (0..<4).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: Array(clients[..<3]), suite: suite, policy: open)
        let info = try groups[1].groupInfo(
            allowsJoining: true, signingKey: clients[1].signingKey)
        let join = try Group.joinExternally(
            groupInfo: info, leaf: clients[3].leaf, signingKey: clients[3].signingKey,
            validator: Anyone(), at: Fixture.now, policy: open)
        for index in groups.indices {
            let received = try groups[index].process(
                join.message, validator: Anyone(), at: Fixture.now)
            guard case .commit(let staged) = received else {
                Issue.record("not a commit")
                return
            }
            #expect(staged.isExternal)
            #expect(staged.committer.credential == clients[3].leaf.credential)
            #expect(staged.commitHash == join.commitHash)
            try groups[index].merge(staged, at: Fixture.now)
        }
        var joined = join.group
        #expect(Set((groups + [joined]).map(\.epochAuthenticator)).count == 1)
        let sent = try joined.encrypt([5], signingKey: clients[3].signingKey)
        #expect(try groups[2].read(sent.bytes).plaintext == [5])
    }

    @Test func `a member that lost its state replaces itself`() throws {
        let clients = try (0..<3).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: clients, policy: open)
        var keys = PreSharedKeys()
        keys.provide(SecretBytes([1, 2, 3]), externalID: [9])
        let info = try groups[0].groupInfo(
            allowsJoining: true, includesTree: false, signingKey: clients[0].signingKey)
        let join = try Group.joinExternally(
            groupInfo: info, ratchetTree: groups[0].ratchetTree, leaf: clients[1].leaf,
            signingKey: clients[1].signingKey, replacing: LeafIndex(rawValue: 1),
            mixingIn: [.external(id: [9])], preSharedKeys: keys, validator: Anyone(),
            at: Fixture.now, policy: open)
        #expect(throws: MLSError.missingPreSharedKey) {
            _ = try groups[2].process(join.message, validator: Anyone(), at: Fixture.now)
        }
        for index in [0, 2] { try groups[index].follow(join.message, keys: keys) }
        #expect(groups[0].epochAuthenticator == join.group.epochAuthenticator)
        #expect(groups[2].epochAuthenticator == join.group.epochAuthenticator)
        #expect(join.group.members.count == 3)
        // The old self sees that it was removed.
        try groups[1].follow(join.message, keys: keys)
        #expect(!groups[1].isActive)
    }

    @Test func `without the application's consent nobody joins by itself`() throws {
        let clients = [try Client("a"), try Client("b"), try Client("c")]
        var groups = try Fixture.group(of: Array(clients[..<2]))
        let info = try groups[0].groupInfo(
            allowsJoining: true, signingKey: clients[0].signingKey)
        let join = try Group.joinExternally(
            groupInfo: info, leaf: clients[2].leaf, signingKey: clients[2].signingKey,
            validator: Anyone(), at: Fixture.now)
        let proposal = try Group.newMemberProposal(
            clients[2].bundle(groups[0].suite).keyPackage, groupID: groups[0].groupID,
            epoch: groups[0].epoch, signingKey: clients[2].signingKey)
        for message in [join.message, proposal] {
            #expect(throws: MLSError.refusedByPolicy) {
                _ = try groups[1].process(message, validator: Anyone(), at: Fixture.now)
            }
        }
        let closed = try groups[0].groupInfo(
            allowsJoining: false, signingKey: clients[0].signingKey)
        #expect(throws: MLSError.misuse(.notContinuable)) {
            _ = try Group.joinExternally(
                groupInfo: closed, leaf: clients[2].leaf, signingKey: clients[2].signingKey,
                validator: Anyone(), at: Fixture.now)
        }
    }

    @Test func `named outsiders and newcomers propose, members commit`() throws {
        let clients = [try Client("a"), try Client("b"), try Client("newcomer")]
        let server = try SigningKey()
        let senders = ExternalSender.groupContextExtension([
            ExternalSender(
                signatureKey: server.publicKey.bytes, credential: .basic(identity: [7]))
        ])
        var groups = try Fixture.group(
            of: Array(clients[..<2]), extensions: [senders], policy: open)
        let newcomer = try clients[2].bundle(groups[0].suite)
        let messages = [
            try Group.externalProposal(
                .preSharedKey(
                    PreSharedKeyID(source: .external(id: [1]), nonce: Random.bytes(32))),
                groupID: groups[0].groupID, epoch: 1, suite: groups[0].suite, senderIndex: 0,
                signingKey: server),
            try Group.newMemberProposal(
                newcomer.keyPackage, groupID: groups[0].groupID, epoch: 1,
                signingKey: clients[2].signingKey),
        ]
        for message in messages {
            for index in groups.indices {
                guard
                    case .proposal = try groups[index].process(
                        message, validator: Anyone(), at: Fixture.now)
                else {
                    Issue.record("not a proposal")
                    return
                }
            }
        }
        var keys = PreSharedKeys()
        keys.provide(SecretBytes([4, 5]), externalID: [1])
        let commit = try groups[0].commit(
            signingKey: clients[0].signingKey, validator: Anyone(), at: Fixture.now,
            preSharedKeys: keys)
        try groups[0].merge(commit, at: Fixture.now)
        try groups[1].follow(commit.message, keys: keys)
        let joined = try Group.join(
            welcome: #require(commit.welcome), bundle: newcomer, preSharedKeys: keys,
            existing: [], validator: Anyone(), at: Fixture.now)
        #expect(
            Set((groups + [joined]).map(\.epochAuthenticator)).count == 1)
    }
}

extension `From outside` {
    /// Knows members, and nobody else.
    private struct MembersOnly: CredentialValidator {
        func accepts(_ subject: CredentialSubject) -> Bool { true }
    }

    @Test func `outsiders whom the application doesn't know get no voice`() throws {
        let clients = [try Client("a"), try Client("b"), try Client("c")]
        let server = try SigningKey()
        let senders = ExternalSender.groupContextExtension([
            ExternalSender(
                signatureKey: server.publicKey.bytes, credential: .basic(identity: [7]))
        ])
        var groups = try Fixture.group(of: Array(clients[..<2]), policy: open)
        var content = CommitContent()
        content.groupContextExtensions = [senders]
        #expect(
            throws: MLSError.unsuitable(.groupContextExtensions, because: .credentialRefused)
        ) {
            _ = try groups[0].commit(
                content, signingKey: clients[0].signingKey, validator: MembersOnly(),
                at: Fixture.now)
        }
        var proposer = groups[0]
        let proposal = try proposer.propose(.groupContextExtensions([senders]), by: clients[0])
        let commit = try groups[0].commit(content, by: clients[0])
        let before = groups[1].serialized()
        for message in [proposal.bytes, commit.message] {
            #expect(throws: MLSError.credentialRefused) {
                _ = try groups[1].process(message, validator: MembersOnly(), at: Fixture.now)
            }
        }
        #expect(groups[1].serialized() == before)

        // Once they are there, who joins is asked, who was there isn't again.
        try groups[1].follow(commit.message)
        try groups[0].merge(commit, at: Fixture.now)
        let bundle = try clients[2].bundle(groups[0].suite)
        content = CommitContent()
        content.adds = [bundle.keyPackage]
        content.groupContextExtensions = [senders]
        let addition = try groups[0].commit(
            content, signingKey: clients[0].signingKey, validator: MembersOnly(),
            at: Fixture.now)
        guard
            case .commit = try groups[1].process(
                addition.message, validator: MembersOnly(), at: Fixture.now)
        else {
            Issue.record("not a commit")
            return
        }
        let welcome = try #require(addition.welcome)
        #expect(throws: MLSError.credentialRefused) {
            _ = try Group.join(
                welcome: welcome, bundle: bundle, existing: [], validator: MembersOnly(),
                at: Fixture.now)
        }
        _ = try Group.join(
            welcome: welcome, bundle: bundle, existing: [], validator: Anyone(), at: Fixture.now)
    }
}

@Suite struct `Leaving and continuing` {
    @Test(arguments: [WireFormat.publicMessage, .privateMessage])
    func `a member leaves by itself, whoever commits`(format: WireFormat) throws {
        let clients = try (0..<3).map { try Client("client \($0)") }
        var policy = GroupPolicy.standard
        policy.selfRemoveFormat = format
        var groups = try Fixture.group(of: clients, policy: policy)
        let leaving = try groups[1].propose(.selfRemove, by: clients[1])
        for index in [0, 2] {
            _ = try groups[index].process(leaving.bytes, validator: Anyone(), at: Fixture.now)
        }
        // The one that leaves cannot commit it.
        let own = try groups[1].commit(by: clients[1])
        #expect(own.removed.isEmpty)
        let commit = try groups[2].commit(by: clients[2])
        #expect(commit.removed.map(\.index.rawValue) == [1])
        try groups[2].merge(commit, at: Fixture.now)
        for index in [0, 1] { try groups[index].follow(commit.message) }
        #expect(!groups[1].isActive)
        #expect(groups[0].epochAuthenticator == groups[2].epochAuthenticator)
    }

    @Test func `an external joiner takes along those who leave`() throws {
        let clients = try (0..<4).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: Array(clients[..<3]), policy: open)
        let leaving = try groups[2].propose(.selfRemove, by: clients[2])
        for index in [0, 1] {
            _ = try groups[index].process(leaving.bytes, validator: Anyone(), at: Fixture.now)
        }
        let join = try Group.joinExternally(
            groupInfo: groups[0].groupInfo(
                allowsJoining: true, signingKey: clients[0].signingKey),
            leaf: clients[3].leaf, signingKey: clients[3].signingKey,
            selfRemoves: [leaving.bytes], validator: Anyone(), at: Fixture.now, policy: open)
        for index in 0...2 { try groups[index].follow(join.message) }
        #expect(!groups[2].isActive)
        #expect(groups[0].epochAuthenticator == join.group.epochAuthenticator)
        #expect(join.group.members.map(\.index.rawValue) == [0, 1, 2])
    }

    @Test func `a group continues under another suite`() throws {
        let clients = try (0..<3).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: clients)
        var content = CommitContent()
        content.reInit = ReInit(
            groupID: Random.bytes(32), cipherSuite: .xwingAES256, extensions: [])
        let commit = try groups[0].commit(content, by: clients[0])
        try groups[0].merge(commit, at: Fixture.now)
        for index in [1, 2] { try groups[index].follow(commit.message) }
        #expect(throws: MLSError.inactive) {
            _ = try groups[1].encrypt([1], signingKey: clients[1].signingKey)
        }
        groups = try groups.map { try Group(serialized: $0.serialized()) }
        let bundles = try [0, 2].map { try clients[$0].bundle(.xwingAES256) }
        // Whoever continues the group must take all along.
        #expect(throws: MLSError.invalid(.continuesGroup)) {
            _ = try groups[1].reInitialized(
                with: [bundles[0].keyPackage], leaf: clients[1].leaf,
                signingKey: clients[1].signingKey, lifetime: Fixture.lifetime,
                validator: Anyone(), at: Fixture.now)
        }
        let next = try groups[1].reInitialized(
            with: bundles.map(\.keyPackage), leaf: clients[1].leaf,
            signingKey: clients[1].signingKey, lifetime: Fixture.lifetime,
            validator: Anyone(), at: Fixture.now)
        #expect(throws: MLSError.missingPreSharedKey) {
            _ = try Group.join(
                welcome: next.welcome, bundle: bundles[0], existing: [], validator: Anyone(),
                at: Fixture.now)
        }
        let joined = try Group.join(
            welcome: next.welcome, bundle: bundles[0], continuing: groups[0],
            existing: [], validator: Anyone(), at: Fixture.now)
        #expect(joined.suite == .xwingAES256)
        #expect(joined.epochAuthenticator == next.group.epochAuthenticator)
    }

    @Test func `some members branch off`() throws {
        let clients = try (0..<3).map { try Client("client \($0)") }
        let stranger = try Client("stranger")
        let groups = try Fixture.group(of: clients)
        let bundle = try clients[2].bundle(groups[0].suite)
        #expect(throws: MLSError.invalid(.continuesGroup)) {
            _ = try groups[0].branched(
                as: [1], with: [stranger.bundle(groups[0].suite).keyPackage],
                leaf: clients[0].leaf, signingKey: clients[0].signingKey,
                lifetime: Fixture.lifetime, validator: Anyone(), at: Fixture.now)
        }
        let branch = try groups[0].branched(
            as: [1], with: [bundle.keyPackage], leaf: clients[0].leaf,
            signingKey: clients[0].signingKey, lifetime: Fixture.lifetime, validator: Anyone(),
            at: Fixture.now)
        let joined = try Group.join(
            welcome: branch.welcome, bundle: bundle, continuing: groups[2],
            existing: [], validator: Anyone(), at: Fixture.now)
        #expect(joined.members.count == 2)
        #expect(joined.epochAuthenticator == branch.group.epochAuthenticator)
    }

    @Test func `meaningless values disturb nobody`() throws {
        let clients = try (0..<3).map { try Client("client \($0)") }
        var first = try Group.create(
            groupID: [1], suite: .x25519AES128, leaf: clients[0].leaf.greased(),
            signingKey: clients[0].signingKey, lifetime: Fixture.lifetime)
        let bundle = try KeyPackageBundle(
            suite: .x25519AES128, leaf: clients[1].leaf.greased(),
            signingKey: clients[1].signingKey, lifetime: Fixture.lifetime,
            extensions: [Extension(type: ExtensionType(rawValue: 0x3A3A), data: [1, 2])])
        #expect(bundle.keyPackage.leafNode.extensions.count == 1)
        var content = CommitContent()
        content.adds = [bundle.keyPackage]
        let commit = try first.commit(content, by: clients[0])
        try first.merge(commit, at: Fixture.now)
        let joined = try Group.join(
            welcome: #require(commit.welcome), bundle: bundle, existing: [], validator: Anyone(),
            at: Fixture.now)
        #expect(joined.epochAuthenticator == first.epochAuthenticator)
    }
}
