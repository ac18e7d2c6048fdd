import Foundation
import GRDBSQLite
import RelayCore

/// A database that no process has open, and that was closed in order: it has no log.
enum UnusedDatabase {
    private static let query = "SELECT identifier FROM grdb_migrations"

    /// The migrations that it has had.
    ///
    /// Opened as `immutable` (https://sqlite.org/uri.html), which GRDB can't: otherwise SQLite makes
    /// a log and its index even for reading, and a relay of another user couldn't use those.
    static func migrations(path: String) throws(StoreError) -> Set<String> {
        var connection: OpaquePointer?
        let name = URL(fileURLWithPath: path).absoluteString + "?immutable=1"
        var code = unsafe sqlite3_open_v2(
            name, &connection, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, nil)
        defer { unsafe sqlite3_close_v2(connection) }
        guard code == SQLITE_OK else { throw StoreError(code: code) }
        var statement: OpaquePointer?
        code = unsafe sqlite3_prepare_v2(connection, query, -1, &statement, nil)
        defer { unsafe sqlite3_finalize(statement) }
        // There is no such table yet.
        if code == SQLITE_ERROR { return [] }
        guard code == SQLITE_OK else { throw StoreError(code: code) }
        var found: Set<String> = []
        while true {
            code = unsafe sqlite3_step(statement)
            guard code == SQLITE_ROW else { break }
            if let text = unsafe sqlite3_column_text(statement, 0) {
                found.insert(unsafe String(cString: text))
            }
        }
        guard code == SQLITE_DONE else { throw StoreError(code: code) }
        return found
    }
}
