import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import Vault

/// The other side of reopening: a Welcome came, and the first message that could be read says which
/// consultation goes on. Only the same identity key may go on with it; the group's MLS signatures prove that it does.
extension Turn {
    /// What the first message of a group said, and the message, which is dealt with afterwards.
    struct Arrival {
        let consultation: ConsultationID
        let beganAt: UInt64
        let reason: StoredReopenReason
        let payload: Payload
        let message: Received

        init(reopen: Payload.Reopen, payload: Payload, message: Received) {
            consultation = ConsultationID(groupID: reopen.consultation)
            beganAt = reopen.beganAt
            reason = StoredReopenReason(rawValue: Int(reopen.reason)) ?? .unspecified
            self.payload = payload
            self.message = message
        }
    }

    /// No attempt may claim to come from later than this (milliseconds; clocks differ): a device
    /// that forgot it, and goes on from an older vault, would not come after it for so long.
    private static let clockTolerance: UInt64 = 86_400_000

    /// Decides what becomes of a group whose first message asks to go on with a consultation.
    ///
    /// - Returns: the consultation that goes on in it, if one does.
    mutating func resolve(
        _ arrival: Arrival, of number: Vault.ConsultationNumber
    ) throws -> Vault.ConsultationNumber? {
        guard let arriving = state.consultations[number], arriving.record.phase == .arriving else {
            return nil
        }
        let known = state.consultations.values.first {
            $0.number != number && $0.id == arrival.consultation && $0.isShown
        }
        let isAhead = arrival.beganAt > now + Self.clockTolerance
        guard let known else {
            if isAhead {
                try turnAway(number)
                return nil
            }
            return try resolveUnknown(arrival, of: number) ? number : nil
        }
        guard known.record.other.identityKey == arriving.record.other.identityKey else {
            // Nobody else goes on with it. A person with a new key asks for a new consultation,
            // which is accepted or declined with the change in view.
            try modify(known.number) { consultation, turn in
                try turn.append(notice: .otherKey, in: &consultation)
            }
            announce(known.number)
            try turnAway(number, for: known.id)
            return nil
        }
        guard !isAhead else {
            // Whose clock is wrong nobody can tell: both are told what the other's says.
            try modify(known.number) { consultation, turn in
                let other = [UInt8](consultation.record.other.identityKey)
                try turn.append(clock: arrival.beganAt, of: other, to: &consultation)
            }
            announce(known.number)
            try leave(number, saying: .clock)
            return nil
        }
        guard isLater(arrival, than: known),
            !known.record.standing.closed, known.record.standing.lock != .reopenedTooOften
        else {
            try turnAway(number, for: known.id)
            return nil
        }
        guard let times = counting(known.record.reopening.times) else {
            try turnAway(number, for: known.id)
            try lock(known.number, .reopenedTooOften)
            return nil
        }
        try adopt(arrival, from: number, into: known.number, times: times)
        return known.number
    }

    /// Of two attempts the later one holds, and both sides know which that is. An attempt of one's
    /// own that never left counts for nothing.
    private func isLater(_ arrival: Arrival, than known: ConsultationState) -> Bool {
        let reopening = known.record.reopening
        let neverLeft = known.record.phase == .reopening && known.group == nil
        guard arrival.beganAt == reopening.beganAt, reopening.unconfirmed else {
            return arrival.beganAt > (neverLeft ? reopening.base : reopening.beganAt)
        }
        return [UInt8](known.record.other.identityKey)
            .lexicographicallyPrecedes(state.identity.publicKey.bytes)
    }

    /// A consultation that isn't here: it was ended here, or the relay lost its beginning, which
    /// only a doctor waits for. Answers whether it goes on.
    private mutating func resolveUnknown(
        _ arrival: Arrival, of number: Vault.ConsultationNumber
    ) throws -> Bool {
        let id = arrival.consultation
        guard try !transaction.hasEnded(id), !state.isClosing(id) else {
            // The other is told in the group that it made, where it can read who says so.
            try leave(number, saying: .close(reason: ""))
            return false
        }
        guard state.role == .doctor else {
            try turnAway(number)
            return false
        }
        let namesake = state.consultations.values.first { $0.number != number && $0.id == id }
        if let namesake {
            // Its first group came and said nothing: the same person goes on without it.
            let key = state.consultations[number]?.record.other.identityKey
            guard namesake.record.phase == .arriving, namesake.record.other.identityKey == key
            else {
                try turnAway(number)
                return false
            }
            try turnAway(namesake.number)
        }
        try modify(number) { consultation, turn in
            consultation.record.consultation = Data(id.bytes)
            consultation.record.phase = .active
            consultation.record.reopening.beganAt = arrival.beganAt
            consultation.record.reopening.base = arrival.beganAt
            consultation.record.reopening.agreed = arrival.beganAt
            consultation.record.traffic.epochBegan = 0
            consultation.record.traffic.marksDue = true
            // What this device once said in it, it has forgotten.
            consultation.record.reopening.fellBack = true
            let other = [UInt8](consultation.record.other.identityKey)
            try turn.append(reopened: arrival.reason, by: other, to: &consultation)
            try turn.startOver(arrival.payload.seen, of: other, in: &consultation)
        }
        announce(number)
        return true
    }

    /// Nothing goes on in a group that nobody was shown, and its maker is told why.
    private mutating func leave(
        _ number: Vault.ConsultationNumber, saying body: Payload.Body
    ) throws {
        try modify(number) { consultation, turn in
            consultation.record.phase = .active
            consultation.record.standing.quiet = true
            consultation.record.standing.ending = true
            try turn.enqueue(body, in: &consultation)
        }
    }

