import Cryptography
import GRDB
import RelayCore
import RelayProtocol

/// The relay's memory in one SQLite database. Everything happens on the thread that has the
/// database, between `begin` and `commit`.
///
/// Here are transactions, settings, names and sealing; what is kept is in the extensions.
final class SQLiteStore: RelayStore {
    let database: Database
    let mailboxes: SlotTable
    let groups: SlotTable
    let blobs: BlobTable
    let sql: Statements
    private let nameHash: ShortHash
    private let receiptKey: SecretBytes
    private let beginning: SQLStatement
    private let committing: SQLStatement
    private let rollingBack: SQLStatement
    /// `nil`: SQLite syncs every commit.
    var logSync: LogSync?
    /// How often this store has synced a batch; for tests.
    var syncCount: Int { logSync?.count ?? 0 }
    /// Seconds that syncing the last batch took; `nil` if it needed none.
    var syncSeconds: Double? { logSync?.seconds }
    /// Whether the last batch wrote anything.
    private(set) var hasWritten = false
    /// Whether something may be in the log.
    private(set) var hasLog = true
    /// What this batch did that the trail has to tell.
    var effects = TrailEffects()
    /// Above every message that ever was; for telling which day a message came on.
    var nextMessageNumber: UInt64 = 1
    /// What waits, where this store is the one that writes. Counted once, kept in step afterwards.
    var waiting = WaitingMessages()
    var waitingByteCount: Int { waiting.byteCount }
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
        if let stored = try statements.readSetting.first([SettingRow.nameKey], { $0.octets(0) }) {
            key = SecretBytes(stored)
        } else {
            key = .random(count: 48)
            try database.inTransaction(.immediate) {
                try statements.writeSetting.run([SettingRow.nameKey, key.exposedCopy()])
                return .commit
            }
        }
        logSync = syncsItself ? try LogSync(database) : nil
        guard key.count == 48 else { throw StoreError.corrupt("the key of names is damaged") }
        nameHash = try ShortHash(key: key.slice(0..<16))
        receiptKey = key.slice(16..<48)
        let highest = try Int64.fetchOne(database, sql: "SELECT max(number) FROM message")
        nextMessageNumber = UInt64(bitPattern: highest ?? 0) &+ 1
        if let known {
            waiting = known
        } else if syncsItself {
            waiting = try countWaiting()
        }
    }

    /// Names of rows in `setting`.
    enum SettingRow {
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

    /// Does something as one transaction; if it fails, nothing of it. GRDB takes one that is left open
    /// for a mistake of the program's, and ends it.
    func inTransaction<Result>(_ body: () throws -> Result) throws -> Result {
        try begin()
        do {
            let result = try body()
            try commit()
            return result
        } catch {
            rollback()
            throw error
        }
    }

    /// Writes the log back, overwrites and empties it, so that nothing that was overwritten is left
    /// in it. False if a reader was in the way.
    func forgetLog() throws(StoreError) -> Bool {
        guard try WriteAheadLog(database).forget() else { return false }
        hasLog = false
        return true
    }

    /// Octets of the file that nothing is in, and that what comes is written to first; 0 if that
    /// can't be read.
    var freedByteCount: UInt64 { Self.freedByteCount(database) }

    static func freedByteCount(_ database: Database) -> UInt64 {
        let count = try? Int.fetchOne(database, sql: "PRAGMA freelist_count")
        let size = try? Int.fetchOne(database, sql: "PRAGMA page_size")
        return UInt64(clamping: count ?? 0) * UInt64(clamping: size ?? 0)
    }

    func setting(_ name: String) throws(StoreError) -> [UInt8]? {
        try sql.readSetting.first([name]) { $0.octets(0) }
    }

    func set(_ name: String, to value: [UInt8]) throws(StoreError) {
        try sql.writeSetting.run([name, value])
    }

    // MARK: Names

    func hash(_ id: MailboxID) -> UInt64 { nameHash.hash(id.bytes) }
    func hash(_ id: GroupID) -> UInt64 { nameHash.hash(id.bytes) }
    /// Another one in each group, so that a name used in two of them doesn't join them.
    func hash(_ id: BlobID, in group: GroupNumber) -> UInt64 {
        nameHash.hash(UInt64(bitPattern: group.rawValue).bigEndianOctets + id.bytes)
    }

    func receiptHash(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8] {
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
        try setting(SettingRow.clockMark).map(UInt64.init(bigEndianOctets:))
    }

    func setClockMark(hour: UInt64) throws(StoreError) {
        try set(SettingRow.clockMark, to: hour.bigEndianOctets)
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
