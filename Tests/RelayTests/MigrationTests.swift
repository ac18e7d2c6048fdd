import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol
import TestSupport
import Testing

@testable import Relay

/// A store of the first released schema, frozen: every later version must lift it.
@Suite struct `Upgrades` {
    private func octets(_ text: String) throws -> [UInt8] {
        try [UInt8](#require(Data(base64Encoded: text)))
    }

    private func makeFirst(at path: String) throws {
        let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Fixtures")
        let queue = try DatabaseQueue(path: path)
        try queue.write { database in
            for name in ["schema-1.sql", "store-1.sql"] {
                try database.execute(
                    sql: String(
                        contentsOf: fixtures.appendingPathComponent(name), encoding: .utf8))
            }
            try database.execute(
                sql: """
                    CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY);
                    INSERT INTO grdb_migrations VALUES ('1 mailboxes, groups, messages');
                    """)
        }
        try queue.close()
    }

    @Test func `a store of the first schema is lifted with everything that is in it`() throws {
        let folder = try TemporaryFolder()
        _ = try DataFolder(path: folder.path).keys()
        let path = folder.file("relay.sqlite")
        try makeFirst(at: path)
        let database = try RelayDatabase(path: path)
        try database.queue.writeWithoutTransaction { database in
            let store = try SQLiteStore(database)
            try store.begin()
            let id = try #require(
                GroupID(try octets("FKaN2cTnaSpoIeuUylrlOkMHzSudoUMvK2Dj8/P4Vuo=")))
            let (number, group) = try #require(try store.group(id))
            #expect(group.epoch == 1)
            let members = try group.members.compactMap { $0 }.map { member in
                try store.mailbox(member.mailbox)?.id.bytes
            }
            #expect(
                try members == [
                    octets("iR2GCqGAP1HO8matmGWnhBblVj9Vk6+MvqbOIhAei4o="),
                    octets("PTQ1WjidDYOipAbh1+POSzF4d3BJRFYQhN3YHeFR0wc="),
                ])
            let messages = try store.messages(
                in: number, waitingFor: .max, after: MessageNumber(rawValue: 0), limit: 10,
                byteCount: 1 << 20
            ).found
            #expect(messages.map(\.kind) == [.welcome, .message])
            #expect(messages.map { Array($0.content.suffix(3)) } == [[1, 2, 3], [7, 7, 7]])
            let home = try #require(
                MailboxID(try octets("USiWRXJ63bV0BU8o/4qE2WScN9Hq6xFwqS665cCwm78=")))
            let (place, _) = try #require(try store.mailbox(home))
            #expect(try store.packages(of: place).map(\.content) == [[1, 2], [3]])
            #expect(store.mailboxCount == 4)
            let found = try store.inspect()
            #expect(found.isEmpty)
            try store.commit()
        }
        try database.queue.close()
        // A relay starts on it, begins a trail, and can be backed up.
        let elsewhere = try TemporaryFolder()
        let backup = try RelayBackup.make(folder: folder.path, to: elsewhere.file("backup"))
        #expect(backup.byteCount > 0)
        #expect(try TrailAudit(folder: folder.path).verifier.faults == [])
    }

    @Test func `a backup of the first schema is restored, its folder looked at as it is`() throws {
        let place = try FolderWorld()
        let (folder, data) = (place.folder, place.path)
        try makeFirst(at: data + "/relay.sqlite")
        #expect(throws: RelayError.olderDatabase) { try RelayStatus(folder: data) }
        let store = try RelayCheck(folder: data).points.first { $0.name == "store" }
        #expect(store?.standing == .attention)

        // Made before the folder is lifted.
        let backup = folder.file("backup")
        _ = try RelayBackup.make(folder: data, to: backup)
        let queue = try DatabaseQueue(path: backup)
        #expect(try queue.read { try !$0.tableExists("blob") })
        try queue.close()
        #expect(try Restoration.rehearse(from: backup, folderPath: data).groups == 1)
        let restored = folder.file("restored")
        let report = try Restoration.restore(from: backup, into: restored)
        #expect(report.groups == 1)
        #expect(report.messages == 2)
        #expect(try RelayStatus(folder: restored).store.mailboxes == 4)
        #expect(try TrailAudit(folder: restored).verifier.faults == [])
    }

    @Test(arguments: [false, true])
    func `a folder of a newer version is refused by whoever only looks`(runs: Bool) throws {
        let place = try TemporaryFolder()
        let path = place.file("data")
        let server = try `The control socket`.serve(in: place)
        if !runs {
            server.stop()
            server.wait()
        }
        let folder = try DataFolder(path: path)
        #expect(try folder.schemaNumber == Schema.number)
        let queue = try RelayDatabase.open(folder.databasePath)
        try queue.writeWithoutTransaction { database in
            try database.execute(
                sql: "INSERT INTO grdb_migrations (identifier) VALUES ('9 from the future')")
        }
        try queue.close()
        // A relay that runs makes files of its own.
        func names() throws -> [String] {
            try runs ? [] : FileManager.default.subpathsOfDirectory(atPath: path).sorted()
        }
        let before = try names()
        #expect(throws: RelayError.newerDatabase) { try folder.schemaNumber }
        #expect(throws: RelayError.newerDatabase) { try RelayStatus(folder: path) }
        #expect(throws: RelayError.newerDatabase) { try RelayCheck(folder: path) }
        #expect(try names() == before)
        #expect(throws: RelayError.newerDatabase) { try TrailAudit(folder: path) }
        if runs {
            server.stop()
            server.wait()
        }
    }

    @Test func `a backup of a newer version is refused`() throws {
        let place = try FolderWorld()
        try place.makeStore()
        let backup = place.folder.file("backup")
        _ = try RelayBackup.make(folder: place.path, to: backup)
        let queue = try DatabaseQueue(path: backup)
        try queue.write { database in
            try database.execute(
                sql: "INSERT INTO grdb_migrations (identifier) VALUES ('9 from the future')")
        }
        try queue.close()
        #expect(throws: RelayError.newerDatabase) {
            try Restoration.restore(from: backup, into: place.folder.file("new"))
        }
    }
}
