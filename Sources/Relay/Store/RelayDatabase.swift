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
        // Write-ahead log and index get the permissions of the file itself.
        let file = OwnFile.open(path, O_RDWR | O_CREAT)
        guard file >= 0 else { throw .dataFolder("the database can't be made") }
        close(file)
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
            let migrator = Schema.migrator
            guard try !queue.read({ try migrator.hasBeenSuperseded($0) }) else {
                throw RelayError.newerDatabase
            }
            try migrator.migrate(queue)
        } catch let error as RelayError {
            throw error
        } catch {
            throw .store(StoreError(error))
        }
    }

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
        configuration.busyMode = .timeout(5)
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

    /// What an operator may know of the database.
    struct Figures: Equatable, Sendable {
        var mailboxes: Int
        var groups: Int
        var messages: Int
        var messageByteCount: Int
        /// The day on which the oldest message came.
        var oldestDay: UInt32?
        /// Hours of the last backup and the last rehearsed restore.
        var lastBackup: UInt64?
        var lastRehearsal: UInt64?
        /// The last hour at which the relay ran, as the store knows it.
        var clockMark: UInt64?
        /// The schema's last migration.
        var migration: String?
    }

    /// Counts, in a short read that doesn't hold up the relay.
    static func figures(path: String) throws(RelayError) -> Figures {
        do {
            let queue = try Self.open(path, readonly: true)
            return try queue.read { database in
                func number(_ sql: String) throws -> Int {
                    try Int.fetchOne(database, sql: sql) ?? 0
                }
                func setting(_ name: String) throws -> [UInt8]? {
                    try Data.fetchOne(
                        database, sql: "SELECT value FROM setting WHERE name = ?",
                        arguments: [name]
                    ).map { [UInt8]($0) }
                }
                func hour(_ name: String) throws -> UInt64? {
                    try setting(name).flatMap {
                        $0.count == 8 ? UInt64(bigEndianOctets: $0) : nil
                    }
                }
                let oldest = try Int64.fetchOne(database, sql: "SELECT min(number) FROM message")
                let days = MessageDays(try setting(TrailKeeper.Setting.days) ?? [])
                return Figures(
                    mailboxes: try number("SELECT count(*) FROM mailbox_name"),
                    groups: try number("SELECT count(*) FROM group_name"),
                    messages: try number("SELECT count(*) FROM message"),
                    messageByteCount: try number("SELECT coalesce(sum(size), 0) FROM message"),
                    oldestDay: oldest.flatMap {
                        days.day(of: UInt64(bitPattern: $0))?.rawValue
                    },
                    lastBackup: try hour(TrailKeeper.Setting.lastBackup),
                    lastRehearsal: try hour(TrailKeeper.Setting.lastRehearsal),
                    clockMark: try hour(SQLiteStore.Setting.clockMark),
                    migration: try Schema.migrator.completedMigrations(database).last)
            }
        } catch {
            throw .store(StoreError(error))
        }
    }
}
