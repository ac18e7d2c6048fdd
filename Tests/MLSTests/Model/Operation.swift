@testable import MLS

/// Everything that the random groups do; the test fails if one of them never happens.
enum Operation: String, CaseIterable {
    // Application data.
    case message, lostMessage, repeatedMessage, messageOfPastEpoch, messageToRemoved, restart

    // A commit's own content.
    case add, remove, extensions, externalKey, resumptionKey, otherGroupsKey, application
    case newSigningKey, withoutPath, excluded, welcomeWithTree, welcomeWithoutTree, repeatedWelcome

    // Proposals that a commit covered, by reference.
    case proposedAdd, proposedUpdate, proposedRemove, selfRemove, proposedExtensions
    case proposedExternalKey, proposedResumptionKey, proposedApplication, updateOfSigningKey
    case newMemberProposal
    case externalAdd, externalRemove, externalExtensions, externalPreSharedKey, externalApplication
    case leftOut

    // Trouble with handshakes.
    case ownEcho, concurrentCommit, stagedLoser, lostCommit, lostProposal, missingProposal
    case earlyHandshake, lateHandshake, repeatedHandshake, refusedByRemoved, removal

    // From outside.
    case externalJoin, externalJoinWithDetachedTree, externalJoinWithKey
    case externalJoinTakingSelfRemoves, resync

    // Groups that follow from others.
    case reInit, proposedReInit, branch

    /// What a commit does that covers this.
    init?(covering pending: PendingProposal, in group: Group) {
        switch (pending.sender, pending.proposal) {
        case (.newMemberProposal, _): self = .newMemberProposal
        case (.external, .add): self = .externalAdd
        case (.external, .remove): self = .externalRemove
        case (.external, .groupContextExtensions): self = .externalExtensions
        case (.external, .preSharedKey): self = .externalPreSharedKey
        case (.external, .application): self = .externalApplication
        case (_, .add): self = .proposedAdd
        case (.member(let leaf), .update(let leafNode)):
            let old = group.member(at: leaf)
            self =
                old?.signatureKey == leafNode.signatureKey ? .proposedUpdate : .updateOfSigningKey
        case (_, .remove): self = .proposedRemove
        case (_, .selfRemove): self = .selfRemove
        case (_, .groupContextExtensions): self = .proposedExtensions
        case (_, .preSharedKey(let id)):
            if case .external = id.source {
                self = .proposedExternalKey
            } else {
                self = .proposedResumptionKey
            }
        case (_, .application): self = .proposedApplication
        default: return nil
        }
    }
}
