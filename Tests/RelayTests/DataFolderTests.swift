import Cryptography
import Foundation
import GRDB
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

@Suite struct `A data folder in use` {
    /// A folder on which a relay has run, and stopped.
    private struct Place {
        let folder: TemporaryFolder
        var path: String { folder.file("data") }

        init() throws {
            folder = try TemporaryFolder()
            try serve()
        }

        func serve() throws {
            let server = try `The control socket`.serve(in: folder)
            server.stop()
            server.wait()
        }

        func remove(_ names: [String]) throws {
            for name in names { try FileManager.default.removeItem(atPath: path + "/" + name) }
        }

        func holds(_ name: String) -> Bool {
            FileManager.default.fileExists(atPath: path + "/" + name)
        }
    }

    @Test(arguments: [["keys"], ["keys", "relay.sqlite"], ["keys", "trail"]])
    func `gets no new keys: another relay would answer to its address`(gone: [String]) throws {
        let place = try Place()
        let backup = place.folder.file("backup")
        let whole = try RelayBackup.make(folder: place.path, to: backup)
        try place.remove(gone)
        let folder = try DataFolder(path: place.path)
        #expect(throws: RelayError.missing("keys")) { try folder.keys() }
        #expect(throws: RelayError.missing("keys")) { try place.serve() }
        #expect(throws: RelayError.self) {
            try RelayBackup.make(folder: place.path, to: backup, replaces: true)
        }
        #expect(!place.holds("keys"))
        // The last backup is still the one with the right keys.
        _ = try Restoration.restore(
            from: backup, into: place.path, ignoresTrail: gone.contains("trail"))
        #expect(try folder.keys().identity.publicKey == whole.relayKey)
        try place.serve()
    }

    @Test func `gets no empty database`() throws {
        let place = try Place()
        let backup = place.folder.file("backup")
        _ = try RelayBackup.make(folder: place.path, to: backup)
        try place.remove(["relay.sqlite"])
        #expect(throws: RelayError.missing("database")) { try place.serve() }
        #expect(!place.holds("relay.sqlite"))
        _ = try Restoration.restore(from: backup, into: place.path)
        try place.serve()
    }

    @Test(arguments: [FolderHolder.Command.identity, .backup, .restore, .compact])
    func `by a command isn't taken for one on which a relay runs`(
        command: FolderHolder.Command
    ) throws {
        let place = try Place()
        let path = place.path
        let backup = place.folder.file("backup")
        _ = try RelayBackup.make(folder: path, to: backup)
        let lock = try DataFolder(existing: path).lock(for: command)
        defer { lock.release() }
        let refusal = RelayError.inUse(by: FolderHolder(processID: getpid(), command: command))
        #expect(throws: refusal) { try RelayStatus(folder: path) }
        #expect(throws: refusal) { try RelayCheck(folder: path) }
        #expect(throws: refusal) { try TrailAudit(folder: path) }
        #expect(throws: refusal) {
            try RelayBackup.make(folder: path, to: backup, replaces: true)
        }
        #expect(throws: refusal) { try RelayBackup.signHead(folder: path) }
        #expect(throws: refusal) { try RelayBackup.noteRehearsal(folder: path, passed: true) }
        #expect(throws: refusal) { try Restoration.rehearse(from: backup, folderPath: path) }
    }

    @Test func `says which command has it`() throws {
        let place = try Place()
        let backup = place.folder.file("backup")
        let lock = place.path + "/lock"
        func holder() -> FolderHolder? { OwnFile.contents(lock).flatMap { FolderHolder($0) } }
        #expect(holder() == FolderHolder(processID: getpid(), command: .serve))
        _ = try RelayBackup.make(folder: place.path, to: backup)
        #expect(holder()?.command == .backup)
        _ = try Compaction.run(folder: place.path)
        #expect(holder()?.command == .compact)
        _ = try Restoration.restore(from: backup, into: place.path)
        #expect(holder()?.command == .restore)
        // As earlier versions wrote it.
        #expect(
            FolderHolder(Array("77\n1 compact".utf8))
                == FolderHolder(processID: 77, command: .serve))
    }
}

@Suite(.enabled(if: geteuid() == 0, "only root makes files in another user's folder"))
struct `Another user's data folder` {
    private static let user: uid_t = 65_534

    private static func make(in folder: TemporaryFolder) throws -> String {
        let path = folder.file("another's")
        try #require(unsafe mkdir(path, 0o700) == 0)
        try #require(unsafe chown(path, user, user) == 0)
        return path
    }

    /// What isn't that user's: the folder, or in it.
    private static func ofOthers(in path: String) throws -> [String] {
        let names = try FileManager.default.subpathsOfDirectory(atPath: path)
        return ([path] + names.map { path + "/" + $0 }).filter { path in
            var state = stat()
            return unsafe lstat(path, &state) != 0 || state.st_uid != user
        }
    }

    @Test func `is whole for its owner while root's relay runs on it, and afterwards`() throws {
        let folder = try TemporaryFolder()
        let path = try Self.make(in: folder)
        let mirror = folder.file("mirror")
        let server = try RelayServer.serving(path, clinicRoot: try SigningKey().publicKey) {
            $0.settings.trailMirror = mirror
        }
        _ = try RelayBackup.make(folder: path, to: folder.file("backup"))
        #expect(FileManager.default.fileExists(atPath: path + "/control"))
        #expect(FileManager.default.fileExists(atPath: path + "/relay.sqlite-wal"))
        #expect(try Self.ofOthers(in: path) == [])
        #expect(try Self.ofOthers(in: mirror) == [])
        server.stop()
        server.wait()
        #expect(try Self.ofOthers(in: path) == [])
        #expect(try Self.ofOthers(in: mirror) == [])
    }

    @Test func `is whole for its owner while root makes copies in it, should they be left`() throws
    {
        let place = try FolderWorld()
        try place.makeStore()
        let path = try Self.make(in: place.folder)
        let folder = try DataFolder(path: path)
        let rehearsal = try Restoration.makeRehearsalFolder(in: folder)
        for copy in [folder.stagingPath, rehearsal + "/relay.sqlite"] {
            _ = try BackupFile.copy(
                RelayDatabase(path: place.path + "/relay.sqlite").queue, to: copy,
                fault: RelayError.backup
            ) { _ in
                let others = try Self.ofOthers(in: path)
                #expect(others == [])
            }
        }
    }

    @Test func `is whole for its owner when root has made the keys`() throws {
        let folder = try TemporaryFolder()
        let path = try Self.make(in: folder)
        _ = try DataFolder(path: path).keys()
        #expect(try Self.ofOthers(in: path) == [])
    }

    @Test(arguments: [true, false])
    func `is whole for its owner when root has restored into it`(hasTrail: Bool) throws {
        let place = try FolderWorld(mirrored: true)
        try place.run { world, _, _ in _ = try world.connect().makeHome() }
        let backup = place.folder.file("backup")
        _ = try RelayBackup.make(folder: place.path, to: backup)
        let path = try Self.make(in: place.folder)
        _ = try Restoration.restore(
            from: backup, into: path, trailPath: hasTrail ? place.mirror : nil)
        #expect(FileManager.default.fileExists(atPath: path + "/trail"))
        #expect(try Self.ofOthers(in: path) == [])
    }
}
