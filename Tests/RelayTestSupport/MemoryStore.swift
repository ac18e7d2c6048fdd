public import RelayCore
public import RelayProtocol

/// A `RelayStore` in memory, with transactions that can be rolled back: the model that the real
/// store is compared with, and what simulated disks are made of.
public final class MemoryStore: RelayStore {
    /// As the batch at hand left it.
    package private(set) var state = MemoryState()
    /// As the last commit left it.
    package private(set) var committed = MemoryState()
    private var batch: [MemoryChange] = []
    /// The next write fails like this, and the batch with it.
    public var failure: StoreError?
    /// So many writes succeed before `failure`.
    public var writesBeforeFailure = 0
    /// How many writes there were.
    public private(set) var writeCount = 0
    /// How often what waits was counted.
    public private(set) var backlogCount = 0
    /// How many messages were read.
    public private(set) var readMessageCount = 0
    /// Whether something happens that ought to; `nil`: everything does.
    package var filter: ((MemoryChange) -> Bool)?

    /// An empty store.
    public init() {}

    // MARK: Transactions

    /// Begins a batch.
    public func begin() { batch = [] }

    /// Keeps a batch.
    ///
    /// - Returns: what it did.
    @discardableResult package func commit() -> [MemoryChange] {
        for change in batch { committed.apply(change) }
        defer { batch = [] }
        return batch
    }

    /// Undoes a batch.
    public func rollback() {
        batch = []
        state = committed
    }

    /// Takes another state in place of everything, as a restore does.
    package func replace(with state: MemoryState) {
        batch = []
        self.state = state
        committed = state
    }

    private func write(_ change: MemoryChange) throws(StoreError) {
        writeCount += 1
        if let failure {
            guard writesBeforeFailure > 0 else {
                self.failure = nil
                throw failure
            }
            writesBeforeFailure -= 1
        }
        note(change)
    }

    private func note(_ change: MemoryChange) {
        guard filter?(change) ?? true else { return }
        batch.append(change)
        state.apply(change)
    }

    // MARK: Looking

    /// Messages that still wait for someone.
    public var messageCount: Int { state.groupsOfMessages.count }
    /// Their contents, oldest first.
    public var messageContents: [[UInt8]] {
        state.messages.values.flatMap { $0 }.sorted { $0.number < $1.number }.map(\.content)
    }
    /// Answers kept.
    public var answerCount: Int { state.answers.values.reduce(0) { $0 + $1.count } }
    /// Receipts kept.
    public var receiptCount: Int { state.receipts.count }

    // MARK: RelayStore

    /// As `RelayStore` says.
    public var mailboxCount: Int { state.mailboxes.count }
    /// As `RelayStore` says.
    public var groupCount: Int { state.groups.count }

    /// As `RelayStore` says.
    public func mailbox(_ id: MailboxID) throws(StoreError) -> (MailboxNumber, MailboxRecord)? {
        guard let place = state.mailboxNumbers[id], let record = state.mailboxes[place] else {
            return nil
        }
        return (MailboxNumber(rawValue: place), record)
    }

    /// As `RelayStore` says.
    public func mailbox(_ number: MailboxNumber) throws(StoreError) -> MailboxRecord? {
        state.mailboxes[number.rawValue]
    }

    /// As `RelayStore` says.
    public func addMailbox(_ record: MailboxRecord) throws(StoreError) -> MailboxNumber {
        let place = state.place
        try write(.mailbox(place, record))
        return MailboxNumber(rawValue: place)
    }

    /// As `RelayStore` says.
    public func updateMailbox(_ number: MailboxNumber, _ record: MailboxRecord) throws(StoreError) {
        try write(.mailbox(number.rawValue, record))
    }

    /// As `RelayStore` says.
    public func eraseMailbox(_ number: MailboxNumber, _ id: MailboxID) throws(StoreError) {
        try write(.eraseMailbox(number.rawValue, id))
    }

