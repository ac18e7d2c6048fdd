import Cryptography
import Testing

@testable import MLS

/// What a delivery service can do with genuine messages: repeat, reorder, return and misdirect them.
@Suite struct `Misdelivered messages` {
    private static let formats: [WireFormat] = [.privateMessage, .publicMessage]

    private func three(
        _ format: WireFormat = .privateMessage
    ) throws -> (clients: [Client], groups: [Group]) {
        let clients = try (0..<3).map { try Client("client \($0)") }
        var policy = GroupPolicy.standard
        policy.handshakeFormat = format
        return (clients, try Fixture.group(of: clients, policy: policy))
    }

    private func expectRefused(_ message: [UInt8], by group: Group, _ error: MLSError) {
        var copy = group
        let before = copy.serialized()
        #expect(throws: error) {
            _ = try copy.process(message, validator: Anyone(), at: Fixture.now)
        }
        #expect(copy.serialized() == before)
    }

    @Test(arguments: formats)
    func `that come twice have no effect the second time`(format: WireFormat) throws {
        var (clients, groups) = try three(format)
        let data = try groups[0].encrypt([1], signingKey: clients[0].signingKey).bytes
        _ = try groups[1].read(data)
        expectRefused(data, by: groups[1], .keyUnavailable(generation: 0))

        let proposal = try groups[0].propose(
            .update(leaf: nil, newSigningKey: nil), signingKey: clients[0].signingKey,
            validator: Anyone(), at: Fixture.now
        ).bytes
        _ = try groups[1].process(proposal, validator: Anyone(), at: Fixture.now)
        let once = groups[1].serialized()
        if format == .privateMessage {
            expectRefused(proposal, by: groups[1], .keyUnavailable(generation: 0))
        } else {
            _ = try groups[1].process(proposal, validator: Anyone(), at: Fixture.now)
            #expect(groups[1].serialized() == once)
            #expect(groups[1].pendingProposals.count == 1)
        }

        // A commit can be looked at again until it is merged: what was staged may be lost by a crash.
        let pending = try groups[0].commit(by: clients[0])
        var stored: [SecretBytes] = []
        let staged = try (0..<2).compactMap { _ in
            let received = try groups[1].process(
                pending.message, validator: Anyone(), at: Fixture.now)
            stored.append(groups[1].serialized())
            return if case .commit(let staged) = received { staged } else { nil as StagedCommit? }
        }
        #expect(staged.count == 2 && stored[0] == stored[1])
        try groups[1].merge(staged[0], at: Fixture.now)
        #expect(throws: MLSError.misuse(.staleCommit)) {
            try groups[1].merge(staged[1], at: Fixture.now)
        }
        // Handshakes of the epoch before are of no use any more.
        for message in [proposal, pending.message] {
            expectRefused(message, by: groups[1], .wrongEpoch(1))
        }
    }

    @Test(arguments: formats)
    func `are taken later if a commit overtakes its proposals`(format: WireFormat) throws {
        var (clients, groups) = try three(format)
        let proposal = try groups[1].propose(
            .update(leaf: nil, newSigningKey: nil), signingKey: clients[1].signingKey,
            validator: Anyone(), at: Fixture.now
        ).bytes
        _ = try groups[0].process(proposal, validator: Anyone(), at: Fixture.now)
        let pending = try groups[0].commit(by: clients[0])
        expectRefused(pending.message, by: groups[2], .missingProposal)
        _ = try groups[2].process(proposal, validator: Anyone(), at: Fixture.now)
        try groups[2].follow(pending.message)
        try groups[0].merge(pending, at: Fixture.now)
        #expect(groups[0].epochAuthenticator == groups[2].epochAuthenticator)
    }

    @Test func `make the same group again if a Welcome comes twice`() throws {
        let clients = [try Client("a"), try Client("b")]
        var group = try Fixture.group(of: [clients[0]])[0]
        let bundle = try clients[1].bundle(group.suite)
        var content = CommitContent()
        content.adds = [bundle.keyPackage]
        let pending = try group.commit(content, by: clients[0])
        let joined = try (0..<2).map { _ in
            try Group.join(
                welcome: #require(pending.welcome), bundle: bundle, existing: [],
                validator: Anyone(),
                at: Fixture.now)
        }
        #expect(joined[0].serialized() == joined[1].serialized())
    }

    @Test(arguments: formats)
    func `of one's own are recognised, whatever they hold`(format: WireFormat) throws {
        var (clients, groups) = try three(format)
        let key = clients[0].signingKey
        let proposal = try groups[0].propose(
            .remove(LeafIndex(rawValue: 2)), signingKey: key, validator: Anyone(),
            at: Fixture.now)
        let data = try groups[0].encrypt([1], signingKey: key)
        let pending = try groups[0].commit(by: clients[0])
        let before = groups[0].serialized()
        let expected: [(bytes: [UInt8], type: ContentType, generation: UInt32?)] = [
            (proposal.bytes, .proposal, proposal.generation),
            (data.bytes, .application, data.generation),
            (pending.message, .commit, pending.generation),
        ]
        for (bytes, type, generation) in expected {
            guard
                case .own(let own) = try groups[0].process(
                    bytes, validator: Anyone(), at: Fixture.now)
            else {
                Issue.record("not recognised")
                return
            }
            #expect(own.contentType == type)
            #expect(own.generation == generation)
            #expect(own.messageHash == Hash.sha256(bytes))
        }
        #expect(groups[0].serialized() == before)
    }

    @Test func `leave a commit to be merged after a restart, once its fate is known`() throws {
        var (clients, groups) = try three()
        let stored = try groups[0].commit(by: clients[0]).serialized()
        groups[0] = try Group(serialized: groups[0].serialized())
        let pending = try PendingCommit(serialized: stored)
        // Meanwhile the group goes on in its epoch.
        let data = try groups[1].encrypt([1], signingKey: clients[1].signingKey).bytes
        #expect(try groups[0].read(data).plaintext == [1])
        guard
            case .own(let echo) = try groups[0].process(
                pending.message, validator: Anyone(), at: Fixture.now)
        else {
            Issue.record("not recognised")
            return
        }
        #expect(echo.messageHash == pending.commitHash)
        try groups[0].merge(pending, at: Fixture.now)
        for index in [1, 2] { try groups[index].follow(pending.message) }
        #expect(Set(groups.map(\.epochAuthenticator)).count == 1)
    }

    @Test func `and commits of a fork, or of another member, are not merged`() throws {
        let (clients, groups) = try three()
        // Two stories from one epoch on, of a copy of the group as from a backup.
        var (here, there) = (groups[0], groups[0])
        try here.merge(here.commit(by: clients[0]), at: Fixture.now)
        try there.merge(there.commit(by: clients[0]), at: Fixture.now)
        #expect(here.epoch == there.epoch)
        let pending = try here.commit(by: clients[0])
        let stored = try PendingCommit(serialized: pending.serialized())
        for pending in [pending, stored] {
            #expect(throws: MLSError.misuse(.staleCommit)) {
                try there.merge(pending, at: Fixture.now)
            }
        }
        try here.merge(stored, at: Fixture.now)
        // What one member staged holds its keys, not another's.
        var (sender, first, second) = (groups[0], groups[1], groups[2])
        let sent = try sender.commit(by: clients[0])
        guard
            case .commit(let staged) = try first.process(
                sent.message, validator: Anyone(), at: Fixture.now)
        else {
            Issue.record("not a commit")
            return
        }
        #expect(throws: MLSError.misuse(.staleCommit)) {
            try second.merge(staged, at: Fixture.now)
        }
        #expect(throws: MLSError.misuse(.staleCommit)) {
            try second.merge(sent, at: Fixture.now)
        }
        try first.merge(staged, at: Fixture.now)
    }

    @Test func `that propose more and more take nobody else's room`() throws {
        let clients = try (0..<4).map { try Client("client \($0)") }
        var groups = try Fixture.group(of: clients)
        for index in groups.indices { groups[index].policy.proposalsPerSender = index == 0 ? 9 : 2 }
        func propose(_ request: ProposalRequest, _ index: Int) throws -> [UInt8] {
            try groups[index].propose(
                request, signingKey: clients[index].signingKey, validator: Anyone(),
                at: Fixture.now
            ).bytes
        }
        func deliver(_ message: [UInt8], to index: Int) throws {
            _ = try groups[index].process(message, validator: Anyone(), at: Fixture.now)
        }
        var keys = PreSharedKeys()
        let flood = try (0..<UInt8(6)).map { number in
            keys.provide(SecretBytes([number]), externalID: [number])
            return try propose(.preSharedKey(.external(id: [number])), 0)
        }
        // They come to each in another order; the first two of each are among the four of the others.
        for number in [0, 1, 2, 3] { try deliver(flood[number], to: 1) }
        for number in [3, 2, 1, 0] { try deliver(flood[number], to: 2) }
        for index in [1, 2] {
            for number in [4, 5] {
                expectRefused(flood[number], by: groups[index], .refusedByPolicy)
            }
        }
        // Whoever has said enough, or too much, can still leave.
        let leaving = try propose(.selfRemove, 0)
        let others = [
            try propose(.preSharedKey(.external(id: [0])), 3),
            try propose(.preSharedKey(.external(id: [1])), 3),
        ]
        #expect(throws: MLSError.refusedByPolicy) {
            _ = try propose(.preSharedKey(.external(id: [2])), 3)
        }
        for message in others + [try propose(.selfRemove, 3)] {
            for index in 1..<3 { try deliver(message, to: index) }
        }
        for index in 1..<3 { try deliver(leaving, to: index) }
        let pending = try groups[2].commit(
            signingKey: clients[2].signingKey, validator: Anyone(), at: Fixture.now,
            preSharedKeys: keys)
        #expect(pending.leftOut.map(\.reason) == [.refusedByPolicy, .refusedByPolicy])
        #expect(
            pending.leftOut.allSatisfy { $0.proposal.sender == .member(groups[0].ownLeafIndex) })
        #expect(
            Set(pending.removed.map(\.index)) == [LeafIndex(rawValue: 0), LeafIndex(rawValue: 3)])
        try groups[1].follow(pending.message, keys: keys)
        #expect(groups[1].epochAuthenticator == pending.epochAuthenticator)
    }

    @Test func `of commits that lost leave no keys with those who got them`() throws {
        var (clients, groups) = try three()
        let lost = try groups[0].commit(by: clients[0])
        let won = try groups[1].commit(by: clients[1])
        guard
            case .commit = try groups[2].process(
                lost.message, validator: Anyone(), at: Fixture.now)
        else {
            Issue.record("not a commit")
            return
        }
        groups[2] = try Group(serialized: groups[2].serialized())
        // The loser's next attempt in the same epoch has another key.
        #expect(lost.generation == 0)
        let second = try groups[0].commit(by: clients[0])
        #expect(second.generation == 1)
        for index in [0, 2] { try groups[index].follow(won.message) }
        let loser = groups[0].ownLeafIndex
        let window = GroupPolicy.standard.window
        for index in [0, 2] {
            let tree = try #require(groups[index].past.first).messages.secretTree
            #expect(throws: MLSError.keyUnavailable(generation: 0)) {
                _ = try tree.key(of: loser, .handshake, generation: 0, window: window)
            }
            _ = try tree.key(of: loser, .application, generation: 0, window: window)
        }
    }

    @Test(arguments: formats)
    func `do not help a removed member to follow or to read on`(format: WireFormat) throws {
        var (clients, groups) = try three(format)
        var content = CommitContent()
        content.removes = [LeafIndex(rawValue: 2)]
        let removal = try groups[0].commit(content, by: clients[0])
        try groups[0].merge(removal, at: Fixture.now)
        try groups[1].follow(removal.message)
        // One that took the removal in, and one that hides from it.
        let hiding = groups[2]
        try groups[2].follow(removal.message)
        #expect(!groups[2].isActive)
        let data = try groups[0].encrypt([1], signingKey: clients[0].signingKey).bytes
        let next = try groups[0].commit(by: clients[0])
        try groups[1].follow(next.message)
        for message in [data, next.message] {
            for group in [groups[2], hiding] { expectRefused(message, by: group, .wrongEpoch(2)) }
        }
        // What the hiding one sends into its old epoch is a past epoch's, and its commits are nobody's.
        var sender = hiding
        let stale = try sender.commit(by: clients[2])
        expectRefused(stale.message, by: groups[1], .wrongEpoch(1))
    }
}
