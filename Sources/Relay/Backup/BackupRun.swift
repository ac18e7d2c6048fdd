private import Foundation
internal import GRDB
private import GRDBSQLite
private import Glibc

/// Copies the database page by page, over the very connection that writes to it.
///
/// SQLite carries changes that this connection makes meanwhile over into the copy, so the copy is
/// the database as it is at the end, however long it takes; and no reader stands in the way of
/// emptying the log, on which erasures wait.
@safe final class BackupRun {
    private let path: String
    private let completion: @Sendable (ControlReply) -> Void
    private var target: OpaquePointer?
    private var backup: OpaquePointer?

    /// A mebibyte with pages of 4 KiB: about a millisecond.
    private static let pagesPerStep: Int32 = 256

    init(
        _ database: Database, to path: String,
        completion: @escaping @Sendable (ControlReply) -> Void
    ) throws(RelayError) {
        self.path = path
        self.completion = completion
        let file = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .backup("the copy can't be made") }
        OwnFile.hand(file, toOwnerOf: OwnFile.folder(of: path))
        Glibc.close(file)
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX
        guard unsafe sqlite3_open_v2(path, &target, flags, nil) == SQLITE_OK else {
            unsafe sqlite3_close(target)
            unsafe unlink(path)
            throw .backup("the copy can't be made")
        }
        // The copy is worthless until it is whole: no journal, no sync.
        unsafe sqlite3_exec(
            target, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", nil, nil, nil)
        unsafe backup = sqlite3_backup_init(target, "main", database.sqliteConnection, "main")
        guard unsafe backup != nil else {
            unsafe sqlite3_close(target)
            unsafe unlink(path)
            throw .backup("the copy can't be begun")
        }
    }

    /// Copies a piece, outside of a transaction; true once it has ended, well or not.
    func step() -> Bool {
        switch unsafe sqlite3_backup_step(backup, Self.pagesPerStep) {
        case SQLITE_OK, SQLITE_BUSY, SQLITE_LOCKED: return false
        case SQLITE_DONE:
            let isWhole = close()
            completion(
                ControlReply(problem: isWhole ? nil : "the copy couldn't be finished", copy: path))
        case SQLITE_FULL: abandon("there is no room for the copy in the data folder")
        default: abandon("the database couldn't be copied")
        }
        return true
    }

    /// Gives up; whoever asked removes what was copied, for that takes time.
    func abandon(_ words: String) {
        _ = close()
        completion(ControlReply(problem: words, copy: path))
    }

    private func close() -> Bool {
        let result = unsafe sqlite3_backup_finish(backup)
        unsafe backup = nil
        unsafe sqlite3_close(target)
        unsafe target = nil
        return result == SQLITE_OK
    }
}
