import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol
import TestSupport
import Testing

@testable import Relay

/// A relay's folder with a little in it, and something beside it that nobody may touch.
private struct Place {
    private let world: FolderWorld
    var folder: TemporaryFolder { world.folder }
    var path: String { world.path }
    var victim: String { folder.file("victim") }
    let secret = Data("not the relay's".utf8)

    init() throws {
        world = try FolderWorld()
        try world.makeStore()
        try RelayBackup.noteRehearsal(folder: path, passed: true)
        try secret.write(to: URL(fileURLWithPath: victim))
    }

    func link(_ name: String) throws {
        try? FileManager.default.removeItem(atPath: path + "/" + name)
        try FileManager.default.createSymbolicLink(
            atPath: path + "/" + name, withDestinationPath: victim)
    }
}

@Suite struct `Files in the data folder` {
    @Test(arguments: [
        "keys", "lock", "relay.sqlite", "relay.sqlite-wal", "relay.sqlite-shm",
        "relay.sqlite.copy.1", "relay.sqlite.new", "relay.sqlite.restored", "trail",
        "trail/00000000000000000000.trail", "rehearsal.999999.x",
    ])
    func `are never what a link points to`(name: String) throws {
        let place = try Place()
        let backup = place.folder.file("backup")
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try place.link(name)
        // Everything that root's commands and the relay's start do; some fail, none follows.
        _ = try? RelayCheck(folder: place.path)
        _ = try? TrailAudit(folder: place.path, last: 3)
        _ = try? RelayStatus(folder: place.path)
        _ = try? RelayBackup.make(folder: place.path, to: place.folder.file("second"))
        try? RelayBackup.noteRehearsal(folder: place.path, passed: true)
        if let folder = try? DataFolder(existing: place.path) { folder.removeLeftovers() }
        if let lock = try? DataFolder(path: place.path).lock(for: .serve) { lock.release() }
        _ = try? RelayDatabase(path: place.path + "/relay.sqlite")
        _ = try? Restoration.rehearse(from: backup, folderPath: place.path)
        _ = try? Restoration.restore(from: backup, into: place.path, ignoresTrail: true)
        #expect(FileManager.default.contents(atPath: place.victim) == place.secret)
    }

    @Test func `are nobody else's: a folder that others may enter is refused`() throws {
        let place = try Place()
        for mode in [0o755, 0o710, 0o777] {
            unsafe chmod(place.path, mode_t(mode))
            #expect(throws: RelayError.openToOthers) { try DataFolder(path: place.path) }
            #expect(throws: RelayError.openToOthers) { try RelayCheck(folder: place.path) }
        }
        unsafe chmod(place.path, 0o700)
        _ = try DataFolder(path: place.path)
        #expect(throws: RelayError.self) { try DataFolder(path: place.victim) }
    }

    @Test(.enabled(if: geteuid() == 0, "only root gives files away"))
    func `are handed to its owner, but not what has a name elsewhere`() throws {
        let place = try Place()
        let user: uid_t = 65_534
        try #require(unsafe chown(place.path, user, user) == 0)
        func owner(_ path: String) -> uid_t? {
            var state = stat()
            return unsafe stat(path, &state) == 0 ? state.st_uid : nil
        }
        func hand(_ name: String) {
            OwnFile.hand(place.path + "/" + name, toOwnerOf: place.path)
        }
        try FileManager.default.linkItem(atPath: place.victim, toPath: place.path + "/hard")
        try place.link("soft")
        hand("hard")
        hand("soft")
        #expect(owner(place.victim) == 0)
        for name in ["keys", "trail"] {
            hand(name)
            #expect(owner(place.path + "/" + name) == user)
        }
    }

    @Test func `a database that is a link isn't opened`() throws {
        let place = try Place()
        let other = try Place()
        try place.link("relay.sqlite")
        try? FileManager.default.removeItem(atPath: place.victim)
        try FileManager.default.moveItem(
            atPath: other.path + "/relay.sqlite", toPath: place.victim)
        #expect(throws: RelayError.self) { try RelayDatabase(path: place.path + "/relay.sqlite") }
        #expect(throws: RelayError.self) { try RelayStatus(folder: place.path) }
        let points = try RelayCheck(folder: place.path).points
        #expect(points.contains { $0.name == "store" && $0.standing == .bad })
    }
}