    /// As `RelayStore` says.
    public func answer(_ mailbox: MailboxNumber, _ request: RequestID) throws(StoreError)
        -> [UInt8]?
    {
        state.answers[mailbox.rawValue]?[request.rawValue]
    }

    /// As `RelayStore` says.
    public func addAnswer(
        _ mailbox: MailboxNumber, _ request: RequestID, _ content: [UInt8]
    ) throws(StoreError) {
        try write(.answer(mailbox.rawValue, request.rawValue, content))
    }

    /// As `RelayStore` says.
    public func removeAnswers(
        _ mailbox: MailboxNumber, through request: RequestID
    ) throws(StoreError) {
        note(.forgetAnswers(mailbox.rawValue, through: request.rawValue))
    }

    /// As `RelayStore` says.
    public func shelfCount(_ mailbox: MailboxNumber) throws(StoreError) -> Int {
        state.shelves[mailbox.rawValue]?.count ?? 0
    }

    /// As `RelayStore` says.
    public func addToShelf(
        _ mailbox: MailboxNumber, _ package: [UInt8], isLastResort: Bool
    ) throws(StoreError) {
        let place = mailbox.rawValue
        try write(isLastResort ? .lastResort(place, package) : .shelf(place, package))
    }

    /// As `RelayStore` says.
    public func takeFromShelf(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        guard let package = state.shelves[mailbox.rawValue]?.first else { return nil }
        note(.takeFromShelf(mailbox.rawValue, package))
        return package
    }

    /// As `RelayStore` says.
    public func lastResort(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        state.lastResorts[mailbox.rawValue]
    }

    /// As `RelayStore` says.
    public func clearShelf(_ mailbox: MailboxNumber) throws(StoreError) {
        note(.clearShelf(mailbox.rawValue))
    }

    /// As `RelayStore` says.
    public func spend(_ hash: [UInt8], until day: Day) throws(StoreError) -> Bool {
        guard state.spent[hash] == nil else { return false }
        try write(.spend(hash, day))
        return true
    }

    /// As `RelayStore` says.
    public func group(_ id: GroupID) throws(StoreError) -> (GroupNumber, GroupRecord)? {
        guard let place = state.groupNumbers[id], let record = state.groups[place] else {
            return nil
        }
        return (GroupNumber(rawValue: place), record)
    }

    /// As `RelayStore` says.
    public func group(_ number: GroupNumber) throws(StoreError) -> GroupRecord? {
        state.groups[number.rawValue]
    }

    /// As `RelayStore` says.
    public func addGroup(_ record: GroupRecord) throws(StoreError) -> GroupNumber {
        let place = state.place
        try write(.group(place, record))
        return GroupNumber(rawValue: place)
    }

    /// As `RelayStore` says.
    public func updateGroup(_ number: GroupNumber, _ record: GroupRecord) throws(StoreError) {
        try write(.group(number.rawValue, record))
    }

    /// As `RelayStore` says.
    public func eraseGroup(_ number: GroupNumber, _ id: GroupID) throws(StoreError) -> Int {
        let count = state.messages[number.rawValue]?.count ?? 0
        try write(.eraseGroup(number.rawValue, id))
        return count
    }

    /// As `RelayStore` says.
    public func groups(
        after number: GroupNumber?, limit: Int
    ) throws(StoreError) -> (found: [(GroupNumber, GroupRecord)], next: GroupNumber?) {
        let keys = state.groups.keys.filter { $0 > number?.rawValue ?? .min }.sorted()
        let found = keys.prefix(limit).compactMap { key in
            state.groups[key].map { (GroupNumber(rawValue: key), $0) }
        }
        return (found, found.count < limit ? nil : found.last?.0)
    }

    /// As `RelayStore` says.
    public func reserveMessageNumbers(_ count: UInt64) throws(StoreError) -> MessageNumber {
        let first = state.nextMessage
        try write(.reserve(count))
        return MessageNumber(rawValue: first)
    }

