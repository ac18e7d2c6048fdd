import Cryptography
import Foundation
import GRDB
import TestSupport
import Testing

@testable import Vault

/// Looks for any of many octet strings in files, in one pass.
struct RawSearch {
    private static let needleByteCount = 12
    private var needles: [UInt64: Set<[UInt8]>] = [:]
    private var firstTwo = [Bool](repeating: false, count: 65_536)

    /// Adds pieces of `octets`: both ends, and one in every 200.
    mutating func add(_ octets: [UInt8]) {
        guard octets.count >= Self.needleByteCount else { return }
        let last = octets.count - Self.needleByteCount
        for start in Array(stride(from: 0, to: last, by: 200)) + [last] {
            let piece = Array(octets[start..<start + Self.needleByteCount])
            let head = unsafe piece.withUnsafeBytes { unsafe $0.loadUnaligned(as: UInt64.self) }
            needles[head, default: []].insert(piece)
            firstTwo[Int(head & 0xFFFF)] = true
        }
    }

    /// How many places in the files of a folder hold one of the pieces.
    func hits(in folder: TemporaryFolder) throws -> Int {
        var count = 0
        for data in try folder.contents().values where data.count >= Self.needleByteCount {
            count += unsafe data.withUnsafeBytes { bytes in
                var hits = 0
                unsafe firstTwo.withUnsafeBufferPointer { firstTwo in
                    var offset = 0
                    let end = bytes.count - Self.needleByteCount
                    while offset <= end {
                        let two = unsafe Int(bytes[offset]) | Int(bytes[offset + 1]) << 8
                        if unsafe firstTwo[two] {
                            let head = unsafe bytes.loadUnaligned(
                                fromByteOffset: offset, as: UInt64.self)
                            if let candidates = needles[head] {
                                let found = unsafe Array(
                                    bytes[offset..<offset + Self.needleByteCount])
                                if candidates.contains(found) { hits += 1 }
                            }
                        }
                        offset += 1
                    }
                }
                return hits
            }
        }
        return count
    }
}

@Suite struct `Erasure` {
    /// Everything that must be gone: texts, names, sealed records, the key and its wrap.
    private struct History {
        var plaintext = RawSearch()
        var keys = RawSearch()
        var sealed = RawSearch()
    }

