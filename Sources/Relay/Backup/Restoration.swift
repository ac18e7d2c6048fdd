import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol

/// Puts a relay back from a backup, as a new incarnation: what was erased, spent or used once since
/// is done again from the trail. Without a trail, shelves are emptied and old tickets and admission
/// tokens refused, for nobody knows which were used.
public struct Restoration: Sendable {
    /// What was done.
    public struct Report: Codable, Equatable, Sendable {
        /// When the backup was made: hours since 1970-01-01 UTC.
        public var backupHour: UInt64
        /// Entries of the trail since then; `nil` without a trail.
        public var trailEntries: UInt64?
        /// Groups erased once more.
        public var groupsErased = 0
        /// Mailboxes erased once more.
        public var mailboxesErased = 0
        /// Groups closed once more.
        public var groupsClosed = 0
        /// Owners' confirmations of a closing, noted once more.
        public var confirmations = 0
        /// Packages taken off shelves.
        public var packagesRemoved = 0
        /// Tokens and tickets marked as spent.
        public var tokensSpent = 0
        /// Mailboxes kept.
        public var mailboxes = 0
        /// Groups kept.
        public var groups = 0
        /// Messages waiting for someone.
        public var messages = 0
        /// Admission tokens that end then or before are refused: Unix seconds; `nil` with a trail.
        public var tokenFloor: UInt64?
    }

    private let backup: BackupFile
    private let trail: TrailFolder?
    private let verifier: TrailVerifier
    private let reapplication: Reapplication
    private let tokenFloor: UInt64
    private let now: RelayTime

    // MARK: Doing it

    /// Restores into a folder that no relay runs on.
    ///
    /// - Parameter trailPath: a mirror of the trail; otherwise the folder's own is used.
    /// - Parameter ignoresTrail: goes on without a trail although there is a damaged one.
    /// - Parameter tokensUntil: the latest end of an invitation handed out before, Unix seconds;
    ///   matters without a trail only. By default 31 days from now.
    /// - Throws: `.backup`, `.trail`, `.inUse`; the folder is as before.
    public static func restore(
        from path: String, into folderPath: String, trailPath: String? = nil,
        ignoresTrail: Bool = false, tokensUntil: UInt64? = nil
    ) throws(RelayError) -> Report {
        let backup = try BackupFile(path, isDeep: true)
        let folder = try DataFolder(path: folderPath)
        let lock = try folder.lock()
        defer { lock.release() }
        if let present = folder.intactKeys(),
            present.identity.publicKey != backup.relayKey
        {
            throw .backup("the folder belongs to another relay than the backup")
        }
        try settle(folder)
        let restoration = try Restoration(
            backup, folder: folder, trailPath: trailPath, ignoresTrail: ignoresTrail,
            tokensUntil: tokensUntil)
        let report = try restoration.stage(at: folder.stagingPath)
        try restoration.putTrailInPlace(folder)
        var keys = backup.keys
        if restoration.trail == nil {
            keys = DataFolder.Keys(identity: keys.identity, ticketKey: .random(count: 32))
        }
        try folder.install(keys)
        folder.hand(folder.stagingPath)
        guard unsafe rename(folder.stagingPath, folder.restoredPath) == 0 else {
            throw .backup("the restored database can't be named")
        }
        try folder.syncFolder()
        try folder.finishRestore()
        try settle(folder)
        return report
    }

    /// Does the same with copies in a folder of its own, which is removed, and reads everything back.
    ///
    /// - Parameter folderPath: whose trail is used, and where the copies are made for the while.
    public static func rehearse(
        from path: String, folderPath: String?, trailPath: String? = nil
    ) throws(RelayError) -> Report {
        let backup = try BackupFile(path, isDeep: true)
        let parent = folderPath ?? NSTemporaryDirectory()
        let folder = try folderPath.map { path throws(RelayError) in
            try DataFolder(existing: path)
        }
        folder?.removeRehearsals()
        var template = Array(
            (parent + "/\(DataFolder.rehearsalPrefix)\(getpid()).XXXXXX").utf8CString)
        guard unsafe mkdtemp(&template) != nil else {
            throw .backup("no folder for the rehearsal can be made")
        }
        let place = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { OwnFile.eraseFolder(place) }
        let restoration = try Restoration(
            backup, folder: folder, trailPath: trailPath, ignoresTrail: false, tokensUntil: nil)
        return try restoration.stage(at: place + "/relay.sqlite")
    }

    // MARK: The trail

