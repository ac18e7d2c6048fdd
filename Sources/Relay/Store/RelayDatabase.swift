import Foundation
import GRDB
import GRDBSQLite
import RelayCore
import RelayProtocol

/// The database file: opened, locked down, brought to this version's schema.
struct RelayDatabase: Sendable {
    let queue: DatabaseQueue

    /// Opens or makes the database at `path`, for its owner only.
    init(path: String) throws(RelayError) {
        // Write-ahead log and index get the permissions of the file itself, and its owner.
        let file = OwnFile.open(path, O_RDWR | O_CREAT)
        guard file >= 0 else { throw .dataFolder("the database can't be made") }
        OwnFile.hand(file, toOwnerOf: OwnFile.folder(of: path))
        Glibc.close(file)
        do {
            queue = try Self.open(path) { database in
                // Not by GRDB's own setting, which turns the sync of each commit off.
                guard try String.fetchOne(database, sql: "PRAGMA journal_mode = WAL") == "wal"
                else {
                    throw RelayError.dataFolder("its file system has no write-ahead log")
                }
                try database.execute(
                    sql: """
                        PRAGMA synchronous = FULL;
                        PRAGMA secure_delete = ON;
                        PRAGMA temp_store = MEMORY;
                        PRAGMA cell_size_check = ON;
                        PRAGMA trusted_schema = OFF;
                        PRAGMA cache_size = -65536;
                        """)
            }
            try queue.read(Self.requireKnownSchema)
            try Schema.migrator.migrate(queue)
        } catch let error as RelayError {
            throw error
        } catch {
            throw .store(StoreError(error))
        }
    }

    /// Closes it, and overwrites the log if there is room, for SQLite only removes it. Otherwise the
    /// next start takes it up.
    func close() throws {
        queue.writeWithoutTransaction { _ = try? WriteAheadLog($0).forget() }
        try queue.close()
    }

    /// For how long another process is waited for.
    static let busyMilliseconds: Int32 = 5_000

    /// Opens a database by its own name: SQLite follows no link from its log and journal, but would
    /// from the database itself.
    ///
    /// - Parameter prepare: what is done with the connection first.
    static func open(
        _ path: String, readonly: Bool = false,
        prepare: @escaping @Sendable (Database) throws -> Void = { _ in }
    ) throws -> DatabaseQueue {
        let url = URL(fileURLWithPath: path)
        guard OwnFile.isThere(path),
            let folder = unsafe realpath(url.deletingLastPathComponent().path, nil)
        else { throw RelayError.dataFolder("the database can't be read, or is a link") }
        let expected = unsafe String(cString: folder) + "/" + url.lastPathComponent
        unsafe free(folder)
        var configuration = Configuration()
        configuration.readonly = readonly
        configuration.busyMode = .timeout(Double(busyMilliseconds) / 1_000)
        configuration.prepareDatabase { database in
            // Should it have become a link since.
            let opened = unsafe sqlite3_db_filename(database.sqliteConnection, "main")
            guard let opened = unsafe opened, unsafe String(cString: opened) == expected else {
                throw RelayError.dataFolder("the database can't be read, or is a link")
            }
            try prepare(database)
        }
        return try DatabaseQueue(path: path, configuration: configuration)
    }

    /// What is written into a file that has lost its name is gone with the process.
    ///
    /// - Throws: `.takenAway` if the database, or its log, was moved, replaced or removed.
    static func requireInPlace(_ database: Database, at path: String) throws(StoreError) {
        var hasMoved: Int32 = 0
        let code = unsafe sqlite3_file_control(
            database.sqliteConnection, "main", SQLITE_FCNTL_HAS_MOVED, &hasMoved)
        let isInPlace = code == SQLITE_OK && hasMoved == 0
        guard isInPlace, unsafe access(path + "-wal", F_OK) == 0 else { throw .takenAway }
    }

    /// Counts what the database holds.
    static func figures(path: String) throws(RelayError) -> StoreFigures {
        try look(path) { database in
            guard try Schema.migrator.hasCompletedMigrations(database) else {
                throw RelayError.olderDatabase
            }
            let store = try SQLiteStore(database)
            return try store.figures(store.countWaiting())
        }
    }

