import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

/// A relay's decisions over a whole data folder, its trail included.
private struct FolderWorld {
    let folder: TemporaryFolder
    let clinic: SigningKey
    let mirror: String?
    var path: String { folder.file("data") }

    init(mirrored: Bool = false) throws {
        folder = try TemporaryFolder()
        clinic = try SigningKey()
        mirror = mirrored ? folder.file("mirror") : nil
        _ = try DataFolder(path: path).keys()
    }

    /// Opens everything as a start of the relay does, runs `body`, and closes it again.
    func run<Result>(
        at time: RelayTime? = nil, unwrittenLimit: Int = 1 << 20,
        _ body: (RelayWorld, SQLiteStore, TrailKeeper) throws -> Result
    ) throws -> Result {
        let folder = try DataFolder(path: path)
        let lock = try folder.lock()
        defer { lock.release() }
        let keys = try folder.keys(holding: lock)
        let database = try RelayDatabase(path: folder.databasePath)
        let identity = try RelayServer.identity(keys, database, clinic.publicKey)
        let result = try database.queue.writeWithoutTransaction { database in
            let store = try SQLiteStore(database)
            let trail = try TrailKeeper(
                path: folder.trailPath, mirrorPath: mirror, store: store, identity: keys.identity,
                unwrittenLimit: unwrittenLimit)
            var now = time ?? RelayTime(unixSeconds: 20_000 * 86_400, monotonicMilliseconds: 1_000)
            let world = try RelayWorld(store: store, clinic: clinic, relay: identity) { body in
                try store.begin()
                do {
                    try body()
                    try trail.prepare(
                        store, counters: RelayCounters(), isClockDoubted: false, at: now)
                    try store.commit()
                    try trail.publish()
                } catch {
                    store.rollback()
                    throw error
                }
            }
            if let time { world.now = time }
            now = world.now
            let result = try body(world, store, trail)
            _ = try store.forgetLog()
            return result
        }
        try database.queue.close()
        return result
    }

    func end(_ talk: TestConsultation) throws {
        try talk.patient.ask(talk.closing())
        try talk.patient.ask(.confirm(talk.group))
        guard case .erased = try talk.doctor.ask(.confirm(talk.group)) else {
            throw RelayWorld.Problem.noReply
        }
    }

    func faults(heads: [TrailHead] = [], mirror: String? = nil) throws -> [TrailFault] {
        try TrailAudit(folder: path, mirrorPath: mirror, heads: heads).verifier.faults
    }

    /// How often octets occur in the files of a folder, the trail's sealed parts and all.
    func count(of needle: [UInt8], in path: String) throws -> Int {
        let names = try FileManager.default.subpathsOfDirectory(atPath: path)
        return names.reduce(0) { sum, name in
            let content = FileManager.default.contents(atPath: path + "/" + name) ?? Data()
            return sum + (content.range(of: Data(needle)) == nil ? 0 : 1)
        }
    }
}