    /// As `RelayStore` says.
    public func addMessage(_ message: StoredMessage, in group: GroupNumber) throws(StoreError) {
        try write(.message(message, group.rawValue))
    }

    /// As `RelayStore` says.
    public func messages(
        in group: GroupNumber, waitingFor member: MemberSet, after number: MessageNumber,
        limit: Int, byteCount: Int
    ) throws(StoreError) -> (found: [StoredMessage], isComplete: Bool) {
        var found: [StoredMessage] = []
        var octets = 0
        for message in state.messages[group.rawValue] ?? []
        where message.number > number && message.waiting & member != 0 {
            guard found.count < limit, octets < byteCount else { return (found, false) }
            octets += message.content.count
            readMessageCount += 1
            found.append(message)
        }
        return (found, true)
    }

    /// As `RelayStore` says.
    public func message(
        _ number: MessageNumber
    ) throws(StoreError) -> (GroupNumber, MemberSet, byteCount: Int)? {
        guard let place = state.groupsOfMessages[number.rawValue],
            let message = state.messages[place]?.first(where: { $0.number == number })
        else { return nil }
        return (GroupNumber(rawValue: place), message.waiting, message.content.count)
    }

    /// As `RelayStore` says.
    public func acknowledge(
        _ number: MessageNumber, of byteCount: Int, by member: MemberSet, isLast: Bool
    ) throws(StoreError) {
        note(.acknowledge(number.rawValue, member, isLast: isLast))
    }

    /// As `RelayStore` says.
    public var waitingByteCount: Int {
        state.messages.values.joined().reduce(0) { $0 + $1.content.count }
    }

    /// As `RelayStore` says.
    public func clearWaiting(_ members: MemberSet, in group: GroupNumber) throws(StoreError) {
        note(.clearWaiting(group.rawValue, members))
    }

    /// As `RelayStore` says.
    public func backlog(
        in group: GroupNumber, of member: MemberSet
    ) throws(StoreError) -> (count: Int, byteCount: Int) {
        backlogCount += 1
        var sum = (count: 0, byteCount: 0)
        for message in state.messages[group.rawValue] ?? []
        where message.waiting & member != 0 {
            sum = (sum.count + 1, sum.byteCount + message.content.count)
        }
        return sum
    }

    /// As `RelayStore` says.
    public func blob(_ id: BlobID, in group: GroupNumber) throws(StoreError) -> BlobRecord? {
        guard let blob = state.blobs[group.rawValue]?[id] else { return nil }
        return BlobRecord(
            number: blob.number, group: group,
            owner: blob.owner.map { MailboxNumber(rawValue: $0) }, byteCount: blob.byteCount,
            pieceCount: blob.pieces.count)
    }

    /// As `RelayStore` says.
    public func addBlob(
        _ id: BlobID, in group: GroupNumber, byteCount: Int, by owner: MailboxNumber, on day: Day
    ) throws(StoreError) {
        let blob = MemoryBlob(
            number: (state.blobs[group.rawValue]?.values.map(\.number).max() ?? 0) + 1,
            byteCount: byteCount, owner: owner.rawValue, day: day)
        try write(.blob(group.rawValue, id, blob))
    }

    /// As `RelayStore` says.
    public func addPiece(
        _ content: [UInt8], to blob: BlobRecord, on day: Day
    ) throws(StoreError) {
        guard let id = id(of: blob) else { return }
        try write(.piece(blob.group.rawValue, id, content, day))
    }

    /// As `RelayStore` says.
    public func piece(_ index: Int, of blob: BlobRecord) throws(StoreError) -> [UInt8]? {
        guard let id = id(of: blob), let found = state.blobs[blob.group.rawValue]?[id],
            found.pieces.indices.contains(index)
        else { return nil }
        return found.pieces[index]
    }

    private func id(of blob: BlobRecord) -> BlobID? {
        state.blobs[blob.group.rawValue]?.first { $0.value.number == blob.number }?.key
    }

