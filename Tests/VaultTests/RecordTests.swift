import Cryptography
import Foundation
import GRDB
import TestSupport
import Testing

@testable import Vault

@Suite struct `Records` {
    @Test func `records come back after reopening, in order`() throws {
        let home = try Home()
        var vault = try home.create()
        let number = try vault.write { transaction throws in
            let number = try transaction.createConsultation()
            for index in 1...5 {
                let place = try transaction.append(
                    Array("message \(index)".utf8), to: .messages, in: .consultation(number))
                #expect(place == Int64(index))
            }
            try transaction.put([1], at: -7, of: .messages, in: .consultation(number))
            try transaction.put([9, 9], for: [1, 2, 3], of: .settings, in: .person)
            try transaction.put(
                SecretBytes([4, 5]), for: [4], of: .settings, in: .person)
            return number
        }
        vault.close()
        vault = try home.open()
        try vault.read { transaction throws in
            let all = try transaction.records(of: .messages, in: .consultation(number))
            #expect(all.map(\.number) == [-7, 1, 2, 3, 4, 5])
            #expect(all.last?.value == Array("message 5".utf8))
            let some = try transaction.records(
                of: .messages, in: .consultation(number), numbers: 2...4, limit: 2,
                descending: true)
            #expect(some.map(\.number) == [4, 3])
            #expect(try transaction.lastNumber(of: .messages, in: .consultation(number)) == 5)
            #expect(try transaction.count(of: .messages, in: .consultation(number)) == 6)
            #expect(
                try transaction.value(for: [1, 2, 3], of: .settings, in: .person) == [9, 9])
            #expect(
                try transaction.secret(for: [4], of: .settings, in: .person)
                    == SecretBytes([4, 5]))
            #expect(try transaction.value(for: [4], of: .messages, in: .person) == nil)
            #expect(try transaction.value(at: 6, of: .messages, in: .person) == nil)
            let named = try transaction.namedRecords(of: .settings, in: .person)
            #expect(Set(named.map(\.key)) == [[1, 2, 3], [4]])
            #expect(try transaction.records(of: .settings, in: .person).isEmpty)
            #expect(try transaction.consultations() == [number])
        }
        try vault.check()
    }

    @Test func `a name and a number that share octets are different records`() throws {
        let vault = try Home().create()
        try vault.write { transaction throws in
            try transaction.put([1], at: 1, of: .messages, in: .person)
            try transaction.put(
                [2], for: RecordPlace.key(of: 1), of: .messages, in: .person)
            #expect(try transaction.value(at: 1, of: .messages, in: .person) == [1])
            #expect(try transaction.count(of: .messages, in: .person) == 2)
        }
    }

    @Test(arguments: [0, 1, 55, 56, 57, 4000, 70_000])
    func `a value keeps its length, its sealed form doesn't show it`(count: Int) throws {
        let vault = try Home().create()
        let value = [UInt8](repeating: 7, count: count)
        try vault.write { try $0.put(value, at: 1, of: .messages, in: .person) }
        #expect(try vault.read { try $0.value(at: 1, of: .messages, in: .person) } == value)
        let sealed = try vault.queue.writeWithoutTransaction {
            try $0.rows("SELECT sealed FROM person_records")
        }
        let octets = try #require(sealed.first?[0].octets)
        #expect((octets.count - Sealing.overheadByteCount).isMultiple(of: 64))
    }

    @Test func `a write that throws leaves nothing behind, in the file or in memory`() throws {
        struct Refusal: Error {}
        let vault = try Home().create()
        let kept = try vault.write { try $0.createConsultation() }
        #expect(throws: Refusal.self) {
            try vault.write { transaction throws in
                let number = try transaction.createConsultation()
                try transaction.put([1], at: 1, of: .messages, in: .consultation(number))
                try transaction.put([1], at: 1, of: .messages, in: .person)
                try transaction.eraseConsultation(kept)
                throw Refusal()
            }
        }
        try vault.write { transaction throws in
            #expect(try transaction.consultations() == [kept])
            #expect(try transaction.value(at: 1, of: .messages, in: .person) == nil)
            let number = try transaction.createConsultation()
            #expect(number.rawValue == kept.rawValue + 1)
            try transaction.put([2], at: 1, of: .messages, in: .consultation(number))
            try transaction.put([3], at: 1, of: .messages, in: .consultation(kept))
        }
        try vault.check()
    }

    @Test func `an appended number is never used again`() throws {
        let home = try Home()
        let vault = try home.create()
        try vault.write { transaction throws in
            #expect(try transaction.append([1], to: .messages, in: .person) == 1)
            #expect(try transaction.append([2], to: .messages, in: .person) == 2)
            #expect(try transaction.remove(at: 2, of: .messages, in: .person))
            #expect(try !transaction.remove(at: 2, of: .messages, in: .person))
        }
        vault.close()
        try home.open().write { transaction throws in
            #expect(try transaction.append([3], to: .messages, in: .person) == 3)
            try transaction.put([9], at: 10, of: .messages, in: .person)
            #expect(try transaction.append([4], to: .messages, in: .person) == 11)
            try transaction.removeAll(of: .messages, in: .person)
            #expect(try transaction.append([5], to: .messages, in: .person) == 12)
        }
    }

    @Test func `a counter starts at random and only rises, also across openings`() throws {
        let home = try Home()
        var vault = try home.create()
        let first = try vault.raiseCounter(named: [1])
        #expect(try vault.raiseCounter(named: [1]) == first + 1)
        #expect(try vault.raiseCounter(named: [2]) != first + 1)
        vault.close()
        vault = try home.open()
        #expect(try vault.raiseCounter(named: [1]) == first + 2)
        #expect(try vault.read { try $0.counter(named: [1], in: .person) } == first + 2)
        #expect(try vault.read { try $0.counter(named: [3], in: .person) } == nil)
    }

    @Test func `many consultations get slots of their own, beyond one chunk`() throws {
        let home = try Home()
        let vault = try home.create()
        let numbers = try vault.write { transaction throws in
            try (0..<70).map { _ in try transaction.createConsultation() }
        }
        #expect(numbers.map(\.rawValue) == Array(1...70))
        try vault.eraseConsultation(numbers[40])
        vault.close()
        let again = try home.open()
        #expect(try again.read { try $0.consultations() }.count == 69)
        #expect(try again.write { try $0.createConsultation() }.rawValue == 71)
        try again.check()
    }

    @Test func `a chunk of slots fits into one page`() {
        let perRow = KeySlots.cellByteCount + 12
        #expect(Int(KeySlots.perChunk) * perRow < Schema.pageByteCount - 100)
    }

    @Test func `misuse is an error, not a trap`() throws {
        let vault = try Home().create()
        var escaped: ReadTransaction?
        try vault.read { transaction throws in
            escaped = transaction
            #expect(refusal { try vault.write { _ in } } == .misuse(.nestedTransaction))
            #expect(
                refusal { _ = try vault.raiseCounter(named: []) } == .misuse(.nestedTransaction))
            vault.close()
        }
        #expect(
            refusal { _ = try escaped?.count(of: .messages, in: .person) }
                == .misuse(.transactionEnded))
        let reserved = Vault.Collection(rawValue: 0xFF00)
        #expect(
            refusal { try vault.write { try $0.put([], at: 1, of: reserved, in: .person) } }
                == .misuse(.reservedCollection))
        for slot in [0, 1, 31, 32, UInt32.max] {
            let number = Vault.ConsultationNumber(rawValue: slot)
            #expect(
                refusal { try vault.eraseConsultation(number) } == .unknownConsultation(number))
        }
        vault.close()
        vault.close()
        #expect(refusal { try vault.read { _ in } } == .misuse(.closed))
    }

    @Test func `another thread waits for its turn`() async throws {
        let vault = try Home().create()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<10 {
                        try vault.write { _ = try $0.append([1], to: .messages, in: .person) }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try vault.read { try $0.count(of: .messages, in: .person) } == 40)
    }

    @Test func `a full disk is said so, undoes the write and leaves the vault usable`() throws {
        let vault = try Home().create()
        try vault.write { try $0.put([1], at: 1, of: .messages, in: .person) }
        let pages = try vault.queue.writeWithoutTransaction { db in
            let pages = try db.integer("PRAGMA page_count")
            _ = try db.rows("PRAGMA max_page_count = \(pages + 3)")
            return pages
        }
        let large = [UInt8](repeating: 1, count: 50_000)
        #expect(
            refusal {
                try vault.write { transaction throws in
                    try transaction.put([2], at: 1, of: .messages, in: .person)
                    // A caller that ignores the failure can't commit the rest.
                    try? transaction.put(large, at: 2, of: .messages, in: .person)
                }
            } == .diskFull)
        #expect(try vault.read { try $0.value(at: 1, of: .messages, in: .person) } == [1])
        _ = try vault.queue.writeWithoutTransaction {
            try $0.rows("PRAGMA max_page_count = \(pages + 100)")
        }
        try vault.write { try $0.put(large, at: 2, of: .messages, in: .person) }
        try vault.check()
    }
}
