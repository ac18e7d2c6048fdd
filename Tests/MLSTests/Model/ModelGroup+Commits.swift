import Cryptography
import Testing

@testable import MLS

/// Commits of members, some at once, and the Welcomes that come with them.
extension ModelGroup {
    /// Several members commit at once, and one wins.
    mutating func commit() throws {
        if Bool.random(using: &random) { try deliverHandshakes() }
        let committers = upToDate.shuffled(using: &random).prefix(
            Int.random(in: 1...3, using: &random))
        var made: [(index: Int, content: CommitContent, commit: PendingCommit, new: [Joiner])] = []
        for index in committers {
            let (content, joiners) = try newContent(for: index)
            let commit = try participants[index].group.commit(
                content, signingKey: participants[index].signingKey, validator: Anyone(),
                at: Fixture.now, preSharedKeys: preSharedKeys)
            participants[index].keepChanges()
            made.append((index, content, commit, joiners))
        }
        guard let winner = made.first else { return }
        count(content: winner.content, winner.commit, of: participants[winner.index].group)
        let waiting = candidates.merging(
            winner.new.map { ($0.client.signingKey.publicKey.bytes, $0) },
            uniquingKeysWith: { old, _ in old })
        var keys = preSharedKeys
        let ended = participants[winner.index].group
        keys.provide(ended.resumptionSecret, groupID: ended.groupID, epoch: ended.epoch)
        losers[epoch] = made.dropFirst().map(\.commit.message)
        try win(winner.commit, by: winner.index)
        for loser in made.dropFirst() where !participants[loser.index].isStranded {
            while !participants[loser.index].handshakes.isEmpty {
                try deliverHandshake(to: loser.index)
            }
            guard
                participants[loser.index].isStranded
                    || (try? participants[loser.index].group.merge(loser.commit, at: 0)) == nil
            else {
                throw fail("a commit was merged that had lost")
            }
            count(.concurrentCommit)
        }
        for member in winner.commit.added {
            guard let joiner = waiting[member.signatureKey] else { throw fail("a stranger") }
            try join(
                joiner, winner.commit, keys,
                withTree: winner.content.welcomeIncludesTree ? nil : winner.commit.ratchetTree)
        }
    }

    /// The delivery service took a commit.
    mutating func win(
        _ commit: PendingCommit, by index: Int, mayBeLost: Bool = true
    ) throws {
        let pending =
            Bool.random(using: &random)
            ? commit : try PendingCommit(serialized: commit.serialized())
        let old = epoch
        advance(pending.epochAuthenticator)
        // The echo of one's own commit says that it won.
        if Bool.random(using: &random) {
            let echo = try participants[index].group.process(
                pending.message, validator: Anyone(), at: Fixture.now)
            guard case .own(let own) = echo, own.messageHash == pending.commitHash else {
                throw fail("an own commit was not recognised")
            }
            count(.ownEcho)
        }
        try participants[index].group.merge(pending, at: Fixture.now)
        participants[index].keepChanges()
        try checkAgreement(of: index)
        try broadcast(
            Handshake(bytes: pending.message, isCommit: true, epoch: old), from: index,
            mayBeLost: mayBeLost)
    }

    private mutating func newContent(
        for index: Int
    ) throws -> (content: CommitContent, joiners: [Joiner]) {
        var content = CommitContent()
        let members = participants[index].group.members.count
        var joiners: [Joiner] = []
        content.welcomeIncludesTree = Bool.random(using: &random)
        if members < largest, members == 1 || happens(oneIn: 3) {
            let most = members == 1 ? max(1, largest / 2)...largest - 1 : 1...3
            for _ in 0..<Int.random(in: most, using: &random) {
                joiners.append(try newJoiner())
            }
            content.adds = joiners.map(\.bundle.keyPackage)
        }
        if happens(oneIn: 4) {
            content.removes = Array(
                victims(of: index).shuffled(using: &random)
                    .prefix(Int.random(in: 1...max(1, members / 4), using: &random)))
        }
        if happens(oneIn: 6) { content.preSharedKeys.append(externalKey()) }
        if happens(oneIn: 6) { content.preSharedKeys.append(resumption(of: index)) }
        if happens(oneIn: 8) { content.preSharedKeys.append(Self.otherGroup) }
        if happens(oneIn: 8) { content.groupContextExtensions = newExtensions() }
        if happens(oneIn: 6) { content.applicationProposals = [applicationProposal()] }
        if happens(oneIn: 6), let first = participants[index].group.pendingProposals.first {
            content.excludedProposals = [first.reference]
        }
        if happens(oneIn: 6) {
            content.newSigningKey = try participants[index].newSigningKey()
        } else {
            content.forcesPath = !happens(oneIn: 4)
        }
        return (content, joiners)
    }

    /// Writes down what a commit does that won.
    private mutating func count(
        content: CommitContent, _ commit: PendingCommit, of group: Group
    ) {
        if !content.adds.isEmpty { count(.add) }
        if !content.removes.isEmpty { count(.remove) }
        if content.groupContextExtensions != nil { count(.extensions) }
        if content.newSigningKey != nil { count(.newSigningKey) }
        if !content.forcesPath { count(.withoutPath) }
        if !content.excludedProposals.isEmpty { count(.excluded) }
        if !content.applicationProposals.isEmpty { count(.application) }
        for source in content.preSharedKeys {
            switch source {
            case .external: count(.externalKey)
            case Self.otherGroup: count(.otherGroupsKey)
            case .resumption: count(.resumptionKey)
            }
        }
        let leftOut = Set(commit.leftOut.map(\.proposal.reference))
        if !leftOut.isEmpty { count(.leftOut) }
        for pending in group.pendingProposals
        where !leftOut.contains(pending.reference)
            && !content.excludedProposals.contains(pending.reference)
        {
            if let operation = Operation(covering: pending, in: group) { count(operation) }
        }
    }

    private mutating func join(
        _ joiner: Joiner, _ commit: PendingCommit, _ keys: PreSharedKeys, withTree tree: [UInt8]?
    ) throws {
        guard let welcome = commit.welcome else { throw fail("a commit without its Welcome") }
        func join(existing: Set<[UInt8]>) throws -> Group {
            try Group.join(
                welcome: welcome, bundle: joiner.bundle, ratchetTree: tree, preSharedKeys: keys,
                existing: existing, validator: Anyone(), at: Fixture.now, policy: policy)
        }
        let group = try join(existing: [])
        enter(Participant(client: joiner.client, group: group, since: epoch))
        try checkAgreement(of: participants.count - 1)
        count(tree == nil ? .welcomeWithTree : .welcomeWithoutTree)
        if happens(oneIn: 10) {
            do {
                _ = try join(existing: [group.groupID])
                throw fail("joined twice")
            } catch MLSError.alreadyJoined {}
            count(.repeatedWelcome)
        }
    }
}
