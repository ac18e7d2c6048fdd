/// A proposal that no commit has covered yet (RFC 9420 §12.1).
public struct PendingProposal: Sendable {
    /// How a commit names it.
    public let reference: ProposalRef
    /// Who made it.
    public let sender: Sender
    /// What it asks for.
    public let proposal: Proposal

    func isSelfRemove(of leaf: LeafIndex) -> Bool {
        proposal == .selfRemove && sender == .member(leaf)
    }
}

/// The proposals of an epoch, in the order in which they came.
///
/// They are counted by sender, so that a flood takes nobody else's room; all newcomers who propose
/// themselves count as one.
struct PendingProposals: Sendable {
    private(set) var all: [PendingProposal] = []
    private var places: [ProposalRef: Int] = [:]
    private var counts: [Sender: Int] = [:]

    subscript(reference: ProposalRef) -> PendingProposal? { places[reference].map { all[$0] } }

    func count(from sender: Sender) -> Int { counts[sender] ?? 0 }

    mutating func append(_ pending: PendingProposal) {
        places[pending.reference] = all.count
        counts[pending.sender, default: 0] += 1
        all.append(pending)
    }
}