    private static func record(
        of number: Vault.ConsultationNumber, in vault: Vault, into history: inout History
    ) throws {
        let table = Schema.records(of: .consultation(number))
        let (rows, cell, header) = try vault.queue.writeWithoutTransaction { db in
            (
                try db.rows("SELECT sealed FROM \(table)"),
                try db.rows(
                    "SELECT cell FROM slots\(number.rawValue / KeySlots.perChunk) WHERE id = ?",
                    [Int64(number.rawValue)]),
                try Vault.header(db)
            )
        }
        for row in rows { history.sealed.add(try #require(row[0].octets)) }
        let wrapped = Array(try #require(cell.first?[0].octets).dropFirst())
        history.sealed.add(wrapped)
        let slotKey = try Sealing.openSecret(
            wrapped, key: header.keys(for: passphrase).vaultKey,
            associatedData: LabelledContent.encode(
                label: "vault slot", fields: [header.vaultID, number.rawValue.bigEndianBytes]))
        history.keys.add(slotKey.exposedCopy())
        let keys = try ScopeKeys(slotKey: slotKey)
        history.keys.add(keys.records.exposedCopy())
        history.keys.add(keys.names.exposedCopy())
    }

    @Test(arguments: UInt64(0)..<48)
    func `after erasure no text, key or ciphertext is left in any file`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let home = try Home()
        let vault = try home.create()
        var history = History()
        var numbers = try vault.write { transaction in
            try (0..<Int.random(in: 1...4, using: &random)).map { _ in
                try transaction.createConsultation()
            }
        }
        let doomed = try #require(numbers.randomElement(using: &random))
        for round in 0..<12 {
            try vault.write { transaction in
                for _ in 0..<Int.random(in: 1...8, using: &random) {
                    let isPerson = Int.random(in: 0..<5, using: &random) == 0
                    let target = try #require(numbers.randomElement(using: &random))
                    let scope: Vault.Scope = isPerson ? .person : .consultation(target)
                    // Sizes around a page's quarter, half and whole make SQLite split and join.
                    let sizes = [20, 300, 900, 1900, 3900, 4100, 9000]
                    let size = try #require(sizes.randomElement(using: &random))
                    let value = random.bytes(size)
                    let name = random.bytes(12)
                    if !isPerson, target == doomed {
                        history.plaintext.add(value)
                        history.plaintext.add(name)
                    }
                    switch Int.random(in: 0..<10, using: &random) {
                    case 0..<5: try transaction.append(value, to: .messages, in: scope)
                    case 5, 6:
                        try transaction.put(value, for: name, of: .settings, in: scope)
                    case 7: try transaction.put(value, at: 0, of: .messages, in: scope)
                    default:
                        let last = try transaction.lastNumber(of: .messages, in: scope) ?? 1
                        try transaction.remove(
                            at: Int64.random(in: 0...max(1, last), using: &random), of: .messages,
                            in: scope)
                    }
                }
                if round == 6 { numbers.append(try transaction.createConsultation()) }
            }
            // Sealed forms as they were at many moments, also of records replaced later.
            try Self.record(of: doomed, in: vault, into: &history)
        }
        #expect(try history.sealed.hits(in: home.folder) > 0, "the search must find something")
        #expect(try history.plaintext.hits(in: home.folder) == 0)
        #expect(try history.keys.hits(in: home.folder) == 0)

        try vault.eraseConsultation(doomed)
        #expect(try history.plaintext.hits(in: home.folder) == 0)
        #expect(try history.keys.hits(in: home.folder) == 0)
        #expect(try history.sealed.hits(in: home.folder) == 0)
        #expect(try !vault.read { try $0.consultations() }.contains(doomed))
        #expect(
            refusal {
                _ = try vault.read { try $0.count(of: .messages, in: .consultation(doomed)) }
            }
                == .unknownConsultation(doomed))
        try vault.check()
        vault.close()
        #expect(try history.sealed.hits(in: home.folder) == 0)
    }

    @Test func `erasing beside another record commits both, and empties the log`() throws {
        let home = try Home()
        let vault = try home.create()
        let number = try vault.write { transaction in
            let number = try transaction.createConsultation()
            try transaction.put([1], at: 1, of: .messages, in: .consultation(number))
            return number
        }
        var history = History()
        try Self.record(of: number, in: vault, into: &history)
        try vault.write { transaction in
            try transaction.eraseConsultation(number)
            try transaction.put([2], at: 1, of: .settings, in: .person)
        }
        try vault.completeErasures()
        #expect(try history.sealed.hits(in: home.folder) == 0)
        #expect(try vault.read { try $0.value(at: 1, of: .settings, in: .person) } == [2])
    }

    @Test func `an erasure cut off before its checkpoint is finished by the next opening`() throws {
        let home = try Home()
        let vault = try home.create()
        let number = try vault.write { transaction in
            let number = try transaction.createConsultation()
            try transaction.put(
                [UInt8](repeating: 3, count: 5000), at: 1, of: .messages,
                in: .consultation(number))
            return number
        }
        var history = History()
        try Self.record(of: number, in: vault, into: &history)
        // The same statements as the erasure's, committed, with the log left as it is.
        try vault.queue.writeWithoutTransaction { db in
            try db.inTransaction(.immediate) {
                try KeySlots.erase(number.rawValue, db)
                try db.execute(sql: "DROP TABLE c\(number.rawValue)_records")
                return .commit
            }
        }
        let copy = try Home(copying: home)
        #expect(try history.sealed.hits(in: copy.folder) > 0)
        let again = try copy.open()
        #expect(try history.sealed.hits(in: copy.folder) == 0)
        #expect(try again.read { try $0.consultations() }.isEmpty)
    }

    @Test(arguments: UInt64(0)..<10)
    func `scrubbing leaves nothing of removed records of a living scope`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let home = try Home()
        let vault = try home.create()
        for index in 0..<60 {
            try vault.write { transaction in
                try transaction.put(
                    random.bytes(Int.random(in: 10...3000, using: &random)), at: Int64(index),
                    of: .messages, in: .person)
            }
        }
        var search = RawSearch()
        let removed = (0..<60).filter { _ in Bool.random(using: &random) }.map(Int64.init)
        for number in removed {
            let sealed = try vault.queue.writeWithoutTransaction {
                try $0.rows(
                    "SELECT sealed FROM person_records WHERE key = ?",
                    [Data(RecordPlace.key(of: number))])
            }
            search.add(try #require(sealed.first?[0].octets))
        }
        try vault.write { transaction in
            for number in removed {
                try transaction.remove(at: number, of: .messages, in: .person)
            }
        }
        try vault.scrub()
        #expect(try search.hits(in: home.folder) == 0)
        try vault.check()
        #expect(
            try vault.read { try $0.count(of: .messages, in: .person) } == 60 - removed.count)
    }
}
