import Cryptography
import Foundation
import GRDB
import TestSupport
import Testing

@testable import Vault

@Suite struct `Damage` {
    private static func filled() throws -> Home {
        let home = try Home()
        let vault = try home.create()
        try vault.write { transaction in
            let one = try transaction.createConsultation()
            let two = try transaction.createConsultation()
            for scope in [Vault.Scope.consultation(one), .consultation(two), .person] {
                for index in 1...6 {
                    try transaction.append(
                        [UInt8](repeating: UInt8(index), count: 700), to: .messages, in: scope)
                    try transaction.put(
                        [UInt8(index)], for: [UInt8(index)], of: .settings, in: scope)
                }
            }
        }
        vault.close()
        return home
    }

    private static let swaps = [
        "two numbers": """
        UPDATE person_records SET sealed = (SELECT sealed FROM person_records WHERE id = 1)
        WHERE id = 4
        """,
        "two consultations": """
        UPDATE c1_records SET sealed = (SELECT sealed FROM c2_records c
        WHERE c.key = c1_records.key AND c.collection = 1) WHERE collection = 1
        """,
        "two names": """
        UPDATE c1_records SET sealed = (SELECT sealed FROM c1_records
        WHERE collection = 2 LIMIT 1) WHERE collection = 2
        """,
        "two collections": "UPDATE c1_records SET collection = 3 WHERE collection = 1",
        "a number moved": "UPDATE c1_records SET key = x'8000000000000063' WHERE collection = 1 "
            + "AND key = x'8000000000000001'",
        "an empty record": "UPDATE person_records SET sealed = x''",
        "a short record": "UPDATE person_records SET sealed = substr(sealed, 1, 39)",
        "two slots": "UPDATE slots0 SET cell = (SELECT cell FROM slots0 WHERE id = 1) WHERE id = 2",
        "a slot's state": "UPDATE slots0 SET cell = CAST(x'07' || substr(cell, 2) AS BLOB)",
        "a short slot": "UPDATE slots0 SET cell = x'01'",
        "a dropped table": "DROP TABLE c1_records",
    ]

    @Test(arguments: swaps.keys.sorted())
    func `rows that were exchanged or cut are found out`(what: String) throws {
        let home = try Self.filled()
        try home.tamper(try #require(Self.swaps[what]))
        let error = refusal { try home.open().check() }
        switch error {
        case .damaged: break
        default: Issue.record("expected damage, got \(String(describing: error))")
        }
    }

    @Test func `a slot whose key was put back after erasure opens nothing`() throws {
        let home = try Self.filled()
        var vault = try home.open()
        try vault.eraseConsultation(Vault.ConsultationNumber(rawValue: 1))
        vault.close()
        try home.tamper(
            "UPDATE slots0 SET cell = (SELECT cell FROM slots0 WHERE id = 2) WHERE id = 1")
        vault = try home.open()
        #expect(
            refusal {
                _ = try vault.read {
                    try $0.count(
                        of: .messages, in: .consultation(Vault.ConsultationNumber(rawValue: 1)))
                }
            } == .damaged(.slot))
    }

    /// Opens what is there and reads all of it; whatever comes back must be what was put there.
    private static func readAll(_ home: Home) throws {
        let vault = try home.open()
        try vault.read { transaction in
            let scopes =
                [Vault.Scope.person] + (try transaction.consultations().map { .consultation($0) })
            for scope in scopes {
                for record in try transaction.records(of: .messages, in: scope) {
                    #expect(
                        record.value
                            == [UInt8](repeating: UInt8(record.number), count: 700))
                }
                for record in try transaction.namedRecords(of: .settings, in: scope) {
                    #expect(record.key == record.value)
                }
            }
        }
        try vault.check()
    }

    @Test func `octets changed anywhere in the file give errors or what was written`() throws {
        let home = try Self.filled()
        let size = try #require(try home.folder.contents()[Vault.fileName]?.count)
        var random = SeededGenerator(seed: 1)
        let offsets =
            Array(stride(from: 0, to: 100, by: 3))
            + (0..<90).map { _ in Int.random(in: 0..<size, using: &random) }
        var refused = 0
        for offset in offsets {
            let copy = try Home(copying: home)
            try copy.overwrite { $0[offset] ^= UInt8.random(in: 1...255, using: &random) }
            if refusal({ try Self.readAll(copy) }) != nil { refused += 1 }
        }
        #expect(refused > 20)
    }

    @Test func `a file cut off anywhere gives an error`() throws {
        let home = try Self.filled()
        let size = try #require(try home.folder.contents()[Vault.fileName]?.count)
        for length in Array(stride(from: 0, to: size, by: 3001)) + [50, 100, 4096, size - 1] {
            let copy = try Home(copying: home)
            try copy.overwrite { $0 = $0.prefix(length) }
            #expect(refusal { try Self.readAll(copy) } != nil, "cut to \(length)")
        }
    }

    @Test func `a record is read only as what it is`() throws {
        let keys = try ScopeKeys(slotKey: .random(count: 32))
        let place = RecordPlace(
            vaultID: [1], scope: .person, collection: .messages, key: RecordPlace.key(of: 1))
        // Sealed by somebody with the key, but malformed inside: lengths beyond the end.
        for content in [
            [], [0, 0, 0], [0xFF, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
            [0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 1],
        ] as [[UInt8]] {
            let sealed = try Sealing.seal(
                content, key: keys.records, associatedData: place.associatedData)
            #expect(
                refusal { _ = try RecordFormat.open(sealed, at: place, keys: keys) }
                    == .damaged(.record))
        }
    }
}
