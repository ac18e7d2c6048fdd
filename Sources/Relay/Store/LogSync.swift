import GRDB
import GRDBSQLite
import RelayCore

/// Decides when the write-ahead log is synced: the store does it itself behind each commit, instead
/// of SQLite as a part of it, because not every commit needs it.
///
/// A batch in which devices acknowledged deliveries, and nothing else happened, needs no sync. Lost
/// with the power, those acknowledgements cost nothing: the messages are handed out once more, and
/// devices know them by their ids. Whatever else a batch wrote is on the disk before it is answered.
struct LogSync {
    private let database: Database
    private var changesBefore: Int32 = 0
    private var deferrableChanges: Int32 = 0
    /// How often the log was synced; for tests.
    private(set) var count = 0
    /// Seconds that the last batch's sync took; `nil` if it needed none.
    private(set) var seconds: Double?

    /// Takes over from SQLite, for as long as the connection lives.
    init(_ database: Database) throws {
        self.database = database
        // Commits write without a sync; checkpoints sync as ever.
        try database.execute(sql: "PRAGMA synchronous = NORMAL")
        // GRDB's observers insist on the thread of its queue, and nobody observes.
        unsafe sqlite3_commit_hook(database.sqliteConnection, nil, nil)
        unsafe sqlite3_rollback_hook(database.sqliteConnection, nil, nil)
    }

    private var changes: Int32 { unsafe sqlite3_total_changes(database.sqliteConnection) }

    /// Whether the batch has changed anything.
    var hasChanged: Bool { changes != changesBefore }

    /// A batch begins.
    mutating func begin() {
        changesBefore = changes
        deferrableChanges = 0
        seconds = nil
    }

    /// What is changed from here to `endDeferrable` may be lost with the power.
    mutating func beginDeferrable() { deferrableChanges &-= changes }

    mutating func endDeferrable() { deferrableChanges &+= changes }

    /// A batch has been committed: returns once what must last is on the disk.
    mutating func finish() throws(StoreError) {
        guard changes &- changesBefore != deferrableChanges else { return }
        let start = SystemClock.nanoseconds
        try WriteAheadLog(database).sync()
        seconds = SystemClock.seconds(since: start)
        count += 1
    }
}
