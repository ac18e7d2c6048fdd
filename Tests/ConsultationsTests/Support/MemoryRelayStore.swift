import Cryptography
import RelayCore
import RelayProtocol

/// The relay's store in memory: what a batch wrote is there after `commit`, and gone after
/// `rollBack`, as with a disk.
final class MemoryRelayStore: RelayStore {
    fileprivate struct Contents {
        var mailboxes: [MailboxNumber: MailboxRecord] = [:]
        var mailboxNumbers: [MailboxID: MailboxNumber] = [:]
        var groups: [GroupNumber: GroupRecord] = [:]
        var messages: [MessageNumber: (group: GroupNumber, message: RelayCore.StoredMessage)] = [:]
        var answers: [MailboxNumber: [RequestID: [UInt8]]] = [:]
        var shelves: [MailboxNumber: [[UInt8]]] = [:]
        var lastResorts: [MailboxNumber: [UInt8]] = [:]
        var spent: Set<[UInt8]> = []
        var receipts: [MailboxID: [RelayCore.StoredReceipt]] = [:]
        var clockMark: UInt64?
        var last: Int64 = 0
        var lastMessage: UInt64 = 1

        mutating func next() -> Int64 {
            last += 1
            return last
        }
    }

    private var contents = Contents()
    private var committed = Contents()

    func commit() { committed = contents }
    func rollBack() { contents = committed }

    /// What a backup of now holds.
    struct Backup { fileprivate let contents: Contents }
    func backUp() -> Backup { Backup(contents: committed) }
    /// An older state comes back, without a trail: nobody remembers which tickets were spent, so
    /// the caller changes the ticket key, and shelves are emptied.
    func restore(_ backup: Backup) {
        committed = backup.contents
        committed.shelves = [:]
        committed.lastResorts = [:]
        committed.lastMessage += 1_000
        contents = committed
    }
    /// A relay that adds a mailbox of its own to every group's list.
    func addSpy(_ mailbox: MailboxID) {
        let number = addMailbox(MailboxRecord(id: mailbox, kind: .consultation, counter: 1))
        for (group, var record) in contents.groups {
            record.members.append(MemberRecord(mailbox: number, role: .guest))
            contents.groups[group] = record
        }
        commit()
    }
    /// A relay that says that other commits began the epochs.
    func forgeHistory() {
        for group in contents.groups.keys {
            contents.groups[group]?.commitHash = [UInt8](repeating: 7, count: 32)
        }
        commit()
    }

    /// Every octet string that the relay keeps, for marker searches.
    var everything: [[UInt8]] {
        contents.messages.values.map(\.message.content) + contents.shelves.values.flatMap { $0 }
            + contents.answers.values.flatMap(\.values)
    }
    var messageCount: Int { contents.messages.count }

    func mailbox(_ id: MailboxID) -> (MailboxNumber, MailboxRecord)? {
        guard let number = contents.mailboxNumbers[id], let record = contents.mailboxes[number]
        else { return nil }
        return (number, record)
    }
    func mailbox(_ number: MailboxNumber) -> MailboxRecord? { contents.mailboxes[number] }
    func addMailbox(_ record: MailboxRecord) -> MailboxNumber {
        let number = MailboxNumber(rawValue: contents.next())
        contents.mailboxes[number] = record
        contents.mailboxNumbers[record.id] = number
        return number
    }
    func updateMailbox(_ number: MailboxNumber, _ record: MailboxRecord) {
        contents.mailboxes[number] = record
    }
    func eraseMailbox(_ number: MailboxNumber, _ id: MailboxID) {
        contents.mailboxes[number] = nil
        contents.mailboxNumbers[id] = nil
        contents.answers[number] = nil
        contents.shelves[number] = nil
    }
    var mailboxCount: Int { contents.mailboxes.count }

    func answer(_ mailbox: MailboxNumber, _ request: RequestID) -> [UInt8]? {
        contents.answers[mailbox]?[request]
    }
    func addAnswer(_ mailbox: MailboxNumber, _ request: RequestID, _ content: [UInt8]) {
        contents.answers[mailbox, default: [:]][request] = content
    }
    func removeAnswers(_ mailbox: MailboxNumber, through request: RequestID) {
        contents.answers[mailbox] = contents.answers[mailbox]?.filter { $0.key > request }
    }

