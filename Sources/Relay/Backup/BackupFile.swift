import CoreFoundation
public import Cryptography
import Foundation
import GRDB
import GRDBSQLite
import RelayCore
import RelayProtocol

/// A backup: one SQLite file with everything that is in a relay's database, compacted so that no
/// gap or free page holds remains of what was erased, and one more table that says what it is and
/// holds the relay's keys. Whoever has it can be the relay; it is readable by its owner only.
public struct BackupFile: Sendable {
    /// Where it is.
    public let path: String
    /// The relay's identity key.
    public let relayKey: VerifyingKey
    /// When it was made: hours since 1970-01-01 UTC.
    public let hour: UInt64
    /// Its size.
    public let byteCount: Int
    /// What of the relay's messages and files can't be read any more, at the relay either, in words;
    /// `nil` if all can, or nobody has looked.
    public var gapWords: String? { inspection.gapWords }
    private var inspection = Inspection()
    /// Whether the relay was told that it has its name: otherwise the one before counts as the last.
    public private(set) var isCounted = true
    let keys: DataFolder.Keys
    /// Where the trail ended when it was made.
    let trailEnd: TrailEnd

    private static let format: [UInt8] = [1]

    /// Compacts a database into a backup at `path`, verifies it, and only then gives it that name.
    ///
    /// - Parameter replaces: whether a file of that name may be replaced.
    /// - Parameter note: notes that there is a backup; without that it gets no name, and replaces none.
    ///   Called again once it has its name, or couldn't get it.
    /// - Throws: `.backup`, or what `note` throws, with nothing left behind.
    static func make(
        from database: String, keys: DataFolder.Keys, hour: UInt64, to path: String,
        replaces: Bool, note: (BackupStep) throws(RelayError) -> Void
    ) throws(RelayError) -> BackupFile {
        try checkName(path, replaces: replaces)
        let temporary = path + ".new"
        DataFolder.removeDatabase(temporary)
        let file = unsafe Glibc.open(
            temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .backupFile("it can't be made: \(DataFolder.reason())") }
        defer {
            close(file)
            try? UnfinishedFiles.finish(temporary)
        }
        do {
            // Now that it is this one's: what another has left under the name isn't to be erased.
            try UnfinishedFiles.begin(temporary)
            try compact(RelayDatabase.open(database), into: temporary)
            try describe(temporary, keys, hour)
            let inspection = try BackupFile(temporary, isDeep: true).inspection
            try requireGaps(inspection, in: RelayDatabase.open(database, readonly: true))
            guard fsync(file) == 0 else { throw RelayError.resources("the backup can't be synced") }
            try note(.made)
            do throws(RelayError) {
                try name(temporary, path)
            } catch {
                try? note(.lost)
                throw error
            }
            var backup = try BackupFile(path, isDeep: false)
            backup.inspection = inspection
            backup.isCounted = (try? note(.named)) != nil
            return backup
        } catch {
            DataFolder.removeDatabase(temporary)
            if let error = error as? RelayError { throw error }
            throw StoreError(error) == .full
                ? .backupFile("there is no room for it") : .backup(words(error))
        }
    }

