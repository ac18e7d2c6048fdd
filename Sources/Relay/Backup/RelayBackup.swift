private import CoreFoundation
import Foundation
import GRDB
import RelayCore
import RelayProtocol

/// Backups of a data folder, whether a relay runs on it or not.
public enum RelayBackup {
    /// Makes a backup, verifies it, and notes it in the trail.
    ///
    /// - Parameter replaces: whether a file of that name may be replaced.
    /// - Throws: `.backup`, `.control`, `.refused`, `.notFound`, `.inUse`; no file is left behind.
    public static func make(
        folder path: String, to target: String, replaces: Bool = false
    ) throws(RelayError) -> BackupFile {
        try make(folder: path, to: target, replaces: replaces, patienceSeconds: 30)
    }

    /// - Parameter patienceSeconds: how long a running relay may take to say that it works.
    static func make(
        folder path: String, to target: String, replaces: Bool, patienceSeconds: Int
    ) throws(RelayError) -> BackupFile {
        let folder = try DataFolder(existing: path)
        guard !folder.holds(target) else {
            throw .backupFile("it can't be made in the data folder")
        }
        try BackupFile.checkName(target, replaces: replaces)
        let keys = try folder.existingKeys()
        let isOnline = try folder.runningRelay() != nil
        try checkRoom(in: folder, for: target, isOnline: isOnline)
        if isOnline {
            return try makeOnline(folder, keys, target, replaces, patienceSeconds)
        }
        let offline = try OfflineRelay(folder, for: .backup)
        return try BackupFile.make(
            from: folder.databasePath, keys: keys, hour: SystemClock().now.hour, to: target,
            replaces: replaces
        ) { step throws(RelayError) in
            try offline.write { trail, store, now throws(StoreError) in
                try trail.note(step, by: Peer.name(of: getuid()), in: store, at: now.hour)
            }
        }
    }

    /// A running relay's copy, and a backup on the same disk, must leave its reserve free, or devices
    /// would be refused meanwhile.
    private static func checkRoom(
        in folder: DataFolder, for target: String, isOnline: Bool
    ) throws(RelayError) {
        func device(_ path: String) -> dev_t? {
            var state = stat()
            return unsafe stat(path, &state) == 0 ? state.st_dev : nil
        }
        let parent = OwnFile.folder(of: target)
        let whole = folder.databaseByteCount
        var needed = isOnline ? whole : 0
        if device(parent) == device(folder.path) {
            needed +=
                whole - min(whole, try RelayDatabase.freedByteCount(path: folder.databasePath))
        }
        try requireRoom(for: needed, in: folder)
    }

    /// - Throws: `.backupFile` if so many octets have no room on the relay's disk.
    static func requireRoom(
        for byteCount: UInt64, in folder: DataFolder, leavingReserve: Bool = true
    ) throws(RelayError) {
        guard
            let missing = folder.mebibytesMissing(for: byteCount, leavingReserve: leavingReserve)
        else { return }
        throw .backupFile("\(missing) MiB are missing on the disk of the data folder")
    }

    /// The running relay copies, this process compacts, verifies and names.
    private static func makeOnline(
        _ folder: DataFolder, _ keys: DataFolder.Keys, _ target: String, _ replaces: Bool,
        _ patienceSeconds: Int
    ) throws(RelayError) -> BackupFile {
        var relay = try ControlClient(folder: folder)
        // A copy may take hours; one that hangs is found out before.
        _ = try relay.ask(.status, timeoutSeconds: patienceSeconds)
        let reply = try relay.ask(.backup, timeoutSeconds: 4 * 3_600)
        guard let copy = reply.copy.flatMap(folder.copy(toldAs:)) else {
            throw .control("the relay has made no copy")
        }
        defer { DataFolder.removeDatabase(copy) }
        return try BackupFile.make(
            from: copy, keys: keys, hour: SystemClock().now.hour, to: target,
            replaces: replaces
        ) { step throws(RelayError) in _ = try relay.ask(.backupStep(step)) }
    }

    /// Has the relay sign its trail now, if one runs; otherwise the last head is from its stop.
    public static func signHead(folder path: String) throws(RelayError) {
        let folder = try DataFolder(existing: path)
        guard try folder.runningRelay() != nil else { return }
        var relay = try ControlClient(folder: folder)
        _ = try relay.ask(.signHead)
    }

    /// Notes in the trail that a restore was rehearsed, and how that went.
    public static func noteRehearsal(folder path: String, passed: Bool) throws(RelayError) {
        let folder = try DataFolder(existing: path)
        if try folder.runningRelay() != nil {
            var relay = try ControlClient(folder: folder)
            _ = try relay.ask(.rehearsed(passed: passed))
            return
        }
        try OfflineRelay(folder, for: .restore).note(
            TrailEvent(
                .rehearsal,
                [
                    ("user", Peer.name(of: getuid())),
                    ("result", passed ? "passed" : "failed"),
                ]), hourIn: passed ? TrailKeeper.SettingRow.lastRehearsal : nil)
    }
}

/// A data folder that no relay runs on, held by this process.
final class OfflineRelay {
    let folder: DataFolder
    private let lock: FolderLock
    private let keys: DataFolder.Keys

    init(_ folder: DataFolder, for command: FolderHolder.Command) throws(RelayError) {
        self.folder = folder
        keys = try folder.existingKeys()
        lock = try folder.lock(for: command)
    }

    deinit { lock.release() }

    /// Adds an event to the trail, and its hour to the store.
    func note(_ event: TrailEvent, hourIn setting: String?) throws(RelayError) {
        try write { trail, store, now throws(StoreError) in
            try trail.settleBackup(in: store)
            if let setting { try store.set(setting, to: now.hour.bigEndianOctets) }
            trail.note(event)
        }
    }

    /// Changes trail and store in one transaction.
    func write(
        _ body: (TrailKeeper, SQLiteStore, RelayTime) throws(StoreError) -> Void
    ) throws(RelayError) {
        let database = try RelayDatabase(path: folder.databasePath)
        do {
            try database.queue.writeWithoutTransaction { database in
                let store = try SQLiteStore(database)
                let trail = try TrailKeeper(
                    path: folder.trailPath, mirrorPath: nil, store: store,
                    identity: keys.identity)
                let now = SystemClock().now
                try store.inTransaction {
                    try body(trail, store, now)
                    // A command doesn't vouch for the clock; only a running relay does.
                    try trail.prepare(
                        store, counters: RelayCounters(), isClockDoubted: true, at: now)
                }
                try trail.publish()
            }
            try database.close()
        } catch let error as RelayError {
            throw error
        } catch {
            throw .store(StoreError(error))
        }
    }
}