@Suite struct `What is removed` {
    /// What is on the disk where a file was, read over a descriptor that was open before.
    private struct Remains {
        let file: Int32
        let size: Int

        init(of path: String) throws {
            file = unsafe open(path, O_RDONLY)
            try #require(file >= 0)
            size = Int(lseek(file, 0, SEEK_END))
            try #require(size > 0)
        }

        func areZeros() -> Bool {
            defer { close(file) }
            var octets = [UInt8](repeating: 1, count: size)
            let count = unsafe pread(file, &octets, size, 0)
            return count == size && octets.allSatisfy { $0 == 0 }
        }
    }

    @Test func `is overwritten before its blocks are free`() throws {
        let place = try Place()
        let folder = try DataFolder(existing: place.path)
        let backup = place.folder.file("backup")
        _ = try RelayBackup.make(folder: place.path, to: backup)
        // Left behind by a killed backup, a killed restore and a killed rehearsal.
        let copy = place.path + "/relay.sqlite.copy.77"
        let staged = place.path + "/relay.sqlite.new"
        let rehearsal = place.path + "/rehearsal.999999.abcdef"
        try FileManager.default.createDirectory(
            atPath: rehearsal, withIntermediateDirectories: true)
        let rehearsed = rehearsal + "/relay.sqlite"
        for path in [copy, staged, staged + "-wal", rehearsed] {
            try Data(Random.bytes(3_000_000)).write(to: URL(fileURLWithPath: path))
        }
        let remains = try [copy, staged, staged + "-wal", rehearsed].map { try Remains(of: $0) }
        folder.removeLeftovers()
        for remains in remains { #expect(remains.areZeros()) }
        #expect(!FileManager.default.fileExists(atPath: rehearsal))

        // The database that a restore replaces, and the backup that another one replaces.
        let replaced = try Remains(of: place.path + "/relay.sqlite")
        _ = try Restoration.restore(from: backup, into: place.path)
        #expect(replaced.areZeros())
        let older = try Remains(of: backup)
        // What a backup of that name has left that was killed.
        let begun = try [backup + ".new", backup + ".new-journal"].map { path in
            try Data(Random.bytes(3_000_000)).write(to: URL(fileURLWithPath: path))
            return try Remains(of: path)
        }
        _ = try RelayBackup.make(folder: place.path, to: backup, replaces: true)
        #expect(older.areZeros())
        for remains in begun { #expect(remains.areZeros()) }
        let names = try FileManager.default.contentsOfDirectory(atPath: place.folder.path)
        #expect(names.sorted() == ["backup", "data", "victim"])
    }

    @Test func `a replaced backup that has another name is left to that name`() throws {
        let place = try Place()
        let backup = place.folder.file("backup")
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try FileManager.default.linkItem(atPath: backup, toPath: place.folder.file("kept"))
        let before = FileManager.default.contents(atPath: backup)
        _ = try RelayBackup.make(folder: place.path, to: backup, replaces: true)
        #expect(FileManager.default.contents(atPath: place.folder.file("kept")) == before)
    }

    @Test func `a copy that a backup gave up is overwritten`() throws {
        let place = try Place()
        let database = try RelayDatabase(path: place.path + "/relay.sqlite")
        let copy = place.path + "/relay.sqlite.copy.5"
        let answer = Lock<ControlReply?>(nil)
        let run = try database.queue.writeWithoutTransaction { database in
            try BackupRun(database, to: copy) { reply in answer.withLock { $0 = reply } }
        }
        run.abandon("stopped")
        // The conversation that asked for it removes what it is told of.
        #expect(answer.withLock { $0 }?.copy == copy)
        #expect(answer.withLock { $0 }?.problem == "stopped")
        try database.queue.close()
    }
}
