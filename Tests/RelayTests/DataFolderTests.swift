import Cryptography
import Foundation
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