    private init(
        _ backup: BackupFile, folder: DataFolder?, trailPath: String?, ignoresTrail: Bool,
        tokensUntil: UInt64?
    ) throws(RelayError) {
        self.backup = backup
        now = SystemClock().now
        tokenFloor = tokensUntil ?? now.unixSeconds + 31 * 86_400
        let seal: TrailSeal
        do { seal = try TrailSeal(identity: backup.keys.identity) } catch {
            throw .backup("the backup's keys are damaged")
        }
        var best: (TrailFolder, TrailVerifier, Reapplication)?
        if !ignoresTrail {
            for path in [trailPath, folder?.trailPath].compactMap({ $0 }) {
                let candidate = TrailFolder(path: path, mayBeLink: path == trailPath)
                guard try !candidate.segments().isEmpty else {
                    guard path != trailPath else { throw .trail("there is no trail there") }
                    continue
                }
                let (verifier, reapplication) = try Self.follow(
                    candidate, backup, seal, ends: [backup.trailEnd])
                if let fault = verifier.faults.first {
                    // A mirror may be whole where the folder's own trail is damaged or cut.
                    if best != nil { continue }
                    throw .trail("it can't be used for a restore: \(fault.words)")
                }
                if let other = best {
                    let isLonger = verifier.next > other.1.next
                    let (longer, shorter) =
                        isLonger ? (candidate, other.1) : (other.0, verifier)
                    guard
                        try Self.follow(
                            longer, backup, seal, ends: [shorter.end].compactMap { $0 }
                        ).0.faults.isEmpty
                    else { throw .trail("the folder's own trail and the mirror differ") }
                    if verifier.next < other.1.next { continue }
                }
                best = (candidate, verifier, reapplication)
            }
        }
        trail = best?.0
        verifier = best?.1 ?? TrailVerifier(relayKey: backup.relayKey)
        reapplication = best?.2 ?? Reapplication(backupEnd: backup.trailEnd.next)
    }

    private static func follow(
        _ trail: TrailFolder, _ backup: BackupFile, _ seal: TrailSeal, ends: [TrailEnd]
    ) throws(RelayError) -> (TrailVerifier, Reapplication) {
        var verifier = TrailVerifier(relayKey: backup.relayKey, ends: ends)
        var reapplication = Reapplication(backupEnd: backup.trailEnd.next)
        try trail.each(
            { entry throws(RelayError) in
                verifier.take(entry)
                guard entry.sequence >= backup.trailEnd.next else { return }
                if let end = entry.restoredEnd { reapplication.take(restoreTo: end) }
                guard let effects = seal.open(entry) else {
                    return verifier.note(.broken(at: entry.sequence))
                }
                reapplication.take(
                    effects, erasure: entry.kind == .erasure ? entry.content : nil)
            }, unreadable: { verifier.takeUnreadable() })
        verifier.finish()
        return (verifier, reapplication)
    }

    /// Appends what a crash kept out of a folder's trail. What can't be read was told to nobody.
    private static func settle(_ folder: DataFolder) throws(RelayError) {
        guard let keys = folder.intactKeys(), unsafe access(folder.databasePath, F_OK) == 0 else {
            return
        }
        do {
            let database = try RelayDatabase(path: folder.databasePath)
            try database.queue.writeWithoutTransaction { database in
                _ = try TrailKeeper(
                    path: folder.trailPath, mirrorPath: nil, store: SQLiteStore(database),
                    identity: keys.identity)
            }
            try database.close()
        } catch {
            // The database is to be replaced because it is damaged, or an old one.
        }
    }

    private func putTrailInPlace(_ folder: DataFolder) throws(RelayError) {
        let manager = FileManager.default
        let own = folder.trailPath
        guard trail?.path != own else { return }
        do {
            if manager.fileExists(atPath: own) {
                try manager.moveItem(atPath: own, toPath: Self.freeName(own, at: now))
            }
            guard let trail else { return }
            guard unsafe mkdir(own, 0o700) == 0 else {
                throw RelayError.trail("its folder can't be made")
            }
            folder.hand(own)
            for segment in try trail.segments() {
                let target = TrailFolder(path: own).segment(first: segment.first).path
                let content = try trail.read(segment)
                let octets = TrailFolder.magic + content.entries.flatMap(\.frame)
                try folder.writeDurably(octets, to: target)
            }
        } catch let error as RelayError {
            throw error
        } catch {
            throw .trail("the trail can't be put in its place")
        }
    }

    /// A name beside the trail that nothing has: what was put aside before may be the true one.
    private static func freeName(_ own: String, at now: RelayTime) -> String {
        let aside = own + ".before-\(now.hour)"
        var name = aside
        var count = 1
        while FileManager.default.fileExists(atPath: name) {
            count += 1
            name = aside + "-\(count)"
        }
        return name
    }

    // MARK: The database

