public import RelayCore
public import RelayProtocol

/// A `RelayStore` in memory, with transactions that can be rolled back: the model that the real
/// store is compared with.
public final class MemoryStore: RelayStore {
    private struct State {
        var mailboxes: [MailboxNumber: MailboxRecord] = [:]
        var answers: [MailboxNumber: [RequestID: [UInt8]]] = [:]
        var shelves: [MailboxNumber: [[UInt8]]] = [:]
        var lastResorts: [MailboxNumber: [UInt8]] = [:]
        var spent: [[UInt8]: Day] = [:]
        var groups: [GroupNumber: GroupRecord] = [:]
        var messages: [MessageNumber: (group: GroupNumber, message: StoredMessage)] = [:]
        var receipts: [UInt64: (mailbox: MailboxID, until: Day, content: [UInt8])] = [:]
        var nextSlot: Int64 = 1
        var nextMessage: UInt64 = 1
        var nextReceipt: UInt64 = 1
        var clockMark: UInt64?
    }

    private var state = State()
    private var saved: State?
    /// The next write fails like this, and the batch with it.
    public var failure: StoreError?
    /// So many writes succeed before `failure`.
    public var writesBeforeFailure = 0
    /// How many writes there were.
    public private(set) var writeCount = 0

    /// An empty store.
    public init() {}

    /// Begins a batch.
    public func begin() { saved = state }
    /// Keeps a batch.
    public func commit() { saved = nil }
    /// Undoes a batch.
    public func rollback() {
        if let saved { state = saved }
        saved = nil
    }

    /// Messages that still wait for someone.
    public var messageCount: Int { state.messages.count }
    /// Their contents, oldest first.
    public var messageContents: [[UInt8]] {
        state.messages.values.map(\.message).sorted { $0.number < $1.number }.map(\.content)
    }
    /// Answers kept.
    public var answerCount: Int { state.answers.values.reduce(0) { $0 + $1.count } }
    /// Receipts kept.
    public var receiptCount: Int { state.receipts.count }

    private func write() throws(StoreError) {
        writeCount += 1
        guard let failure else { return }
        guard writesBeforeFailure == 0 else { return writesBeforeFailure -= 1 }
        self.failure = nil
        throw failure
    }

    private func slot() -> Int64 {
        defer { state.nextSlot += 1 }
        return state.nextSlot
    }

    /// As `RelayStore` says.
    public var mailboxCount: Int { state.mailboxes.count }

    /// As `RelayStore` says.
    public func mailbox(
        _ id: MailboxID
    ) throws(StoreError) -> (MailboxNumber, MailboxRecord)? {
        state.mailboxes.first { $0.value.id == id }.map { ($0.key, $0.value) }
    }

    /// As `RelayStore` says.
    public func mailbox(_ number: MailboxNumber) throws(StoreError) -> MailboxRecord? {
        state.mailboxes[number]
    }

    /// As `RelayStore` says.
    public func addMailbox(_ record: MailboxRecord) throws(StoreError) -> MailboxNumber {
        try write()
        let number = MailboxNumber(rawValue: slot())
        state.mailboxes[number] = record
        return number
    }

    /// As `RelayStore` says.
    public func updateMailbox(
        _ number: MailboxNumber, _ record: MailboxRecord
    ) throws(StoreError) {
        try write()
        state.mailboxes[number] = record
    }

    /// As `RelayStore` says.
    public func eraseMailbox(_ number: MailboxNumber, _ id: MailboxID) throws(StoreError) {
        try write()
        state.mailboxes[number] = nil
        state.answers[number] = nil
        state.shelves[number] = nil
        state.lastResorts[number] = nil
    }

    /// As `RelayStore` says.
    public func answer(
        _ mailbox: MailboxNumber, _ request: RequestID
    ) throws(StoreError) -> [UInt8]? {
        state.answers[mailbox]?[request]
    }

    /// As `RelayStore` says.
    public func addAnswer(
        _ mailbox: MailboxNumber, _ request: RequestID, _ content: [UInt8]
    ) throws(StoreError) {
        try write()
        state.answers[mailbox, default: [:]][request] = content
    }

    /// As `RelayStore` says.
    public func removeAnswers(
        _ mailbox: MailboxNumber, through request: RequestID
    ) throws(StoreError) {
        state.answers[mailbox] = state.answers[mailbox]?.filter { $0.key > request }
    }

    /// As `RelayStore` says.
    public func shelfCount(_ mailbox: MailboxNumber) throws(StoreError) -> Int {
        state.shelves[mailbox]?.count ?? 0
    }

    /// As `RelayStore` says.
    public func addToShelf(
        _ mailbox: MailboxNumber, _ package: [UInt8], isLastResort: Bool
    ) throws(StoreError) {
        try write()
        if isLastResort {
            state.lastResorts[mailbox] = package
        } else {
            state.shelves[mailbox, default: []].append(package)
        }
    }

    /// As `RelayStore` says.
    public func takeFromShelf(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        guard state.shelves[mailbox]?.isEmpty == false else { return nil }
        return state.shelves[mailbox]?.removeFirst()
    }

    /// As `RelayStore` says.
    public func lastResort(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        state.lastResorts[mailbox]
    }

    /// As `RelayStore` says.
    public func clearShelf(_ mailbox: MailboxNumber) throws(StoreError) {
        state.shelves[mailbox] = nil
        state.lastResorts[mailbox] = nil
    }

    /// As `RelayStore` says.
    public func spend(_ hash: [UInt8], until day: Day) throws(StoreError) -> Bool {
        guard state.spent[hash] == nil else { return false }
        try write()
        state.spent[hash] = day
        return true
    }

