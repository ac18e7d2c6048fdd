import Cryptography
import TestSupport
import Testing

@testable import MLS

/// What can happen in a group.
extension ModelGroup {
    /// One random event.
    mutating func step() throws {
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<6: try send()
        case 6..<10: try propose()
        case 10..<13: try commit()
        case 13: try joinFromOutside()
        case 14: try rejoin()
        case 15:
            let index = Int.random(in: participants.indices, using: &random)
            try participants[index].restart()
        default: try deliverSome()
        }
    }

    // MARK: Messages

    private mutating func send() throws {
        let senders = participants.indices.filter {
            participants[$0].isMember && !participants[$0].isStranded
        }
        guard let index = senders.randomElement(using: &random) else { return }
        let text = random.bytes(Int.random(in: 0..<200, using: &random))
        let message = try participants[index].group.encrypt(
            text, authenticatedData: [UInt8(truncatingIfNeeded: index)],
            paddedTo: Int.random(in: 0..<300, using: &random),
            signingKey: participants[index].client.signingKey)
        participants[index].keepChanges()
        sent.append(
            Sent(bytes: message.bytes, plaintext: text, sender: index, epoch: message.epoch))
        for other in participants.indices where !happens(oneIn: 8) {
            participants[other].unread.append(sent.count - 1)
            if happens(oneIn: 12) { participants[other].unread.append(sent.count - 1) }
        }
    }

    private mutating func deliverSome() throws {
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let index = Int.random(in: participants.indices, using: &random)
            if !participants[index].handshakes.isEmpty, Bool.random(using: &random) {
                try deliverHandshake(to: index)
            } else if !participants[index].unread.isEmpty {
                let position = Int.random(
                    in: participants[index].unread.indices, using: &random)
                try read(participants[index].unread.remove(at: position), by: index)
            }
        }
    }

    /// Gives a message to a participant and checks that what happens is what must.
    mutating func read(_ number: Int, by index: Int) throws {
        let message = sent[number]
        let reader = participants[index]
        let before = reader.group.serialized()
        do {
            let received = try participants[index].group.process(
                message.bytes, validator: Anyone(), at: Fixture.now)
            switch received {
            case .application(let application):
                guard application.plaintext == message.plaintext,
                    application.epoch == message.epoch
                else { throw fail("another plaintext") }
                guard !reader.read.contains(number) else { throw fail("a message read twice") }
                guard message.epoch >= reader.since, message.epoch <= reader.group.epoch else {
                    throw fail("a message of an epoch that the reader was not in")
                }
                participants[index].read.insert(number)
                participants[index].keepChanges()
            case .own:
                guard message.sender == index else { throw fail("another's message as own") }
            case .proposal, .commit:
                throw fail("a handshake out of application data")
            }
        } catch let error as MLSError {
            guard participants[index].group.serialized() == before else {
                throw fail("a refused message changed the group: \(error)")
            }
            let isKept =
                message.epoch >= reader.since && message.epoch <= reader.group.epoch
                && reader.group.epoch - message.epoch <= UInt64(policy.pastEpochCount)
            if isKept, reader.isMember, !reader.read.contains(number), message.sender != index {
                throw fail("a message that should be readable is not: \(error)")
            }
            if message.epoch > reader.group.epoch, reader.isMember, !reader.isStranded {
                participants[index].unread.append(number)
            }
        }
    }

    // MARK: Handshakes

    private mutating func broadcast(_ handshake: Handshake, from index: Int?) throws {
        for other in participants.indices where other != index {
            let isFollowing = participants[other].isMember && !participants[other].isStranded
            if isFollowing {
                if case .commit = handshake, happens(oneIn: 150), upToDate.count > 1 {
                    participants[other].isStranded = true
                } else {
                    participants[other].handshakes.append(handshake)
                }
            } else {
                try refuse(handshake, by: other)
            }
        }
    }

    /// A removed or stranded client can't follow.
    private mutating func refuse(_ handshake: Handshake, by index: Int) throws {
        let bytes: [UInt8]
        switch handshake {
        case .proposal(let message), .commit(let message): bytes = message
        }
        guard participants[index].group.epoch < epoch || !participants[index].isMember else {
            return
        }
        let before = participants[index].group.serialized()
        do {
            _ = try participants[index].group.process(
                bytes, validator: Anyone(), at: Fixture.now, preSharedKeys: preSharedKeys)
            throw fail("someone followed who must not")
        } catch is MLSError {
            guard participants[index].group.serialized() == before else {
                throw fail("a refused handshake changed the group")
            }
        }
    }

    mutating func deliverHandshake(to index: Int) throws {
        let handshake = participants[index].handshakes.removeFirst()
        guard participants[index].isMember else {
            try refuse(handshake, by: index)
            return
        }
        switch handshake {
        case .proposal(let message):
            let received = try participants[index].group.process(
                message, validator: Anyone(), at: Fixture.now)
            guard case .proposal = received else { throw fail("not a proposal") }
        case .commit(let message):
            let received = try participants[index].group.process(
                message, validator: Anyone(), at: Fixture.now, preSharedKeys: preSharedKeys)
            guard case .commit(let staged) = received else { throw fail("not a commit") }
            try participants[index].group.merge(staged, at: Fixture.now)
            guard staged.removesSelf == !participants[index].isMember else {
                throw fail("removal and state differ")
            }
            if participants[index].isMember { try checkAgreement(of: index) }
        }
        participants[index].keepChanges()
    }

    func checkAgreement(of index: Int) throws {
        let group = participants[index].group
        guard group.epochAuthenticator == authenticators[group.epoch] else {
            throw fail("epoch \(group.epoch) of participant \(index) differs")
        }
    }

    private mutating func propose() throws {
        guard let index = upToDate.randomElement(using: &random) else { return }
        let members = participants[index].group.members
        let request: ProposalRequest
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<4:
            request = .update(leaf: nil, newSigningKey: nil)
        case 4 where members.count > 2:
            let victims = members.filter { $0.index != participants[index].group.ownLeafIndex }
            guard let victim = victims.randomElement(using: &random) else { return }
            request = .remove(victim.index)
        case 5 where members.count > 3:
            let group = participants[index].group
            guard
                !group.pendingProposals.contains(where: {
                    $0.isSelfRemove(of: group.ownLeafIndex)
                })
            else { return }
            request = .selfRemove
        case 6:
            request = .preSharedKey(.external(id: [UInt8.random(in: 0..<3, using: &random)]))
        case 7:
            request = .groupContextExtensions([
                senders, Extension(type: Self.extensionType, data: random.bytes(5)),
            ])
        case 8:
            try proposeFromOutside()
            return
        case 9:
            request = .application(applicationProposal())
        default:
            return
        }
        let message = try participants[index].group.propose(
            request, signingKey: participants[index].client.signingKey, validator: Anyone(),
            at: Fixture.now)
        participants[index].keepChanges()
        if case .selfRemove = request { selfRemoves.append(message.bytes) }
        try broadcast(.proposal(message.bytes), from: index)
    }

    private mutating func applicationProposal() -> ApplicationProposal {
        let data = random.bytes(4)
        return Bool.random(using: &random)
            ? .ephemeral(component: Self.component, data: data)
            : .custom(type: Self.proposalType, data: data)
    }

    /// The external sender proposes a removal, or something to the application.
    private mutating func proposeFromOutside() throws {
        guard let index = upToDate.first,
            let victim = participants[index].group.members.randomElement(using: &random),
            memberCount > 3
        else { return }
        let proposal: Proposal =
            happens(oneIn: 3) ? .application(applicationProposal()) : .remove(victim.index)
        let message = try Group.externalProposal(
            proposal, groupID: participants[index].group.groupID, epoch: epoch,
            suite: suite, senderIndex: 0, signingKey: server)
        try broadcast(.proposal(message), from: nil)
    }

    // MARK: Commits

    /// Several members commit at once, and one wins.
    private mutating func commit() throws {
        let committers = upToDate.shuffled(using: &random).prefix(
            Int.random(in: 1...3, using: &random))
        guard !committers.isEmpty else { return }
        var made: [(index: Int, commit: PendingCommit, joiners: [Joiner])] = []
        for index in committers {
            let (content, joiners) = try newContent(for: index)
            let commit = try participants[index].group.commit(
                content, signingKey: participants[index].client.signingKey, validator: Anyone(),
                at: Fixture.now, preSharedKeys: preSharedKeys)
            participants[index].keepChanges()
            made.append((index, commit, joiners))
        }
        let winner = made[0]
        let pending =
            Bool.random(using: &random)
            ? winner.commit : try PendingCommit(serialized: winner.commit.serialized())
        epoch += 1
        commits += 1
        selfRemoves = []
        authenticators[epoch] = pending.epochAuthenticator
        // The echo of one's own commit says that it won.
        if Bool.random(using: &random) {
            let echo = try participants[winner.index].group.process(
                pending.message, validator: Anyone(), at: Fixture.now)
            guard case .own(let own) = echo, own.messageHash == pending.commitHash else {
                throw fail("an own commit was not recognised")
            }
        }
        try participants[winner.index].group.merge(pending, at: Fixture.now)
        participants[winner.index].keepChanges()
        try checkAgreement(of: winner.index)
        try broadcast(.commit(pending.message), from: winner.index)
        for loser in made.dropFirst() where !participants[loser.index].isStranded {
            while !participants[loser.index].handshakes.isEmpty {
                try deliverHandshake(to: loser.index)
            }
            guard (try? participants[loser.index].group.merge(loser.commit, at: 0)) == nil else {
                throw fail("a commit was merged that had lost")
            }
        }
        for joiner in winner.joiners {
            try join(joiner, pending, withTree: joiner.needsTree ? pending.ratchetTree : nil)
        }
    }

    private struct Joiner {
        let client: Client
        let bundle: KeyPackageBundle
        let needsTree: Bool
    }

    private mutating func newContent(
        for index: Int
    ) throws -> (content: CommitContent, joiners: [Joiner]) {
        var content = CommitContent()
        let members = participants[index].group.members
        var joiners: [Joiner] = []
        content.welcomeIncludesTree = Bool.random(using: &random)
        if members.count < largest, happens(oneIn: 2) {
            let most = members.count < 3 ? largest / 2 : 3
            for _ in 0..<Int.random(in: 1...max(1, most), using: &random) {
                let client = try newClient()
                let bundle = try client.bundle(suite)
                content.adds.append(bundle.keyPackage)
                joiners.append(
                    Joiner(
                        client: client, bundle: bundle, needsTree: !content.welcomeIncludesTree))
            }
        }
        if members.count > 2, happens(oneIn: 3) {
            let victims = members.filter { $0.index != participants[index].group.ownLeafIndex }
            content.removes = victims.shuffled(using: &random)
                .prefix(Int.random(in: 1...max(1, members.count / 4), using: &random))
                .map(\.index)
        }
        if happens(oneIn: 6) {
            content.preSharedKeys = [.external(id: [UInt8.random(in: 0..<3, using: &random)])]
        }
        if happens(oneIn: 6) { content.applicationProposals = [applicationProposal()] }
        content.forcesPath = !happens(oneIn: 4)
        return (content, joiners)
    }

    private mutating func join(
        _ joiner: Joiner, _ commit: PendingCommit, withTree tree: [UInt8]?
    ) throws {
        guard let welcome = commit.welcome else { throw fail("a commit without its Welcome") }
        let group = try Group.join(
            welcome: welcome, bundle: joiner.bundle, ratchetTree: tree,
            preSharedKeys: preSharedKeys, existing: [], validator: Anyone(), at: Fixture.now,
            policy: policy)
        enter(Participant(client: joiner.client, group: group, since: epoch))
        try checkAgreement(of: participants.count - 1)
    }

    // MARK: From outside

    private mutating func joinFromOutside() throws {
        guard let insider = upToDate.randomElement(using: &random), memberCount < largest,
            memberCount > 0
        else { return }
        let client = try newClient()
        let info = try participants[insider].group.groupInfo(
            allowsJoining: true, signingKey: participants[insider].client.signingKey)
        let taken = Bool.random(using: &random) ? selfRemoves : []
        let joined = try Group.joinExternally(
            groupInfo: info, leaf: client.leaf, signingKey: client.signingKey,
            selfRemoves: taken, validator: Anyone(), at: Fixture.now, policy: policy)
        try enterFromOutside(joined, client)
    }

    /// A client that lost a commit replaces its old self, unless it was removed meanwhile.
    private mutating func rejoin() throws {
        guard let index = participants.indices.first(where: { participants[$0].isStranded }),
            let insider = upToDate.first
        else { return }
        let client = participants[index].client
        let key = client.signingKey.publicKey.bytes
        guard
            let old = participants[insider].group.members.first(where: { $0.signatureKey == key })
        else {
            // Nobody will tell it any more: from here on it is as good as removed.
            return
        }
        let info = try participants[insider].group.groupInfo(
            allowsJoining: true, signingKey: participants[insider].client.signingKey)
        let joined = try Group.joinExternally(
            groupInfo: info, leaf: client.leaf, signingKey: client.signingKey,
            replacing: old.index, selfRemoves: Bool.random(using: &random) ? selfRemoves : [],
            validator: Anyone(), at: Fixture.now, policy: policy)
        participants.remove(at: index)
        sent = sent.map { message in
            Sent(
                bytes: message.bytes, plaintext: message.plaintext,
                sender: message.sender == index
                    ? -1 : message.sender > index ? message.sender - 1 : message.sender,
                epoch: message.epoch)
        }
        try enterFromOutside(joined, client)
    }

    private mutating func enterFromOutside(
        _ joined: Group.ExternalJoin, _ client: Client
    ) throws {
        epoch += 1
        commits += 1
        selfRemoves = []
        authenticators[epoch] = joined.group.epochAuthenticator
        try broadcast(.commit(joined.message), from: nil)
        enter(Participant(client: client, group: joined.group, since: epoch))
    }
}