    func shelfCount(_ mailbox: MailboxNumber) -> Int { contents.shelves[mailbox]?.count ?? 0 }
    func addToShelf(_ mailbox: MailboxNumber, _ package: [UInt8], isLastResort: Bool) {
        if isLastResort {
            contents.lastResorts[mailbox] = package
        } else {
            contents.shelves[mailbox, default: []].append(package)
        }
    }
    func takeFromShelf(_ mailbox: MailboxNumber) -> [UInt8]? {
        guard contents.shelves[mailbox]?.isEmpty == false else { return nil }
        return contents.shelves[mailbox]?.removeFirst()
    }
    func lastResort(_ mailbox: MailboxNumber) -> [UInt8]? { contents.lastResorts[mailbox] }
    func clearShelf(_ mailbox: MailboxNumber) {
        contents.shelves[mailbox] = nil
        contents.lastResorts[mailbox] = nil
    }

    func spend(_ hash: [UInt8], until day: Day) -> Bool { contents.spent.insert(hash).inserted }

    func group(_ id: GroupID) -> (GroupNumber, GroupRecord)? {
        contents.groups.first { $0.value.id == id }.map { ($0.key, $0.value) }
    }
    func group(_ number: GroupNumber) -> GroupRecord? { contents.groups[number] }
    func addGroup(_ record: GroupRecord) -> GroupNumber {
        let number = GroupNumber(rawValue: contents.next())
        contents.groups[number] = record
        return number
    }
    func updateGroup(_ number: GroupNumber, _ record: GroupRecord) {
        contents.groups[number] = record
    }
    func eraseGroup(_ number: GroupNumber, _ id: GroupID) -> Int {
        let before = contents.messages.count
        contents.groups[number] = nil
        contents.messages = contents.messages.filter { $0.value.group != number }
        return before - contents.messages.count
    }
    func groups(
        after number: GroupNumber?, limit: Int
    ) -> (found: [(GroupNumber, GroupRecord)], next: GroupNumber?) {
        (contents.groups.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, nil)
    }
    var groupCount: Int { contents.groups.count }

    func reserveMessageNumbers(_ count: UInt64) -> MessageNumber {
        defer { contents.lastMessage += count }
        return MessageNumber(rawValue: contents.lastMessage)
    }
    func addMessage(_ message: RelayCore.StoredMessage, in group: GroupNumber) {
        contents.messages[message.number] = (group, message)
    }
    func messages(
        in group: GroupNumber, waitingFor member: MemberSet, after number: MessageNumber,
        limit: Int, byteCount: Int
    ) -> (found: [RelayCore.StoredMessage], isComplete: Bool) {
        let all = contents.messages.values.filter {
            $0.group == group && $0.message.waiting & member != 0 && $0.message.number > number
        }.map(\.message).sorted { $0.number < $1.number }
        return (Array(all.prefix(limit)), all.count <= limit)
    }
    func message(_ number: MessageNumber) -> (GroupNumber, MemberSet, byteCount: Int)? {
        contents.messages[number].map { ($0.group, $0.message.waiting, $0.message.content.count) }
    }
    func acknowledge(_ number: MessageNumber, by member: MemberSet, isLast: Bool) {
        guard var entry = contents.messages[number] else { return }
        entry.message.waiting &= ~member
        contents.messages[number] = entry.message.waiting == 0 ? nil : entry
    }
    func clearWaiting(_ members: MemberSet, in group: GroupNumber) {
        for (number, entry) in contents.messages where entry.group == group {
            acknowledge(number, by: members, isLast: false)
        }
    }
    func backlog(
        in group: GroupNumber, of member: MemberSet
    ) -> (count: Int, byteCount: Int) {
        let all = contents.messages.values.filter {
            $0.group == group && $0.message.waiting & member != 0
        }
        return (all.count, all.reduce(0) { $0 + $1.message.content.count })
    }

    func addReceipt(_ content: [UInt8], for mailbox: MailboxID, until day: Day) -> UInt64 {
        let number = UInt64(contents.next())
        contents.receipts[mailbox, default: []].append(
            RelayCore.StoredReceipt(number: number, content: content))
        return number
    }
    func receipts(for mailbox: MailboxID) -> [RelayCore.StoredReceipt] {
        contents.receipts[mailbox] ?? []
    }
    func removeReceipt(_ number: UInt64, of mailbox: MailboxID) {
        contents.receipts[mailbox]?.removeAll { $0.number == number }
    }

    func prune(before day: Day) {}
    func clockMark() -> UInt64? { contents.clockMark }
    func setClockMark(hour: UInt64) { contents.clockMark = hour }
}
