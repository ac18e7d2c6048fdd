import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault

/// What should be here and isn't: shown where it was noticed, and taken away when it comes after
/// all.
extension Turn {
    mutating func noteUndecryptable(
        in consultation: inout ConsultationState
    ) throws {
        consultation.record.traffic.unattributed += 1
        consultation.record.traffic.unreadable += 1
        var record = StoredMessage()
        record.id = Data(Random.bytes(MessageID.byteCount))
        record.sentAt = now
        record.receivedAt = now
        record.gap = .undecryptable
        record.unread = true
        try append(record, to: &consultation)
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
        var record = StoredMessage()
        record.id = Data(Random.bytes(MessageID.byteCount))
        record.sender = Data(sender)
        record.sentAt = now
        record.receivedAt = now
        record.counter = first
        record.detail = last
        record.gap = .missing
        record.unread = true
        try append(record, to: &consultation)
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

    /// One of the messages that could not be read has come again: its gap goes.
    mutating func dropUndecryptable(in consultation: inout ConsultationState) throws {
        let stored = try transaction.allRecords(
            StoredMessage.self, of: .messages, in: consultation.scope)
        guard let (number, gap) = stored.first(where: { $0.record.gap == .undecryptable }) else {
            return
        }
        let count = consultation.record.traffic.unattributed
        consultation.record.traffic.unattributed -= min(1, count)
        try remove(number, gap, from: &consultation)
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
