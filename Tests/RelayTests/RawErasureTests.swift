import Cryptography
import Foundation
import GRDB
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

/// Erased is erased: the files are searched octet by octet after the receipt.
struct RawErasureTests {
    /// What must be gone: as sent, as stored, the keys, the names.
    private struct Traces {
        var needles: [[UInt8]] = []

        /// Pieces of a long octet string, so that remains of a part are found too.
        mutating func add(_ octets: [UInt8]) {
            guard octets.count > 48 else { return needles.append(octets) }
            for start in stride(from: 0, to: octets.count - 24, by: max(24, octets.count / 6)) {
                needles.append(Array(octets[start..<start + 24]))
            }
        }
    }

    @Test(arguments: [UInt64](1...16))
    func `nothing of an erased consultation is left in any file`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let place = try StoreWorld()
        var traces = Traces()
        try place.run { world, store in
            var talks: [TestConsultation] = []
            for _ in 0..<4 { talks.append(try TestConsultation(world)) }
            let target = talks[Int.random(in: 0..<4, using: &random)]
            var waiting: [MailboxID: [Delivery]] = [:]
            // Page-splitting sizes, interleaved with other consultations and with deletions.
            for _ in 0..<Int.random(in: 60...160, using: &random) {
                let talk = talks[Int.random(in: 0..<4, using: &random)]
                let size = [20, 200, 900, 3_000, 5_000, 20_000].randomElement(using: &random) ?? 20
                let body = random.bytes(size)
                let sender = Bool.random(using: &random) ? talk.patient : talk.doctor
                let other = sender === talk.patient ? talk.doctor : talk.patient
                #expect(try talk.send(body, from: sender) == .done)
                if talk.group == target.group { traces.add(body) }
                let line = try #require(other.line)
                waiting[other.id, default: []] += line.deliveries
                line.deliveries = []
                if Int.random(in: 0..<3, using: &random) == 0, let all = waiting[other.id] {
                    let some = all.shuffled(using: &random).prefix(all.count / 2)
                    try line.acknowledge(Array(some))
                    waiting[other.id] = all.filter { !some.contains($0) }
                }
            }
            try self.addStored(of: target, in: store, place, &traces)
            traces.add(target.group.bytes)
            traces.add(target.patient.id.bytes)
            traces.add(target.doctor.id.bytes)
            #expect(try place.count(of: target.group.bytes) > 0, "the search finds nothing at all")

            try target.end()
            #expect(world.lastBatch?.hasErased == true)
            #expect(try store.forgetLog())
            for needle in traces.needles { #expect(try place.count(of: needle) == 0) }
            // The others are untouched.
            for talk in talks where talk.group != target.group {
                #expect(try place.count(of: talk.group.bytes) > 0)
            }
        }
        for needle in traces.needles { #expect(try place.count(of: needle) == 0) }
    }

    /// The group's key, and what lies in the database of the group's messages.
    private func addStored(
        of talk: TestConsultation, in store: SQLiteStore, _ place: StoreWorld,
        _ traces: inout Traces
    ) throws {
        let number = try #require(try store.group(talk.group)).0
        let reader = try DatabaseQueue(path: place.path)
        let (keys, contents) = try reader.read { database in
            (
                try Data.fetchAll(
                    database, sql: "SELECT key FROM group_slot WHERE number = ?",
                    arguments: [number.rawValue]),
                try Data.fetchAll(
                    database, sql: "SELECT content FROM message WHERE slot = ?",
                    arguments: [number.rawValue])
            )
        }
        #expect(!contents.isEmpty)
        for key in keys { traces.add([UInt8](key)) }
        _ = contents
        try reader.close()
    }

    @Test func `a stolen database links no two consultations and shows no plaintext`() throws {
        let place = try StoreWorld()
        let marker = Array("the patient's own words, 4711".utf8)
        let (home, first, second) = try place.run { world, _ in
            let line = try world.connect()
            let home = try line.makeHome()
            var groups: [(TestMailbox, GroupID)] = []
            for _ in 0..<2 {
                let mailbox = try line.makeFresh(from: home, permitUses: 0)
                let other = try world.connect()
                let doctor = try other.makeFresh(from: other.makeHome())
                let group = try mailbox.makeGroup(
                    of: [doctor.member(.owner)], until: world.now.day.adding(days: 9))
                try mailbox.ask(.sending(marker, to: group))
                groups.append((mailbox, group))
            }
            try home.ask(.stockShelf(ShelfStock(packages: [])))
            return (home, groups[0], groups[1])
        }
        // What was sent lies there only under the group's key.
        #expect(try place.count(of: marker) == 0)

        let queue = try DatabaseQueue(path: place.path)
        defer { try? queue.close() }
        try queue.read { database in
            // Every row of every table: none holds two of the three mailboxes' names or slots.
            var slots: [Int64] = []
            for id in [home.id, first.0.id, second.0.id] {
                let rows = try Row.fetchAll(
                    database, sql: "SELECT number, content FROM mailbox_slot")
                let slot = rows.first { row in
                    let content: Data = row[1]
                    return content.range(of: Data(id.bytes)) != nil
                }
                slots.append(try #require(slot)[0])
            }
            #expect(Set(slots).count == 3)
            let members = try Row.fetchAll(database, sql: "SELECT content FROM group_slot")
            for row in members {
                guard let record = try GroupSlot.decode([UInt8](row[0] as Data)) else { continue }
                let named = record.members.compactMap { $0?.mailbox.rawValue }
                #expect(slots.count { named.contains($0) } <= 1)
            }
            for table in ["answer", "shelf", "message", "spent", "receipt", "setting"] {
                for row in try Row.fetchAll(database, sql: "SELECT * FROM \(table)") {
                    let text = row.reduce(into: Data()) { data, column in
                        if let octets = Data.fromDatabaseValue(column.1) { data += octets }
                    }
                    let names = [home.id, first.0.id, second.0.id].count {
                        text.range(of: Data($0.bytes)) != nil
                    }
                    #expect(names == 0, "\(table) names a mailbox")
                }
            }
        }
    }

    @Test func `slots don't follow the order of making`() throws {
        let place = try StoreWorld()
        let numbers = try place.run { _, store in
            try store.begin()
            defer { try? store.commit() }
            return try (0..<60).map { _ in
                let id = try #require(MailboxID(Random.bytes(32)))
                return try store.addMailbox(
                    MailboxRecord(id: id, kind: .consultation, counter: 1)
                ).rawValue
            }
        }
        #expect(numbers != numbers.sorted())
        let rising = zip(numbers, numbers.dropFirst()).count { $0 < $1 }
        #expect((10...49).contains(rising), "neighbours rise in \(rising) of 59 cases")
    }
}
