import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

/// Blobs in the real store: kept, erased, counted.
struct BlobStoreTests {
    private static let piece = BlobShape.pieceByteCount

    private func unfinished(of mailbox: TestMailbox, in store: SQLiteStore) throws -> Int {
        let number = try #require(try store.mailbox(mailbox.id)).0
        return try store.unfinishedBlobs(of: number)
    }

    /// Parts of what was sent and of what is stored of it.
    private func traces(
        of blob: TestBlob, numbered number: Int64, in place: StoreWorld
    ) throws -> [[UInt8]] {
        let reader = try DatabaseQueue(path: place.path)
        defer { try? reader.close() }
        let stored = try reader.read {
            try Data.fetchAll(
                $0, sql: "SELECT content FROM piece WHERE number >> 16 = ?", arguments: [number])
        }
        #expect(stored.count == blob.pieces.count)
        return (blob.pieces + stored.map { [UInt8]($0) }).flatMap { octets in
            stride(from: 0, to: octets.count - 24, by: max(24, octets.count / 8)).map {
                Array(octets[$0..<$0 + 24])
            }
        }
    }

    @Test func `what is put outlives the process, sealed, and an upload goes on`() throws {
        let place = try StoreWorld()
        let (identity, talk, blob) = try place.run { world, store in
            let talk = try TestConsultation(world)
            let blob = try TestBlob(of: talk, byteCount: 2 * Self.piece + 1_000)
            #expect(try blob.begin(by: talk.patient) == .done)
            #expect(try blob.put(0, by: talk.patient) == .done)
            #expect(try blob.put(1, by: talk.patient) == .done)
            return ((relay: world.relay, clinic: world.clinic), talk, blob)
        }
        for piece in blob.pieces { #expect(try place.count(of: Array(piece.prefix(24))) == 0) }
        #expect(try place.count(of: blob.id.bytes) == 0)
        try place.run(identity) { world, store in
            let line = try world.connect()
            for mailbox in [talk.patient, talk.doctor] { try line.open(mailbox) }
            #expect(
                try blob.state(for: talk.patient)
                    == .blobState(BlobState(byteCount: blob.byteCount, pieceCount: 2)))
            #expect(try unfinished(of: talk.patient, in: store) == 1)
            #expect(try blob.put(2, by: talk.patient) == .done)
            #expect(try unfinished(of: talk.patient, in: store) == 0)
            for index in 0..<3 {
                #expect(try blob.read(index, by: talk.doctor) == .piece(blob.pieces[index]))
            }
            let usage = BlobUsage(count: 1, byteCount: Int(blob.byteCount))
            #expect(store.blobUsage == usage)
            #expect(try RelayDatabase.figures(path: place.path).blobs == usage)
            try store.begin()
            let found = try store.inspect()
            #expect(found.isEmpty)
            store.rollback()
        }
        // Nobody tells any more who put a blob that is whole, nor when.
        let reader = try DatabaseQueue(path: place.path)
        let rows = try reader.read { try Row.fetchAll($0, sql: "SELECT owner, day FROM blob") }
        #expect(rows.map { [$0[0] as Int64, $0[1]] } == [[0, 0]])
        try reader.close()
    }

    @Test func `what is damaged is found`() throws {
        let place = try StoreWorld()
        try place.run { world, store in
            let talk = try TestConsultation(world)
            _ = try TestBlob(of: talk, byteCount: 2 * Self.piece, putBy: talk.patient)
            try store.begin()
            try store.database.execute(sql: "DELETE FROM piece WHERE number & 0xffff = 1")
            let found = try store.inspect()
            #expect(found.problems == ["a piece of a blob is missing, or of another length"])
            store.rollback()
            try store.begin()
            // Pieces at one another's place don't open.
            try store.database.execute(
                sql: """
                    UPDATE piece SET content = (
                        SELECT content FROM piece AS other WHERE other.number & 0xffff = 1)
                    WHERE number & 0xffff = 0
                    """)
            // They are gaps for whoever asks for them, and everything else goes on.
            let changed = try store.inspect()
            #expect(changed.gaps == [.piece(1 << 16)])
            #expect(changed.gapWords == "1 piece of files can't be read")
            store.rollback()
        }
    }

