import GRDB
import GRDBSQLite
import RelayCore

/// SQLite's write-ahead log, as this connection has it open.
///
/// Its frames are pages as they were: what has been overwritten in the database since still stands in
/// it, keys included. Emptying a file gives its blocks back with all that is in them, so the log is
/// overwritten before.
///
/// `@safe`: the connection outlives it.
@safe struct WriteAheadLog {
    private let database: Database

    init(_ database: Database) { self.database = database }

    /// Returns once everything written to it is on the disk.
    func sync() throws(StoreError) {
        let (file, methods) = try unsafe open()
        try check(unsafe methods.pointee.xSync(file, SQLITE_SYNC_NORMAL))
    }

    /// Writes the log back into the database, overwrites it and empties it. False if a reader was in
    /// the way; then nothing has been overwritten.
    func forget() throws(StoreError) -> Bool {
        guard try blank() else { return false }
        // Nobody else writes, and readers since read the database alone. Should it fail none the
        // less, nothing may be written behind frames that aren't there any more.
        guard try checkpoint(SQLITE_CHECKPOINT_TRUNCATE) else {
            throw .failed("the log can't be emptied")
        }
        return true
    }

    /// Does the first part of `forget`; waits for no reader.
    func blank() throws(StoreError) -> Bool {
        unsafe sqlite3_busy_timeout(database.sqliteConnection, 0)
        defer {
            unsafe sqlite3_busy_timeout(
                database.sqliteConnection, RelayDatabase.busyMilliseconds)
        }
        guard try checkpoint(SQLITE_CHECKPOINT_RESTART) else { return false }
        let (file, methods) = try unsafe open()
        var end: sqlite3_int64 = 0
        try check(unsafe methods.pointee.xFileSize(file, &end))
        // SQLite writes less than 128 KiB at once.
        let zeros = [UInt8](repeating: 0, count: 64 << 10)
        var position: sqlite3_int64 = 0
        // First the header, without which whoever starts after a power failure takes up nothing of
        // what is left: a part of the log would bring old pages back.
        var count = min(Self.headerByteCount, end)
        while count > 0 {
            try check(
                unsafe zeros.withUnsafeBytes {
                    unsafe methods.pointee.xWrite(file, $0.baseAddress, Int32(count), position)
                })
            position += count
            count = min(sqlite3_int64(zeros.count), end - position)
            guard position == Self.headerByteCount || count == 0 else { continue }
            try check(unsafe methods.pointee.xSync(file, SQLITE_SYNC_NORMAL))
        }
        return true
    }

    private static let headerByteCount: sqlite3_int64 = 32

    /// False if a reader was in the way.
    private func checkpoint(_ mode: Int32) throws(StoreError) -> Bool {
        var frameCount: Int32 = 0
        var writtenCount: Int32 = 0
        let code = unsafe sqlite3_wal_checkpoint_v2(
            database.sqliteConnection, "main", mode, &frameCount, &writtenCount)
        switch code & 0xff {
        case SQLITE_BUSY, SQLITE_LOCKED: return false
        default:
            try check(code)
            return frameCount == writtenCount
        }
    }

    private func check(_ code: Int32) throws(StoreError) {
        guard code == SQLITE_OK else { throw StoreError(code: code) }
    }

    private func open() throws(StoreError) -> (
        UnsafeMutablePointer<sqlite3_file>, UnsafePointer<sqlite3_io_methods>
    ) {
        var file: UnsafeMutablePointer<sqlite3_file>?
        let found = unsafe sqlite3_file_control(
            database.sqliteConnection, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file)
        guard found == SQLITE_OK, let file = unsafe file,
            let methods = unsafe file.pointee.pMethods
        else { throw .failed("SQLite gives no write-ahead log") }
        return unsafe (file, methods)
    }
}
