import Cryptography
import Foundation
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

    /// What in it isn't that user's.
    private static func ofOthers(in path: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: path).filter { name in
            var state = stat()
            return unsafe lstat(path + "/" + name, &state) != 0 || state.st_uid != user
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