@Suite struct `A restore of an older backup` {
    @Test func `brings nothing back that was erased, spent or claimed since`() throws {
        let place = try FolderWorld(mirrored: true)
        let backup = place.folder.file("backup")
        let erased: TestConsultation
        let kept: TestConsultation
        var erasedBody = Random.bytes(300)
        let keptBody = Random.bytes(300)
        let token: [UInt8]
        let spareTicket: [UInt8]
        let claimed: [UInt8]
        let before: (incarnation: [UInt8], time: RelayTime)

        (erased, kept, before) = try place.run { world, _, _ in
            let erased = try TestConsultation(world)
            let kept = try TestConsultation(world)
            try kept.doctorHome.ask(
                .stockShelf(ShelfStock(packages: [[1], [2]], lastResort: [3])))
            try erased.doctorHome.ask(
                .stockShelf(ShelfStock(packages: [[7], [8]], lastResort: [9])))
            try erased.send(erasedBody, from: erased.patient)
            try kept.send(keptBody, from: kept.patient)
            return (erased, kept, (world.relay.incarnation, world.now))
        }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        let shared = erased.group.bytes
        #expect(try place.count(of: shared, in: place.path) > 0, "the search finds nothing")

        (token, spareTicket, claimed) = try place.run(at: before.time) { world, _, _ in
            let line = try world.connect()
            for mailbox in [erased.patient, erased.doctor, kept.patient, kept.doctorHome] {
                mailbox.counter += 10
                try line.open(mailbox)
            }
            erased.doctorHome.counter += 10
            try line.open(erased.doctorHome)
            guard
                case .keyPackage(let package, false) = try kept.patient.ask(
                    .claimKeyPackage(shelf: kept.doctorHome.id)),
                case .tickets(let tickets) = try kept.doctorHome.ask(.drawTickets(count: 2))
            else { throw RelayWorld.Problem.noReply }
            // One ticket is spent, one kept.
            try line.open(
                TestMailbox(),
                creation: .fresh(ticket: tickets[0], permitHash: nil, permitUses: 0))
            let token = try world.token()
            try line.open(TestMailbox(), creation: .home(admissionToken: token))
            // A shelf that its owner withdrew.
            try erased.doctorHome.ask(.stockShelf(ShelfStock(packages: [], withdraw: true)))
            try place.end(erased)
            return (token, tickets[0], package)
        }
        #expect(claimed == [1])
        #expect(try place.faults(mirror: place.mirror) == [])

        // The disk is lost; backup and mirror are elsewhere.
        try FileManager.default.removeItem(atPath: place.path)
        let report = try Restoration.restore(
            from: backup, into: place.path, trailPath: place.mirror)
        #expect(report.groupsErased == 1)
        #expect(report.mailboxesErased == 2)
        #expect(report.packagesRemoved == 4)
        #expect(report.tokensSpent == 2)
        #expect(report.groups == 1)
        #expect(try place.faults() == [])
        for needle in [shared, erased.patient.id.bytes, erased.doctor.id.bytes] {
            #expect(try place.count(of: needle, in: place.path) == 0)
        }
        erasedBody = []

        try place.run(at: before.time) { world, store, _ in
            #expect(world.relay.incarnation != before.incarnation)
            let line = try world.connect()
            // Whoever comes late learns of the erasure.
            guard case .erased = try line.open(erased.patient) else {
                Issue.record("the erased mailbox is back")
                return
            }
            // What was accepted before the backup is all there.
            kept.doctor.counter += 10
            try line.open(kept.doctor)
            let drained = try line.drain()
            #expect(drained.contains { $0.content.suffix(300) == keptBody[...] })
            // Spent is spent, claimed is claimed, withdrawn is withdrawn.
            #expect(
                try line.open(TestMailbox(), creation: .home(admissionToken: token))
                    == .refused(.token, retryAfterSeconds: 0))
            #expect(
                try line.open(
                    TestMailbox(),
                    creation: .fresh(ticket: spareTicket, permitHash: nil, permitUses: 0))
                    == .refused(.ticket, retryAfterSeconds: 0))
            #expect(
                try kept.doctor.ask(.claimKeyPackage(shelf: kept.doctorHome.id))
                    == .keyPackage(sealed: [2], lastResort: false))
            #expect(
                try kept.doctor.ask(.claimKeyPackage(shelf: erased.doctorHome.id))
                    == .refused(.shelfEmpty, retryAfterSeconds: 0))
            try store.begin()
            #expect(try store.inspect() == [])
            try store.commit()
        }
    }

    @Test(arguments: [false, true])
    func `closes again what was closed, and gives a confirmed owner nothing`(
        isConfirmed: Bool
    ) throws {
        let place = try FolderWorld()
        let backup = place.folder.file("backup")
        let toPatient = Random.bytes(300)
        let toDoctor = Random.bytes(300)
        let (talk, time) = try place.run { world, _, _ in
            let talk = try TestConsultation(world)
            try talk.send(toPatient, from: talk.doctor)
            try talk.send(toDoctor, from: talk.patient)
            return (talk, world.now)
        }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try place.run(at: time) { world, _, _ in
            let line = try world.connect()
            try line.open(talk.patient)
            try talk.patient.ask(talk.closing())
            if isConfirmed { try talk.patient.ask(.confirm(talk.group)) }
        }
        let report = try Restoration.restore(from: backup, into: place.path)
        #expect(report.groupsClosed == 1)
        #expect(report.confirmations == (isConfirmed ? 1 : 0))
        #expect(try place.faults() == [])
        try place.run(at: time) { world, store, _ in
            let record = try #require(try store.group(talk.group)).1
            #expect(record.isClosed)
            #expect(record.deadline == time.day.adding(days: ProtocolConstants.closingDays))
            func gets(_ body: [UInt8], _ mailbox: TestMailbox) throws -> Bool {
                let line = try world.connect()
                mailbox.counter += 10
                try line.open(mailbox)
                return try line.drain().contains { $0.content.suffix(300) == body[...] }
            }
            #expect(try gets(toPatient, talk.patient) == !isConfirmed)
            #expect(try gets(toDoctor, talk.doctor))
            try store.begin()
            #expect(try store.inspect() == [])
            try store.commit()
            // The other owner's confirmation is the last one.
            if !isConfirmed { try talk.patient.ask(.confirm(talk.group)) }
            guard case .erased = try talk.doctor.ask(.confirm(talk.group)) else {
                Issue.record("the consultation isn't erased")
                return
            }
        }
    }

    @Test func `never overwrites a trail that another one has put aside`() throws {
        let place = try FolderWorld()
        let backup = place.folder.file("backup")
        _ = try place.run { world, _, _ in try TestConsultation(world) }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        let manager = FileManager.default
        let hour = SystemClock().now.hour
        let asides = [hour, hour + 1].map { place.path + "/trail.before-\($0)" }
        for path in asides {
            try manager.createDirectory(atPath: path, withIntermediateDirectories: true)
            try Data([1]).write(to: URL(fileURLWithPath: path + "/evidence"))
        }
        for _ in 0..<2 {
            _ = try Restoration.restore(from: backup, into: place.path, ignoresTrail: true)
        }
        for path in asides {
            #expect(manager.contents(atPath: path + "/evidence") == Data([1]))
        }
        let names = try manager.contentsOfDirectory(atPath: place.path)
        #expect(names.count { $0.hasPrefix("trail.before-") } == 4)
    }

    @Test func `over a stopped relay's folder uses the folder's own trail`() throws {
        let place = try FolderWorld()
        let backup = place.folder.file("backup")
        let (talk, time) = try place.run { world, _, _ in (try TestConsultation(world), world.now) }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try place.run(at: time) { world, _, _ in
            let line = try world.connect()
            try line.open(talk.patient)
            try line.open(talk.doctor)
            try place.end(talk)
        }
        let report = try Restoration.restore(from: backup, into: place.path)
        #expect(report.groupsErased == 1)
        #expect(try place.count(of: talk.group.bytes, in: place.path) == 0)
        #expect(try place.faults() == [])
        // Twice is as good as once.
        #expect(try Restoration.restore(from: backup, into: place.path).groupsErased == 1)
        #expect(try place.faults() == [])
    }

    @Test func `without a trail empties shelves and refuses old tokens and tickets`() throws {
        let place = try FolderWorld()
        let backup = place.folder.file("backup")
        let (talk, token, ticket, time) = try place.run { world, _, _ in
            let talk = try TestConsultation(world)
            try talk.doctorHome.ask(.stockShelf(ShelfStock(packages: [[1]], lastResort: [3])))
            guard case .tickets(let tickets) = try talk.doctorHome.ask(.drawTickets(count: 1))
            else { throw RelayWorld.Problem.noReply }
            return (talk, try world.token(), tickets[0], world.now)
        }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try FileManager.default.removeItem(atPath: place.path)
        let report = try Restoration.restore(
            from: backup, into: place.path, tokensUntil: time.unixSeconds + 7_200)
        #expect(report.trailEntries == nil)
        try place.run(at: time) { world, _, _ in
            let line = try world.connect()
            talk.doctor.counter += 10
            try line.open(talk.doctor)
            #expect(
                try talk.doctor.ask(.claimKeyPackage(shelf: talk.doctorHome.id))
                    == .refused(.shelfEmpty, retryAfterSeconds: 0))
            #expect(
                try line.open(TestMailbox(), creation: .home(admissionToken: token))
                    == .refused(.token, retryAfterSeconds: 0))
            #expect(
                try line.open(
                    TestMailbox(),
                    creation: .fresh(ticket: ticket, permitHash: nil, permitUses: 0))
                    == .refused(.ticket, retryAfterSeconds: 0))
            // An invitation made afterwards, which ends later, is taken.
            let new = try world.token(expires: time.unixSeconds + 7_201)
            guard
                case .opened = try line.open(
                    TestMailbox(), creation: .home(admissionToken: new))
            else {
                Issue.record("a new invitation is refused")
                return
            }
        }
        let audit = try TrailAudit(folder: place.path)
        #expect(audit.verifier.faults == [])
        #expect(audit.verifier.resumedAt != nil)
    }

    @Test func `a rehearsal changes nothing`() throws {
        let place = try FolderWorld()
        let backup = place.folder.file("backup")
        _ = try place.run { world, _, _ in try TestConsultation(world) }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        let before = try FileManager.default.subpathsOfDirectory(atPath: place.path).sorted()
        let database = FileManager.default.contents(atPath: place.path + "/relay.sqlite")
        let report = try Restoration.rehearse(from: backup, folderPath: place.path)
        #expect(report.groups == 1)
        #expect(try FileManager.default.subpathsOfDirectory(atPath: place.path).sorted() == before)
        #expect(FileManager.default.contents(atPath: place.path + "/relay.sqlite") == database)
        try RelayBackup.noteRehearsal(folder: place.path, passed: true)
        let points = try RelayCheck(folder: place.path).points
        #expect(points.first { $0.name == "rehearsal" }?.standing == .good)
        #expect(points.first { $0.name == "backup" }?.standing == .good)
        #expect(points.first { $0.name == "store" }?.standing == .good)
        #expect(points.first { $0.name == "trail" }?.standing == .good)
    }

    @Test func `damaged or foreign backups and trails are refused, and nothing changes`() throws {
        let place = try FolderWorld()
        let other = try FolderWorld()
        let backup = place.folder.file("backup")
        _ = try place.run { world, _, _ in try TestConsultation(world) }
        _ = try other.run { world, _, _ in try TestConsultation(world) }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        #expect(throws: RelayError.backupFile("there is a file of that name")) {
            try RelayBackup.make(folder: place.path, to: backup)
        }
        #expect(throws: RelayError.self) {
            try Restoration.restore(from: backup, into: other.path)
        }
        #expect(throws: RelayError.self) {
            try Restoration.restore(
                from: backup, into: place.folder.file("new"), trailPath: other.path + "/trail")
        }
        let whole = try #require(FileManager.default.contents(atPath: backup))
        var random = SeededGenerator(seed: 3)
        for _ in 0..<12 {
            var bad = whole
            if Bool.random(using: &random) {
                bad = bad.prefix(Int.random(in: 0..<bad.count, using: &random))
            } else {
                // Inside of the slots' pages, where a flipped bit is no longer a record.
                for place in 0..<64 { bad[bad.count / 2 + place * 61] ^= 0x55 }
            }
            let path = place.folder.file("bad")
            try bad.write(to: URL(fileURLWithPath: path))
            _ = try? Restoration.rehearse(from: path, folderPath: place.path)
        }
        // The trail's own damage is told, not passed over.
        let file = try #require(TrailFolder(path: place.path + "/trail").segments().last).path
        var trail = try #require(FileManager.default.contents(atPath: file))
        trail[60] ^= 1
        try trail.write(to: URL(fileURLWithPath: file))
        #expect(throws: RelayError.self) {
            try Restoration.restore(from: backup, into: place.path)
        }
        _ = try Restoration.restore(from: backup, into: place.path, ignoresTrail: true)
    }
}

