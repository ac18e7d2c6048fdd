import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

@Suite struct `The trail joined from its copies` {
    /// What a copy may have become of thirty entries.
    enum Copy: CaseIterable, Sendable {
        case whole, damaged, shorter, forked, foreign, absent

        func entries(of sample: TrailSample) throws -> [TrailEntry] {
            let whole = sample.entries
            switch self {
            case .whole: return whole
            case .damaged: return whole.filter { $0.sequence != 12 }
            case .shorter: return Array(whole.prefix(20))
            case .forked:
                return whole.dropFirst(15).reduce(into: Array(whole.prefix(15))) { chain, entry in
                    guard let end = chain.last?.end else { return }
                    chain.append(
                        TrailEntry(
                            after: end, hour: 1, isClockDoubted: false, kind: entry.kind,
                            content: entry.content))
                }
            case .foreign: return try TrailSample().entries
            case .absent: return []
            }
        }
    }

    static let table: [(own: Copy, mirror: Copy, isWhole: Bool)] = Copy.allCases.flatMap { own in
        Copy.allCases.map { mirror in
            let both: Set<Copy> = [own, mirror]
            // One of another chain is never passed over, nor is what both lack.
            let isWhole =
                both.isDisjoint(with: [.forked, .foreign])
                && (both.contains(.whole) || both == [.damaged, .shorter])
            return (own, mirror, isWhole)
        }
    }

    @Test(arguments: table)
    func `is whole if the copies together lack nothing and agree`(
        own: Copy, mirror: Copy, isWhole: Bool
    ) throws {
        let sample = try TrailSample()
        let end = try #require(sample.entries.last).end
        var verifier = TrailVerifier(relayKey: sample.identity.publicKey, ends: [end])
        var joined = JoinedTrail([
            TrailReader(try own.entries(of: sample)), TrailReader(try mirror.entries(of: sample)),
        ])
        var entries: [TrailEntry] = []
        while let link = try joined.take() {
            verifier.take(link.entry)
            if link.isDisputed { verifier.note(.mirrorDiffers(at: link.entry.sequence)) }
            entries.append(link.entry)
        }
        verifier.finish()
        #expect(verifier.faults.isEmpty == isWhole, "\(own), \(mirror): \(verifier.faults)")
        if isWhole { #expect(entries == sample.entries) }
    }
}

@Suite struct `A restore with damaged copies of the trail` {
    /// A relay with a backup, after which a consultation was erased; its mirror has lagged from
    /// before that on.
    private struct Scene {
        let place: FolderWorld
        let backup: String
        let talk: TestConsultation
        let time: RelayTime
        let mirror: String
        var trail: TrailFolder { TrailFolder(path: place.path + "/trail") }

        init() throws {
            place = try FolderWorld(mirrored: true)
            mirror = place.folder.file("lagging")
            backup = place.folder.file("backup")
            (talk, time) = try place.run { world, _, _ in
                let talk = try TestConsultation(world)
                _ = try TestConsultation(world)
                return (talk, world.now)
            }
            _ = try RelayBackup.make(folder: place.path, to: backup)
            let talk = talk
            try place.run(at: time) { world, _, _ in
                let line = try world.connect()
                _ = try line.makeHome()
                try line.open(talk.patient)
                try line.open(talk.doctor)
            }
            try FileManager.default.copyItem(atPath: place.path + "/trail", toPath: mirror)
            try place.run(at: time) { world, _, _ in
                for mailbox in [talk.patient, talk.doctor] { mailbox.counter += 10 }
                let line = try world.connect()
                try line.open(talk.patient)
                try line.open(talk.doctor)
                try talk.end()
                _ = try line.makeHome()
            }
        }

        /// Changes the trail's file so that one entry can't be read.
        func damage(entry number: Int) throws {
            let file = try #require(trail.segments().first).path
            var octets = try #require(FileManager.default.contents(atPath: file))
            let entries = TrailFolder.parse([UInt8](octets)).entries
            octets[TrailFolder.magic.count + entries[..<number].flatMap(\.frame).count + 20] ^= 1
            try octets.write(to: URL(fileURLWithPath: file))
        }

        func restore(ignoringTrail: Bool = false) throws -> Restoration.Report {
            try Restoration.restore(
                from: backup, into: place.path, trailPath: mirror, ignoresTrail: ignoringTrail)
        }

        func isErased() throws -> Bool {
            try place.count(of: talk.group.bytes, in: place.path) == 0
        }

