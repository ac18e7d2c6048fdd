import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

struct StoreTests {
    @Test func `every commit is synced, and what is deleted is overwritten`() throws {
        let place = try StoreWorld()
        let database = try RelayDatabase(path: place.path)
        try database.queue.inDatabase { database in
            for (name, value) in [
                ("journal_mode", "wal"), ("synchronous", "2"), ("secure_delete", "1"),
            ] {
                let found = try String.fetchOne(database, sql: "PRAGMA \(name)")
                #expect(found == value, "\(name)")
            }
        }
        try database.queue.close()
    }

    @Test func `whatever is answered is synced, acknowledgements alone are not`() throws {
        try StoreWorld().run { world, store in
            let talk = try TestConsultation(world)
            let line = try #require(talk.doctor.line)
            var before = store.syncCount
            #expect(try talk.send([7], from: talk.patient) == .done)
            #expect(store.syncCount == before + 1)

            before = store.syncCount
            let waiting = line.deliveries
            #expect(!waiting.isEmpty)
            try line.acknowledge(waiting)
            #expect(store.syncCount == before)
            let number = try #require(try store.group(talk.group)).0
            let backlog = try store.backlog(in: number, of: .max)
            #expect(backlog.count == 0, "not acknowledged")

            guard case .committed = try talk.patient.ask(talk.commit(epoch: 1)) else {
                Issue.record("no commit")
                return
            }
            #expect(store.syncCount == before + 1)
        }
    }

    @Test(arguments: [
        "content = zeroblob(length(content))", "content = x''", "size = size + 1",
    ])
    func `a message that can't be read is a gap, and everything else goes on`(
        damage: String
    ) throws {
        try StoreWorld().run { world, store in
            let talk = try TestConsultation(world)
            let doctor = try #require(talk.doctor.line)
            try doctor.acknowledge(doctor.deliveries)
            try world.hangUp(doctor)
            for body: UInt8 in 1...3 {
                #expect(try talk.send([body], from: talk.patient) == .done)
            }
            let numbers = try Int64.fetchAll(
                store.database, sql: "SELECT number FROM message ORDER BY number")
            try #require(numbers.count == 3)
            try store.database.execute(
                sql: "UPDATE message SET \(damage) WHERE number < ?", arguments: [numbers[2]])
            let found = try store.inspect()
            #expect(found.problems == [])
            #expect(found.gaps == Set(numbers[..<2].map { .message(UInt64($0)) }))
            #expect(found.gapWords == "2 messages can't be read")

            for times in 1...2 {
                let line = try world.connect()
                try line.open(talk.doctor)
                let found = line.deliveries
                try #require(found.map(\.kind) == [.message, .message, .message])
                // Neither is taken for a repetition of the other.
                #expect(Set(found.map(\.content)).count == 3)
                #expect(found[2].content.suffix(1) == [3])
                #expect(world.engine.counters.damagedMessages == 2 * UInt64(times))
                for gap in found.prefix(2) {
                    #expect(!gap.content.starts(with: found[2].content.prefix(4)))
                }
                if times == 2 { try line.acknowledge(found) }
                try world.hangUp(line)
            }
            let left = try Int.fetchOne(store.database, sql: "SELECT count(*) FROM message")
            #expect(left == 0)
            #expect(store.waiting.count == 0)
        }
    }

