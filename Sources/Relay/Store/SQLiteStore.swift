import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol

/// The relay's memory in one SQLite database. Everything happens on the thread that has the
/// database, between `begin` and `commit`.
final class SQLiteStore: RelayStore {
    let database: Database
    private let mailboxes: SlotTable
    let groups: SlotTable
    let blobs: BlobTable
    private let nameHash: ShortHash
    private let receiptKey: SecretBytes
    private let sql: Statements
    private let beginning: SQLStatement
    private let committing: SQLStatement
    private let rollingBack: SQLStatement
    /// `nil`: SQLite syncs every commit.
    private var logSync: LogSync?
    /// How often this store has synced a batch; for tests.
    var syncCount: Int { logSync?.count ?? 0 }
    /// Seconds that syncing the last batch took; `nil` if it needed none.
    var syncSeconds: Double? { logSync?.seconds }
    /// Whether the last batch wrote anything.
    private(set) var hasWritten = false
    /// Whether something may be in the log.
    private(set) var hasLog = true
    /// What this batch did that the trail has to tell.
    private(set) var effects = TrailEffects()
    /// Above every message that ever was; for telling which day a message came on.
    private(set) var nextMessageNumber: UInt64 = 1
    /// What waits, where this store is the one that writes. Counted once, kept in step afterwards.
    private(set) var waiting = WaitingMessages()
    private var waitingBefore = WaitingMessages()

    /// Takes up a database whose schema is there.
    ///
    /// - Parameter syncsItself: batches that needn't be synced aren't (`LogSync`). Only outside of a
    ///   transaction, and for whoever alone writes over this connection from here on.
    /// - Parameter waiting: what waits, where the store before this one knew it.
    init(
        _ database: Database, syncsItself: Bool = false, waiting known: WaitingMessages? = nil
    ) throws {
        self.database = database
        mailboxes = try SlotTable(
            database, named: "mailbox", contentByteCount: MailboxSlot.byteCount)
        groups = try SlotTable(database, named: "group", contentByteCount: GroupSlot.byteCount)
        blobs = try BlobTable(database)
        let statements = try Statements(database)
        sql = statements
        beginning = try SQLStatement(database, "BEGIN IMMEDIATE")
        committing = try SQLStatement(database, "COMMIT")
        rollingBack = try SQLStatement(database, "ROLLBACK")
        let key: SecretBytes
        if let stored = try statements.readSetting.first([Setting.nameKey], { $0.octets(0) }) {
            key = SecretBytes(stored)
        } else {
            key = .random(count: 48)
            try database.inTransaction(.immediate) {
                try statements.writeSetting.run([Setting.nameKey, key.exposedCopy()])
                return .commit
            }
        }
        logSync = syncsItself ? try LogSync(database) : nil
        if let known {
            waiting = known
        } else if syncsItself {
            waiting = try statements.countAll.first { WaitingMessages($0) } ?? waiting
        }
        guard key.count == 48 else { throw StoreError.corrupt("the key of names is damaged") }
        nameHash = try ShortHash(key: key.slice(0..<16))
        receiptKey = key.slice(16..<48)
        let highest = try Int64.fetchOne(database, sql: "SELECT max(number) FROM message")
        nextMessageNumber = UInt64(bitPattern: highest ?? 0) &+ 1
    }

    /// Names of rows in `setting`.
    enum Setting {
        static let nameKey = "name key"
        static let nextMessage = "next message"
        static let clockMark = "clock mark"
        static let incarnation = "incarnation"
        static let deliveryKey = "delivery key"
        static let tokenFloor = "token floor"
    }

    // MARK: Transactions

    func begin() throws(StoreError) {
        effects.removeAll()
        waitingBefore = waiting
        blobs.begin()
        try beginning.run()
        logSync?.begin()
    }

    /// Returns once the batch is on the disk; see `LogSync` for what may come there later.
    func commit() throws(StoreError) {
        try committing.run()
        waitingBefore = waiting
        hasWritten = logSync?.hasChanged ?? true
        if hasWritten { hasLog = true }
        try logSync?.finish()
    }

    func rollback() {
        waiting = waitingBefore
        blobs.rollback()
        // After some errors SQLite has rolled back by itself; then this fails, and that's as well.
        try? rollingBack.run()
    }