    /// Makes the restored database at a path, whole and durable.
    private func stage(at path: String) throws(RelayError) -> Report {
        DataFolder.removeDatabase(path)
        let file = unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .backup("the restored database can't be made") }
        defer { close(file) }
        do {
            try BackupFile.compact(DatabaseQueue(path: backup.path), into: path)
            let database = try RelayDatabase(path: path)
            let report = try database.queue.writeWithoutTransaction { connection in
                try connection.execute(sql: "DROP TABLE backup")
                let store = try SQLiteStore(connection)
                try store.begin()
                let report = try change(store, connection)
                try store.commit()
                return report
            }
            try BackupFile.inspect(database.queue)
            try database.close()
            guard fsync(file) == 0 else { throw RelayError.backup("the disk can't be synced") }
            return report
        } catch {
            DataFolder.removeDatabase(path)
            if let error = error as? RelayError { throw error }
            throw .store(StoreError(error))
        }
    }

    private func change(_ store: SQLiteStore, _ connection: Database) throws -> Report {
        var report = Report(backupHour: backup.hour)
        let again = try reapplication.apply(to: store)
        (report.groupsErased, report.mailboxesErased) = (again.groups, again.mailboxes)
        (report.groupsClosed, report.confirmations) = (again.closed, again.confirmed)
        (report.packagesRemoved, report.tokensSpent) = (again.packages, again.spent)
        if trail != nil {
            report.trailEntries = verifier.next - backup.trailEnd.next
        } else {
            report.packagesRemoved = try store.emptyShelves()
            report.tokenFloor = tokenFloor
            try store.set(SQLiteStore.Setting.tokenFloor, to: tokenFloor.bigEndianOctets)
        }
        let incarnation = Random.bytes(ProtocolConstants.incarnationByteCount)
        try store.set(SQLiteStore.Setting.incarnation, to: incarnation)
        try store.set(SQLiteStore.Setting.deliveryKey, to: Random.bytes(32))
        try store.set(TrailKeeper.Setting.lastBackup, to: backup.hour.bigEndianOctets)
        // What follows reads everything back, as a rehearsal does.
        try store.set(TrailKeeper.Setting.lastRehearsal, to: now.hour.bigEndianOctets)

        let event = TrailEvent(
            trail == nil ? .resumed : .restored,
            [
                ("user", Peer.name(of: getuid())), ("backupHour", "\(backup.hour)"),
                (TrailEvent.backupEnd, "\(backup.trailEnd.next)"),
                ("groupsErased", "\(again.groups)"), ("mailboxesErased", "\(again.mailboxes)"),
            ])
        let hour = UInt32(clamping: now.hour)
        let entry = TrailEntry(
            after: verifier.end ?? backup.trailEnd, hour: hour, isClockDoubted: true,
            kind: event.kind, content: event.content)
        let head = try TrailHead.entry(
            after: entry.end, hour: hour, isClockDoubted: true, identity: backup.keys.identity)
        try store.set(TrailKeeper.Setting.pending, to: entry.frame + head.frame)
        try store.set(TrailKeeper.Setting.end, to: head.end.encoded)

        (report.mailboxes, report.groups) = (store.mailboxCount, store.groupCount)
        report.messages =
            try Int.fetchOne(connection, sql: "SELECT count(*) FROM message") ?? 0
        return report
    }
}

extension TrailEntry {
    /// Where the trail ended when the backup was made that this entry says was put back.
    fileprivate var restoredEnd: UInt64? {
        guard kind == .restored || kind == .resumed else { return nil }
        return TrailEvent(self)?[TrailEvent.backupEnd].flatMap { UInt64($0) }
    }
}

extension TrailEvent {
    /// The name of the field that says so.
    fileprivate static let backupEnd = "backupEnd"
}

extension TrailFault {
    /// In words for the operator.
    public var words: String {
        switch self {
        case .headMissing(let first): "its beginning is missing: the first entry is \(first)"
        case .gap(let expected, let found):
            found > expected
                ? "entries \(expected) to \(found - 1) are missing"
                : "entry \(found) stands where \(expected) belongs"
        case .broken(let number): "entry \(number) doesn't continue the one before it"
        case .unreadable(let after): "what follows the first \(after) entries can't be read"
        case .signature(let number): "the head at entry \(number) isn't signed by this relay"
        case .receipt(let number): "the receipt in entry \(number) isn't this relay's"
        case .tailMissing(let next, let expected):
            "its end is missing: entries \(next) to \(expected - 1)"
        case .foreign(let next):
            "from entry \(next) on it isn't the trail that the database belongs to"
        case .headNotFound(let number): "the head \(number) that was kept elsewhere isn't in it"
        case .mirrorDiffers(let number): "the mirror differs from entry \(number) on"
        }
    }
}