        /// What refusing must leave as it is.
        func state() throws -> [String: Data] {
            let manager = FileManager.default
            return try manager.subpathsOfDirectory(atPath: place.path).reduce(into: [:]) {
                guard !$1.hasPrefix("lock"), !$1.hasSuffix("-shm"), !$1.hasSuffix("-wal") else {
                    return
                }
                $0[$1] = manager.contents(atPath: place.path + "/" + $1) ?? Data()
            }
        }
    }

    @Test func `takes from its own trail what a mirror that lagged doesn't have`() throws {
        let scene = try Scene()
        // Before the erasure, where the mirror is whole.
        try scene.damage(entry: 2)
        let report = try scene.restore()
        #expect(report.groupsErased == 1)
        #expect(try scene.isErased())
        #expect(try scene.place.faults() == [])
        // What couldn't be read is kept, for whoever wants to know why.
        let names = try FileManager.default.contentsOfDirectory(atPath: scene.place.path)
        #expect(names.contains { $0.hasPrefix("trail.before-") })
        // The mirror that lagged goes on with it.
        let mirror = TrailFolder(path: scene.mirror)
        _ = try TrailLog(path: scene.trail.path, mirrorPath: scene.mirror, confirmed: 0)
        let (own, copied) = (try scene.trail.segments(), try mirror.segments())
        #expect(copied.map(\.first) == own.map(\.first))
        for (left, right) in zip(own, copied) {
            #expect(try scene.trail.read(left) == mirror.read(right))
        }
    }

    @Test func `refuses what both copies lack, and changes nothing`() throws {
        let scene = try Scene()
        let count = try TrailAudit(folder: scene.place.path, last: 1_000).entries.count
        let kept = try #require(TrailFolder(path: scene.mirror).segments().first)
        let mirrored = try TrailFolder(path: scene.mirror).read(kept).entries.count
        try #require(mirrored + 3 < count)
        try scene.damage(entry: mirrored + 1)
        let before = try scene.state()
        #expect(throws: RelayError.self) { try scene.restore() }
        #expect(throws: RelayError.self) {
            try Restoration.rehearse(
                from: scene.backup, folderPath: scene.place.path, trailPath: scene.mirror)
        }
        #expect(try scene.state() == before)
        // What can be read is done again all the same.
        let report = try scene.restore(ignoringTrail: true)
        #expect(report.trailEntries == nil)
        #expect(report.groupsErased == 1)
        #expect(try scene.isErased())
    }

    @Test func `refuses when the trail is gone, and says what its database knows of`() throws {
        let scene = try Scene()
        let count = try TrailAudit(folder: scene.place.path, last: 1_000).entries.count
        try FileManager.default.removeItem(atPath: scene.trail.path)
        let before = try scene.state()
        for mirror in [scene.mirror, nil] {
            #expect {
                try Restoration.restore(
                    from: scene.backup, into: scene.place.path, trailPath: mirror)
            } throws: { error in
                guard case .trail(let words) = error as? RelayError else { return false }
                return words.contains("missing") && words.contains("--without-trail")
            }
        }
        #expect(try scene.state() == before)
        // A mirror that has all of it is enough.
        let mirror = try #require(scene.place.mirror)
        let report = try Restoration.restore(
            from: scene.backup, into: scene.place.path, trailPath: mirror)
        #expect(report.groupsErased == 1)
        #expect(try TrailAudit(folder: scene.place.path).verifier.count > count)
        #expect(try scene.place.faults(mirror: mirror) == [])
    }

    @Test func `finds an end that was cut, as a rehearsal does`() throws {
        let scene = try Scene()
        let file = try #require(scene.trail.segments().first).path
        let octets = try #require(FileManager.default.contents(atPath: file))
        let entries = TrailFolder.parse([UInt8](octets)).entries
        // Before the last batch, which its database has.
        let cut = entries.dropLast(6).flatMap(\.frame)
        try Data(TrailFolder.magic + cut).write(to: URL(fileURLWithPath: file))
        let before = try scene.state()
        #expect(throws: RelayError.self) {
            try Restoration.restore(from: scene.backup, into: scene.place.path)
        }
        #expect(throws: RelayError.self) {
            try Restoration.rehearse(from: scene.backup, folderPath: scene.place.path)
        }
        #expect(try scene.state() == before)
        // The last batch alone isn't missed.
        let last = try #require(entries.last).frame.count
        try octets.dropLast(last).write(to: URL(fileURLWithPath: file))
        #expect(
            try Restoration.rehearse(from: scene.backup, folderPath: scene.place.path)
                .groupsErased == 1)
        #expect(
            try Restoration.restore(from: scene.backup, into: scene.place.path).groupsErased == 1)
        #expect(try scene.place.faults() == [])
        #expect(try scene.isErased())
    }
}
