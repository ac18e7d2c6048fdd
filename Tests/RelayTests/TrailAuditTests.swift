import Foundation
import GRDB
import RelayCore
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

@Suite struct `An audit of the trail` {
    /// A stopped relay with a trail and a mirror of it, each in one file.
    private struct Scene {
        let place: FolderWorld
        let mirror: String
        let entries: [TrailEntry]
        let file: String
        let copy: String

        init() throws {
            place = try FolderWorld(mirrored: true)
            mirror = try #require(place.mirror)
            for _ in 0..<3 { try place.run { world, _, _ in _ = try TestConsultation(world) } }
            entries = try TrailAudit(folder: place.path, last: 1_000).entries
            file = place.path + "/trail/" + TrailFolder.name(first: 0)
            copy = mirror + "/" + TrailFolder.name(first: 0)
        }

        func write(_ entries: some Sequence<TrailEntry>, to path: String) throws {
            try Data(TrailFolder.magic + entries.flatMap(\.frame)).write(
                to: URL(fileURLWithPath: path))
        }

        func audit() throws -> TrailAudit {
            try TrailAudit(folder: place.path, mirrorPath: mirror)
        }
    }

    enum Damage: CaseIterable, Sendable { case garbage, truncated, empty, missing }

    @Test(arguments: Damage.allCases)
    func `doesn't pass when the database can't say where it ends`(_ damage: Damage) throws {
        let scene = try Scene()
        try scene.write(scene.entries.dropLast(9), to: scene.file)
        let database = scene.place.path + "/relay.sqlite"
        let content = try #require(FileManager.default.contents(atPath: database))
        let url = URL(fileURLWithPath: database)
        switch damage {
        case .garbage: try Data(repeating: 0x55, count: content.count).write(to: url)
        case .truncated: try content.prefix(5_000).write(to: url)
        case .empty: try Data().write(to: url)
        case .missing:
            try FileManager.default.moveItem(atPath: database, toPath: database + ".restored")
        }
        #expect(try scene.place.faults() == [.endUnknown])
        let points = try RelayCheck(folder: scene.place.path).points
        #expect(points.contains { $0.name == "trail" && $0.standing == .bad })
    }

    @Test func `finds a database that knows of no trail`() throws {
        let scene = try Scene()
        let queue = try RelayDatabase.open(scene.place.path + "/relay.sqlite")
        try queue.writeWithoutTransaction { database in
            try database.execute(sql: "DELETE FROM setting WHERE name = 'trail end'")
        }
        try queue.close()
        #expect(try scene.place.faults() == [.foreign(next: 0)])
        // A start says the same.
        #expect(throws: RelayError.self) { try scene.place.run { _, _, _ in } }
    }

    @Test func `tells how much of the end its mirror lacks, and that a middle is missing`() throws {
        let scene = try Scene()
        #expect(try scene.audit().mirrorMissing == 0)
        try scene.write(scene.entries.prefix(5), to: scene.copy)
        let audit = try scene.audit()
        #expect(audit.mirrorMissing == scene.entries.count - 5)
        #expect(audit.verifier.faults == [])
        var expected = RelayCheck.Expectations()
        expected.mirrorPath = scene.mirror
        let point = try RelayCheck(folder: scene.place.path, expected).points.last {
            $0.name == "trail"
        }
        #expect(point?.standing == .attention)
        #expect(point?.words.contains("lacks the last \(scene.entries.count - 5)") == true)

        let rest = scene.entries.dropFirst(8)
        let next = scene.mirror + "/" + TrailFolder.name(first: 8)
        try scene.write(rest, to: next)
        #expect(try scene.audit().verifier.faults == [.mirrorDiffers(at: 5)])
        // With the middle there it is whole, in however many files.
        try scene.write(scene.entries.prefix(8), to: scene.copy)
        #expect(try scene.audit().verifier.faults == [])
        #expect(try scene.audit().mirrorMissing == 0)
    }

    @Test func `takes nothing in the data folder for a mirror`() throws {
        let scene = try Scene()
        let inside = scene.place.path + "/trail"
        #expect(throws: RelayError.self) {
            try TrailAudit(folder: scene.place.path, mirrorPath: inside)
        }
    }

    @Test func `says that there is no such mirror`() throws {
        let scene = try Scene()
        #expect(throws: RelayError.notFound("there is no mirror there")) {
            try TrailAudit(folder: scene.place.path, mirrorPath: scene.mirror + "s")
        }
        // A check looks at the trail all the same.
        var expected = RelayCheck.Expectations()
        expected.mirrorPath = scene.mirror + "s"
        func points() throws -> [RelayCheck.Point] {
            try RelayCheck(folder: scene.place.path, expected).points.filter { $0.name == "trail" }
        }
        #expect(try points().map(\.standing) == [.attention, .good])
        try scene.write(scene.entries.dropLast(9), to: scene.file)
        #expect(try points().map(\.standing) == [.attention, .bad])
    }

    @Test func `finds what was put behind the end of trail or mirror`() throws {
        let scene = try Scene()
        let whole = try #require(FileManager.default.contents(atPath: scene.file))
        let garbage = Data(repeating: 7, count: 90)
        try (whole + garbage).write(to: URL(fileURLWithPath: scene.copy))
        let number = UInt64(scene.entries.count)
        #expect(try scene.audit().verifier.faults == [.mirrorDiffers(at: number)])
        try whole.write(to: URL(fileURLWithPath: scene.copy))
        try (whole + garbage).write(to: URL(fileURLWithPath: scene.file))
        #expect(try scene.audit().verifier.faults == [.unreadable(after: number)])
    }

    @Test func `takes no longer over a file that somebody wrote to delay it`() throws {
        // A megabyte in which an entry of four hundred kilobytes seems to begin at every
        // 64th octet.
        let size = 1 << 20
        var hostile = TrailFolder.magic + [UInt8](repeating: 0, count: size)
        for start in stride(from: 4, to: size - 500_000, by: 64) {
            let length = 400_000 - (400_000 + start + 4) % 64 + 44
            let content = UInt32(length - 51) | 0x8000_0000
            for (offset, value) in [(0, UInt32(length)), (50, content)] {
                for octet in 0..<4 {
                    hostile[start + offset + octet] = UInt8(
                        truncatingIfNeeded: value >> UInt32(24 - 8 * octet))
                }
            }
        }
        func time(_ octets: [UInt8]) -> Duration {
            processorTime { #expect(TrailFolder.parse(octets).entries.isEmpty) }
        }
        let harmless = time(TrailFolder.magic + [UInt8](repeating: 0, count: size))
        #expect(time(hostile) < harmless * 5 + .seconds(1))
    }
}
