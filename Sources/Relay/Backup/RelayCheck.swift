import Foundation
import GRDB
import RelayCore
import RelayProtocol

/// What an auditor, or a monitor, asks of a relay: is everything as it should be?
public struct RelayCheck: Sendable {
    /// How a point stands.
    public enum Standing: String, Codable, Comparable, Sendable {
        /// As it should be.
        case good
        /// Somebody should look after it.
        case attention
        /// Something is damaged or missing.
        case bad

        /// From good to bad.
        public static func < (left: Self, right: Self) -> Bool { left.rank < right.rank }
        private var rank: Int { [.good: 0, .attention: 1, .bad: 2][self] ?? 2 }
    }

    /// One line of the answer.
    public struct Point: Equatable, Sendable {
        /// What was looked at.
        public let name: String
        /// How it stands.
        public let standing: Standing
        /// In words.
        public let words: String
    }

    /// After how long something needs attention.
    public struct Expectations: Sendable {
        /// Hours since the last backup.
        public var backupHours: UInt64 = 26
        /// Days since the last rehearsed restore.
        public var rehearsalDays: UInt64 = 92
        /// Days until the certificate ends.
        public var certificateDays = 14
        /// A mirror of the trail to be compared.
        public var mirrorPath: String?
        /// A certificate to be looked at, if no relay runs that names its own.
        public var certificatePath: String?

        /// The defaults.
        public init() {}
    }

    /// What was looked at.
    public let points: [Point]
    /// The limits in force, if a relay runs.
    public let limits: [String]
    /// The worst of all points.
    public var standing: Standing { points.map(\.standing).max() ?? .good }

    /// Looks at a data folder, and asks the relay that runs on it.
    ///
    /// - Throws: `.notFound` if there is no relay's folder, `.newerDatabase`, `.inUse` while a command
    ///   has the folder.
    public init(folder path: String, _ expected: Expectations = .init()) throws(RelayError) {
        let folder = try DataFolder(existing: path)
        let isRunning = try folder.runningRelay() != nil
        try RelayDatabase.requireKnownSchema(of: folder)
        var list = PointList()
        let now = SystemClock().now
        var live: LiveStatus?
        if isRunning {
            do throws(RelayError) {
                live = try RelayStatus.ask(folder)
                list.add("relay", .good, "runs, version \(live?.version ?? "unknown")")
            } catch {
                list.add("relay", .bad, "runs, but doesn't answer")
            }
        } else {
            list.add("relay", .attention, "doesn't run")
        }
        list.addVersion(live)
        list.addStore(folder, isRunning: isRunning)
        let mark = list.addTrail(folder, expected.mirrorPath ?? live?.trailMirror, live)
        do throws(RelayError) {
            let marks = try RelayDatabase.marks(path: folder.databasePath)
            list.addAges(marks, expected, now)
            list.addClock(mark ?? marks.clock, live, now)
        } catch {
            list.add("backup", .bad, "the store can't be read")
        }
        list.addCertificate(live?.certificatePath ?? expected.certificatePath, live, expected)
        list.addDisk(folder, live)
        list.addLeftovers(folder, isRunning: isRunning)
        points = list.points
        limits = live?.limits ?? []
    }
}

/// Points in the making.
private struct PointList {
    var points: [RelayCheck.Point] = []

    mutating func add(_ name: String, _ standing: RelayCheck.Standing, _ words: String) {
        points.append(RelayCheck.Point(name: name, standing: standing, words: words))
    }

    mutating func addVersion(_ live: LiveStatus?) {
        guard let live, live.version != RelayVersion.current else {
            return add("version", .good, RelayVersion.current)
        }
        add(
            "version", .attention,
            "the relay runs \(live.version), this program is \(RelayVersion.current)")
    }

    /// On a running relay in small pieces, so that no erasure has to wait for this reader.
    mutating func addStore(_ folder: DataFolder, isRunning: Bool) {
        do {
            let queue = try RelayDatabase.open(folder.databasePath, readonly: true)
            defer { try? queue.close() }
            let found = try queue.inDatabase { database in
                if !isRunning,
                    try String.fetchOne(database, sql: "PRAGMA integrity_check(1)") != "ok"
                {
                    return Inspection(problems: ["SQLite finds it damaged"])
                }
                guard try Schema.migrator.hasCompletedMigrations(database) else {
                    throw RelayError.olderDatabase
                }
                return try Self.inspect(database, isRunning: isRunning)
            }
            add(
                "store", found.isEmpty ? .good : .bad,
                found.problems.first ?? found.gapWords
                    ?? (isRunning ? "every record and message reads well" : "whole and readable"))
        } catch RelayError.olderDatabase {
            add("store", .attention, "of an earlier version; this one lifts it when it starts")
        } catch RelayError.dataFolder(let words) {
            add("store", .bad, words)
        } catch {
            switch StoreError(error) {
            case .full: add("store", .bad, "there is no room to look at it")
            case .failed(let words), .corrupt(let words): add("store", .bad, words)
            case .takenAway: add("store", .bad, "the database was taken away")
            }
        }
    }

    /// While a relay runs, records can change between two looks at them: what is really damaged is
    /// so each time.
    private static func inspect(_ database: Database, isRunning: Bool) throws -> Inspection {
        var tries = isRunning ? 3 : 1
        var gaps: Set<Inspection.Gap>?
        while true {
            tries -= 1
            do {
                // Nobody is waited for: the relay gets its turn to empty the log.
                var found = try SQLiteStore(database).inspect(isDeep: !isRunning) {
                    usleep(1_000)
                }
                found.gaps.formIntersection(gaps ?? found.gaps)
                if found.isEmpty || tries == 0 { return found }
                gaps = found.gaps
            } catch let error as StoreError {
                guard case .corrupt = error, tries > 0 else { throw error }
            }
        }
    }