    /// The other didn't go on in the fresh group, because of the clocks: nothing was changed by the
    /// attempt, and when they are right the person begins another.
    mutating func turnedAway(
        _ payload: Payload, by sender: [UInt8], in consultation: inout ConsultationState
    ) throws {
        consultation.record.reopening.beganAt = consultation.record.reopening.agreed
        consultation.record.reopening.base = consultation.record.reopening.agreed
        consultation.record.standing.lock = .clock
        try dropCommit(of: &consultation)
        try append(clock: payload.sentAt, of: sender, to: &consultation)
    }

    /// Leaves a group that nobody was shown.
    ///
    /// - Parameter id: the consultation that it was to go on with, if there is one.
    mutating func turnAway(
        _ number: Vault.ConsultationNumber, for id: ConsultationID? = nil
    ) throws {
        guard let arriving = state.consultations[number] else { return }
        try abandon(
            arriving.groupID, epoch: arriving.group?.epoch ?? 0, of: id ?? arriving.id,
            in: arriving.mailbox)
        try eraseContent(of: arriving)
    }

    /// Goes on in the other's group, with everything that this device has.
    private mutating func adopt(
        _ arrival: Arrival, from arrived: Vault.ConsultationNumber,
        into number: Vault.ConsultationNumber, times: [UInt64]
    ) throws {
        try leaveGroup(of: number)
        guard let arriving = state.consultations[arrived],
            let scope = state.consultations[number]?.scope
        else { return }
        for entry in try transaction.namedRecords(of: .group, in: arriving.scope) {
            try transaction.put(entry.value, for: entry.key, of: .group, in: scope)
        }
        try modify(number) { consultation, turn in
            consultation.group = arriving.group
            consultation.mailbox = arriving.mailbox
            consultation.record.mailboxScope = arriving.record.mailboxScope
            consultation.record.groupID = arriving.record.groupID
            consultation.record.phase = .active
            try turn.beginAgain(&consultation)
            consultation.record.reopening.beganAt = arrival.beganAt
            consultation.record.reopening.base = arrival.beganAt
            consultation.record.reopening.agreed = arrival.beganAt
            consultation.record.reopening.unconfirmed = false
            consultation.record.reopening.due = false
            consultation.record.reopening.reason = arrival.reason
            consultation.record.reopening.times = times
            // The keys of a KeyPackage have waited on a shelf: they are replaced at once.
            consultation.record.traffic.epochBegan = 0
            consultation.record.traffic.marksDue = true
            let other = [UInt8](consultation.record.other.identityKey)
            try turn.append(reopened: arrival.reason, by: other, to: &consultation)
            try turn.startOver(arrival.payload.seen, of: other, in: &consultation)
        }
        try transaction.eraseConsultation(arrived)
        hasErased = true
        state.consultations[arrived] = nil
        announce(number)
    }

    /// The first word of the other in a group that this device made: the group works.
    mutating func confirm(
        _ seen: [Payload.Seen], of sender: [UInt8], in consultation: inout ConsultationState
    ) throws {
        guard consultation.record.reopening.unconfirmed else { return }
        consultation.record.reopening.unconfirmed = false
        consultation.record.reopening.agreed = consultation.record.reopening.beganAt
        try startOver(seen, of: sender, in: &consultation)
    }

    /// Takes what the other says it has as it is, also if it had more before: its vault may be an
    /// older one. What it lacks is sent again.
    private mutating func startOver(
        _ seen: [Payload.Seen], of member: [UInt8], in consultation: inout ConsultationState
    ) throws {
        let me = state.identity.publicKey.bytes
        let mine = seen.first { $0.member == me }
        // What couldn't be read in the old group comes again, or its counter shows that it is missing;
        // if it had no counter, nothing is.
        try dropUndecryptable(.max, in: &consultation)
        if let mine { try catchUp(with: mine.received, in: &consultation) }
        var progress = Progress()
        progress.update(
            received: mine?.received ?? 0, missing: mine?.missing ?? [], read: mine?.read ?? 0,
            sent: consultation.record.traffic.counter)
        consultation.progress[member] = progress
        try sendAgain(&consultation, relayed: false) { !progress.has($0) }
        if let lacking = mine?.lacking { try spareFiles(besides: lacking, in: &consultation) }
        try settle(&consultation)
    }

    /// An older vault has forgotten messages that it sent: their counters are taken.
    private mutating func catchUp(
        with received: UInt64, in consultation: inout ConsultationState
    ) throws {
        guard consultation.record.reopening.fellBack else { return }
        consultation.record.reopening.fellBack = false
        let counter = consultation.record.traffic.counter
        // A number that can't be is the other's fault; it then sees repeated counters, no more.
        guard received > counter, received - counter < 1 << 20 else { return }
        consultation.record.traffic.counter = received
        for number in consultation.outbox {
            guard
                var message = try transaction.record(
                    StoredMessage.self, at: number, of: .messages, in: consultation.scope),
                var payload = Payload(decoding: [UInt8](message.payload))
            else { continue }
            consultation.record.traffic.counter += 1
            payload.counter = consultation.record.traffic.counter
            message.counter = payload.counter
            message.payload = Data(try payload.encoded())
            try transaction.put(message, at: number, of: .messages, in: consultation.scope)
        }
    }
}
