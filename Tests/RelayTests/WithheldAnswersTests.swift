import Cryptography
import Foundation
import GRDB
import Logging
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

@testable import Relay

@Suite struct `An erasure while another program reads the database` {
    /// A consultation that the doctor's confirmation erases, and somebody else's line.
    private struct Scene {
        let world: RelayWorld
        let talk: TestConsultation
        let other: TestMailbox
        let shift: WriterShift
        let health = Lock(RelayHealth())
        let patientLine, doctorLine, otherLine: RelayCore.ConnectionID

        init(_ world: RelayWorld, _ store: SQLiteStore, _ trail: TrailKeeper) throws {
            self.world = world
            talk = try TestConsultation(world)
            #expect(try talk.patient.ask(talk.closing()) == .done)
            #expect(try talk.patient.ask(.confirm(talk.group)) == .done)
            other = try world.connect().makeHome()
            shift = try WriterShift(
                WriterDesk(store: store, trail: trail, engine: world.engine), from: world.now,
                isForgotten: false, figures: BatchFigures(), limits: Lock(RelayLimits()),
                refusedConnections: Lock([:]), health: health,
                log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            patientLine = try #require(talk.patient.line).id
            doctorLine = try #require(talk.doctor.line).id
            otherLine = try #require(other.line).id
            #expect(try write([]).isEmpty)
            #expect(!shift.isForgetting)
        }

        func write(_ events: [RelayEvent]) throws -> RelayRelease {
            var events = events
            return try shift.write(
                &events, since: SystemClock.nanoseconds, sweeps: false, at: world.now)
        }

        func ask(
            _ operation: RelayProtocol.Operation, as mailbox: TestMailbox
        ) throws -> RelayRelease {
            let line = try #require(mailbox.line).id
            return try write([
                .frame(line, ClientFrame(requests: [mailbox.request(operation)]), byteCount: 1)
            ])
        }
    }

    /// Reads for as long as `body` takes.
    private static func reading(_ path: String, _ body: () throws -> Void) throws {
        let reader = try DatabaseQueue(path: path)
        try reader.inDatabase { database in
            try database.execute(sql: "BEGIN; SELECT count(*) FROM setting")
            try body()
            try database.execute(sql: "COMMIT")
        }
        try reader.close()
    }

    @Test func `is told once that has ended, in order; others are answered meanwhile`() throws {
        let folder = try FolderWorld()
        let database = try DataFolder(path: folder.path).databasePath
        try folder.run { world, store, trail in
            let scene = try Scene(world, store, trail)
            try Self.reading(database) {
                let erasing = try scene.ask(.confirm(scene.talk.group), as: scene.talk.doctor)
                #expect(erasing.outputs.isEmpty)
                #expect(erasing.handled[scene.doctorLine]?.frames == 1)
                let others = try scene.ask(.drawTickets(count: 1), as: scene.other)
                #expect(others.outputs.map(\.connection) == [scene.otherLine])
                let next = try scene.ask(.drawTickets(count: 1), as: scene.talk.doctorHome)
                #expect(next.outputs.isEmpty)
                #expect(!scene.shift.isQuick(within: .infinity))
                world.now.monotonicMilliseconds += 61_000
                #expect(try scene.write([]).isEmpty)
                scene.shift.report(at: world.now)
                #expect(scene.health.withLock { $0.erasureDelaySeconds } == 61)
                #expect(scene.shift.desk.troubles == [WithheldAnswers.trouble])
            }
            let told = try scene.write([])
            let doctors = told.outputs.filter { $0.connection == scene.doctorLine }
                .flatMap(\.frame.replies)
            guard case .erased(let receipts)? = doctors.first?.outcome else {
                Issue.record("no receipt for the doctor")
                return
            }
            #expect(receipts.count == 1)
            guard case .tickets? = doctors.last?.outcome, doctors.count == 2 else {
                Issue.record("what the doctor asked next isn't answered")
                return
            }
            let patients = told.outputs.filter { $0.connection == scene.patientLine }
                .flatMap(\.frame.deliveries)
            #expect(patients.map(\.kind) == [.receipt])
            #expect(try scene.write([]).isEmpty)
            scene.shift.report(at: world.now)
            #expect(scene.health.withLock { $0.erasureDelaySeconds } == 0)
            #expect(scene.shift.desk.troubles == [])
        }
    }

    @Test func `ends connections before it withholds too much`() throws {
        let folder = try FolderWorld()
        let database = try DataFolder(path: folder.path).databasePath
        try folder.run { world, store, trail in
            let scene = try Scene(world, store, trail)
            world.engine.limits.unsentByteCount = 100
            try Self.reading(database) {
                let erasing = try scene.ask(.confirm(scene.talk.group), as: scene.talk.doctor)
                #expect(
                    Set(erasing.outputs.map(\.connection))
                        == [scene.doctorLine, scene.patientLine])
                #expect(erasing.outputs.allSatisfy { $0.closing == .goingAway })
                #expect(erasing.outputs.allSatisfy { $0.frame == RelayFrame() })
            }
            #expect(try scene.write([]).isEmpty)
        }
    }

    @Test func `tells nothing to connections that have ended`() throws {
        let folder = try FolderWorld()
        let database = try DataFolder(path: folder.path).databasePath
        try folder.run { world, store, trail in
            let scene = try Scene(world, store, trail)
            try Self.reading(database) {
                _ = try scene.ask(.confirm(scene.talk.group), as: scene.talk.doctor)
                _ = try scene.write([.closed(scene.doctorLine)])
            }
            #expect(try scene.write([]).outputs.map(\.connection) == [scene.patientLine])
        }
    }
}
