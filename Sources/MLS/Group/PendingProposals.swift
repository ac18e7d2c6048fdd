/// A proposal that no commit has covered yet (RFC 9420 §12.1).
public struct PendingProposal: Sendable {
    /// How a commit names it.
    public let reference: ProposalRef
    /// Who made it.
    public let sender: Sender
    /// What it asks for.
    public let proposal: Proposal
}

/// The proposals of an epoch, in the order in which they came.
///
/// They are counted by sender, so that a flood takes nobody else's room; all newcomers who propose
/// themselves count as one. That somebody leaves, which who joins from outside may cover without
/// knowing of the rest, has always room the first time.
struct PendingProposals: Sendable {
    private(set) var all: [PendingProposal] = []
    private var places: [ProposalRef: Int] = [:]
    private var counts: [Sender: Int] = [:]
    private var leaving: Set<Sender> = []

    subscript(reference: ProposalRef) -> PendingProposal? { places[reference].map { all[$0] } }

    /// Whether a SelfRemove of this sender is among them.
    func isLeaving(_ sender: Sender) -> Bool { leaving.contains(sender) }

    /// Whether a sender's next proposal is one of so many.
    func hasRoom(for proposal: Proposal, from sender: Sender, among limit: Int) -> Bool {
        (counts[sender] ?? 0) < limit || proposal == .selfRemove && !isLeaving(sender)
    }

    mutating func append(_ pending: PendingProposal) {
        places[pending.reference] = all.count
        all.append(pending)
        if pending.proposal == .selfRemove, leaving.insert(pending.sender).inserted { return }
        counts[pending.sender, default: 0] += 1
    }
}