    @Test func `what waits is known without counting`() throws {
        let place = try StoreWorld()
        func expectSums(_ store: SQLiteStore) throws {
            let counted = try RelayDatabase.figures(path: place.path)
            #expect(store.waiting.count == counted.messages)
            #expect(store.waiting.byteCount == counted.messageByteCount)
        }
        let (identity, talk, time) = try place.run { world, store in
            let talk = try TestConsultation(world)
            _ = try talk.addGuest()
            try expectSums(store)
            for size in 1...5 {
                let body = [UInt8](repeating: 7, count: 100 * size)
                let content = privateMessage(talk.group, epoch: 2, body: body)
                try talk.patient.ask(
                    .send(MessageRequest(groupID: talk.group, epoch: 2, content: content)))
                try expectSums(store)
            }
            #expect(store.waiting.count > 5)
            // The doctor's line has the guest's mailbox as well: first one of two, then both.
            let line = try #require(talk.doctor.line)
            for delivery in line.deliveries {
                try line.acknowledge([delivery])
                try expectSums(store)
            }
            // What a failed batch did counts for nothing.
            let before = store.waiting
            try store.begin()
            let number = try #require(try store.group(talk.group)).0
            try store.addMessage(
                StoredMessage(
                    number: MessageNumber(rawValue: 1 << 40), kind: .message, waiting: 1,
                    content: [1, 2, 3]), in: number)
            #expect(store.waiting.count == before.count + 1)
            store.rollback()
            #expect(store.waiting == before)
            return ((world.relay, world.clinic), talk, world.now)
        }
        try place.run(identity, at: time) { world, store in
            try expectSums(store)
            world.advance(days: 60)
            try world.batch { engine in
                var cursor = try engine.sweepGroups(from: nil)
                while cursor != nil { cursor = try engine.sweepGroups(from: cursor) }
            }
            #expect(try store.group(talk.group) == nil)
            #expect(store.waiting.count == 0)
            try expectSums(store)
        }
    }

