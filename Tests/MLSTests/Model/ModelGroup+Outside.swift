import Cryptography
import Testing

@testable import MLS

/// Clients that come in by themselves.
extension ModelGroup {
    mutating func joinFromOutside() throws {
        guard let insider = upToDate.randomElement(using: &random), memberCount < largest else {
            return
        }
        let client = try newClient()
        try enter(client, by: insider, replacing: nil)
        count(.externalJoin)
    }

    /// A client that can't follow replaces its old self, unless it was removed meanwhile.
    mutating func rejoin() throws {
        guard let index = participants.indices.first(where: { participants[$0].isStranded }),
            let insider = upToDate.first
        else { return }
        let client = participants[index].client
        guard
            let old = participants[insider].group.members.first(where: {
                $0.credential == client.leaf.credential
            })
        else { return }
        try enter(client, by: insider, replacing: (index, old.index))
        count(.resync)
    }

    private mutating func enter(
        _ client: Client, by insider: Int, replacing old: (participant: Int, leaf: LeafIndex)?
    ) throws {
        let group = participants[insider].group
        let isDetached = Bool.random(using: &random)
        let info = try group.groupInfo(
            allowsJoining: true, includesTree: !isDetached,
            signingKey: participants[insider].signingKey)
        let taken = Bool.random(using: &random) ? selfRemoves : []
        let sources = happens(oneIn: 3) ? [externalKey()] : []
        let joined = try Group.joinExternally(
            groupInfo: info, ratchetTree: isDetached ? group.ratchetTree : nil, leaf: client.leaf,
            signingKey: client.signingKey, replacing: old?.leaf, selfRemoves: taken,
            mixingIn: sources, preSharedKeys: preSharedKeys, validator: Anyone(),
            at: Fixture.now, policy: policy)
        if isDetached { count(.externalJoinWithDetachedTree) }
        if !sources.isEmpty { count(.externalJoinWithKey) }
        if !taken.isEmpty { count(.externalJoinTakingSelfRemoves) }
        let ended = epoch
        advance(joined.group.epochAuthenticator)
        try broadcast(Handshake(bytes: joined.message, isCommit: true, epoch: ended), from: nil)
        let participant = Participant(client: client, group: joined.group, since: epoch)
        if let old {
            participants[old.participant] = participant
            participants[old.participant].keepChanges()
        } else {
            enter(participant)
        }
    }
}
