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
}
