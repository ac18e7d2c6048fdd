import GRDBSQLite

/// What SQLite alone can do on this disk: rows of 1 KiB with an id under a unique index, write-ahead
/// log, every transaction synced.
enum SQLiteFloor {
    /// Rows per second, inserted and then deleted again in the order of their ids.
    static func rates(
        in folder: String, rows: Int = 50_000, perTransaction: Int = 256
    ) throws -> (inserted: Double, deleted: Double) {
        var opened: OpaquePointer?
        guard unsafe sqlite3_open(folder + "/floor.sqlite", &opened) == SQLITE_OK,
            let database = unsafe opened
        else { throw BenchmarkError.unexpected("SQLite doesn't open") }
        defer { unsafe sqlite3_close(database) }
        func run(_ sql: String) throws {
            guard unsafe sqlite3_exec(database, sql, nil, nil, nil) == SQLITE_OK else {
                throw BenchmarkError.unexpected("SQLite: \(sql)")
            }
        }
        func prepare(_ sql: String) throws -> OpaquePointer {
            var statement: OpaquePointer?
            guard
                unsafe sqlite3_prepare_v2(database, sql, -1, &statement, nil) == SQLITE_OK,
                let statement = unsafe statement
            else { throw BenchmarkError.unexpected("SQLite: \(sql)") }
            return unsafe statement
        }
        try run(
            """
            PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
            DROP TABLE IF EXISTS message;
            CREATE TABLE message (number INTEGER PRIMARY KEY, id INTEGER NOT NULL, content BLOB);
            CREATE UNIQUE INDEX message_by_id ON message (id);
            """)
        let content = UnsafeMutableRawBufferPointer.allocate(byteCount: 1024, alignment: 16)
        unsafe content.initializeMemory(as: UInt8.self, repeating: 0x5a)
        defer { unsafe content.deallocate() }
        func rate(_ sql: String, _ bind: (OpaquePointer, Int64) -> Void) throws -> Double {
            let statement = unsafe try prepare(sql)
            defer { unsafe sqlite3_finalize(statement) }
            let start = ContinuousClock.now
            for first in stride(from: 0, to: rows, by: perTransaction) {
                try run("BEGIN IMMEDIATE")
                for row in first..<min(rows, first + perTransaction) {
                    unsafe bind(statement, Int64(row) &* 0x9E37_79B9_7F4A_7C1)
                    guard unsafe sqlite3_step(statement) == SQLITE_DONE else {
                        throw BenchmarkError.unexpected("SQLite: \(sql)")
                    }
                    unsafe sqlite3_reset(statement)
                }
                try run("COMMIT")
            }
            return Double(rows) / (ContinuousClock.now - start).seconds
        }
        let inserted = unsafe try rate("INSERT INTO message (id, content) VALUES (?, ?)") {
            unsafe sqlite3_bind_int64($0, 1, $1)
            unsafe sqlite3_bind_blob($0, 2, content.baseAddress, Int32(content.count), nil)
        }
        let deleted = unsafe try rate("DELETE FROM message WHERE id = ?") {
            unsafe sqlite3_bind_int64($0, 1, $1)
        }
        return (inserted, deleted)
    }
}