    @Test func `everything is there again after each reopening`() throws {
        let place = try StoreWorld()
        let (identity, talk, request, time) = try place.run { world, _ in
            let talk = try TestConsultation(world)
            try talk.doctorHome.ask(.stockShelf(ShelfStock(packages: [[1], [2]], lastResort: [3])))
            #expect(try talk.send([7], from: talk.patient) == .done)
            let request = talk.patient.request(talk.commit(epoch: 1))
            guard case .committed = try #require(talk.patient.line).ask(request) else {
                Issue.record("no commit")
                throw RelayWorld.Problem.noReply
            }
            return ((world.relay, world.clinic), talk, request, world.now)
        }
        try place.run(identity, at: time) { world, _ in
            let line = try world.connect()
            guard case .opened(let opened) = try line.open(talk.patient) else {
                Issue.record("the mailbox is gone")
                return
            }
            #expect(opened.lastRequest == request.id)
            #expect(opened.waiting == 1)
            guard case .committed(epoch: 2, _) = try line.ask(request) else {
                Issue.record("the answer is gone")
                return
            }
            let doctor = try world.connect()
            try doctor.open(talk.doctor)
            #expect(try doctor.drain().map(\.kind) == [.welcome, .message, .commit])
            guard case .opened(let home) = try doctor.open(talk.doctorHome) else {
                Issue.record("not opened")
                return
            }
            #expect(home.shelf == ShelfState(packages: 2, lastResortClaims: 0))
            #expect(
                try talk.doctor.ask(.claimKeyPackage(shelf: talk.doctorHome.id))
                    == .keyPackage(sealed: [1], lastResort: false))
        }
        try place.run(identity, at: time) { world, _ in
            let line = try world.connect()
            try line.open(talk.doctor)
            #expect(line.deliveries.isEmpty)
            try line.open(talk.doctorHome)
            #expect(
                try talk.doctorHome.ask(.stockShelf(ShelfStock(packages: [])))
                    == .shelf(ShelfState(packages: 1, lastResortClaims: 0)))
            try line.open(talk.patient)
            try talk.patient.ask(talk.closing(epoch: 2))
            #expect(try talk.patient.ask(.confirm(talk.group)) == .done)
        }
        try place.run(identity, at: time) { world, store in
            let line = try world.connect()
            try line.open(talk.doctor)
            guard case .erased(let receipts) = try talk.doctor.ask(.confirm(talk.group)) else {
                Issue.record("not erased")
                return
            }
            #expect(store.groupCount == 0)
            #expect(store.mailboxCount == 2)
            #expect(try line.open(talk.patient) == .erased(receipts: receipts))
        }
    }

    /// A crash at any moment leaves the files as they are: each copy must open and hold exactly
    /// what was answered before.
    @Test func `a copy of the files after any batch holds what was answered`() throws {
        let place = try StoreWorld()
        let manager = FileManager.default
        try place.run { world, _ in
            let talk = try TestConsultation(world)
            _ = try #require(talk.doctor.line).drain()
            for number in 0..<12 {
                #expect(try talk.send([UInt8(number)], from: talk.patient) == .done)
                let copy = try StoreWorld()
                for name in ["relay.sqlite", "relay.sqlite-wal"] {
                    try manager.copyItem(
                        atPath: place.folder.file(name), toPath: copy.folder.file(name))
                }
                try copy.run((world.relay, world.clinic), at: world.now) { other, _ in
                    let line = try other.connect()
                    talk.doctor.counter += 100
                    try line.open(talk.doctor)
                    #expect(
                        try line.drain().map { $0.content.last } == (0...number).map { UInt8($0) })
                }
            }
        }
    }

    @Test func `what is written but not committed is gone`() throws {
        let place = try StoreWorld()
        let id = try #require(MailboxID(Random.bytes(32)))
        try place.run { _, store in
            try store.begin()
            _ = try store.addMailbox(MailboxRecord(id: id, kind: .home, counter: 1))
            store.rollback()
            try store.begin()
            #expect(try store.mailbox(id) == nil)
            try store.commit()
        }
    }

    @Test func `message numbers are never given twice`() throws {
        let place = try StoreWorld()
        var seen: Set<UInt64> = []
        for _ in 0..<5 {
            let first = try place.run { _, store in
                try store.begin()
                defer { try? store.commit() }
                return try store.reserveMessageNumbers(10).rawValue
            }
            #expect(seen.isDisjoint(with: first..<first + 10))
            seen.formUnion(first..<first + 10)
        }
    }

    @Test func `what waits is counted without a look at the messages`() throws {
        let place = try StoreWorld()
        try place.run { _, store in
            for sql in [
                "SELECT count(*), coalesce(sum(size), 0) FROM message",
                "SELECT count(*), sum(size) FROM message WHERE slot = 1 AND waiting & 1 != 0",
                "SELECT count(*) FROM receipt WHERE mailbox = x'00'",
            ] {
                let plan = try Row.fetchAll(store.database, sql: "EXPLAIN QUERY PLAN " + sql)
                let words = plan.map { $0["detail"] as String? ?? "" }
                #expect(words.allSatisfy { $0.contains("COVERING INDEX") }, "\(words)")
            }
        }
    }

    @Test func `slots are made a few at a time, ahead of need`() throws {
        let place = try StoreWorld()
        let database = try RelayDatabase(path: place.path)
        try database.queue.writeWithoutTransaction { database in
            try database.inTransaction {
                let table = try SlotTable(
                    database, named: "mailbox", contentByteCount: MailboxSlot.byteCount)
                var content = [UInt8](repeating: 0, count: MailboxSlot.byteCount)
                content[0] = 1
                var largest: Int64 = 0
                for name in 1...3_000 as ClosedRange<UInt64> {
                    let before = table.madeCount
                    _ = try table.add(content, named: name)
                    #expect(table.madeCount >= Int64(name) * 2)
                    if name > 400 { largest = max(largest, table.madeCount - before) }
                }
                #expect(largest == 8)
                return .rollback
            }
        }
    }

    @Test func `records survive their slots`() throws {
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<4 {
            let id = try #require(MailboxID(generator.bytes(32)))
            var record = MailboxRecord(
                id: id, kind: .consultation, counter: generator.next(),
                permitHash: generator.bytes(32), permitUses: 3,
                ticketDay: Day(rawValue: 7), ticketCount: 8, lastResortClaims: 9,
                memberships: [GroupNumber(rawValue: 4), GroupNumber(rawValue: .max)])
            record.requests.record(.stored, for: RequestID(rawValue: 3))
            record.requests.record(.refused(.permit), for: RequestID(rawValue: 4))
            let content = MailboxSlot.encode(record)
            #expect(content.count == MailboxSlot.byteCount)
            #expect(try MailboxSlot.decode(content) == record)
            for count in 1..<content.count {
                #expect(throws: StoreError.self) {
                    try MailboxSlot.decode(Array(content[..<count]))
                }
            }
            let group = GroupRecord(
                id: try #require(GroupID(generator.bytes(32))), epoch: .max,
                commitHash: generator.bytes(32), isClosed: true, deadline: Day(rawValue: 5),
                members: [
                    MemberRecord(mailbox: MailboxNumber(rawValue: 1), role: .owner), nil,
                    MemberRecord(
                        mailbox: MailboxNumber(rawValue: 2), role: .guest,
                        expires: Day(rawValue: 0), state: .removed),
                ])
            let stored = GroupSlot.encode(group)
            #expect(stored.count == GroupSlot.byteCount)
            #expect(try GroupSlot.decode(stored) == group)
            for count in 1..<stored.count {
                #expect(throws: StoreError.self) { try GroupSlot.decode(Array(stored[..<count])) }
            }
        }
    }

    @Test func `the schema is the one that was recorded`() throws {
        let place = try StoreWorld()
        let schema = try place.run { _, _ in
            try DatabaseQueue(path: place.path).read { database in
                try String.fetchAll(
                    database,
                    sql: """
                        SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL
                        AND name NOT LIKE 'grdb%' AND name NOT LIKE 'sqlite%' ORDER BY name
                        """)
            }
        }
        let recorded = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Fixtures/schema-3.sql")
        let text = schema.joined(separator: ";\n") + ";\n"
        #expect(try String(contentsOf: recorded, encoding: .utf8) == text)
    }

    @Test func `a database of a newer version is refused`() throws {
        let place = try StoreWorld()
        try place.run { _, _ in }
        let queue = try DatabaseQueue(path: place.path)
        try queue.write { database in
            try database.execute(
                sql: "INSERT INTO grdb_migrations (identifier) VALUES ('9 from the future')")
        }
        try queue.close()
        #expect(throws: RelayError.newerDatabase) { try RelayDatabase(path: place.path) }
    }

    @Test func `whoever else writes to the database is told of`() {
        // SQLITE_BUSY and SQLITE_BUSY_SNAPSHOT.
        for code: Int32 in [5, 517] {
            #expect(StoreError(code: code) == .failed("another process writes to it"))
        }
    }

    @Test func `files are for their owner only, and one relay at a time`() throws {
        let place = try StoreWorld()
        let folder = try DataFolder(path: place.folder.file("data"))
        let lock = try folder.lock(for: .serve)
        let holder = FolderHolder(processID: getpid(), command: .serve)
        #expect(throws: RelayError.inUse(by: holder)) { try folder.lock(for: .compact) }
        #expect(throws: RelayError.self) { try DataFolder(path: folder.path).keys() }
        let keys = try folder.keys(holding: lock)
        let database = try RelayDatabase(path: folder.databasePath)
        try database.queue.write { try $0.execute(sql: "INSERT INTO setting VALUES ('a', x'00')") }
        let manager = FileManager.default
        for name in try manager.contentsOfDirectory(atPath: folder.path) {
            let attributes = try manager.attributesOfItem(atPath: folder.path + "/" + name)
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
        }
        #expect(
            try manager.attributesOfItem(atPath: folder.path)[.posixPermissions] as? Int == 0o700)
        lock.release()
        #expect(try folder.keys().identity.publicKey == keys.identity.publicKey)
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: folder.path + "/keys"))
        #expect(throws: RelayError.damagedKeys) { try folder.keys() }
    }
}
