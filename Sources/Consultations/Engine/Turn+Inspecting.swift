import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import Vault

/// Compares what the relay says of a group with the group: once on every connection, and before
/// anything is sent to a relay that was restored. The tree is right; where the relay differs, the
/// consultation is reopened.
extension Turn {
    /// How often the relay is asked before its word is believed: what it said may have been
    /// overtaken by a commit that is on its way.
    private static let inspectionLimit = 3
    /// The pause between two questions, in milliseconds.
    private static let inspectionPause: UInt64 = 1_000
    /// The pause while the group's messages wait at the relay and none comes, in milliseconds.
    private static let deliveryPatience: UInt64 = 30_000
    /// How long a commit that the relay spoke of may take to come, in milliseconds.
    private static let commitPatience: UInt64 = 5_000

    /// Asks, if it is time; answers whether nothing else may be sent meanwhile.
    mutating func inspectIfDue(
        _ number: Vault.ConsultationNumber, urgently isUrgent: Bool
    ) throws -> Bool {
        guard var consultation = state.consultations[number], consultation.isComparable,
            let group = consultation.group, let id = GroupID(consultation.groupID)
        else { return false }
        let isWaiting = group.epoch < consultation.awaitedEpoch
        if isWaiting, consultation.inspection == .none {
            consultation.inspection = .due(at: now + Self.commitPatience)
            state.consultations[number] = consultation
        }
        let wasRestored = consultation.record.incarnation != state.profile.registration.incarnation
        guard isUrgent == (isWaiting || wasRestored) else { return false }
        guard case .due(let time) = consultation.inspection else { return isUrgent }
        guard time <= now else {
            wake(at: time)
            return isUrgent
        }
        try start(.inspectGroup(id), for: consultation.mailbox, consultation: number)
        return true
    }

    mutating func receiveInspection(
        _ outcome: Outcome, for number: Vault.ConsultationNumber
    ) throws {
        guard let consultation = state.consultations[number], let group = consultation.group else {
            return
        }
        switch outcome {
        case .groupState(let told) where told.closed:
            let canReopen = try modify(number) { consultation, _ in
                consultation.record.standing.relayClosed = true
                consultation.inspection = .none
                return consultation.canReopen
            }
            if canReopen { try doubt(number, because: .history, told) }
            announce(number)
        case .groupState(let told):
            guard let reason = difference(between: told, and: group, of: consultation) else {
                return try agree(number)
            }
            try doubt(number, because: reason, told)
        case .refused(.notAllowed, _): try reopen(number, because: .lost, otherwise: .removed)
        default: state.consultations[number]?.inspection = .none
        }
    }

    private func difference(
        between told: GroupState, and group: Group, of consultation: ConsultationState
    ) -> StoredReopenReason? {
        let hash = [UInt8](consultation.record.commitHash)
        guard told.epoch == group.epoch, hash.isEmpty || hash == told.commitHash else {
            return .history
        }
        let leaves = group.members.compactMap { member in
            member.leafNode.memberExtension.flatMap { try? MemberExtension(decoding: $0).mailbox }
        }
        let listed = told.members.map(\.mailbox.bytes)
        return listed.count == leaves.count && Set(listed) == Set(leaves) ? nil : .members
    }

    /// The relay's word fits. After a restore it may have lost messages that it had taken.
    private mutating func agree(_ number: Vault.ConsultationNumber) throws {
        let hasChanged = try modify(number) { consultation, turn in
            consultation.inspection = .none
            consultation.mismatches = 0
            let wasClosed = consultation.record.standing.relayClosed
            consultation.record.standing.relayClosed = false
            let incarnation = turn.state.profile.registration.incarnation
            guard consultation.record.incarnation != incarnation else { return wasClosed }
            consultation.record.incarnation = incarnation
            consultation.record.standing.closeSent = false
            // Marks aren't kept, and in a fresh group the other may wait for them.
            consultation.record.traffic.marksDue = true
            consultation.record.reopening.due = consultation.record.reopening.unconfirmed
            try turn.askAboutFiles(of: &consultation)
            try turn.sendAgain(&consultation, relayed: true) { _ in false }
            return true
        }
        if hasChanged { announce(number) }
    }

    /// The relay's word doesn't fit, or it has closed the group with a closing that wasn't one: asked
    /// again, then believed to be another history.
    private mutating func doubt(
        _ number: Vault.ConsultationNumber, because reason: StoredReopenReason, _ told: GroupState
    ) throws {
        guard var consultation = state.consultations[number] else { return }
        // Commits that are still to come may explain it: answers overtake them. Not for ever, if
        // nothing comes.
        let isMoving = told.waiting > 0 && told.waiting != consultation.waiting
        if !isMoving { consultation.mismatches += 1 }
        consultation.waiting = told.waiting
        let pause =
            told.waiting == 0 || isMoving ? Self.inspectionPause : Self.deliveryPatience
        consultation.inspection = .due(at: now + pause * UInt64(max(1, consultation.mismatches)))
        state.consultations[number] = consultation
        if consultation.mismatches >= Self.inspectionLimit {
            return try reopen(number, because: reason)
        }
        if case .due(let time) = consultation.inspection { wake(at: time) }
    }
}

extension ConsultationState {
    /// When the relay is to be asked about the group.
    enum Inspection: Equatable {
        case none
        /// Not before that time (Unix milliseconds).
        case due(at: UInt64)
    }

    /// Whether there is a group that the relay should know.
    var isComparable: Bool {
        record.phase == .active && record.standing.lock == .none && !record.standing.closed
            && group != nil
    }
}
