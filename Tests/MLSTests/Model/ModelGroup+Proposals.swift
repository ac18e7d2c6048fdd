import Cryptography
import TestSupport
import Testing

@testable import MLS

/// Proposals of members, of the external sender, and of those who want to come in.
extension ModelGroup {
    mutating func propose() throws {
        guard let index = upToDate.randomElement(using: &random) else { return }
        switch Int.random(in: 0..<16, using: &random) {
        case 0..<3:
            var key: SigningKey?
            if happens(oneIn: 2) { key = try participants[index].newSigningKey() }
            try propose(.update(leaf: nil, newSigningKey: key), by: index)
        case 3:
            guard let victim = victims(of: index).randomElement(using: &random) else { return }
            try propose(.remove(victim), by: index)
        case 4:
            let group = participants[index].group
            let isLeaving = group.pendingProposals.contains {
                $0.isSelfRemove(of: group.ownLeafIndex)
            }
            guard memberCount > 2, !isLeaving else { return }
            try propose(.selfRemove, by: index)
        case 5: try propose(.preSharedKey(externalKey()), by: index)
        case 6: try propose(.preSharedKey(resumption(of: index)), by: index)
        case 7:
            guard extensionsProposed.insert(index).inserted else { return }
            try propose(.groupContextExtensions(newExtensions()), by: index)
        case 8: try propose(.application(applicationProposal()), by: index)
        case 9..<11:
            guard let joiner = try candidate() else { return }
            try propose(.add(joiner.bundle.keyPackage), by: index)
        case 11..<13:
            guard let joiner = try candidate() else { return }
            let message = try Group.newMemberProposal(
                joiner.bundle.keyPackage, groupID: participants[index].group.groupID,
                epoch: epoch, signingKey: joiner.client.signingKey)
            try broadcast(Handshake(bytes: message, isCommit: false, epoch: epoch), from: nil)
        default:
            guard let proposal = try externalProposal(seenBy: index) else { return }
            let message = try Group.externalProposal(
                proposal, groupID: participants[index].group.groupID, epoch: epoch, suite: suite,
                senderIndex: 0, signingKey: server)
            try broadcast(Handshake(bytes: message, isCommit: false, epoch: epoch), from: nil)
        }
    }

    mutating func propose(
        _ request: ProposalRequest, by index: Int, mayBeLost: Bool = true
    ) throws {
        let message = try participants[index].group.propose(
            request, signingKey: participants[index].signingKey, validator: Anyone(),
            at: Fixture.now)
        participants[index].keepChanges()
        if case .selfRemove = request { selfRemoves.append(message.bytes) }
        if happens(oneIn: 6) {
            let before = participants[index].group
            let echo = try participants[index].group.process(
                message.bytes, validator: Anyone(), at: Fixture.now)
            guard case .own = echo,
                participants[index].isUnchanged(since: before, thorough: false)
            else { throw fail("an own proposal was not recognised") }
        }
        try broadcast(
            Handshake(bytes: message.bytes, isCommit: false, epoch: epoch), from: index,
            mayBeLost: mayBeLost)
    }

    // MARK: What to propose

    /// A client to be added by the next commit.
    private mutating func candidate() throws -> Joiner? {
        guard memberCount + candidates.count < largest else { return nil }
        let joiner = try newJoiner()
        candidates[joiner.client.signingKey.publicKey.bytes] = joiner
        return joiner
    }

    /// Whom a member may remove.
    func victims(of index: Int) -> [LeafIndex] {
        let group = participants[index].group
        let others = group.members.map(\.index).filter { $0 != group.ownLeafIndex }
        return others.count > 1 ? others : []
    }

    mutating func externalKey() -> PreSharedKeySource {
        .external(id: [UInt8.random(in: 0..<3, using: &random)])
    }

    /// The current epoch's, which everyone has.
    func resumption(of index: Int) -> PreSharedKeySource {
        .resumption(
            usage: .application, groupID: participants[index].group.groupID, epoch: epoch)
    }

    mutating func applicationProposal() -> ApplicationProposal {
        let data = random.bytes(4)
        return Bool.random(using: &random)
            ? .ephemeral(component: Self.component, data: data)
            : .custom(type: Self.proposalType, data: data)
    }

    private mutating func externalProposal(seenBy index: Int) throws -> Proposal? {
        switch Int.random(in: 0..<5, using: &random) {
        case 0:
            return victims(of: index).randomElement(using: &random).map { .remove($0) }
        case 1:
            return try candidate().map { .add($0.bundle.keyPackage) }
        case 2:
            guard extensionsProposed.insert(-1).inserted else { return nil }
            return .groupContextExtensions(newExtensions())
        case 3:
            return .preSharedKey(PreSharedKeyID(source: externalKey(), nonce: nonce()))
        default:
            return .application(applicationProposal())
        }
    }

    private func nonce() -> [UInt8] { Random.bytes(suite == .xwingAES256 ? 48 : 32) }
}
