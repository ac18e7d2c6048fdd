import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

@Suite struct `What fails midway` {
    /// Keeps settings from being written to a database.
    private func lock(_ path: String) throws {
        try DatabaseQueue(path: path).write { database in
            for change in ["INSERT", "UPDATE"] {
                try database.execute(
                    sql: """
                        CREATE TRIGGER no_\(change) BEFORE \(change) ON setting
                        BEGIN SELECT RAISE(ABORT, 'no'); END
                        """)
            }
        }
    }

    @Test func `in a restore or its rehearsal is an error, and leaves nothing`() throws {
        let place = try FolderWorld()
        try place.run { world, _, _ in _ = try TestConsultation(world) }
        let backup = place.folder.file("backup")
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try lock(backup)
        #expect(throws: RelayError.self) {
            try Restoration.rehearse(from: backup, folderPath: place.path)
        }
        #expect(throws: RelayError.self) { try Restoration.restore(from: backup, into: place.path) }
        let names = try FileManager.default.contentsOfDirectory(atPath: place.path).filter {
            $0.hasPrefix("rehearsal") || $0.hasPrefix("relay.sqlite.")
        }
        #expect(names == [])
        #expect(try place.faults() == [])
    }

    @Test func `in a note for the trail is an error, and has noted nothing`() throws {
        let place = try FolderWorld()
        try place.run { world, _, _ in _ = try TestConsultation(world) }
        try lock(place.path + "/relay.sqlite")
        #expect(throws: RelayError.self) {
            try RelayBackup.noteRehearsal(folder: place.path, passed: true)
        }
        #expect(try RelayDatabase.marks(path: place.path + "/relay.sqlite").lastRehearsal == nil)
        #expect(try place.faults() == [])
    }
}

@Suite struct `A restore of an older backup` {
    private func expectSpent(_ token: [UInt8], _ ticket: [UInt8], on line: RelayLine) throws {
        #expect(
            try line.open(TestMailbox(), creation: .home(admissionToken: token))
                == .refused(.token, retryAfterSeconds: 0))
        #expect(
            try line.open(
                TestMailbox(), creation: .fresh(ticket: ticket, permitHash: nil, permitUses: 0))
                == .refused(.ticket, retryAfterSeconds: 0))
    }

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
            try erased.end()
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
            try expectSpent(token, spareTicket, on: line)
            #expect(
                try kept.doctor.ask(.claimKeyPackage(shelf: kept.doctorHome.id))
                    == .keyPackage(sealed: [2], lastResort: false))
            #expect(
                try kept.doctor.ask(.claimKeyPackage(shelf: erased.doctorHome.id))
                    == .refused(.shelfEmpty, retryAfterSeconds: 0))
            try store.begin()
            #expect(try store.inspect() == Inspection())
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
            #expect(try store.inspect() == Inspection())
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

    /// A relay runs for as long as both owners of a consultation need to end it.
    private func end(_ talk: TestConsultation, in place: FolderWorld, at time: RelayTime) throws {
        try place.run(at: time) { world, _, _ in
            let line = try world.connect()
            try line.open(talk.patient)
            try line.open(talk.doctor)
            try talk.end()
        }
    }

    @Test func `over a stopped relay's folder uses the folder's own trail`() throws {
        let place = try FolderWorld()
        let backup = place.folder.file("backup")
        let (talk, time) = try place.run { world, _, _ in (try TestConsultation(world), world.now) }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try end(talk, in: place, at: time)
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
            try expectSpent(token, ticket, on: line)
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

    @Test func `erases nothing on anybody else's word, and what it can without a whole trail`()
        throws
    {
        let place = try FolderWorld()
        let backup = place.folder.file("backup")
        let (kept, ended, time) = try place.run { world, _, _ in
            (try TestConsultation(world), try TestConsultation(world), world.now)
        }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try end(ended, in: place, at: time)
        let last = try #require(TrailAudit(folder: place.path, last: 1).entries.last)
        let receipt = try ErasureReceipt(
            group: kept.group, erasedAt: 3_600, reason: .confirmed, messageCount: 1,
            mailboxCount: 2, identity: SigningKey())
        let forged = TrailEntry(
            after: last.end, hour: last.hour, isClockDoubted: false, kind: .erasure,
            content: receipt.encoded())
        let path = try #require(TrailFolder(path: place.path + "/trail").segments().last).path
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.seekToEnd()
        try file.write(contentsOf: forged.frame)
        try file.close()
        #expect(throws: RelayError.self) {
            try Restoration.restore(from: backup, into: place.path)
        }
        let report = try Restoration.restore(from: backup, into: place.path, ignoresTrail: true)
        #expect(report.groupsErased == 1)
        #expect(report.groups == 1)
        #expect(try place.count(of: ended.group.bytes, in: place.path) == 0)
        #expect(try place.count(of: kept.group.bytes, in: place.path) > 0)
    }

    @Test func `of a past that another restore put away comes with empty shelves`() throws {
        let place = try FolderWorld()
        let files = ["older", "newer", "newest"].map { place.folder.file($0) }
        let (home, time) = try place.run { world, _, _ in
            let home = try world.connect().makeHome()
            try home.ask(.stockShelf(ShelfStock(packages: [[1]], lastResort: [2])))
            return (home, world.now)
        }
        func stock(_ package: [UInt8]) throws {
            try place.run(at: time) { world, _, _ in
                home.counter += 10
                try world.connect().open(home)
                try home.ask(.stockShelf(ShelfStock(packages: [package])))
            }
        }
        func restored(_ file: String) throws -> Int {
            let report = try Restoration.restore(from: file, into: place.path)
            #expect(try place.faults() == [])
            return report.packagesRemoved
        }
        _ = try RelayBackup.make(folder: place.path, to: files[0])
        try stock([3])
        _ = try RelayBackup.make(folder: place.path, to: files[1])
        #expect(try restored(files[1]) == 0)
        #expect(try restored(files[0]) == 0)
        #expect(try restored(files[0]) == 0)
        // Devices may have forgotten since what was stocked in between.
        #expect(try restored(files[1]) == 3)
        try stock([4])
        _ = try RelayBackup.make(folder: place.path, to: files[2])
        #expect(try restored(files[2]) == 0)
    }

    @Test func `a rehearsal changes nothing`() throws {
        let place = try FolderWorld()
        let backup = place.folder.file("backup")
        _ = try place.run { world, _, _ in try TestConsultation(world) }
        _ = try RelayBackup.make(folder: place.path, to: backup)
        /// But for what SQLite makes beside a database when it is read.
        func names() throws -> [String] {
            try FileManager.default.subpathsOfDirectory(atPath: place.path)
                .filter { !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm") }.sorted()
        }
        let before = try names()
        let database = FileManager.default.contents(atPath: place.path + "/relay.sqlite")
        let report = try Restoration.rehearse(from: backup, folderPath: place.path)
        #expect(report.groups == 1)
        #expect(try names() == before)
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
        #expect(throws: RelayError.notFound("there is no trail there")) {
            try Restoration.restore(
                from: backup, into: place.folder.file("new"), trailPath: place.folder.file("none"))
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
        #expect(throws: RelayError.self) {
            try Restoration.rehearse(from: backup, folderPath: place.path)
        }
        let rehearsal = try Restoration.rehearse(
            from: backup, folderPath: place.path, ignoresTrail: true, tokensUntil: 7)
        #expect(rehearsal.trailEntries == nil && rehearsal.tokenFloor == 7)
        _ = try Restoration.restore(from: backup, into: place.path, ignoresTrail: true)
    }
}
