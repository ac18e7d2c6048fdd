import Foundation
import TestSupport
import Testing

@testable import Relay

@Suite struct `A backup` {
    @Test func `never takes the place of the relay's own files, or of what is no file`() throws {
        let place = try FolderWorld()
        try place.makeStore()
        let (folder, data) = (place.folder, place.path)
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

    @Test func `that can't be noted in the trail isn't there, and the one before is`() throws {
        let place = try FolderWorld()
        try place.makeStore()
        let (kept, other) = (place.folder.file("kept"), place.folder.file("other"))
        _ = try RelayBackup.make(folder: place.path, to: kept)
        let before = FileManager.default.contents(atPath: kept)
        try FileManager.default.removeItem(atPath: place.path + "/trail")
        try Data().write(to: URL(fileURLWithPath: place.path + "/trail"))
        for target in [kept, other] {
            #expect(throws: RelayError.self) {
                try RelayBackup.make(folder: place.path, to: target, replaces: true)
            }
        }
        #expect(FileManager.default.contents(atPath: kept) == before)
        let names = try FileManager.default.contentsOfDirectory(atPath: place.folder.path)
        #expect(names.sorted() == ["data", "kept"])
    }
}
