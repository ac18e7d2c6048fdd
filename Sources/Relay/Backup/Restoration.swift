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
        /// Entries of the trail since then; `nil` without a whole trail.
        public var trailEntries: UInt64?
        /// The latest hour that the trail tells of, since 1970-01-01 UTC.
        public var trailHour: UInt64?
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
        /// What of the messages and files can't be read any more, in words; `nil` if all can.
        public var gapWords: String?
        /// Admission tokens that end then or before are refused: Unix seconds; `nil` with a trail.
        public var tokenFloor: UInt64?
    }

    private let backup: BackupFile
    private let copies: Copies
    /// The whole trail; `nil` without one.
    private let trail: WholeTrail?
    private let reapplication: Reapplication
    private let trailHour: UInt64?
    private let tokenFloor: UInt64
    private let now: RelayTime

    // MARK: Doing it

    /// Restores into a folder that no relay runs on.
    ///
    /// - Parameter trailPath: a mirror of the trail, beside the folder's own.
    /// - Parameter ignoresTrail: goes on although the trail isn't whole: what can be read of it is
    ///   done again, and otherwise it is as if there were none.
    /// - Parameter tokensUntil: the latest end of an invitation handed out before, Unix seconds;
    ///   matters without a trail only. By default 31 days from now.
    /// - Throws: `.backup`, `.backupFile` without room, `.trail`, `.inUse`; the folder is as before.
    public static func restore(
        from path: String, into folderPath: String, trailPath: String? = nil,
        ignoresTrail: Bool = false, tokensUntil: UInt64? = nil
    ) throws(RelayError) -> Report {
        let backup = try BackupFile(path, isDeep: true)
        let folder = try DataFolder(path: folderPath)
        let lock = try folder.lock(for: .restore)
        defer { lock.release() }
        if let present = try? folder.existingKeys(),
            present.identity.publicKey != backup.relayKey
        {
            throw .backup("the folder belongs to another relay than the backup")
        }
        let restoration = try Restoration(
            backup, folder: folder, trailPath: trailPath, ignoresTrail: ignoresTrail,
            tokensUntil: tokensUntil)
        folder.removeLeftovers()
        // Nobody is served meanwhile, and what is replaced gives its room back.
        try RelayBackup.requireRoom(
            for: restoration.neededByteCount(), in: folder, leavingReserve: false)
        let report = try restoration.stage(at: folder.stagingPath)
        do throws(RelayError) {
            try restoration.putInPlace(folder)
        } catch {
            DataFolder.removeDatabase(folder.stagingPath)
            throw error
        }
        settle(folder)
        return report
    }

    /// Octets that are written before anything gives way to them: the database, and the trail where
    /// it has to be put together.
    private func neededByteCount() throws(RelayError) -> UInt64 {
        var sum = UInt64(max(0, backup.byteCount))
        guard let trail, !trail.isOwn else { return sum }
        for copy in [copies.own, copies.mirror] {
            for segment in try copy?.segments() ?? [] {
                sum += UInt64(OwnFile.byteCount(of: segment.path))
            }
        }
        return sum
    }

    /// Has the staged database, its keys and the trail take the others' places.
    private func putInPlace(_ folder: DataFolder) throws(RelayError) {
        try putTrailInPlace(folder)
        var keys = backup.keys
        if trail == nil {
            keys = DataFolder.Keys(identity: keys.identity, ticketKey: .random(count: 32))
        }
        try folder.install(keys)
        try folder.replaceDatabase(fault: RelayError.backupFile)
    }

    /// Does the same with copies in a folder of its own, which is removed, and reads everything back.
    ///
    /// - Parameter folderPath: whose trail is used, and where the copies are made for the while.
    public static func rehearse(
        from path: String, folderPath: String?, trailPath: String? = nil,
        ignoresTrail: Bool = false, tokensUntil: UInt64? = nil
    ) throws(RelayError) -> Report {
        let backup = try BackupFile(path, isDeep: true)
        let folder = try folderPath.map { path throws(RelayError) in
            try DataFolder(existing: path)
        }
        if let folder {
            _ = try folder.runningRelay()
            folder.removeRehearsals()
            try RelayBackup.requireRoom(for: UInt64(max(0, backup.byteCount)), in: folder)
        }
        let place = try makeRehearsalFolder(in: folder)
        defer {
            OwnFile.eraseFolder(place)
            try? UnfinishedFiles.finish(place)
        }
        try UnfinishedFiles.begin(place)
        let restoration = try Restoration(
            backup, folder: folder, trailPath: trailPath, ignoresTrail: ignoresTrail,
            tokensUntil: tokensUntil)
        return try restoration.stage(at: place + "/relay.sqlite")
    }

    /// Makes a folder for a rehearsal's copies, which the relay can remove if the process is killed.
    static func makeRehearsalFolder(in folder: DataFolder?) throws(RelayError) -> String {
        let parent = folder?.path ?? NSTemporaryDirectory()
        var template = Array(
            (parent + "/\(DataFolder.rehearsalPrefix)\(getpid()).XXXXXX").utf8CString)
        guard unsafe mkdtemp(&template) != nil else {
            throw .backupFile("no folder for the rehearsal can be made: \(DataFolder.reason())")
        }
        let place = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if folder != nil { OwnFile.hand(place, toOwnerOf: parent) }
        return place
    }

    // MARK: The trail

    /// Where the trail may stand.
    private struct Copies {
        /// The folder's own files.
        let own: TrailFolder?
        let mirror: TrailFolder?
        /// Entries that the folder's database has, and its files may lack.
        let pending: [TrailEntry]
        /// The end that the folder's database knows; `nil` if it knows none, or can't be read.
        let end: TrailEnd?

        static let (ownPlace, pendingPlace) = (0, 1)

        init(_ folder: DataFolder?, mirrorPath: String?) throws(RelayError) {
            mirror = mirrorPath.map { TrailFolder(path: $0, mayBeLink: true) }
            try mirror?.requireAnswer()
            // First the database: while a relay runs, its files are behind it, never ahead.
            let known = folder.flatMap { try? RelayDatabase.trail(path: $0.databasePath) }
            (end, pending) = known ?? (nil, [])
            own = folder.map { TrailFolder(path: $0.trailPath) }
            guard try mirror?.segments().isEmpty != true else {
                throw .notFound("there is no trail there")
            }
        }

        func readers() throws(RelayError) -> [TrailReader] {
            var readers = [TrailReader([]), TrailReader(pending)]
            if let own { readers[Self.ownPlace] = try TrailReader(own) }
            if let mirror { readers.append(try TrailReader(mirror)) }
            return readers
        }
    }

    /// What following a trail has shown that is whole, from all its copies together.
    private struct WholeTrail {
        let end: TrailEnd
        /// Whether the folder's own files have all of it but for `missing`.
        let isOwn: Bool
        /// What only the folder's database has, behind its files' end.
        let missing: [TrailEntry]
    }

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
        copies = try Copies(folder, mirrorPath: trailPath)
        var verifier = TrailVerifier(
            relayKey: backup.relayKey, ends: [backup.trailEnd, copies.end].compactMap { $0 })
        var reapplication = Reapplication(backupEnd: backup.trailEnd.next)
        var joined = JoinedTrail(try copies.readers())
        var (isOwn, missing, hour) = (true, [TrailEntry](), nil as UInt64?)
        while let link = try joined.take() {
            let entry = link.entry
            verifier.take(entry)
            if link.isDisputed { verifier.note(.mirrorDiffers(at: entry.sequence)) }
            if !link.holders.contains(Copies.ownPlace) {
                if link.holders.contains(Copies.pendingPlace) {
                    missing.append(entry)
                } else {
                    isOwn = false
                }
            }
            hour = max(hour ?? 0, UInt64(entry.hour))
            guard entry.sequence >= backup.trailEnd.next else { continue }
            if let end = entry.restoredEnd { reapplication.take(restoreTo: end) }
            guard let effects = seal.open(entry) else {
                verifier.note(.broken(at: entry.sequence))
                continue
            }
            // Without a whole trail, too, nothing is erased on anybody else's word.
            let isReceipt = entry.receipt(relayKey: backup.relayKey) != nil
            reapplication.take(effects, erasure: isReceipt ? entry.content : nil)
        }
        verifier.finish()
        self.reapplication = reapplication
        trailHour = hour
        // Nothing says that there ever was one, but perhaps the backup.
        let isNone = verifier.count == 0 && copies.end == nil
        guard !ignoresTrail, !isNone, let end = verifier.end else {
            if !ignoresTrail, !isNone { throw Self.refusal(verifier) }
            trail = nil
            return
        }
        guard verifier.faults.isEmpty else { throw Self.refusal(verifier) }
        trail = WholeTrail(
            end: end, isOwn: isOwn && !joined.isDamaged(Copies.ownPlace), missing: missing)
    }

    private static func refusal(_ verifier: TrailVerifier) -> RelayError {
        .trail(
            """
            it can't be used for a restore: \(verifier.faults.first?.words ?? "it is missing"). \
            What was erased then would come back; name a mirror that has it with --trail, or go on \
            without with --without-trail
            """)
    }

    /// Appends what the restore has added to the trail; if that fails, the next start does it.
    private static func settle(_ folder: DataFolder) {
        guard let keys = try? folder.existingKeys() else { return }
        do {
            let database = try RelayDatabase(path: folder.databasePath)
            try database.queue.writeWithoutTransaction { database in
                _ = try TrailKeeper(
                    path: folder.trailPath, mirrorPath: nil, store: SQLiteStore(database),
                    identity: keys.identity)
            }
            try database.close()
        } catch {
            // The store has it, and no relay serves before the trail has it too.
        }
    }

    /// Makes the folder's trail the one that was followed. What it was is put aside.
    private func putTrailInPlace(_ folder: DataFolder) throws(RelayError) {
        if let trail, trail.isOwn { return }
        let manager = FileManager.default
        let own = folder.trailPath
        let new = own + ".new"
        OwnFile.eraseFolder(new)
        if let trail { try write(trail, to: new, folder) }
        do {
            if manager.fileExists(atPath: own) {
                try manager.moveItem(atPath: own, toPath: Self.freeName(own, at: now))
            }
            if trail != nil { try manager.moveItem(atPath: new, toPath: own) }
        } catch {
            throw .trail("the trail can't be put in its place")
        }
        try folder.syncFolder()
    }

    /// Writes the whole trail, in files that begin where those of its copies do, so that the mirror
    /// goes on following it.
    private func write(
        _ trail: WholeTrail, to path: String, _ folder: DataFolder
    ) throws(RelayError) {
        guard unsafe mkdir(path, 0o700) == 0 else {
            throw .trail("its folder can't be made")
        }
        OwnFile.hand(path, toOwnerOf: folder.path)
        let target = TrailFolder(path: path)
        var starts: Set<UInt64> = []
        for copy in [copies.own, copies.mirror] {
            starts.formUnion(try copy?.segments().map(\.first) ?? [])
        }
        var joined = JoinedTrail(try copies.readers())
        var (first, octets, end) = (0 as UInt64, [UInt8](), nil as TrailEnd?)
        while let link = try joined.take(), link.entry.sequence < trail.end.next {
            if octets.isEmpty || starts.contains(link.entry.sequence) {
                if !octets.isEmpty {
                    try folder.writeDurably(octets, to: target.segment(first: first).path)
                }
                (first, octets) = (link.entry.sequence, TrailFolder.magic)
            }
            octets += link.entry.frame
            end = link.entry.end
        }
        guard end == trail.end else { throw .trail("it has changed meanwhile; try again") }
        try folder.writeDurably(octets, to: target.segment(first: first).path)
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
        var (report, gapWords) = try BackupFile.copy(
            DatabaseQueue(path: backup.path), to: path, fault: RelayError.backupFile
        ) { connection in
            try connection.execute(sql: "DROP TABLE backup")
            let store = try SQLiteStore(connection)
            return try store.inTransaction { try change(store, connection) }
        }
        report.gapWords = gapWords
        return report
    }

    private func change(_ store: SQLiteStore, _ connection: Database) throws -> Report {
        var report = Report(backupHour: backup.hour)
        let again = try reapplication.apply(to: store)
        (report.groupsErased, report.mailboxesErased) = (again.groups, again.mailboxes)
        (report.groupsClosed, report.confirmations) = (again.closed, again.confirmed)
        (report.packagesRemoved, report.tokensSpent) = (again.packages, again.spent)
        report.trailHour = trailHour
        if let trail {
            report.trailEntries = trail.end.next - backup.trailEnd.next
        } else {
            report.packagesRemoved = try store.emptyShelves()
            report.tokenFloor = tokenFloor
            try store.set(SQLiteStore.SettingRow.tokenFloor, to: tokenFloor.bigEndianOctets)
        }
        let incarnation = Random.bytes(ProtocolConstants.incarnationByteCount)
        try store.set(SQLiteStore.SettingRow.incarnation, to: incarnation)
        try store.set(SQLiteStore.SettingRow.deliveryKey, to: Random.bytes(32))
        try store.set(TrailKeeper.SettingRow.lastBackup, to: backup.hour.bigEndianOctets)
        try store.set(TrailKeeper.SettingRow.unnamedBackup, to: [])
        // What follows reads everything back, as a rehearsal does.
        try store.set(TrailKeeper.SettingRow.lastRehearsal, to: now.hour.bigEndianOctets)

        let event = TrailEvent(
            trail == nil ? .resumed : .restored,
            [
                ("user", Peer.name(of: getuid())), ("backupHour", "\(backup.hour)"),
                (TrailEvent.backupEnd, "\(backup.trailEnd.next)"),
                ("groupsErased", "\(again.groups)"), ("mailboxesErased", "\(again.mailboxes)"),
            ])
        let hour = UInt32(clamping: now.hour)
        let entry = TrailEntry(
            after: trail?.end ?? backup.trailEnd, hour: hour, isClockDoubted: true,
            kind: event.kind, content: event.content)
        let head = try TrailHead.entry(
            after: entry.end, hour: hour, isClockDoubted: true, identity: backup.keys.identity)
        let missing = trail.map { $0.isOwn ? $0.missing : [] } ?? []
        try store.set(
            TrailKeeper.SettingRow.pending, to: (missing + [entry, head]).flatMap(\.frame))
        try store.set(TrailKeeper.SettingRow.end, to: head.end.encoded)

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
        case .endUnknown:
            "the database can't be asked where it ends, so a missing end wouldn't be seen"
        case .headNotFound(let number): "the head \(number) that was kept elsewhere isn't in it"
        case .mirrorDiffers(let number): "the mirror differs from entry \(number) on"
        }
    }
}
