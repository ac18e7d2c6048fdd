import Cryptography
import Foundation
import GRDB
import Glibc
import RelayCore
import RelayTestSupport
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
            "", folder.file("new/"), data + "/relay.sqlite", data + "/other",
            data + "/trail/../keys", data + "/trail/new",
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

    @Test func `of a running relay is made by whatever path its folder is named`() throws {
        let folder = try TemporaryFolder()
        let (path, link) = (folder.file("data"), folder.file("link"))
        let server = try RelayServer.serving(path, clinicRoot: try SigningKey().publicKey)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        for (number, name) in [path + "/", folder.path + "/.//data", link, link + "/"].enumerated()
        {
            _ = try RelayBackup.make(folder: name, to: folder.file("backup\(number)"))
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: path)
        #expect(!names.contains { $0.contains("copy") })
        server.stop()
        server.wait()
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

    @Test func `that can't be named once it is noted is noted as failed`() throws {
        let place = try FolderWorld()
        try place.makeStore()
        let target = place.folder.file("backup")
        let keys = try DataFolder(existing: place.path).existingKeys()
        var notes: [BackupStep] = []
        #expect(throws: RelayError.backupFile("it can't be named: is a directory")) {
            try BackupFile.make(
                from: place.path + "/relay.sqlite", keys: keys, hour: 1, to: target, replaces: false
            ) { step throws(RelayError) in
                notes.append(step)
                // Somebody else makes a folder of that name.
                if step == .made { unsafe mkdir(target, 0o700) }
            }
        }
        #expect(notes == [.made, .lost])
        #expect(!FileManager.default.fileExists(atPath: target + ".new"))
    }

    @Test func `has the gaps that the relay has, and no others`() throws {
        let place = try FolderWorld()
        try place.run { world, _, _ in
            let talk = try TestConsultation(world)
            try world.hangUp(try #require(talk.doctor.line))
            for body: UInt8 in 1...2 { try talk.send([body], from: talk.patient) }
            _ = try TestBlob(of: talk, byteCount: 300, putBy: talk.patient)
        }
        let database = place.path + "/relay.sqlite"
        func damage(_ table: String, at number: String) throws {
            let queue = try RelayDatabase.open(database)
            try queue.writeWithoutTransaction { database in
                try database.execute(
                    sql: """
                        UPDATE \(table) SET content = zeroblob(length(content))
                        WHERE number = (SELECT \(number)(number) FROM \(table))
                        """)
            }
            try queue.close()
        }
        func store() throws -> RelayCheck.Point? {
            try RelayCheck(folder: place.path).points.first { $0.name == "store" }
        }
        let target = place.folder.file("backup")
        #expect(try RelayBackup.make(folder: place.path, to: target).gapWords == nil)
        #expect(try store()?.standing == .good)

        try damage("message", at: "max")
        try damage("piece", at: "max")
        let words = "1 message and 1 piece of files can't be read"
        #expect(try store()?.standing == .bad && store()?.words == words)
        let backup = try RelayBackup.make(folder: place.path, to: target, replaces: true)
        #expect(backup.gapWords == words)
        let rehearsal = try Restoration.rehearse(from: target, folderPath: place.path)
        #expect(rehearsal.gapWords == words)
        _ = try Compaction.run(folder: place.path)
        #expect(try Restoration.restore(from: target, into: place.path).gapWords == words)

        // What a disk changes while it takes the copy isn't a gap of the relay's.
        let copy = place.folder.file("copy")
        #expect(throws: RelayError.backup("what was written doesn't read back")) {
            _ = try BackupFile.copy(
                RelayDatabase.open(database), to: copy, fault: RelayError.backupFile
            ) { copied in
                try copied.execute(sql: "UPDATE message SET content = zeroblob(length(content))")
            }
        }
        #expect(!FileManager.default.fileExists(atPath: copy))
    }

    @Test func `isn't made where more is damaged than content`() throws {
        let place = try FolderWorld()
        try place.run { world, store, _ in
            let talk = try TestConsultation(world)
            let number = try #require(try store.mailbox(talk.patient.id)).0
            try store.database.execute(
                sql: "INSERT INTO answer VALUES (?, 1 << 40, zeroblob(60))",
                arguments: [number.rawValue])
        }
        #expect(throws: RelayError.backup("damaged: an answer to a mailbox can't be read")) {
            try RelayBackup.make(folder: place.path, to: place.folder.file("backup"))
        }
        let point = try RelayCheck(folder: place.path).points.first { $0.name == "store" }
        #expect(point?.words == "an answer to a mailbox can't be read")
        #expect(point?.standing == .bad)
    }

    @Test func `of which nobody knows whether it has its name is none, once there is a start`()
        throws
    {
        let folder = try TemporaryFolder()
        let (data, clinic) = (folder.file("data"), try SigningKey().publicKey)
        func served(_ body: () throws -> Void) throws {
            let server = try RelayServer.serving(data, clinicRoot: clinic)
            defer {
                server.stop()
                server.wait()
            }
            try body()
        }
        func notes() throws -> [String?] {
            try TrailAudit(folder: data, last: 100).entries.filter { $0.kind == .backup }
                .map { TrailEvent($0)?["result"] }
        }
        func lastBackup() throws -> UInt64? {
            try RelayDatabase.marks(path: data + "/relay.sqlite").lastBackup
        }
        // As a command does that is killed before it can name its file.
        func killed() throws {
            var command = try ControlClient(folder: DataFolder(existing: data))
            _ = try command.ask(.backupStep(.made))
        }
        try served {
            try killed()
            #expect(try notes() == [nil])
            #expect(try lastBackup() == nil)
        }
        try served {}
        #expect(try notes() == [nil, "failed"])
        // The next one says so as well, if there is no start between; so does any other command.
        try served {
            try killed()
            _ = try RelayBackup.make(folder: data, to: folder.file("backup"))
            #expect(try notes() == [nil, "failed", nil, "failed", nil])
            #expect(try lastBackup() != nil)
            try killed()
        }
        _ = try Compaction.run(folder: data)
        #expect(try notes() == [nil, "failed", nil, "failed", nil, nil, "failed"])
        try served {}
        #expect(try notes().count == 7)
        #expect(try TrailAudit(folder: data).verifier.faults == [])
    }

    /// Makes a file that can't be replaced: something is mounted there.
    private static func mountFile(_ path: String) throws -> Bool {
        try Data([1]).write(to: URL(fileURLWithPath: path))
        return unsafe mount(path, path, "none", UInt(MS_BIND), nil) == 0
    }

    private static func unmount(_ path: String) { unsafe umount2(path, Int32(MNT_DETACH)) }

    private static let mayMount: Bool = {
        guard let folder = try? TemporaryFolder() else { return false }
        let file = folder.file("file")
        defer { unmount(file) }
        return (try? mountFile(file)) == true
    }()

    @Test(.enabled(if: Self.mayMount, "only root mounts anything"), arguments: [true, false])
    func `that failed so is in the trail as such, and not the last one`(isRunning: Bool) throws {
        let folder = try TemporaryFolder()
        let (data, target) = (folder.file("data"), folder.file("backup"))
        let server = try RelayServer.serving(data, clinicRoot: try SigningKey().publicKey)
        func stop() {
            server.stop()
            server.wait()
        }
        _ = try RelayStatus(folder: data)
        if !isRunning { stop() }
        defer { if isRunning { stop() } }
        func lastBackup() throws -> UInt64? {
            try RelayDatabase.marks(path: data + "/relay.sqlite").lastBackup
        }
        func results() throws -> [String?] {
            try TrailAudit(folder: data, last: 100).entries.filter { $0.kind == .backup }
                .map { TrailEvent($0)?["result"] }
        }
        for before in [[], [nil, "failed", nil]] as [[String?]] {
            let last = try lastBackup()
            #expect(before.isEmpty == (last == nil))
            #expect(try results() == before)
            try #require(try Self.mountFile(target))
            #expect(throws: RelayError.backupFile("it can't be named: device or resource busy")) {
                try RelayBackup.make(folder: data, to: target, replaces: true)
            }
            Self.unmount(target)
            #expect(try lastBackup() == last)
            #expect(try results() == before + [nil, "failed"])
            _ = try RelayBackup.make(folder: data, to: target, replaces: true)
        }
        #expect(try lastBackup() != nil)
    }
}