    /// Gives a backup its name, and overwrites the one that had it.
    private static func name(_ temporary: String, _ path: String) throws(RelayError) {
        let replaced = unsafe Glibc.open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC)
        defer { if replaced >= 0 { close(replaced) } }
        try UnfinishedFiles.finish(temporary) { () throws(RelayError) in
            guard unsafe rename(temporary, path) == 0 else {
                throw .backupFile("it can't be named: \(DataFolder.reason())")
            }
        }
        try syncFolder(of: path)
        // Unless it has another name, under which it is still wanted.
        var state = stat()
        if replaced >= 0, unsafe fstat(replaced, &state) == 0, state.st_nlink == 0 {
            OwnFile.overwrite(replaced)
        }
    }

    /// Only another file gives way, and only if it is to: no device, no folder.
    static func checkName(_ path: String, replaces: Bool) throws(RelayError) {
        guard !path.isEmpty, path.last != "/" else { throw .backupFile("it needs a file's name") }
        var state = stat()
        guard unsafe lstat(path, &state) == 0 else { return }
        guard replaces else { throw .backupFile("there is a file of that name") }
        guard state.st_mode & S_IFMT == S_IFREG else {
            throw .backupFile("what has that name is no file")
        }
    }

    /// Opens a backup.
    ///
    /// - Parameter isDeep: reads and opens everything in it.
    /// - Throws: `.backup` if it isn't one, or is damaged.
    init(_ path: String, isDeep: Bool) throws(RelayError) {
        guard unsafe access(path, R_OK) == 0 else { throw .notFound("the backup can't be read") }
        var configuration = Configuration()
        configuration.readonly = true
        do {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? queue.close() }
            (relayKey, keys, hour, trailEnd) = try queue.read { database in
                func value(_ name: String) throws -> [UInt8] {
                    let data = try Data.fetchOne(
                        database, sql: "SELECT value FROM backup WHERE name = ?",
                        arguments: [name])
                    return data.map { [UInt8]($0) } ?? []
                }
                guard try database.tableExists("backup"), try value("format") == Self.format
                else { throw RelayError.backup("the file is no backup of this version") }
                try RelayDatabase.requireKnownSchema(database)
                let hour = try value("hour")
                let identity = try SigningKey(seed: SecretBytes(try value("identity")))
                guard hour.count == 8, try value("relay key") == identity.publicKey.bytes else {
                    throw RelayError.backup("the backup's keys are damaged")
                }
                let end = try Data.fetchOne(
                    database, sql: "SELECT value FROM setting WHERE name = ?",
                    arguments: [TrailKeeper.SettingRow.end])
                let keys = DataFolder.Keys(
                    identity: identity, ticketKey: SecretBytes(try value("ticket key")))
                return (
                    identity.publicKey, keys, UInt64(bigEndianOctets: hour),
                    end.flatMap { TrailEnd([UInt8]($0)) }
                        ?? TrailEnd(relayKey: identity.publicKey)
                )
            }
            if isDeep { inspection = try Self.inspect(queue) ?? inspection }
        } catch let error as RelayError {
            throw error
        } catch {
            throw .backup(Self.words(error))
        }
        self.path = path
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        byteCount = (attributes?[.size] as? NSNumber)?.intValue ?? 0
    }

    /// Reads everything back.
    ///
    /// - Returns: what has gaps only; `nil` of what an earlier version made, which is lifted first, in a
    ///   copy, and then looked at whole.
    /// - Throws: `.backup` if more is damaged.
    static func inspect(_ queue: DatabaseQueue) throws -> Inspection? {
        try queue.inDatabase { database in
            guard try String.fetchOne(database, sql: "PRAGMA integrity_check(1)") == "ok" else {
                throw RelayError.backup("SQLite finds the file damaged")
            }
            guard try Schema.migrator.hasCompletedMigrations(database) else { return nil }
            let found = try SQLiteStore(database).inspect()
            if let problem = found.problems.first {
                throw RelayError.backup("damaged: \(problem)")
            }
            return found
        }
    }

    /// One message that the disk has changed is no reason to have no copy of all others. But a copy
    /// has no gap that what it was made from hasn't.
    private static func requireGaps(
        _ inspection: Inspection?, in source: @autoclosure () throws -> DatabaseQueue
    ) throws {
        guard let inspection, !inspection.gaps.isEmpty else { return }
        let queue = try source()
        defer { try? queue.close() }
        guard let before = try inspect(queue) else { return }
        guard inspection.gaps.isSubset(of: before.gaps) else {
            throw RelayError.backup("what was written doesn't read back")
        }
    }

    /// Copies what is alive, and nothing else, into an empty file.
    static func compact(_ queue: DatabaseQueue, into target: String) throws {
        defer {
            // A relay that was killed leaves a log, which SQLite would only remove.
            queue.inDatabase { _ = try? WriteAheadLog($0).forget() }
            try? queue.close()
        }
        try queue.inDatabase { database in
            // Nothing may be written to a file that is being erased.
            unsafe sqlite3_progress_handler(
                database.sqliteConnection, 10_000, { _ in Task.isCancelled ? 1 : 0 }, nil)
            defer { unsafe sqlite3_progress_handler(database.sqliteConnection, 0, nil, nil) }
            try database.execute(sql: "VACUUM INTO ?", arguments: [target])
        }
        try Task.checkCancellation()
    }

    /// Makes a compacted copy of a database at a path, whole, read back and durable. Nothing is left of
    /// one that failed.
    ///
    /// - Parameter fault: whose fault it is if the copy can't be written, from words.
    /// - Parameter change: what is done to the copy before it is read back.
    static func copy<Result>(
        _ source: @autoclosure () throws -> DatabaseQueue, to path: String,
        fault: (String) -> RelayError, change: (Database) throws -> Result
    ) throws(RelayError) -> (result: Result, gapWords: String?) {
        DataFolder.removeDatabase(path)
        let file = OwnFile.open(path, O_RDWR | O_CREAT | O_EXCL)
        guard file >= 0 else { throw fault("the new database can't be made") }
        defer { close(file) }
        // Should this process be killed, the relay has to remove what it leaves.
        OwnFile.hand(file, toOwnerOf: OwnFile.folder(of: path))
        do {
            try compact(source(), into: path)
            let database = try RelayDatabase(path: path)
            let result = try database.queue.writeWithoutTransaction(change)
            let inspection = try inspect(database.queue)
            try database.close()
            try requireGaps(inspection, in: source())
            guard fsync(file) == 0 else { throw fault("its disk can't be synced") }
            return (result, inspection?.gapWords)
        } catch {
            DataFolder.removeDatabase(path)
            if let error = error as? RelayError { throw error }
            throw .store(StoreError(error))
        }
    }

    private static func describe(
        _ path: String, _ keys: DataFolder.Keys, _ hour: UInt64
    ) throws {
        let queue = try RelayDatabase.open(path)
        try queue.writeWithoutTransaction { database in
            try database.execute(sql: "PRAGMA synchronous = FULL")
            try database.inTransaction {
                try database.execute(
                    sql: """
                        CREATE TABLE backup (
                            name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL
                        ) WITHOUT ROWID
                        """)
                for (name, value) in [
                    ("format", format), ("relay key", keys.identity.publicKey.bytes),
                    ("identity", keys.identity.seed.exposedCopy()),
                    ("ticket key", keys.ticketKey.exposedCopy()),
                    ("hour", hour.bigEndianOctets),
                    ("version", Array(RelayVersion.current.utf8)),
                ] {
                    try database.execute(
                        sql: "INSERT INTO backup VALUES (?, ?)", arguments: [name, Data(value)])
                }
                return .commit
            }
        }
        try queue.close()
    }

    static func syncFolder(of path: String) throws(RelayError) {
        guard OwnFile.syncFolder(OwnFile.folder(of: path)) else {
            throw .resources("the backup's folder can't be synced")
        }
    }

    private static func words(_ error: any Error) -> String {
        switch StoreError(error) {
        case .full: "there is no room for it"
        case .failed(let words), .corrupt(let words): words
        case .takenAway: "the database was taken away"
        }
    }
}
