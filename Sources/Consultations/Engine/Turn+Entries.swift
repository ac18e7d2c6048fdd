import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault

/// What a chat shows besides messages: notices, and gaps where something should be and isn't. A gap
/// is taken away when that comes after all.
extension Turn {
    /// Puts a received message, a gap or a notice behind the others.
    @discardableResult
    mutating func append(
        _ record: StoredMessage, to consultation: inout ConsultationState
    ) throws -> Int64 {
        let number = try transaction.append(record, to: .messages, in: consultation.scope)
        if record.unread { consultation.record.traffic.unread += 1 }
        consultation.record.traffic.lastMessageAt = now
        emit(.message(consultation.id, state.describe(record, number: number, in: consultation)))
        return number
    }

    /// Puts an entry that is no message behind the others.
    ///
    /// - Parameter sender: the identity key of the one whom it concerns; empty: nobody, or this
    ///   device.
    private mutating func appendEntry(
        from sender: [UInt8] = [], to consultation: inout ConsultationState,
        _ fill: (inout StoredMessage) -> Void
    ) throws {
        var record = StoredMessage()
        record.id = Data(Random.bytes(MessageID.byteCount))
        record.sender = Data(sender)
        record.sentAt = now
        record.receivedAt = now
        record.unread = true
        fill(&record)
        try append(record, to: &consultation)
    }

    mutating func append(
        notice: StoredNotice, in consultation: inout ConsultationState
    ) throws {
        try appendEntry(to: &consultation) { $0.notice = notice }
    }

    /// Shows that the consultation goes on in a fresh group, and why.
    ///
    /// - Parameter sender: the identity key of the one who began it; empty: this device.
    mutating func append(
        reopened reason: StoredReopenReason, by sender: [UInt8],
        to consultation: inout ConsultationState
    ) throws {
        try appendEntry(from: sender, to: &consultation) { entry in
            entry.notice = .reopened
            entry.detail = UInt64(clamping: reason.rawValue)
        }
    }

    /// Shows what another's clock says, in Unix milliseconds.
    mutating func append(
        clock theirs: UInt64, of sender: [UInt8], to consultation: inout ConsultationState
    ) throws {
        try appendEntry(from: sender, to: &consultation) { entry in
            entry.notice = .clock
            entry.detail = theirs
        }
    }

    // MARK: Gaps

    mutating func noteUndecryptable(in consultation: inout ConsultationState) throws {
        consultation.record.traffic.unattributed += 1
        consultation.record.traffic.unreadable += 1
        try appendEntry(to: &consultation) { $0.gap = .undecryptable }
    }

    /// Counted messages that never came, in one entry however many they are. Those that came and
    /// could not be decrypted are shown already.
    mutating func noteMissing(
        _ counters: [UInt64], from sender: [UInt8], in consultation: inout ConsultationState
    ) throws {
        let shown = min(counters.count, Int(consultation.record.traffic.unattributed))
        consultation.record.traffic.unattributed -= UInt32(clamping: shown)
        let rest = counters.dropFirst(shown)
        guard let first = rest.first, let last = rest.last else { return }
        try append(gapFrom: first, through: last, of: sender, to: &consultation)
    }

    private mutating func append(
        gapFrom first: UInt64, through last: UInt64, of sender: [UInt8],
        to consultation: inout ConsultationState
    ) throws {
        try appendEntry(from: sender, to: &consultation) { entry in
            entry.gap = .missing
            entry.counter = first
            entry.detail = last
        }
    }

    /// A missing message came after all: its gap is closed, or made smaller.
    mutating func fillGap(
        _ counter: UInt64, from sender: [UInt8], in consultation: inout ConsultationState
    ) throws {
        let stored = try transaction.allRecords(
            StoredMessage.self, of: .messages, in: consultation.scope)
        let found = stored.first { _, message in
            message.gap == .missing && [UInt8](message.sender) == sender
                && (message.counter...max(message.counter, message.detail)).contains(counter)
        }
        guard let (number, message) = found else {
            // It had come, and could not be read.
            return try dropUndecryptable(in: &consultation)
        }
        var gap = message
        let last = max(gap.counter, gap.detail)
        if gap.counter == last { return try remove(number, gap, from: &consultation) }
        if counter == gap.counter {
            gap.counter += 1
        } else {
            if counter < last {
                try append(gapFrom: counter + 1, through: last, of: sender, to: &consultation)
            }
            gap.detail = counter - 1
        }
        try transaction.put(gap, at: number, of: .messages, in: consultation.scope)
        emit(
            .messageChanged(
                consultation.id, state.describe(gap, number: number, in: consultation)))
    }

    /// So many of the messages that could not be read have come again, or will: their gaps go.
    mutating func dropUndecryptable(
        _ limit: Int = 1, in consultation: inout ConsultationState
    ) throws {
        let stored = try transaction.allRecords(
            StoredMessage.self, of: .messages, in: consultation.scope)
        for (number, gap) in stored.filter({ $0.record.gap == .undecryptable }).prefix(limit) {
            let count = consultation.record.traffic.unattributed
            consultation.record.traffic.unattributed -= min(1, count)
            try remove(number, gap, from: &consultation)
        }
    }

    private mutating func remove(
        _ number: Int64, _ gap: StoredMessage, from consultation: inout ConsultationState
    ) throws {
        if gap.unread {
            consultation.record.traffic.unread -= min(1, consultation.record.traffic.unread)
        }
        try transaction.remove(at: number, of: .messages, in: consultation.scope)
    }
}
