import Foundation
import GRDB
import RelayCore

/// A prepared statement, for the one thread that has the database.
struct SQLStatement {
    private let statement: Statement

    init(_ database: Database, _ sql: String) throws {
        statement = try database.makeStatement(sql: sql)
    }

    /// Runs it without looking at rows.
    func run(_ arguments: [(any DatabaseValueConvertible)?] = []) throws(StoreError) {
        do {
            statement.setUncheckedArguments(StatementArguments(arguments))
            try statement.execute()
        } catch {
            throw StoreError(error)
        }
    }

    /// Runs it and reads the first row, if there is one.
    func first<Value>(
        _ arguments: [(any DatabaseValueConvertible)?] = [], _ read: (Row) -> Value
    ) throws(StoreError) -> Value? {
        do {
            let rows = try Row.fetchCursor(
                statement, arguments: StatementArguments(arguments))
            guard let row = try rows.next() else { return nil }
            return read(row)
        } catch {
            throw StoreError(error)
        }
    }

    /// Runs it and hands row after row to `body` until that returns false.
    func each(
        _ arguments: [(any DatabaseValueConvertible)?] = [],
        _ body: (Row) throws(StoreError) -> Bool
    ) throws(StoreError) {
        do {
            let rows = try Row.fetchCursor(
                statement, arguments: StatementArguments(arguments))
            while let row = try rows.next() {
                guard try body(row) else { return }
            }
        } catch let error as StoreError {
            throw error
        } catch {
            throw StoreError(error)
        }
    }
}

extension StoreError {
    /// Whose fault an error of SQLite is.
    init(_ error: any Error) {
        switch error {
        case let error as StoreError: self = error
        case let error as DatabaseError:
            switch error.resultCode {
            case .SQLITE_FULL: self = .full
            case .SQLITE_CORRUPT, .SQLITE_NOTADB:
                self = .corrupt("SQLite says \(error.extendedResultCode)")
            default: self = .failed("SQLite says \(error.extendedResultCode)")
            }
        default: self = .failed("the database can't be used")
        }
    }
}

extension Row {
    /// A column's octets.
    func octets(_ column: Int) -> [UInt8] {
        let data: Data? = self[column]
        return data.map { [UInt8]($0) } ?? []
    }

    /// A column's number.
    func integer(_ column: Int) -> Int64 { self[column] ?? 0 }
}

extension [UInt8] {
    /// For a column.
    var data: Data { Data(self) }
}
