import GRDB
import RelayCore
import RelayProtocol

/// Groups and the messages that wait in them.
extension SQLiteStore {
    var groupCount: Int { groups.count }

    func group(_ id: GroupID) throws(StoreError) -> (GroupNumber, GroupRecord)? {
        guard let slot = try groups.slot(named: hash(id)) else { return nil }
        let number = GroupNumber(rawValue: slot)
        guard let record = try group(number), record.id == id else { return nil }
        return (number, record)
    }

    func group(_ number: GroupNumber) throws(StoreError) -> GroupRecord? {
        guard let content = try groups.content(of: number.rawValue) else { return nil }
        return try GroupSlot.decode(content)
    }

    func addGroup(_ record: GroupRecord) throws(StoreError) -> GroupNumber {
        GroupNumber(rawValue: try groups.add(GroupSlot.encode(record), named: hash(record.id)))
    }

    func updateGroup(_ number: GroupNumber, _ record: GroupRecord) throws(StoreError) {
        if record.isClosed, let former = try group(number) {
            for effect in try TrailEffect.ofUpdating(former, to: record, in: self) {
                effects.note(effect)
            }
        }
        try groups.update(number.rawValue, GroupSlot.encode(record))
    }

    func eraseGroup(_ number: GroupNumber, _ id: GroupID) throws(StoreError) -> Int {
        let erased =
            try sql.countMessages.first([number.rawValue]) { WaitingMessages($0) }
            ?? WaitingMessages()
        try groups.erase(number.rawValue, named: hash(id))
        try sql.removeMessages.run([number.rawValue])
        try blobs.drop(ofGroup: number.rawValue)
        waiting.remove(erased)
        return erased.count
    }

    func groups(
        after number: GroupNumber?, limit: Int
    ) throws(StoreError) -> (found: [(GroupNumber, GroupRecord)], next: GroupNumber?) {
        var found: [(GroupNumber, GroupRecord)] = []
        var seen = 0
        var last: Int64 = 0
        try groups.scan(after: number?.rawValue ?? 0, limit: limit) {
            slot, content throws(StoreError) in
            seen += 1
            last = slot
            if let record = try GroupSlot.decode(content) {
                found.append((GroupNumber(rawValue: slot), record))
            }
        }
        return (found, seen < limit ? nil : GroupNumber(rawValue: last))
    }

    // MARK: Messages

    func reserveMessageNumbers(_ count: UInt64) throws(StoreError) -> MessageNumber {
        let next = try setting(SettingRow.nextMessage).map(UInt64.init(bigEndianOctets:)) ?? 1
        try set(SettingRow.nextMessage, to: (next &+ count).bigEndianOctets)
        return MessageNumber(rawValue: next)
    }

    func addMessage(_ message: StoredMessage, in group: GroupNumber) throws(StoreError) {
        nextMessageNumber = max(nextMessageNumber, message.number.rawValue &+ 1)
        let sealed = try seal(
            message.content, groups.key(of: group.rawValue), message.number.rawValue)
        try sql.addMessage.run(
            [
                Int64(bitPattern: message.number.rawValue), group.rawValue,
                Int64(bitPattern: message.waiting), Int64(message.kind.rawValue),
                message.content.count,
            ], lending: sealed)
        waiting.count += 1
        waiting.byteCount += message.content.count
    }

    func messages(
        in group: GroupNumber, waitingFor member: MemberSet, after number: MessageNumber,
        limit: Int, byteCount: Int
    ) throws(StoreError) -> (found: [StoredMessage], isComplete: Bool) {
        let key = try groups.key(of: group.rawValue)
        var found: [StoredMessage] = []
        var octets = 0
        var isComplete = true
        try sql.readMessages.each([
            group.rawValue, Int64(bitPattern: number.rawValue), Int64(bitPattern: member),
        ]) { row throws(StoreError) in
            guard found.count < limit, octets < byteCount else {
                isComplete = false
                return false
            }
            let number = UInt64(bitPattern: row.integer(0))
            var message = StoredMessage(
                number: MessageNumber(rawValue: number),
                kind: DeliveryKind(rawValue: UInt8(clamping: row.integer(2))),
                waiting: UInt64(bitPattern: row.integer(1)), content: [])
            do throws(StoreError) {
                message.content = try open(row.octets(3), key, number)
            } catch {
                guard case .corrupt = error else { throw error }
                message.isDamaged = true
            }
            // What was counted when it came is what is counted when it goes.
            let size = Int(clamping: row.integer(4))
            if message.isDamaged || message.content.count != size {
                message.isDamaged = true
                message.content = [UInt8](
                    repeating: 0, count: min(max(0, size), Self.longestContent))
            }
            octets += message.content.count
            found.append(message)
            return true
        }
        return (found, isComplete)
    }

    /// No limit of messages or commits can be set higher: a length above it is damaged itself.
    private static let longestContent = 8 << 20

    func message(
        _ number: MessageNumber
    ) throws(StoreError) -> (GroupNumber, MemberSet, byteCount: Int)? {
        try sql.readMessage.first([Int64(bitPattern: number.rawValue)]) { row in
            (
                GroupNumber(rawValue: row.integer(0)), UInt64(bitPattern: row.integer(1)),
                byteCount: Int(row.integer(2))
            )
        }
    }

    func acknowledge(
        _ number: MessageNumber, of byteCount: Int, by member: MemberSet, isLast: Bool
    ) throws(StoreError) {
        let number = Int64(bitPattern: number.rawValue)
        logSync?.beginDeferrable()
        defer { logSync?.endDeferrable() }
        let removed: Int
        if !isLast {
            try sql.clearMessage.run([Int64(bitPattern: ~member), number])
            removed = try sql.removeServedMessage.runCounting([number])
        } else {
            removed = try sql.removeMessage.runCounting([number])
        }
        waiting.remove(WaitingMessages(count: removed, byteCount: removed * byteCount))
    }

    func clearWaiting(_ members: MemberSet, in group: GroupNumber) throws(StoreError) {
        try sql.clearMessages.run([Int64(bitPattern: ~members), group.rawValue])
        try sql.removeServedMessages.each([group.rawValue]) { row in
            waiting.remove(WaitingMessages(count: 1, byteCount: Int(row.integer(0))))
            return true
        }
    }

    /// The lowest number of a message that waits.
    func oldestMessage() throws(StoreError) -> UInt64? {
        do {
            return try Int64.fetchOne(database, sql: "SELECT min(number) FROM message")
                .map { UInt64(bitPattern: $0) }
        } catch {
            throw StoreError(error)
        }
    }

    func backlog(
        in group: GroupNumber, of member: MemberSet
    ) throws(StoreError) -> (count: Int, byteCount: Int) {
        try sql.countBacklog.first([group.rawValue, Int64(bitPattern: member)]) {
            (count: Int($0.integer(0)), byteCount: Int($0.integer(1)))
        } ?? (0, 0)
    }
}