    /// Writes the log back and empties it, so that nothing overwritten is left in it. False if a
    /// reader was in the way.
    func forgetLog() throws(StoreError) -> Bool {
        do {
            let row = try Row.fetchOne(database, sql: "PRAGMA wal_checkpoint(TRUNCATE)")
            let isEmpty = row.map { $0[0] == 0 } ?? false
            if isEmpty { hasLog = false }
            return isEmpty
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
            return false
        } catch let error as DatabaseError where error.resultCode == .SQLITE_LOCKED {
            return false
        } catch {
            throw StoreError(error)
        }
    }

    func setting(_ name: String) throws(StoreError) -> [UInt8]? {
        try sql.readSetting.first([name]) { $0.octets(0) }
    }

    func set(_ name: String, to value: [UInt8]) throws(StoreError) {
        try sql.writeSetting.run([name, value])
    }

    private func hash(_ id: MailboxID) -> UInt64 { nameHash.hash(id.bytes) }
    private func hash(_ id: GroupID) -> UInt64 { nameHash.hash(id.bytes) }
    func hash(_ id: BlobID) -> UInt64 { nameHash.hash(id.bytes) }

    // MARK: Mailboxes

    var mailboxCount: Int { mailboxes.count }

    func mailbox(_ id: MailboxID) throws(StoreError) -> (MailboxNumber, MailboxRecord)? {
        guard let slot = try mailboxes.slot(named: hash(id)) else { return nil }
        let number = MailboxNumber(rawValue: slot)
        guard let record = try mailbox(number), record.id == id else { return nil }
        return (number, record)
    }

    func mailbox(_ number: MailboxNumber) throws(StoreError) -> MailboxRecord? {
        guard let content = try mailboxes.content(of: number.rawValue) else { return nil }
        return try MailboxSlot.decode(content)
    }

    func addMailbox(_ record: MailboxRecord) throws(StoreError) -> MailboxNumber {
        switch record.kind {
        case .home: effects.homes += 1
        case .consultation: effects.mailboxes += 1
        }
        return MailboxNumber(
            rawValue: try mailboxes.add(MailboxSlot.encode(record), named: hash(record.id)))
    }

    func updateMailbox(_ number: MailboxNumber, _ record: MailboxRecord) throws(StoreError) {
        try mailboxes.update(number.rawValue, MailboxSlot.encode(record))
    }

    func eraseMailbox(_ number: MailboxNumber, _ id: MailboxID) throws(StoreError) {
        effects.note(.mailboxErased(hash: try receiptHash(id)))
        try mailboxes.erase(number.rawValue, named: hash(id))
        try sql.removeAnswers.run([number.rawValue, Int64.max])
        try sql.clearShelf.run([number.rawValue])
        try blobs.drop(ofMailbox: number.rawValue)
    }

    /// The places of at most `limit` mailboxes after `number`, and where to go on.
    func mailboxes(
        after number: MailboxNumber?, limit: Int
    ) throws(StoreError) -> (found: [(MailboxNumber, MailboxRecord)], next: MailboxNumber?) {
        var found: [(MailboxNumber, MailboxRecord)] = []
        var seen = 0
        var last: Int64 = 0
        try mailboxes.scan(after: number?.rawValue ?? 0, limit: limit) {
            slot, content throws(StoreError) in
            seen += 1
            last = slot
            if let record = try MailboxSlot.decode(content) {
                found.append((MailboxNumber(rawValue: slot), record))
            }
        }
        return (found, seen < limit ? nil : MailboxNumber(rawValue: last))
    }

    // MARK: Answers

    func answer(_ mailbox: MailboxNumber, _ request: RequestID) throws(StoreError) -> [UInt8]? {
        let stored = try sql.readAnswer.first([
            mailbox.rawValue, Int64(bitPattern: request.rawValue),
        ]) { $0.octets(0) }
        return try stored.map { content throws(StoreError) in
            try open(content, mailboxes.key(of: mailbox.rawValue), request.rawValue)
        }
    }

    func addAnswer(
        _ mailbox: MailboxNumber, _ request: RequestID, _ content: [UInt8]
    ) throws(StoreError) {
        let sealed = try seal(content, mailboxes.key(of: mailbox.rawValue), request.rawValue)
        try sql.addAnswer.run([
            mailbox.rawValue, Int64(bitPattern: request.rawValue), sealed,
        ])
    }

