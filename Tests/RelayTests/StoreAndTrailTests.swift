import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

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
        let seal = try TrailSeal(identity: folder.existingKeys().identity)
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

    @Test func `what was refused is told before the relay stops, within the hour too`() throws {
        let place = try FolderWorld()
        try place.run { world, store, trail in
            for (count, isStop) in [(0, false), (4, true)] as [(UInt64, Bool)] {
                if isStop { trail.note(TrailEvent(.stopped, [])) }
                try store.begin()
                try trail.prepare(
                    store, counters: RelayCounters(), refusedConnections: ["handshakes": count],
                    isClockDoubted: false, at: world.now)
                try store.commit()
                try trail.publish()
            }
        }
        let entries = try TrailAudit(folder: place.path, last: 100).entries
        #expect(entries.map(\.kind).suffix(3) == [.summary, .stopped, .head])
        let summary = try #require(entries.last { $0.kind == .summary }.flatMap { TrailEvent($0) })
        #expect(summary["connections.handshakes"] == "4")
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
            let waiting = try store.setting(TrailKeeper.SettingRow.pending) ?? []
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
            (counters.acceptedStored, counters.refusals) = (3, [5: 7])
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
        #expect(summary["refused.rate"] == "7")
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
            try talk.end()
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

    @Test func `days that haven't come are forgotten once the clock is right`() {
        var days = MessageDays()
        func note(_ day: UInt32, _ number: UInt64) -> Bool {
            days.note(day: Day(rawValue: day), nextMessage: number)
        }
        #expect(note(10, 1) && note(11, 20))
        #expect(note(40, 30))
        #expect(note(11, 50))
        #expect(!note(11, 60))
        #expect(days.day(of: 35) == Day(rawValue: 11))
        #expect(note(12, 70))
        #expect(days.day(of: 69) == Day(rawValue: 11))
        #expect(days.day(of: 70) == Day(rawValue: 12))
        // A machine whose clock begins long ago at each boot.
        #expect(!note(1, 80))
        #expect(note(13, 90))
        #expect(days.day(of: 1) == Day(rawValue: 10))
        #expect(days.day(of: 85) == Day(rawValue: 12))
    }
}
