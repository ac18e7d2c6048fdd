import Cryptography
import MLS

/// Changing a group.
enum Commits {
    static func stageAndMerge() throws {
        var example = try Example([Person("alice"), Person("bob")])
        let (aliceKey, bobKey) = (example.people[0].key, example.people[1].key)
        var (alicesGroup, bobsGroup) = (example.groups[0], example.groups[1])
        let (addressBook, now) = (example.addressBook, Example.now)

        // snippet: commit
        let pending = try alicesGroup.commit(signingKey: aliceKey, validator: addressBook, at: now)
        let stored = pending.serialized()
        // Store alicesGroup and `stored`, then send `pending.message`.
        // end

        // snippet: stage
        guard
            case .commit(let staged) = try bobsGroup.process(
                pending.message, validator: addressBook, at: now)
        else { throw ExampleFailure(line: #line) }
        try expect(staged.committer.index == alicesGroup.ownLeafIndex)
        try expect(bobsGroup.epoch == 1)
        try bobsGroup.merge(staged, at: now)
        try expect(bobsGroup.epoch == 2)
        // end

        // snippet: merge
        let restored = try PendingCommit(serialized: stored)
        if case .own(let echo) = try alicesGroup.process(
            pending.message, validator: addressBook, at: now),
            echo.messageHash == restored.commitHash
        {
            try alicesGroup.merge(restored, at: now)
        }
        // end
        try expect(alicesGroup.epochAuthenticator == bobsGroup.epochAuthenticator)

        // snippet: discard
        let lost = try alicesGroup.commit(signingKey: aliceKey, validator: addressBook, at: now)
        let won = try bobsGroup.commit(signingKey: bobKey, validator: addressBook, at: now)
        guard
            case .commit(let other) = try alicesGroup.process(
                won.message, validator: addressBook, at: now)
        else { throw ExampleFailure(line: #line) }
        try alicesGroup.merge(other, at: now)
        // `lost` is of a past epoch now: it can be dropped, and can't be merged any more.
        do {
            try alicesGroup.merge(lost, at: now)
        } catch {
            try expect(error == .misuse(.staleCommit))
        }
        // end
        try bobsGroup.merge(won, at: now)
        example.groups = [alicesGroup, bobsGroup]
        try expect(example.agree)
    }

    static func removeAndUpdate() throws {
        var example = try Example([Person("alice"), Person("bob"), Person("carol")])
        let (aliceKey, bobKey) = (example.people[0].key, example.people[1].key)
        let (addressBook, now) = (example.addressBook, Example.now)
        var alicesGroup = example.groups[0]
        var bobsGroup = example.groups[1]

        // snippet: update
        let proposal = try bobsGroup.propose(
            .update(leaf: nil, newSigningKey: nil), signingKey: bobKey, validator: addressBook,
            at: now)
        guard
            case .proposal(let received) = try alicesGroup.process(
                proposal.bytes, validator: addressBook, at: now)
        else { throw ExampleFailure(line: #line) }
        try expect(alicesGroup.pendingProposals.map(\.reference) == [received.reference])
        // end
        _ = try example.groups[2].process(proposal.bytes, validator: addressBook, at: now)

        // snippet: remove
        var content = CommitContent()
        content.removes = alicesGroup.members
            .filter { $0.credential == .basic(identity: Array("carol".utf8)) }
            .map(\.index)
        let commit = try alicesGroup.commit(
            content, signingKey: aliceKey, validator: addressBook, at: now)
        try expect(commit.removed.count == 1)
        // end
        try alicesGroup.merge(commit, at: now)
        example.groups[0] = alicesGroup
        example.groups[1] = bobsGroup
        try example.deliver(commit.message, from: 0)
        try expect(!example.groups[2].isActive)
        try expect(example.groups[0].epochAuthenticator == example.groups[1].epochAuthenticator)
    }

    static func selfRemove() throws {
        var example = try Example([Person("alice"), Person("bob"), Person("carol")])
        let (aliceKey, bobKey) = (example.people[0].key, example.people[1].key)
        let (addressBook, now) = (example.addressBook, Example.now)

        // snippet: self-remove
        let leaving = try example.groups[1].propose(
            .selfRemove, signingKey: bobKey, validator: addressBook, at: now)
        try example.deliver(leaving.bytes, from: 1)
        // Whoever commits next takes Bob out.
        let commit = try example.groups[0].commit(
            signingKey: aliceKey, validator: addressBook, at: now)
        try expect(commit.removed.map(\.index) == [example.groups[1].ownLeafIndex])
        // end
        try example.groups[0].merge(commit, at: now)
        try example.deliver(commit.message, from: 0)
        try expect(!example.groups[1].isActive && example.groups[2].isActive)
    }

    static func detachedTree() throws {
        let example = try Example([Person("alice"), Person("bob")])
        var alicesGroup = example.groups[0]
        let aliceKey = example.people[0].key
        let carol = try Person("carol")
        var addressBook = example.addressBook
        addressBook.keys["carol"] = carol.key.publicKey.bytes
        let now = Example.now
        let bundle = try carol.keyPackage()

        // snippet: detached-tree
        var content = CommitContent()
        content.adds = [bundle.keyPackage]
        content.welcomeIncludesTree = false
        content.welcomePaddingBucket = 1_024
        let commit = try alicesGroup.commit(
            content, signingKey: aliceKey, validator: addressBook, at: now)
        try alicesGroup.merge(commit, at: now)
        guard let welcome = commit.welcome else { throw ExampleFailure(line: #line) }
        // The Welcome goes to Carol; where she finds the tree is up to the application.
        let published: [UInt8] = commit.ratchetTree
        let carolsGroup = try Group.join(
            welcome: welcome, bundle: bundle, ratchetTree: published, existing: [],
            validator: addressBook, at: now)
        // end
        try expect(carolsGroup.ratchetTree == alicesGroup.ratchetTree)
        try expect(carolsGroup.epochAuthenticator == alicesGroup.epochAuthenticator)
    }

    static func groupExtensions() throws {
        // snippet: group-extensions
        let topic = ExtensionType(rawValue: 0xF0C1)
        let required = RequiredCapabilities(extensions: [topic], proposals: [.selfRemove])
        var content = CommitContent()
        content.groupContextExtensions = [
            required.groupContextExtension,
            Extension(type: topic, data: Array("Tuesday's conference".utf8)),
        ]
        // end
        var example = try Example([
            Person("alice", extensions: [topic]), Person("bob", extensions: [topic]),
        ])
        let (aliceKey, addressBook, now) = (example.people[0].key, example.addressBook, Example.now)

        // snippet: change-extensions
        let commit = try example.groups[0].commit(
            content, signingKey: aliceKey, validator: addressBook, at: now)
        try example.groups[0].merge(commit, at: now)
        try example.deliver(commit.message, from: 0)
        try expect(example.groups[1].extensions[topic] == Array("Tuesday's conference".utf8))
        // end
        try expect(example.agree)

        // snippet: propose-extensions
        let bobKey = example.people[1].key
        let proposal = try example.groups[1].propose(
            .groupContextExtensions([required.groupContextExtension]), signingKey: bobKey,
            validator: addressBook, at: now)
        try example.deliver(proposal.bytes, from: 1)
        // Alice wants the topic to stay.
        var exclusion = CommitContent()
        exclusion.excludedProposals = Set(example.groups[0].pendingProposals.map(\.reference))
        let next = try example.groups[0].commit(
            exclusion, signingKey: aliceKey, validator: addressBook, at: now)
        // end
        try example.groups[0].merge(next, at: now)
        try example.deliver(next.message, from: 0)
        try expect(example.agree && example.groups[1].extensions[topic] != nil)
    }

    static func newIdentity() throws {
        var example = try Example([Person("alice"), Person("bob")])
        let aliceKey = example.people[0].key
        let now = Example.now

        // snippet: new-signing-key
        let newKey = try SigningKey()
        example.addressBook.keys["alice"] = newKey.publicKey.bytes
        var content = CommitContent()
        content.newSigningKey = newKey
        let commit = try example.groups[0].commit(
            content, signingKey: aliceKey, validator: example.addressBook, at: now)
        try example.groups[0].merge(commit, at: now)
        try example.deliver(commit.message, from: 0)
        // From now on Alice signs with the new key.
        let message = try example.groups[0].encrypt([1], signingKey: newKey)
        // end
        guard
            case .application = try example.groups[1].process(
                message.bytes, validator: example.addressBook, at: now)
        else { throw ExampleFailure(line: #line) }
    }
}
