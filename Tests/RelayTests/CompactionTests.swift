import Cryptography
import Foundation
import Glibc
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

@Suite struct `Compacting` {
    private func databaseByteCount(_ world: FolderWorld) throws -> UInt64 {
        try DataFolder(existing: world.path).databaseByteCount
    }

    /// A consultation with files for the database to hold, and one that stays.
    private func talks(_ folder: FolderWorld) throws -> (
        large: TestConsultation, stays: TestConsultation
    ) {
        try folder.run { world, _, _ in
            let large = try TestConsultation(world)
            let stays = try TestConsultation(world)
            for talk in [large, stays] { try talk.send(Array("kept".utf8), from: talk.patient) }
            let blob = try TestBlob(of: large, byteCount: 3 << 20)
            #expect(try blob.begin(by: large.patient) == .done)
            for index in blob.pieces.indices {
                #expect(try blob.put(index, by: large.patient) == .done)
            }
            return (large, stays)
        }
    }

    private func reconnect(_ world: RelayWorld, _ talk: TestConsultation) throws {
        let line = try world.connect()
        for mailbox in [talk.patient, talk.doctor] {
            guard case .opened = try line.open(mailbox) else {
                throw RelayWorld.Problem.noReply
            }
        }
    }

    @Test func `gives back what an erasure left free, and loses nothing`() throws {
        let folder = try FolderWorld()
        let (large, stays) = try talks(folder)
        let full = try databaseByteCount(folder)
        try folder.run { world, _, _ in
            try reconnect(world, large)
            try large.end()
            try world.sweep()
        }
        #expect(try databaseByteCount(folder) >= full, "SQLite has become smaller by itself")
        // What is given back to the file system is read by whoever still has it open.
        let replaced = unsafe open(folder.path + "/relay.sqlite", O_RDONLY)
        defer { close(replaced) }

        let report = try Compaction.run(folder: folder.path)
        #expect(report.before >= full)
        #expect(report.after < full - (3 << 20) + (512 << 10))
        #expect(try databaseByteCount(folder) == report.after)
        var octets = [UInt8](repeating: 1, count: Int(full))
        let count = unsafe octets.withUnsafeMutableBytes {
            unsafe pread(replaced, $0.baseAddress, $0.count, 0)
        }
        #expect(count == Int(full) && octets.allSatisfy { $0 == 0 })
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        #expect(names == ["keys", "lock", "relay.sqlite", "trail"])

        #expect(try folder.faults().isEmpty)
        try folder.run { world, store, _ in
            #expect(try store.inspect().isEmpty)
            try reconnect(world, stays)
            let came = try #require(stays.doctor.line).drain()
            #expect(came.contains { $0.content.suffix(4) == Array("kept".utf8)[...] })
            #expect(try stays.send([1], from: stays.doctor) == .done)
            #expect(try folder.count(of: stays.group.bytes, in: folder.path) > 0)
        }
        // In its new place too, what is erased is overwritten.
        try folder.run { world, _, _ in
            try reconnect(world, stays)
            try stays.end()
        }
        #expect(try folder.count(of: stays.group.bytes, in: folder.path) == 0)
    }

    @Test func `that was interrupted leaves the database as it was, and nothing beside it`() throws
    {
        let folder = try FolderWorld()
        let (large, _) = try talks(folder)
        let data = try DataFolder(existing: folder.path)
        // As if killed while copying.
        try Data(repeating: 7, count: 9_000).write(to: URL(fileURLWithPath: data.stagingPath))
        _ = try Compaction.run(folder: folder.path)
        #expect(!FileManager.default.fileExists(atPath: data.stagingPath))
        // As if killed when the copy had been named.
        try FileManager.default.copyItem(atPath: data.databasePath, toPath: data.restoredPath)
        try folder.run { world, _, _ in try reconnect(world, large) }
        #expect(!FileManager.default.fileExists(atPath: data.restoredPath))
    }

    @Test func `isn't done under a relay that runs, nor with a damaged database`() throws {
        let folder = try FolderWorld()
        _ = try talks(folder)
        let data = try DataFolder(existing: folder.path)
        let lock = try data.lock(for: .serve)
        #expect(throws: RelayError.self) { try Compaction.run(folder: folder.path) }
        lock.release()
        let before = try databaseByteCount(folder)
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: data.databasePath))
        try file.seek(toOffset: before - 20_000)
        try file.write(contentsOf: Data(repeating: 7, count: 9_000))
        try file.close()
        #expect(throws: RelayError.self) { try Compaction.run(folder: folder.path) }
        #expect(try databaseByteCount(folder) == before)
        #expect(!FileManager.default.fileExists(atPath: data.stagingPath))
    }

    @Test func `overwrites the log that a killed relay has left, as a backup does`() throws {
        for isBackup in [true, false] {
            let folder = try FolderWorld()
            let log = try logOfKilled(folder)
            defer { close(log) }
            var octets = [UInt8](repeating: 0, count: 100)
            func read() -> Int {
                unsafe octets.withUnsafeMutableBytes {
                    unsafe pread(log, $0.baseAddress, $0.count, 0)
                }
            }
            try #require(read() == 100 && !octets.allSatisfy { $0 == 0 })
            if isBackup {
                _ = try RelayBackup.make(folder: folder.path, to: folder.folder.file("backup"))
            } else {
                _ = try Compaction.run(folder: folder.path)
            }
            // SQLite alone removes it with all that is in it.
            #expect(read() == 0)
        }
    }

    /// Leaves a folder as a kill does, with a log beside the database; the log, open.
    private func logOfKilled(_ folder: FolderWorld) throws -> Int32 {
        let database = folder.path + "/relay.sqlite"
        let copy = folder.folder.file("copy")
        try folder.run { world, _, _ in
            _ = try TestConsultation(world)
            for suffix in ["", "-wal"] {
                try FileManager.default.copyItem(atPath: database + suffix, toPath: copy + suffix)
            }
        }
        for suffix in ["", "-wal"] {
            try? FileManager.default.removeItem(atPath: database + suffix)
            try FileManager.default.moveItem(atPath: copy + suffix, toPath: database + suffix)
        }
        return unsafe open(database + "-wal", O_RDONLY)
    }
}