    /// As `RelayStore` says.
    public var groupCount: Int { state.groups.count }

    /// As `RelayStore` says.
    public func group(_ id: GroupID) throws(StoreError) -> (GroupNumber, GroupRecord)? {
        state.groups.first { $0.value.id == id }.map { ($0.key, $0.value) }
    }

    /// As `RelayStore` says.
    public func group(_ number: GroupNumber) throws(StoreError) -> GroupRecord? {
        state.groups[number]
    }

    /// As `RelayStore` says.
    public func addGroup(_ record: GroupRecord) throws(StoreError) -> GroupNumber {
        try write()
        let number = GroupNumber(rawValue: slot())
        state.groups[number] = record
        return number
    }

    /// As `RelayStore` says.
    public func updateGroup(_ number: GroupNumber, _ record: GroupRecord) throws(StoreError) {
        try write()
        state.groups[number] = record
    }

    /// As `RelayStore` says.
    public func eraseGroup(_ number: GroupNumber, _ id: GroupID) throws(StoreError) -> Int {
        try write()
        state.groups[number] = nil
        let count = state.messages.count
        state.messages = state.messages.filter { $0.value.group != number }
        return count - state.messages.count
    }

    /// As `RelayStore` says.
    public func groups(
        after number: GroupNumber?, limit: Int
    ) throws(StoreError) -> (found: [(GroupNumber, GroupRecord)], next: GroupNumber?) {
        let found = state.groups.filter { entry in number.map { entry.key > $0 } ?? true }
            .sorted { $0.key < $1.key }.prefix(limit).map { ($0.key, $0.value) }
        return (found, found.count < limit ? nil : found.last?.0)
    }

    /// As `RelayStore` says.
    public func reserveMessageNumbers(_ count: UInt64) throws(StoreError) -> MessageNumber {
        try write()
        defer { state.nextMessage += count }
        return MessageNumber(rawValue: state.nextMessage)
    }

    /// As `RelayStore` says.
    public func addMessage(
        _ message: StoredMessage, in group: GroupNumber
    ) throws(StoreError) {
        try write()
        state.messages[message.number] = (group, message)
    }

    /// As `RelayStore` says.
    public func messages(
        in group: GroupNumber, waitingFor member: MemberSet, after number: MessageNumber,
        limit: Int, byteCount: Int
    ) throws(StoreError) -> (found: [StoredMessage], isComplete: Bool) {
        let all = state.messages.values.filter {
            $0.group == group && $0.message.number > number && $0.message.waiting & member != 0
        }.map(\.message).sorted { $0.number < $1.number }
        var found: [StoredMessage] = []
        var octets = 0
        for message in all {
            guard found.count < limit, octets < byteCount else { return (found, false) }
            octets += message.content.count
            found.append(message)
        }
        return (found, true)
    }

    /// As `RelayStore` says.
    public func message(
        _ number: MessageNumber
    ) throws(StoreError) -> (GroupNumber, MemberSet, byteCount: Int)? {
        state.messages[number].map {
            ($0.group, $0.message.waiting, byteCount: $0.message.content.count)
        }
    }

    /// As `RelayStore` says.
    public func acknowledge(
        _ number: MessageNumber, by member: MemberSet, isLast: Bool
    ) throws(StoreError) {
        guard var entry = state.messages[number] else { return }
        entry.message.waiting &= ~member
        state.messages[number] = entry.message.waiting == 0 ? nil : entry
    }

    /// As `RelayStore` says.
    public func clearWaiting(
        _ members: MemberSet, in group: GroupNumber
    ) throws(StoreError) {
        for (number, entry) in state.messages where entry.group == group {
            var entry = entry
            entry.message.waiting &= ~members
            state.messages[number] = entry.message.waiting == 0 ? nil : entry
        }
    }

    /// As `RelayStore` says.
    public func backlog(
        in group: GroupNumber, of member: MemberSet
    ) throws(StoreError) -> (count: Int, byteCount: Int) {
        let waiting = state.messages.values.filter {
            $0.group == group && $0.message.waiting & member != 0
        }
        return (waiting.count, waiting.reduce(0) { $0 + $1.message.content.count })
    }

    /// As `RelayStore` says.
    public func addReceipt(
        _ content: [UInt8], for mailbox: MailboxID, until day: Day
    ) throws(StoreError) -> UInt64 {
        try write()
        defer { state.nextReceipt += 1 }
        state.receipts[state.nextReceipt] = (mailbox, day, content)
        return state.nextReceipt
    }

    /// As `RelayStore` says.
    public func receipts(for mailbox: MailboxID) throws(StoreError) -> [StoredReceipt] {
        state.receipts.filter { $0.value.mailbox == mailbox }.sorted { $0.key < $1.key }
            .map { StoredReceipt(number: $0.key, content: $0.value.content) }
    }

    /// As `RelayStore` says.
    public func removeReceipt(_ number: UInt64, of mailbox: MailboxID) throws(StoreError) {
        if state.receipts[number]?.mailbox == mailbox { state.receipts[number] = nil }
    }

    /// As `RelayStore` says.
    public func prune(before day: Day) throws(StoreError) {
        state.spent = state.spent.filter { $0.value >= day }
        state.receipts = state.receipts.filter { $0.value.until >= day }
    }

    /// As `RelayStore` says.
    public func clockMark() throws(StoreError) -> UInt64? { state.clockMark }

    /// As `RelayStore` says.
    public func setClockMark(hour: UInt64) throws(StoreError) { state.clockMark = hour }
}