    func removeAnswers(
        _ mailbox: MailboxNumber, through request: RequestID
    ) throws(StoreError) {
        try sql.removeAnswers.run([mailbox.rawValue, Int64(clamping: request.rawValue)])
    }

    // MARK: Shelves

    func shelfCount(_ mailbox: MailboxNumber) throws(StoreError) -> Int {
        Int(try sql.countShelf.first([mailbox.rawValue]) { $0.integer(0) } ?? 0)
    }

    func addToShelf(
        _ mailbox: MailboxNumber, _ package: [UInt8], isLastResort: Bool
    ) throws(StoreError) {
        if isLastResort {
            if try shelved(mailbox, isLastResort: true) != nil {
                effects.note(.lastResortReplaced(mailbox: try receiptHash(mailbox)))
            }
            try sql.clearLastResort.run([mailbox.rawValue])
        }
        let sealed = try seal(package, mailboxes.key(of: mailbox.rawValue), Self.shelfContext)
        try sql.addToShelf.run([mailbox.rawValue, isLastResort ? 1 : 0, sealed])
    }

    func takeFromShelf(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        guard let (number, sealed) = try shelved(mailbox, isLastResort: false) else { return nil }
        try sql.removeFromShelf.run([number])
        let package = try open(sealed, mailboxes.key(of: mailbox.rawValue), Self.shelfContext)
        effects.note(.packageTaken(hash: TrailEffect.hash(ofPackage: package)))
        return package
    }

    func lastResort(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        guard let (_, sealed) = try shelved(mailbox, isLastResort: true) else { return nil }
        return try open(sealed, mailboxes.key(of: mailbox.rawValue), Self.shelfContext)
    }

    func clearShelf(_ mailbox: MailboxNumber) throws(StoreError) {
        // What wasn't there can't come back with a backup.
        let hasLastResort = try shelved(mailbox, isLastResort: true) != nil
        let packageCount = try shelfCount(mailbox)
        guard hasLastResort || packageCount > 0 else { return }
        effects.note(.shelfCleared(mailbox: try receiptHash(mailbox)))
        try sql.clearShelf.run([mailbox.rawValue])
    }

    /// Every package on a shelf.
    func packages(
        of mailbox: MailboxNumber
    ) throws(StoreError) -> [(number: Int64, isLastResort: Bool, content: [UInt8])] {
        var rows: [(Int64, Bool, [UInt8])] = []
        let statement = try SQLStatement(
            database, "SELECT number, last_resort, content FROM shelf WHERE slot = ?")
        try statement.each([mailbox.rawValue]) { row in
            rows.append((row.integer(0), row.integer(1) != 0, row.octets(2)))
            return true
        }
        let key = try mailboxes.key(of: mailbox.rawValue)
        var packages: [(number: Int64, isLastResort: Bool, content: [UInt8])] = []
        for (number, isLastResort, sealed) in rows {
            packages.append((number, isLastResort, try open(sealed, key, Self.shelfContext)))
        }
        return packages
    }

    private func shelved(
        _ mailbox: MailboxNumber, isLastResort: Bool
    ) throws(StoreError) -> (Int64, [UInt8])? {
        try sql.readShelf.first([mailbox.rawValue, isLastResort ? 1 : 0]) {
            ($0.integer(0), $0.octets(1))
        }
    }

    /// In place of a request's id, which is never 0.
    private static let shelfContext: UInt64 = 0

    // MARK: Tokens and tickets

    func spend(_ hash: [UInt8], until day: Day) throws(StoreError) -> Bool {
        guard try sql.readSpent.first([hash], { _ in true }) == nil else { return false }
        try sql.addSpent.run([hash, Int64(day.rawValue)])
        effects.note(.spent(hash: hash, until: day))
        return true
    }

