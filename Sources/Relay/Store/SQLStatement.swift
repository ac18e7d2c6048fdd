import Foundation
import GRDB
import GRDBSQLite
import RelayCore

/// A prepared statement, for the one thread that has the database.
///
/// SQLite is called directly: a batch runs thousands of statements, and what GRDB does around each
/// would cost more than SQLite itself. Opening, migrating and reading for status stay with GRDB.
///
/// `@safe`: the handle lives as long as the object, which holds no pointer beyond a call.
@safe final class SQLStatement {
    private let handle: OpaquePointer

    init(_ database: Database, _ sql: String) throws(StoreError) {
        var prepared: OpaquePointer?
        let code = unsafe sqlite3_prepare_v3(
            database.sqliteConnection, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
        guard code == SQLITE_OK, let prepared = unsafe prepared else {
            throw StoreError(code: code)
        }
        unsafe handle = prepared
    }

    deinit { unsafe sqlite3_finalize(handle) }

    /// Runs it without looking at rows.
    func run(_ arguments: [any SQLArgument] = []) throws(StoreError) {
        defer { reset() }
        try bind(arguments)
        while try step() {}
    }

    /// Runs it; how many rows it changed.
    func runCounting(_ arguments: [any SQLArgument]) throws(StoreError) -> Int {
        try run(arguments)
        return Int(unsafe sqlite3_changes(sqlite3_db_handle(handle)))
    }

    /// Runs it with `octets` as its last argument, which SQLite reads without a copy of its own.
    func run(_ arguments: [any SQLArgument], lending octets: [UInt8]) throws(StoreError) {
        defer { reset() }
        try bind(arguments)
        try unsafe octets.withUnsafeBufferPointer { octets throws(StoreError) in
            let code = unsafe sqlite3_bind_blob64(
                handle, Int32(arguments.count + 1), octets.baseAddress, UInt64(octets.count), nil)
            guard code == SQLITE_OK else { throw StoreError(code: code) }
            while try step() {}
        }
    }

    /// Runs it and reads the first row, if there is one.
    func first<Value>(
        _ arguments: [any SQLArgument] = [], _ read: (SQLRow) -> Value
    ) throws(StoreError) -> Value? {
        defer { reset() }
        try bind(arguments)
        guard try step() else { return nil }
        return unsafe read(SQLRow(handle))
    }

    /// Runs it and hands row after row to `body` until that returns false.
    func each(
        _ arguments: [any SQLArgument] = [], _ body: (SQLRow) throws(StoreError) -> Bool
    ) throws(StoreError) {
        defer { reset() }
        try bind(arguments)
        while try step() {
            guard try unsafe body(SQLRow(handle)) else { return }
        }
    }

    private func bind(_ arguments: [any SQLArgument]) throws(StoreError) {
        for (index, argument) in arguments.enumerated() {
            let code = unsafe argument.bind(to: handle, at: Int32(index + 1))
            guard code == SQLITE_OK else { throw StoreError(code: code) }
        }
    }

    /// True if there is a row.
    private func step() throws(StoreError) -> Bool {
        let code = unsafe sqlite3_step(handle)
        switch code {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default: throw StoreError(code: code)
        }
    }

    /// Ends the run and lets go of copies of what was bound.
    private func reset() {
        unsafe sqlite3_reset(handle)
        unsafe sqlite3_clear_bindings(handle)
    }
}

/// The row that a statement stands at, during the call that hands it out.
@safe struct SQLRow {
    private let handle: OpaquePointer

    fileprivate init(_ handle: OpaquePointer) { unsafe self.handle = handle }

    /// A column's octets.
    func octets(_ column: Int32) -> [UInt8] {
        let count = Int(unsafe sqlite3_column_bytes(handle, column))
        guard count > 0, let start = unsafe sqlite3_column_blob(handle, column) else { return [] }
        return unsafe [UInt8](UnsafeRawBufferPointer(start: start, count: count))
    }

    /// A column's number.
    func integer(_ column: Int32) -> Int64 { unsafe sqlite3_column_int64(handle, column) }
}

/// What a statement takes in place of a question mark.
protocol SQLArgument {
    /// Answers with SQLite's code.
    func bind(to statement: OpaquePointer, at index: Int32) -> Int32
}

/// Tells SQLite to copy what it is lent (`SQLITE_TRANSIENT`, which Swift can't import).
private var copying: sqlite3_destructor_type? {
    unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
}

extension Int64: SQLArgument {
    func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
        unsafe sqlite3_bind_int64(statement, index, self)
    }
}

extension Int: SQLArgument {
    func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
        unsafe sqlite3_bind_int64(statement, index, Int64(self))
    }
}

extension [UInt8]: SQLArgument {
    func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
        guard !isEmpty else { return unsafe sqlite3_bind_zeroblob(statement, index, 0) }
        return unsafe withUnsafeBytes {
            unsafe sqlite3_bind_blob64(
                statement, index, $0.baseAddress, UInt64($0.count), copying)
        }
    }
}

extension String: SQLArgument {
    func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
        unsafe sqlite3_bind_text(statement, index, self, -1, copying)
    }
}

extension StoreError {
    /// Whose fault an error is.
    init(_ error: any Error) {
        switch error {
        case let error as StoreError: self = error
        case let error as DatabaseError: self.init(code: error.extendedResultCode.rawValue)
        default: self = .failed("the database can't be used")
        }
    }

    /// Whose fault a code of SQLite is; to be asked as soon as it came.
    init(code: Int32) {
        switch code & 0xff {
        case SQLITE_FULL: self = .full
        // A quota that is used up, for SQLite a broken disk.
        case SQLITE_IOERR
        where code == ResultCode.SQLITE_IOERR_WRITE.rawValue && errno == EDQUOT: self = .full
        // The log's index couldn't grow.
        case SQLITE_IOERR where code == ResultCode.SQLITE_IOERR_SHMSIZE.rawValue: self = .full
        case SQLITE_CORRUPT: self = .corrupt("SQLite finds it damaged")
        case SQLITE_BUSY: self = .failed("another process writes to it")
        case SQLITE_NOTADB: self = .corrupt("SQLite finds no database in it")
        default: self = .failed("SQLite says \(code)")
        }
    }
}
