internal import GRDB

/// The tables, and how a connection to them is set up. `protocol/vault.sql` is the dump.
enum Schema {
    /// "CuVt" in the file's header.
    static let applicationID: Int64 = 0x4375_5674
    static let version: Int64 = 1
    /// Octets of a page, and with it what fits into one: a chunk of slots must.
    static let pageByteCount = 4096

    /// The table of a scope's records.
    static func records(of scope: Vault.Scope) -> String {
        switch scope {
        case .person: "person_records"
        case .consultation(let number): "c\(number.rawValue)_records"
        }
    }

    static func createRecords(of scope: Vault.Scope) -> String {
        let table = records(of: scope)
        return """
            CREATE TABLE \(table) (
                id INTEGER PRIMARY KEY,
                collection INTEGER NOT NULL,
                key BLOB NOT NULL,
                sealed BLOB NOT NULL
            ) STRICT;
            CREATE UNIQUE INDEX \(table)_by_key ON \(table) (collection, key);
            """
    }

    static func slots(chunk: UInt32) -> String { "slots\(chunk)" }

    static func createSlots(chunk: UInt32) -> String {
        "CREATE TABLE \(slots(chunk: chunk)) (id INTEGER PRIMARY KEY, cell BLOB NOT NULL) STRICT;"
    }

    static let createHeader =
        "CREATE TABLE header (id INTEGER PRIMARY KEY CHECK (id = 1), cell BLOB NOT NULL) STRICT;"

    static func configuration(creating: Bool) -> Configuration {
        var configuration = Configuration()
        configuration.label = "vault"
        configuration.allowsUnsafeTransactions = true
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
            if creating {
                try db.execute(sql: "PRAGMA page_size = \(pageByteCount)")
                try db.execute(sql: "PRAGMA application_id = \(applicationID)")
                try db.execute(sql: "PRAGMA user_version = \(version)")
            } else {
                try refuseForeign(db)
            }
            // Only now may anything be written.
            let mode = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
            guard mode == "wal" else { throw VaultError.damaged(.file) }
            try db.execute(
                sql: """
                    PRAGMA synchronous = FULL;
                    PRAGMA temp_store = MEMORY;
                    PRAGMA trusted_schema = OFF;
                    PRAGMA cell_size_check = ON;
                    """)
            _ = try Int64.fetchOne(db, sql: "PRAGMA secure_delete = ON")
        }
        return configuration
    }

    private static func refuseForeign(_ db: Database) throws {
        guard try db.integer("PRAGMA application_id") == applicationID else {
            throw VaultError.notAVault
        }
        let found = try db.integer("PRAGMA user_version")
        guard found <= version else { throw VaultError.newerVersion(Int(found)) }
        guard found == version else { throw VaultError.damaged(.file) }
        let foreign = try db.integer(
            """
            SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')
            """)
        guard foreign == 0 else { throw VaultError.damaged(.file) }
    }
}

/// Statements whose answers are looked at before they are believed.
///
/// SQLite hands out whatever a file holds, of any type; GRDB's conversions would end the process.
extension Database {
    /// Rows of the answer, detached from the statement.
    func rows(_ sql: String, _ arguments: StatementArguments = []) throws -> [[DatabaseValue]] {
        let statement = try cachedStatement(sql: sql)
        return try Row.fetchAll(statement, arguments: arguments).map { Array($0.databaseValues) }
    }

    /// A single integer.
    func integer(_ sql: String, _ arguments: StatementArguments = []) throws -> Int64 {
        guard case .int64(let value)? = try rows(sql, arguments).first?.first?.storage else {
            throw VaultError.damaged(.file)
        }
        return value
    }

    /// Runs a statement and answers how many rows it changed.
    @discardableResult
    func run(_ sql: String, _ arguments: StatementArguments) throws -> Int {
        try cachedStatement(sql: sql).execute(arguments: arguments)
        return changesCount
    }
}

extension DatabaseValue {
    // Inlined, these end Swift 6.3.1's optimiser ("Found outside of lifetime use" in CopyPropagation).

    /// The octets, unless the column holds something else.
    @inline(never)
    var octets: [UInt8]? {
        if case .blob(let data) = storage { Array(data) } else { nil }
    }

    @inline(never)
    var integer: Int64? {
        if case .int64(let value) = storage { value } else { nil }
    }
}