    /// The last hour of which the trail is sure.
    mutating func addTrail(
        _ folder: DataFolder, _ mirror: String?, _ live: LiveStatus?
    ) -> UInt64? {
        for trouble in live?.troubles ?? [] { add("trail", .attention, trouble) }
        let trouble = mirror.flatMap { Self.trouble(withMirror: $0) }
        if let trouble { add("trail", .attention, trouble) }
        do throws(RelayError) {
            let audit = try TrailAudit(
                folder: folder.path, mirrorPath: trouble == nil ? mirror : nil, last: 2_000)
            if let fault = audit.verifier.faults.first {
                let more = audit.verifier.faults.count - 1
                add("trail", .bad, fault.words + (more > 0 ? ", and \(more) more" : ""))
            } else if audit.mirrorMissing > 0 {
                add(
                    "trail", .attention,
                    """
                    \(audit.verifier.count) entries, whole; its mirror lacks the last \
                    \(audit.mirrorMissing)
                    """)
            } else {
                let ofMirror =
                    mirror == nil ? "; no mirror" : trouble == nil ? ", as its mirror is" : ""
                add("trail", .good, "\(audit.verifier.count) entries, whole\(ofMirror)")
            }
            return audit.entries.latestTrustedHour.map(UInt64.init)
        } catch {
            switch error {
            case .trail(let words), .notFound(let words): add("trail", .bad, words)
            default: add("trail", .bad, "it can't be read")
            }
            return nil
        }
    }

    /// Why the trail is looked at without its mirror: what isn't there says nothing against the trail.
    private static func trouble(withMirror path: String) -> String? {
        let mirror = TrailFolder(path: path, mayBeLink: true)
        guard mirror.answers else { return "the mirror doesn't answer" }
        guard let segments = try? mirror.segments(), !segments.isEmpty else {
            return "there is no mirror there; perhaps its disk isn't mounted"
        }
        return nil
    }

    mutating func addAges(
        _ marks: RelayDatabase.Marks, _ expected: RelayCheck.Expectations, _ now: RelayTime
    ) {
        func age(_ hour: UInt64) -> UInt64 { now.hour > hour ? now.hour - hour : 0 }
        if let hour = marks.lastBackup {
            let hours = age(hour)
            add(
                "backup", hours > expected.backupHours ? .attention : .good,
                "the last one is \(hours) h old")
        } else {
            add("backup", .attention, "none was ever made")
        }
        if let hour = marks.lastRehearsal {
            let days = age(hour) / 24
            add(
                "rehearsal", days > expected.rehearsalDays ? .attention : .good,
                "a restore was last rehearsed \(days) days ago")
        } else {
            add("rehearsal", .attention, "no restore was ever rehearsed")
        }
    }

    mutating func addClock(_ mark: UInt64?, _ live: LiveStatus?, _ now: RelayTime) {
        if live?.isClockDoubted == true {
            return add(
                "clock", .attention,
                "erasure by deadline is paused; start with --accept-clock when it is right")
        }
        guard let mark else { return add("clock", .good, "nothing to compare it with yet") }
        if now.hour + 1 < mark {
            add("clock", .attention, "\(mark - now.hour) h behind the trail's last entry")
        } else if now.hour > mark + 24 {
            add(
                "clock", live == nil ? .attention : .good,
                "\(now.hour - mark) h past the trail's last sure entry")
        } else {
            add("clock", .good, "goes with the trail")
        }
    }

    mutating func addCertificate(
        _ path: String?, _ live: LiveStatus?, _ expected: RelayCheck.Expectations
    ) {
        guard let path else {
            return add(
                "certificate", .good,
                live == nil ? "not looked at: no relay runs that names one" : "none; plain ws")
        }
        let file = CertificateFile(path)
        // The relay serves what it has read, whatever its file holds by now.
        let expiry = live?.certificateExpiry.map { Date(timeIntervalSince1970: $0) } ?? file?.expiry
        guard let expiry else { return add("certificate", .bad, "it can't be read") }
        let seconds = expiry.timeIntervalSinceNow
        let days = Int(seconds / 86_400)
        var words = "good for \(days) more days"
        if let hash = live?.certificateHash, hash != file?.hash {
            words +=
                file == nil
                ? "; its file can't be read"
                : "; its file holds another one that isn't in force yet"
        } else if days >= expected.certificateDays {
            return add("certificate", .good, words)
        }
        add(
            "certificate", seconds <= 0 ? .bad : .attention,
            seconds <= 0 ? "it has expired" : words)
    }

    mutating func addDisk(_ folder: DataFolder, _ live: LiveStatus?) {
        guard let space = folder.space else {
            return add("disk", .attention, "the free space can't be read")
        }
        let words = "\(space.free >> 20) MiB free of \(space.total >> 20)"
        if live?.isFull == true {
            add("disk", .bad, words + "; what would grow is refused")
        } else {
            let isLow = space.free < space.blobReserve
            add("disk", isLow ? .attention : .good, words + (isLow ? "; no room for files" : ""))
        }
    }

    /// What is erased stays in a copy.
    mutating func addLeftovers(_ folder: DataFolder, isRunning: Bool) {
        let names = folder.leftovers
        guard !names.isEmpty else {
            return add("leftovers", .good, "no copy of the database was left behind")
        }
        add(
            "leftovers", .attention,
            "left by commands that were killed: \(names.joined(separator: ", ")); "
                + (isRunning
                    ? "the relay removes them within an hour" : "the next start removes them"))
    }
}
