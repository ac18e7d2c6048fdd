import Foundation
import GRDB
import TestSupport
import Testing

@testable import Relay

@Suite struct `A backup` {
    @Test func `never takes the place of the relay's own files, or of what is no file`() throws {
        let folder = try TemporaryFolder()
        let data = folder.file("data")
        _ = try DataFolder(path: data).keys()
        let database = try RelayDatabase(path: data + "/relay.sqlite")
        try database.queue.writeWithoutTransaction { _ = try SQLiteStore($0) }
        try database.queue.close()
        _ = try RelayBackup.make(folder: data, to: folder.file("backup"))
        let before = try Data(contentsOf: URL(fileURLWithPath: data + "/relay.sqlite"))

        let link = folder.file("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: data)
        let pipe = folder.file("pipe")
        try #require(unsafe mkfifo(pipe, 0o600) == 0)
        for target in [
            data + "/relay.sqlite", data + "/other", data + "/trail/../keys", data + "/trail/new",
            link + "/relay.sqlite", link, pipe, folder.path,
        ] {
            #expect(throws: RelayError.self, "\(target)") {
                try RelayBackup.make(folder: data, to: target, replaces: true)
            }
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: data + "/relay.sqlite")) == before)
        var state = stat()
        #expect(unsafe lstat(pipe, &state) == 0 && state.st_mode & S_IFMT == S_IFIFO)

        let target = folder.file("backup")
        #expect(throws: RelayError.backupFile("there is a file of that name")) {
            try RelayBackup.make(folder: data, to: target)
        }
        _ = try RelayBackup.make(folder: data, to: target, replaces: true)
    }
}
