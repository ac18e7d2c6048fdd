import Cryptography
import FoundationEssentials
import SwiftProtobuf
import Vault

/// Delivered and read, of one's own messages and of the other's (`protocol/payloads.md`, "Marks").
extension Turn {
    mutating func noteProgress(
        _ seen: [Payload.Seen], of member: [UInt8], in consultation: inout ConsultationState
    ) throws {
        let me = state.identity.publicKey.bytes
        guard let mine = seen.first(where: { $0.member == me }) else { return }
        var progress = consultation.progress[member] ?? Progress()
        progress.update(
            received: mine.received, missing: mine.missing, read: mine.read,
            sent: consultation.record.traffic.counter)
        consultation.progress[member] = progress
        try settle(&consultation)
    }

    /// Moves own messages on to delivered and read, once every other member has them.
    mutating func settle(_ consultation: inout ConsultationState) throws {
        let all = Array(consultation.progress.values)
        guard !all.isEmpty else { return }
        var rest: [ConsultationState.Unsettled] = []
        for var item in consultation.unsettled {
            let isRead = all.allSatisfy { $0.hasRead(item.counter) }
            let isDelivered = all.allSatisfy { $0.has(item.counter) }
            let reached: StoredDelivery = isRead ? .read : isDelivered ? .delivered : .relayed
            if reached.rawValue > item.state.rawValue {
                try raise(item.number, to: reached, in: consultation)
                item.state = reached
            }
            if item.state != .read { rest.append(item) }
        }
        consultation.unsettled = rest
    }

    private mutating func raise(
        _ number: Int64, to reached: StoredDelivery, in consultation: ConsultationState
    ) throws {
        guard
            var message = try transaction.record(
                StoredMessage.self, at: number, of: .messages, in: consultation.scope)
        else { return }
        message.state = reached
        try transaction.put(message, at: number, of: .messages, in: consultation.scope)
        emit(
            .messageChanged(
                consultation.id, state.describe(message, number: number, in: consultation)))
    }

    /// The person has read everything up to `number`.
    mutating func markRead(
        _ number: Vault.ConsultationNumber, upTo last: Int64
    ) throws {
        let changed = try modify(number) { consultation, turn in
            try turn.markRead(upTo: last, in: &consultation)
        }
        if changed { announce(number) }
    }

    private mutating func markRead(
        upTo last: Int64, in consultation: inout ConsultationState
    ) throws -> Bool {
        guard consultation.record.traffic.unread > 0 else { return false }
        var changed = false
        for (number, var message) in try unreadMessages(upTo: last, in: consultation) {
            message.unread = false
            changed = true
            try transaction.put(message, at: number, of: .messages, in: consultation.scope)
            consultation.record.traffic.unread -= min(1, consultation.record.traffic.unread)
            guard message.gap == .none, message.counter > 0 else { continue }
            let sender = [UInt8](message.sender)
            if consultation.ledgers[sender]?.noteRead(upTo: message.counter) == true {
                consultation.record.traffic.marksDue = true
            }
        }
        return changed
    }

    /// The messages not read yet, oldest first: the latest ones, as a rule, so that a long talk isn't
    /// read from its beginning for each.
    func unreadMessages(
        upTo last: Int64, in consultation: ConsultationState
    ) throws -> [(Int64, StoredMessage)] {
        var found: [(Int64, StoredMessage)] = []
        var end = last
        while found.count < Int(clamping: consultation.record.traffic.unread) {
            let some = try transaction.records(
                of: .messages, in: consultation.scope, numbers: .min...end, limit: 32,
                descending: true)
            for record in some {
                let message = try StoredMessage(serializedBytes: record.value)
                if message.unread { found.append((record.number, message)) }
            }
            guard let oldest = some.last?.number, oldest > .min else { break }
            end = oldest - 1
        }
        return found.reversed()
    }
}
