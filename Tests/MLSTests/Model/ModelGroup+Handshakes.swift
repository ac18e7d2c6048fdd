import Cryptography
import Testing

@testable import MLS

/// Proposals and commits on their way: lost, repeated, and out of their order.
extension ModelGroup {
    /// Sends a handshake to everyone but its maker. Those who can't follow must refuse it.
    mutating func broadcast(
        _ handshake: Handshake, from index: Int?, mayBeLost: Bool = true
    ) throws {
        let isCrowd =
            participants.count { $0.isMember && !$0.isStranded } > 2
        for other in participants.indices where other != index {
            guard participants[other].isMember, !participants[other].isStranded else {
                try refuse(handshake, by: other)
                if !participants[other].isMember { count(.refusedByRemoved) }
                continue
            }
            if mayBeLost, handshake.isCommit, isCrowd, happens(oneIn: 80) {
                participants[other].isStranded = true
                count(.lostCommit)
            } else if mayBeLost, !handshake.isCommit, happens(oneIn: 60) {
                participants[other].lostProposals.insert(handshake.epoch)
                count(.lostProposal)
            } else {
                participants[other].handshakes.append(handshake)
            }
        }
    }

    /// Somebody must refuse this, and stay as it is.
    private mutating func refuse(_ handshake: Handshake, by index: Int) throws {
        let before = participants[index].group
        do {
            _ = try participants[index].group.process(
                handshake.bytes, validator: Anyone(), at: Fixture.now,
                preSharedKeys: preSharedKeys)
            throw fail("someone followed who must not")
        } catch is MLSError {
            let isThorough = happens(oneIn: 8)
            guard participants[index].isUnchanged(since: before, thorough: isThorough) else {
                throw fail("a refused handshake changed the group")
            }
        }
    }

    /// Gives one of the handshakes that wait for a participant to it, mostly the first.
    mutating func deliverHandshake(to index: Int) throws {
        let position =
            happens(oneIn: 4)
            ? Int.random(in: participants[index].handshakes.indices, using: &random) : 0
        let handshake = participants[index].handshakes.remove(at: position)
        guard participants[index].isMember else {
            try refuse(handshake, by: index)
            return
        }
        let epoch = participants[index].group.epoch
        guard handshake.epoch == epoch else {
            try refuse(handshake, by: index)
            if handshake.epoch > epoch {
                participants[index].handshakes.append(handshake)
                count(.earlyHandshake)
            } else {
                count(.lateHandshake)
            }
            return
        }
        if handshake.isCommit {
            try stageLoser(by: index)
            try follow(handshake, by: index)
        } else {
            let received = try participants[index].group.process(
                handshake.bytes, validator: Anyone(), at: Fixture.now)
            guard case .proposal = received else { throw fail("not a proposal") }
            participants[index].keepChanges()
            if happens(oneIn: 10) { try repeatProposal(handshake, by: index) }
        }
    }

    private mutating func follow(_ handshake: Handshake, by index: Int) throws {
        let before = participants[index].group
        var received: ReceivedMessage?
        do {
            received = try participants[index].group.process(
                handshake.bytes, validator: Anyone(), at: Fixture.now,
                preSharedKeys: preSharedKeys)
        } catch {
            guard error == .missingProposal else { throw error }
        }
        guard let received else {
            try postpone(handshake, by: index, before)
            return
        }
        guard case .commit(let staged) = received else { throw fail("not a commit") }
        guard participants[index].isInSameState(as: before) else {
            throw fail("a staged commit changed the group")
        }
        try participants[index].group.merge(staged, at: Fixture.now)
        guard staged.removesSelf != participants[index].isMember || staged.reInit != nil else {
            throw fail("removal and state differ")
        }
        participants[index].keepChanges()
        if staged.removesSelf {
            count(.removal)
        } else {
            try checkAgreement(of: index)
        }
        if happens(oneIn: 10) {
            try refuse(handshake, by: index)
            count(.repeatedHandshake)
        }
    }

    /// A commit that came before one of its proposals, or whose proposal was lost.
    private mutating func postpone(
        _ commit: Handshake, by index: Int, _ before: Group
    ) throws {
        guard participants[index].isUnchanged(since: before, thorough: true) else {
            throw fail("a commit without its proposals changed the group")
        }
        count(.missingProposal)
        let isAwaited = participants[index].handshakes.contains {
            $0.epoch == commit.epoch && !$0.isCommit
        }
        if isAwaited {
            participants[index].handshakes.append(commit)
        } else if participants[index].lostProposals.contains(commit.epoch) {
            participants[index].isStranded = true
            participants[index].handshakes = []
        } else {
            throw fail("a commit of proposals that were never made")
        }
    }

    /// A proposal that comes twice: its key is gone, or it is known.
    private mutating func repeatProposal(_ handshake: Handshake, by index: Int) throws {
        let before = participants[index].group
        let known = before.pendingProposals.count
        do {
            let received = try participants[index].group.process(
                handshake.bytes, validator: Anyone(), at: Fixture.now)
            guard case .proposal = received else { throw fail("not a proposal") }
        } catch MLSError.keyUnavailable {}
        guard participants[index].group.pendingProposals.count == known,
            participants[index].isUnchanged(since: before, thorough: false)
        else { throw fail("a repeated proposal changed the group") }
        count(.repeatedHandshake)
    }

    /// A commit of this epoch that did not win can be looked at, and leaves nothing.
    private mutating func stageLoser(by index: Int) throws {
        let before = participants[index].group
        guard happens(oneIn: 3),
            let loser = losers[before.epoch]?.randomElement(using: &random)
        else { return }
        do {
            let received = try participants[index].group.process(
                loser, validator: Anyone(), at: Fixture.now, preSharedKeys: preSharedKeys)
            switch received {
            case .commit: count(.stagedLoser)
            case .own: break
            case .application, .proposal: throw fail("not a commit")
            }
        } catch MLSError.missingProposal {}
        guard participants[index].isInSameState(as: before) else {
            throw fail("a commit that lost changed the group")
        }
        participants[index].keepChanges()
    }

    func checkAgreement(of index: Int) throws {
        let group = participants[index].group
        guard group.epochAuthenticator == authenticators[group.epoch] else {
            throw fail("epoch \(group.epoch) of participant \(index) differs")
        }
    }
}