@Suite struct `Store and trail` {
    @Test func `a crash between commit and trail loses no entry`() throws {
        let place = try FolderWorld()
        let trailPath = place.path + "/trail"
        try place.run { world, _, _ in _ = try TestConsultation(world) }
        let whole = try TrailAudit(folder: place.path, last: 1_000)
        #expect(whole.verifier.faults == [])
        // The last batch's entries never reached the file.
        let file = try #require(TrailFolder(path: trailPath).segments().last).path
        let content = try #require(FileManager.default.contents(atPath: file))
        let last = try #require(whole.entries.last)
        try content.dropLast(last.frame.count).write(to: URL(fileURLWithPath: file))
        #expect(try !place.faults().isEmpty)
        try place.run { _, _, trail in #expect(trail.warnings == []) }
        #expect(try place.faults() == [])
        let again = try TrailAudit(folder: place.path, last: 1_000)
        #expect(again.entries.contains(last))
    }

    @Test func `a database put back without a restore isn't served`() throws {
        let place = try FolderWorld()
        try place.run { world, _, _ in _ = try TestConsultation(world) }
        let old = try #require(
            FileManager.default.contents(atPath: place.path + "/relay.sqlite"))
        try place.run { world, _, _ in _ = try TestConsultation(world) }
        try old.write(to: URL(fileURLWithPath: place.path + "/relay.sqlite"))
        #expect(throws: RelayError.self) { try place.run { _, _, _ in } }
    }