    /// How many migrations a database has had. Changes nothing, not even where its log's index is
    /// missing, which SQLite would make.
    ///
    /// - Throws: `.newerDatabase`, `.store`.
    static func schemaNumber(path: String) throws(RelayError) -> Int {
        guard OwnFile.isThere(path) else {
            throw .dataFolder("the database can't be read, or is a link")
        }
        let hasLog = unsafe access(path + "-wal", F_OK) == 0
        do {
            return try Schema.number(
                of: hasLog
                    ? look(path, Schema.migrator.appliedIdentifiers)
                    : UnusedDatabase.migrations(path: path))
        } catch let error as RelayError {
            throw error
        } catch {
            // A relay may just have begun to use it.
            if !hasLog, unsafe access(path + "-wal", F_OK) == 0 {
                return try schemaNumber(path: path)
            }
            throw .store(StoreError(error))
        }
    }

    /// Octets that a compacted copy of it doesn't have.
    static func freedByteCount(path: String) throws(RelayError) -> UInt64 {
        try look(path) { SQLiteStore.freedByteCount($0) }
    }

    /// Hours of what was last done, or seen.
    struct Marks: Equatable, Sendable {
        var lastBackup: UInt64?
        var lastRehearsal: UInt64?
        /// When the relay ran, as the store knows it.
        var clock: UInt64?
    }

    static func marks(path: String) throws(RelayError) -> Marks {
        try look(path) { database in
            func hour(_ name: String) throws -> UInt64? {
                let hour = try setting(name, database).flatMap {
                    $0.count == 8 ? UInt64(bigEndianOctets: $0) : nil
                }
                return hour == 0 ? nil : hour
            }
            return Marks(
                lastBackup: try hour(TrailKeeper.SettingRow.lastBackup),
                lastRehearsal: try hour(TrailKeeper.SettingRow.lastRehearsal),
                clock: try hour(SQLiteStore.SettingRow.clockMark))
        }
    }

    /// Where the trail ends, as the database has it, and the entries that the trail's files may lack
    /// yet.
    static func trail(path: String) throws(RelayError) -> (end: TrailEnd?, pending: [TrailEntry]) {
        try look(path) { database in
            // Of one moment.
            var rows: [[UInt8]?] = []
            try database.inTransaction {
                rows = [
                    try setting(TrailKeeper.SettingRow.end, database),
                    try setting(TrailKeeper.SettingRow.pending, database),
                ]
                return .commit
            }
            let end = try rows[0].map { octets in
                guard let end = TrailEnd(octets) else {
                    throw StoreError.corrupt("the trail's end can't be read")
                }
                return end
            }
            return (end, TrailFolder.parse(TrailFolder.magic + (rows[1] ?? [])).entries)
        }
    }

    private static func setting(_ name: String, _ database: Database) throws -> [UInt8]? {
        try Data.fetchOne(
            database, sql: "SELECT value FROM setting WHERE name = ?", arguments: [name]
        ).map { [UInt8]($0) }
    }

    /// - Throws: `.newerDatabase` if a version to come has been at work.
    static func requireKnownSchema(_ database: Database) throws {
        _ = try Schema.number(of: Schema.migrator.appliedIdentifiers(database))
    }

    /// The same of a folder's database, whatever else is wrong with it.
    static func requireKnownSchema(of folder: DataFolder) throws(RelayError) {
        do throws(RelayError) {
            _ = try schemaNumber(path: folder.databasePath)
        } catch {
            if error == .newerDatabase { throw error }
        }
    }

    /// Reads beside a relay that may run; each statement by itself.
    private static func look<Result>(
        _ path: String, _ body: (Database) throws -> Result
    ) throws(RelayError) -> Result {
        do {
            return try Self.open(path, readonly: true).inDatabase { database in
                try requireKnownSchema(database)
                return try body(database)
            }
        } catch let error as RelayError {
            throw error
        } catch {
            throw .store(StoreError(error))
        }
    }
}