    @Test func `a piece that can't be read is no blob, and everything else goes on`() throws {
        try StoreWorld().run { world, store in
            let talk = try TestConsultation(world)
            let blob = try TestBlob(of: talk, byteCount: 2 * Self.piece, putBy: talk.patient)
            try store.database.execute(
                sql: "UPDATE piece SET content = zeroblob(65576) WHERE number & 0xffff = 0")
            try store.database.execute(sql: "DELETE FROM piece WHERE number & 0xffff = 1")
            for index in 0..<2 {
                #expect(
                    try blob.read(index, by: talk.doctor) == .refused(.noBlob, retryAfterSeconds: 0)
                )
            }
            #expect(world.engine.counters.damagedPieces == 2)
            #expect(try talk.send([7], from: talk.patient) == .done)
        }
    }

    @Test(arguments: [
        "size = -1", "size = 0", "size = 1 << 40", "pieces = -1", "pieces = 1 << 62",
        "number = 1 << 47", "number = 0x7fffffffffffffff",
    ])
    func `numbers that no blob has are told, and trap nowhere`(damage: String) throws {
        let place = try StoreWorld()
        try place.run { world, store in
            let talk = try TestConsultation(world)
            let blob = try TestBlob(of: talk, byteCount: 300, putBy: talk.patient)
            try store.database.execute(sql: "UPDATE blob SET \(damage)")
            let damaged = StoreError.corrupt("what is kept of a blob is damaged")
            let group = try #require(try store.group(talk.group)).0
            #expect(throws: damaged) { try store.blob(blob.id, in: group) }
            #expect(throws: damaged) { try store.inspect() }
            _ = try store.blobUsage(in: group)
            let opened = try SQLiteStore(store.database)
            #expect((0...1 << 30).contains(opened.blobUsage.byteCount))
            try store.database.execute(sql: "UPDATE blob SET slot = 0")
            #expect(throws: damaged) { try opened.clearDroppedBlobs(limit: 9) }
        }
    }

    @Test func `what belongs to nothing is found`() throws {
        try StoreWorld().run { world, store in
            let talk = try TestConsultation(world)
            for _ in 0..<2 { _ = try TestBlob(of: talk, byteCount: 300, putBy: talk.patient) }
            #expect(try store.inspect() == Inspection())
            try store.database.execute(sql: "DELETE FROM blob WHERE number = 2")
            #expect(
                try store.inspect()
                    == Inspection(problems: ["a piece is of a blob that isn't there"]))
            try store.database.execute(sql: "DELETE FROM piece WHERE number >> 16 = 2")
            try store.database.execute(sql: "UPDATE blob SET slot = 1 << 40")
            #expect(
                try store.inspect()
                    == Inspection(problems: ["a blob is of a group that isn't there"]))
        }
    }

    @Test(arguments: [true, false])
    func `what is erased while it is looked at isn't damaged`(isDeep: Bool) throws {
        try StoreWorld().run { world, store in
            let talk = try TestConsultation(world)
            _ = try TestBlob(of: talk, byteCount: 70 * Self.piece, putBy: talk.patient)
            // After the mailboxes, after the group's messages, and then amid the pieces.
            var pauses = 0
            let found = try store.inspect(isDeep: isDeep) { () throws(StoreError) in
                pauses += 1
                guard pauses == 3 else { return }
                do {
                    try talk.end()
                    try world.sweep()
                } catch {
                    throw .failed("the group can't be erased")
                }
            }
            #expect(pauses >= 3)
            #expect(found.isEmpty)
            #expect(store.blobUsage == BlobUsage())
        }
    }

    @Test func `a name used in two groups doesn't join them`() throws {
        try StoreWorld().run { world, store in
            let id = try #require(BlobID(Random.bytes(16)))
            for _ in 0..<2 {
                let talk = try TestConsultation(world)
                let beginning = BlobBeginning(groupID: talk.group, blob: id, byteCount: 300)
                #expect(try talk.patient.ask(.beginBlob(beginning)) == .done)
            }
            let hashes = try Int64.fetchSet(store.database, sql: "SELECT hash FROM blob")
            #expect(hashes.count == 2)
        }
    }

    @Test func `what is left of blobs is deleted with pauses, and not on a full disk`() throws {
        try StoreWorld().run { world, store in
            let talk = try TestConsultation(world)
            _ = try TestBlob(of: talk, byteCount: 40 * Self.piece, putBy: talk.patient)
            try talk.end()
            var schedule = WriterSchedule(from: world.now)
            func left(after milliseconds: UInt64) throws -> Int? {
                world.advance(milliseconds: milliseconds)
                try world.batch { try schedule.sweep($0, at: world.now) }
                return try Int.fetchOne(store.database, sql: "SELECT count(*) FROM piece")
            }
            world.engine.defersClearing = true
            #expect(try left(after: 0) == 40)
            #expect(schedule.nextClearing == nil)
            world.engine.defersClearing = false
            #expect(try left(after: 0) == 24)
            #expect(schedule.nextClearing == world.now.monotonicMilliseconds + 20)
            #expect(try left(after: 19) == 24)
            #expect(try left(after: 1) == 8)
            #expect(try left(after: 20) == 0)
            #expect(try left(after: 20) == 0)
            #expect(schedule.nextClearing == nil)
        }
    }

    @Test func `what was deleted is room in the database again`() throws {
        let place = try StoreWorld()
        try place.run { world, store in
            let talk = try TestConsultation(world)
            _ = try TestBlob(of: talk, byteCount: 20 * Self.piece, putBy: talk.patient)
            let before = store.freedByteCount
            try talk.end()
            try world.sweep()
            #expect(store.freedByteCount > before + 19 * UInt64(Self.piece))
        }
        #expect(try RelayDatabase.freedByteCount(path: place.path) > 19 * UInt64(Self.piece))
    }

    @Test func `blobs leave room to messages, and messages to the log`() {
        let mebibyte: UInt64 = 1 << 20
        func rooms(_ free: UInt64, of total: UInt64, freed: UInt64 = 0) -> [Bool] {
            let space = DiskSpace(free: free * mebibyte, total: total * mebibyte)
            return [
                space.hasRoomForBlobs(freed: freed * mebibyte),
                space.hasRoom(freed: freed * mebibyte), space.hasRoomForLog,
            ]
        }
        #expect(rooms(1_001, of: 10_000) == [true, true, true])
        #expect(rooms(1_000, of: 10_000) == [false, true, true])
        #expect(rooms(64, of: 10_000) == [false, false, true])
        #expect(rooms(64, of: 10_000, freed: 1) == [false, true, true])
        #expect(rooms(64, of: 10_000, freed: 937) == [true, true, true])
        #expect(rooms(32, of: 10_000, freed: 9_000) == [false, false, false])
        // Of a large disk less than a tenth; a small one has a quarter for everything.
        #expect(rooms(8_193, of: 1_000_000) == [true, true, true])
        #expect(rooms(25, of: 100) == [false, false, true])
        #expect(rooms(26, of: 100) == [true, true, true])
    }

    @Test(arguments: [UInt64](1...4))
    func `nothing of an erased group's blobs is left in any file`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let place = try StoreWorld()
        var needles: [[UInt8]] = []
        try place.run { world, store in
            let talk = try TestConsultation(world)
            let other = try TestConsultation(world)
            let kept = try TestBlob(of: other, byteCount: 3 * Self.piece)
            let blob = try TestBlob(
                of: talk,
                byteCount: Int.random(in: 40 * Self.piece...50 * Self.piece, using: &random))
            #expect(try kept.begin(by: other.patient) == .done)
            #expect(try blob.begin(by: talk.patient) == .done)
            for index in blob.pieces.indices {
                #expect(try blob.put(index, by: talk.patient) == .done)
                if index % 15 == 0, index / 15 < 3 {
                    #expect(try kept.put(index / 15, by: other.patient) == .done)
                }
                try talk.send(
                    random.bytes(Int.random(in: 20...5_000, using: &random)), from: talk.patient)
            }
            let slot = try #require(try store.group(talk.group)).0
            let number = try #require(try store.blob(blob.id, in: slot)).number
            needles = try traces(of: blob, numbered: number, in: place)
            try talk.end()
            #expect(
                store.blobUsage
                    == BlobUsage(count: 1, byteCount: Int(kept.byteCount + blob.byteCount)))
            // Their key is gone at once, themselves a few at a time.
            var steps = 1
            try store.begin()
            while try store.clearDroppedBlobs(limit: 8) { steps += 1 }
            try store.commit()
            #expect(steps > 5)
            #expect(store.blobUsage == BlobUsage(count: 1, byteCount: Int(kept.byteCount)))
            #expect(try store.forgetLog())
            for index in 0..<3 {
                #expect(try kept.read(index, by: other.doctor) == .piece(kept.pieces[index]))
            }
        }
        let keys = try DatabaseQueue(path: place.path)
        let count = try keys.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM piece") }
        #expect(count == 3)
        try keys.close()
        for needle in needles { #expect(try place.count(of: needle) == 0) }
    }

    @Test func `a failed batch changes no sum, and an erased mailbox's beginnings go`() throws {
        let place = try StoreWorld()
        try place.run { world, store in
            let talk = try TestConsultation(world)
            let guest = try talk.addGuest()
            let blob = try TestBlob(of: talk, byteCount: 2 * Self.piece)
            #expect(try blob.begin(by: guest) == .done)
            let before = store.blobUsage
            try store.begin()
            let slot = try #require(try store.group(talk.group)).0
            let owner = try #require(try store.mailbox(guest.id)).0
            let id = try #require(BlobID(Random.bytes(16)))
            try store.addBlob(id, in: slot, byteCount: 5, by: owner, on: world.now.day)
            #expect(store.blobUsage.count == 2)
            store.rollback()
            #expect(store.blobUsage == before)
            try talk.patient.ask(talk.commit(epoch: 2, removes: [guest.id]))
            let line = try #require(guest.line)
            _ = try line.drain()
            #expect(try guest.ask(.retire) == .done)
            #expect(store.blobUsage == BlobUsage())
        }
    }

    @Test func `blobs are in a backup, and gone again if they were erased since`() throws {
        let place = try FolderWorld()
        let (gone, kept, blobs) = try place.run { world, _, _ in
            let talks = [try TestConsultation(world), try TestConsultation(world)]
            let blobs = try talks.map {
                try TestBlob(of: $0, byteCount: Self.piece + 7, putBy: $0.patient)
            }
            return (talks[0], talks[1], blobs)
        }
        let backup = place.folder.file("backup")
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try place.run { world, store, _ in
            let line = try world.connect()
            for mailbox in [gone.patient, gone.doctor] { try line.open(mailbox) }
            try gone.end()
            #expect(store.blobUsage.count == 1)
        }
        _ = try Restoration.restore(from: backup, into: place.path)
        try place.run { world, store, _ in
            try world.sweep()
            #expect(store.blobUsage == BlobUsage(count: 1, byteCount: Self.piece + 7))
            let line = try world.connect()
            try line.open(kept.doctor)
            for index in 0..<2 {
                #expect(try blobs[1].read(index, by: kept.doctor) == .piece(blobs[1].pieces[index]))
            }
        }
    }
}