    @Test func `a trail that lost confirmed entries is told, at the start and by every audit`()
        throws
    {
        let place = try FolderWorld()
        try place.run { world, _, _ in
            for _ in 0..<3 { _ = try TestConsultation(world) }
        }
        let file = try #require(TrailFolder(path: place.path + "/trail").segments().last).path
        let entries = try TrailAudit(folder: place.path, last: 1_000).entries
        let kept = TrailFolder.magic + entries.dropLast(4).flatMap(\.frame)
        try Data(kept).write(to: URL(fileURLWithPath: file))
        try place.run { world, _, trail in
            #expect(!trail.warnings.isEmpty)
            _ = try TestConsultation(world)
        }
        #expect(try !place.faults().isEmpty)
    }

    @Test func `a mirror that goes on behind the trail's end is told`() throws {
        let place = try FolderWorld(mirrored: true)
        let mirror = try #require(place.mirror)
        let file = place.path + "/trail/" + TrailFolder.name(first: 0)
        try place.run { world, _, _ in _ = try TestConsultation(world) }
        #expect(try place.faults(mirror: mirror) == [])
        let trail = try #require(FileManager.default.contents(atPath: file))
        let entries = try TrailAudit(folder: place.path, last: 100).entries
        let last = try #require(entries.last)
        try trail.dropLast(last.frame.count).write(to: URL(fileURLWithPath: file))
        #expect(
            try place.faults(mirror: mirror).contains(
                .tailMissing(next: last.sequence, expected: last.sequence + 1)))
        // So does one that has whole segments more.
        try trail.write(to: URL(fileURLWithPath: file))
        let next = TrailEntry(after: last.end, hour: 1, isClockDoubted: false, kind: .stopped)
        try Data(TrailFolder.magic + next.frame).write(
            to: URL(fileURLWithPath: mirror + "/" + TrailFolder.name(first: next.sequence)))
        #expect(
            try place.faults(mirror: mirror).contains { fault in
                if case .tailMissing = fault { true } else { false }
            })
    }

    @Test func `a damaged entry is kept as it is, and told by the relay, check and audit`() throws {
        let place = try FolderWorld()
        for _ in 0..<3 { try place.run { world, _, _ in _ = try TestConsultation(world) } }
        let file = try #require(TrailFolder(path: place.path + "/trail").segments().last).path
        var octets = try #require(FileManager.default.contents(atPath: file))
        octets[150] ^= 1
        try octets.write(to: URL(fileURLWithPath: file))
        try place.run { world, _, trail in
            #expect(trail.troubles.count == 1)
            _ = try TestConsultation(world)
        }
        let after = try #require(FileManager.default.contents(atPath: file))
        #expect(after.starts(with: octets))
        let faults = try place.faults()
        #expect(faults.contains { if case .unreadable = $0 { true } else { false } })
        // Nothing else is wrong with the chain.
        #expect(faults.count == 2)
        let points = try RelayCheck(folder: place.path).points
        #expect(points.contains { $0.name == "trail" && $0.standing == .bad })
    }

    @Test func `no entry joins two mailboxes that one batch concerned`() throws {
        let place = try FolderWorld()
        try place.run { world, _, _ in
            let line = try world.connect()
            let home = try line.makeHome()
            let other = try line.makeHome()
            let fresh = try line.makeFresh(from: home)
            try other.ask(.stockShelf(ShelfStock(packages: [[1], [2]], lastResort: [3])))
            line.replies = []
            try line.send(
                ClientFrame(requests: [
                    home.request(
                        .stockShelf(ShelfStock(packages: [], lastResort: [4], withdraw: true))),
                    fresh.request(.claimKeyPackage(shelf: other.id)),
                    fresh.request(.retire),
                    other.request(.stockShelf(ShelfStock(packages: [], withdraw: true))),
                ]))
            #expect(line.replies.count == 4)
            let talk = try TestConsultation(world)
            let talking = try #require(talk.patient.line)
            talking.replies = []
            try talking.send(
                ClientFrame(requests: [
                    talk.patient.request(talk.closing()),
                    talk.patient.request(.confirm(talk.group)),
                ]))
            #expect(talking.replies.map(\.outcome) == [.done, .done])
        }
        let folder = try DataFolder(existing: place.path)
        let seal = try TrailSeal(identity: #require(folder.intactKeys()).identity)
        var kinds = 0
        for entry in try TrailAudit(folder: place.path, last: 1_000).entries {
            let effects = try #require(seal.open(entry))
            #expect(effects.count <= 1)
            kinds += effects.count
        }
        #expect(kinds >= 6 + 2)
    }

    @Test func `connections that were refused are told in numbers, each once`() throws {
        let place = try FolderWorld()
        try place.run { world, store, trail in
            for (hour, count) in [(0, 3), (1, 3), (2, 5)] as [(UInt64, UInt64)] {
                try store.begin()
                try trail.prepare(
                    store, counters: RelayCounters(), refusedConnections: ["handshakes": count],
                    isClockDoubted: false,
                    at: RelayTime(
                        unixSeconds: world.now.unixSeconds + hour * 3_600,
                        monotonicMilliseconds: 1_000))
                try store.commit()
                try trail.publish()
            }
        }
        let told = try TrailAudit(folder: place.path, last: 100).entries.compactMap {
            TrailEvent($0)?["connections.handshakes"]
        }
        #expect(told == ["3", "2"])
    }

    @Test func `withdrawing from an empty shelf adds nothing to the trail`() throws {
        let place = try FolderWorld()
        try place.run { world, _, trail in
            let home = try world.connect().makeHome()
            let withdrawal = RelayProtocol.Operation.stockShelf(
                ShelfStock(packages: [], withdraw: true))
            let before = trail.end
            try home.ask(withdrawal)
            #expect(trail.end == before)
            try home.ask(.stockShelf(ShelfStock(packages: [[1]])))
            #expect(trail.end == before)
            try home.ask(withdrawal)
            #expect(trail.end.next == before.next + 1)
            try home.ask(withdrawal)
            #expect(trail.end.next == before.next + 1)
        }
    }

    @Test func `an interrupted restore is finished by the next start`() throws {
        let place = try FolderWorld()
        let backup = place.folder.file("backup")
        let (talk, time) = try place.run { world, _, _ in (try TestConsultation(world), world.now) }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        _ = try Restoration.restore(from: backup, into: place.path)
        // As if the process had ended right after the restored database got its name.
        let manager = FileManager.default
        try manager.moveItem(
            atPath: place.path + "/relay.sqlite", toPath: place.path + "/relay.sqlite.restored")
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: place.path + "/relay.sqlite"))
        try Data([4, 5]).write(to: URL(fileURLWithPath: place.path + "/relay.sqlite-wal"))
        try place.run(at: time) { world, store, _ in
            #expect(store.groupCount == 1)
            let isThere = try store.group(talk.group) != nil
            #expect(isThere)
        }
    }

    /// Needs root, who alone may mount a small file system.
    @Test(.enabled(if: getuid() == 0))
    func `a full disk under the trail keeps entries in the store until there is room`() throws {
        let place = try FolderWorld()
        try place.run { world, _, _ in _ = try TestConsultation(world) }
        let trail = place.path + "/trail"
        let aside = place.path + "/aside"
        let manager = FileManager.default
        try manager.moveItem(atPath: trail, toPath: aside)
        try manager.createDirectory(atPath: trail, withIntermediateDirectories: true)
        func mount(_ program: String, _ arguments: [String]) throws -> Bool {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/" + program)
            process.arguments = arguments
            process.standardError = nil
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus == 0
        }
        guard try mount("mount", ["-t", "tmpfs", "-o", "size=64k", "none", trail]) else { return }
        defer { _ = try? mount("umount", ["-l", trail]) }
        for name in try manager.contentsOfDirectory(atPath: aside) {
            try manager.copyItem(atPath: aside + "/" + name, toPath: trail + "/" + name)
        }
        let filler = trail + "/filler"
        try place.run { world, _, keeper in
            var octets = Data(count: 4_096)
            _ = manager.createFile(atPath: filler, contents: nil)
            let file = try #require(FileHandle(forWritingAtPath: filler))
            while (try? file.write(contentsOf: octets)) != nil {}
            octets = Data()
            // Every answer still comes; the entries wait.
            for _ in 0..<12 { _ = try TestConsultation(world) }
            #expect(!keeper.troubles.isEmpty)
        }
        #expect(try !place.faults().isEmpty)
        // What waits is bounded, in octets.
        try place.run(unwrittenLimit: 16_384) { world, store, _ in
            #expect(throws: StoreError.full) {
                for _ in 0..<100 { _ = try TestConsultation(world) }
            }
            let waiting = try store.setting(TrailKeeper.Setting.pending) ?? []
            #expect((8_192...16_384).contains(waiting.count))
        }
        // Once there is room it goes on by itself, also when nothing more may wait.
        try place.run(unwrittenLimit: 1) { world, store, keeper in
            #expect(throws: StoreError.full) { _ = try TestConsultation(world) }
            try manager.removeItem(atPath: filler)
            world.advance(seconds: 5)
            try store.begin()
            try keeper.prepare(
                store, counters: RelayCounters(), isClockDoubted: false, at: world.now)
            try store.commit()
            try keeper.publish()
            #expect(keeper.troubles.isEmpty)
        }
        try place.run { _, _, keeper in #expect(keeper.troubles.isEmpty) }
        #expect(try place.faults() == [])
    }

    @Test func `a summary of a batch that failed is told by the next one`() throws {
        let place = try FolderWorld()
        try place.run { world, store, keeper in
            var counters = RelayCounters()
            (counters.accepted, counters.refusals) = (3, [5: 7])
            for fails in [true, false] {
                try store.begin()
                try keeper.prepare(
                    store, counters: counters, refusedConnections: ["slow": 2],
                    isClockDoubted: false, at: world.now)
                if fails {
                    store.rollback()
                } else {
                    try store.commit()
                    try keeper.publish()
                }
            }
        }
        let entries = try TrailAudit(folder: place.path, last: 100).entries
        let summary = try #require(
            entries.first { $0.kind == .summary }.flatMap { TrailEvent($0) })
        #expect(summary["accepted"] == "3")
        #expect(summary["refused.5"] == "7")
        #expect(summary["connections.slow"] == "2")
    }

    @Test func `the trail alone names no mailbox, no group and no package`() throws {
        let place = try FolderWorld()
        let package = Random.bytes(400)
        let (talk, token) = try place.run { world, _, _ in
            let talk = try TestConsultation(world)
            try talk.doctorHome.ask(.stockShelf(ShelfStock(packages: [package])))
            try talk.patient.ask(.claimKeyPackage(shelf: talk.doctorHome.id))
            let token = try world.token()
            try #require(talk.patient.line).open(
                TestMailbox(), creation: .home(admissionToken: token))
            try place.end(talk)
            return (talk, token)
        }
        let spent = Hash.sha256(label: "spent token", Array(token[33..<49]))
        let needles = [
            talk.group.bytes, talk.patient.id.bytes, talk.doctor.id.bytes,
            talk.patientHome.id.bytes, talk.doctorHome.id.bytes, Array(package.prefix(32)),
            TrailEffect.hash(ofPackage: package), spent,
        ]
        for needle in needles {
            #expect(try place.count(of: needle, in: place.path + "/trail") == 0)
        }
        #expect(try place.count(of: spent, in: place.path) == 1, "the search finds nothing")
        // Nothing but erasures has a time finer than a day.
        for entry in try TrailAudit(folder: place.path, last: 1_000).entries
        where entry.kind == .activity { #expect(entry.hour % 24 == 0) }
    }

    @Test func `the day of the oldest message is known, and no time finer`() throws {
        var days = MessageDays()
        #expect(days.note(day: Day(rawValue: 10), nextMessage: 1) == true)
        #expect(days.note(day: Day(rawValue: 10), nextMessage: 5) == false)
        #expect(days.note(day: Day(rawValue: 12), nextMessage: 40) == true)
        #expect(days.day(of: 39) == Day(rawValue: 10))
        #expect(days.day(of: 40) == Day(rawValue: 12))
        #expect(MessageDays(days.encoded) == days)
        #expect(MessageDays(Array(days.encoded.dropLast())).day(of: 1_000) == Day(rawValue: 10))
    }
}