    /// As `RelayStore` says.
    public func blobUsage(in group: GroupNumber) throws(StoreError) -> BlobUsage {
        let blobs = state.blobs[group.rawValue] ?? [:]
        return BlobUsage(
            count: blobs.count, byteCount: blobs.values.reduce(0) { $0 + $1.byteCount })
    }

    /// As `RelayStore` says.
    public var blobUsage: BlobUsage {
        let left = BlobUsage(byteCount: state.dropped.reduce(0) { $0 + $1.byteCount })
        return state.blobs.values.reduce(into: left) { sum, blobs in
            sum.count += blobs.count
            for blob in blobs.values { sum.byteCount += blob.pieces.reduce(0) { $0 + $1.count } }
        }
    }

    /// As `RelayStore` says.
    public func unfinishedBlobs(of mailbox: MailboxNumber) throws(StoreError) -> Int {
        state.blobs.values.reduce(0) { sum, blobs in
            sum + blobs.values.count { $0.owner == mailbox.rawValue }
        }
    }

    /// As `RelayStore` says.
    public func dropUnfinishedBlobs(before day: Day, empty other: Day) throws(StoreError) {
        note(.dropBlobs(before: day, empty: other))
    }

    /// As `RelayStore` says.
    public func clearDroppedBlobs(limit: Int) throws(StoreError) -> Bool {
        guard !state.dropped.isEmpty else { return false }
        try write(.clearDropped(limit: limit))
        return true
    }

    /// As `RelayStore` says.
    public func addReceipt(
        _ content: [UInt8], for mailbox: MailboxID, until day: Day
    ) throws(StoreError) -> UInt64 {
        let number = state.nextReceipt
        try write(.receipt(content, mailbox, day))
        return number
    }

    /// As `RelayStore` says.
    public func receipts(for mailbox: MailboxID) throws(StoreError) -> [StoredReceipt] {
        (state.receiptsOf[mailbox] ?? []).suffix(ProtocolConstants.receiptsTold).compactMap {
            number in
            state.receipts[number].map { StoredReceipt(number: number, content: $0.content) }
        }
    }

    /// As `RelayStore` says.
    public func receiptCount(for mailbox: MailboxID) throws(StoreError) -> Int {
        state.receiptsOf[mailbox]?.count ?? 0
    }

    /// As `RelayStore` says.
    public func removeReceipt(_ number: UInt64, of mailbox: MailboxID) throws(StoreError) {
        if state.receipts[number]?.mailbox == mailbox { note(.forgetReceipt(number, mailbox)) }
    }

    /// As `RelayStore` says.
    public func prune(before day: Day) throws(StoreError) { note(.prune(day)) }
    /// As `RelayStore` says.
    public func clockMark() throws(StoreError) -> UInt64? { state.clockMark }
    /// As `RelayStore` says.
    public func setClockMark(hour: UInt64) throws(StoreError) { note(.clock(hour)) }

    // MARK: Restoring

    /// Mailboxes after a place, in order.
    package func mailboxes(
        after number: MailboxNumber?, limit: Int
    ) throws(StoreError) -> (found: [(MailboxNumber, MailboxRecord)], next: MailboxNumber?) {
        let keys = state.mailboxes.keys.filter { $0 > number?.rawValue ?? .min }.sorted()
        let found = keys.prefix(limit).compactMap { key in
            state.mailboxes[key].map { (MailboxNumber(rawValue: key), $0) }
        }
        return (found, found.count < limit ? nil : found.last?.0)
    }

    /// Takes those packages off a shelf that `isGone` names; how many there were.
    package func removePackages(
        _ mailbox: MailboxNumber, where isGone: ([UInt8], Bool) -> Bool
    ) throws(StoreError) -> Int {
        let place = mailbox.rawValue
        var removed = 0
        for package in state.shelves[place] ?? [] where isGone(package, false) {
            note(.takeFromShelf(place, package))
            removed += 1
        }
        if let package = state.lastResorts[place], isGone(package, true) {
            note(.takeLastResort(place))
            removed += 1
        }
        return removed
    }
}