    // MARK: Groups

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
        let next = try setting(Setting.nextMessage).map(UInt64.init(bigEndianOctets:)) ?? 1
        try set(Setting.nextMessage, to: (next &+ count).bigEndianOctets)
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
            let content = try open(row.octets(3), key, number)
            octets += content.count
            found.append(
                StoredMessage(
                    number: MessageNumber(rawValue: number),
                    kind: DeliveryKind(rawValue: UInt8(clamping: row.integer(2))),
                    waiting: UInt64(bitPattern: row.integer(1)), content: content))
            return true
        }
        return (found, isComplete)
    }

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

    // MARK: Receipts

    func addReceipt(
        _ content: [UInt8], for mailbox: MailboxID, until day: Day
    ) throws(StoreError) -> UInt64 {
        let hash = try receiptHash(mailbox)
        effects.note(.receipt(mailbox: hash, content: content, until: day))
        try sql.addReceipt.run([hash, Int64(day.rawValue), content])
        return UInt64(bitPattern: database.lastInsertedRowID)
    }

    func receipts(for mailbox: MailboxID) throws(StoreError) -> [StoredReceipt] {
        var receipts: [StoredReceipt] = []
        try sql.readReceipts.each([try receiptHash(mailbox)]) { row in
            receipts.append(
                StoredReceipt(number: UInt64(bitPattern: row.integer(0)), content: row.octets(1)))
            return true
        }
        return receipts
    }

    func removeReceipt(_ number: UInt64, of mailbox: MailboxID) throws(StoreError) {
        try sql.removeReceipt.run([
            Int64(bitPattern: number), try receiptHash(mailbox),
        ])
    }

    private func receiptHash(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8] {
        guard let record = try self.mailbox(mailbox) else {
            throw .corrupt("a shelf without a mailbox")
        }
        return try receiptHash(record.id)
    }

    /// The name of a mailbox beside its receipts, and in the trail.
    func receiptHash(_ mailbox: MailboxID) throws(StoreError) -> [UInt8] {
        try keyedHash("receipt of mailbox", mailbox.bytes)
    }

    /// The name of a group that was closed, in the trail.
    func closingHash(_ group: GroupID) throws(StoreError) -> [UInt8] {
        try keyedHash("closed group", group.bytes)
    }

    /// The name of a confirmation in the trail; of the same mailbox in another group it is another.
    func membershipHash(_ group: GroupID, _ mailbox: MailboxID) throws(StoreError) -> [UInt8] {
        try keyedHash("confirmed membership", group.bytes + mailbox.bytes)
    }

    private func keyedHash(_ label: String, _ octets: [UInt8]) throws(StoreError) -> [UInt8] {
        do {
            return try KeyedHash.compute(key: receiptKey, label: label, octets)
        } catch {
            throw .failed("a hash can't be computed")
        }
    }

    // MARK: Time

    func prune(before day: Day) throws(StoreError) {
        try sql.pruneSpent.run([Int64(day.rawValue)])
        try sql.pruneReceipts.run([Int64(day.rawValue)])
    }

    func clockMark() throws(StoreError) -> UInt64? {
        try setting(Setting.clockMark).map(UInt64.init(bigEndianOctets:))
    }

    func setClockMark(hour: UInt64) throws(StoreError) {
        try set(Setting.clockMark, to: hour.bigEndianOctets)
    }

    // MARK: Sealing

    func seal(
        _ content: [UInt8], _ key: SecretBytes, _ context: UInt64
    ) throws(StoreError) -> [UInt8] {
        do {
            return try Sealing.seal(content, key: key, associatedData: context.bigEndianOctets)
        } catch {
            throw .failed("nothing can be sealed")
        }
    }

    func open(
        _ sealed: [UInt8], _ key: SecretBytes, _ context: UInt64
    ) throws(StoreError) -> [UInt8] {
        do {
            return try Sealing.open(sealed, key: key, associatedData: context.bigEndianOctets)
        } catch {
            throw .corrupt("something stored was changed")
        }
    }
}

/// Messages that wait for somebody.
public struct WaitingMessages: Equatable, Sendable {
    /// How many.
    public internal(set) var count = 0
    /// Their octets.
    public internal(set) var byteCount = 0

    /// None.
    public init() {}

    init(count: Int, byteCount: Int) {
        self.count = count
        self.byteCount = byteCount
    }

    /// From a row of both.
    init(_ row: SQLRow) {
        self.init(count: Int(row.integer(0)), byteCount: Int(row.integer(1)))
    }

    mutating func remove(_ other: WaitingMessages) {
        count -= other.count
        byteCount -= other.byteCount
    }
}
