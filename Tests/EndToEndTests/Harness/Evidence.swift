import Foundation
import GRDB

/// Octets taken out of a store before an erasure, to be looked for in the raw files afterwards.
struct Evidence: Sendable {
    /// A cell of a table, whole.
    struct Cell: Hashable, Sendable {
        let column: String
        let octets: [UInt8]
    }

    let cells: Set<Cell>

    /// Reads the long octet strings of the tables whose names match, out of a copy of a database
    /// that its owner may have open.
    ///
    /// - Parameter least: shorter cells are left out: identifiers, not ciphertext or keys.
    init(of database: String, tables: Regex<Substring>, least: Int) throws {
        cells = try Self.copy(of: database) { db in
            var cells: Set<Cell> = []
            let names = try String.fetchAll(
                db, sql: "SELECT name FROM sqlite_schema WHERE type = 'table'")
            for name in names where name.wholeMatch(of: tables) != nil {
                for row in try Row.fetchAll(db, sql: "SELECT * FROM \"\(name)\"") {
                    for (column, value) in row {
                        if case .blob(let data) = value.storage, data.count >= least {
                            cells.insert(Cell(column: "\(name).\(column)", octets: Array(data)))
                        }
                    }
                }
            }
            return cells
        }
    }

    /// Reads from a copy of a database and of what its log holds.
    static func copy<Result>(
        of database: String, _ body: (Database) throws -> Result
    ) throws -> Result {
        let copy = NSTemporaryDirectory() + "evidence-\(UUID().uuidString).sqlite"
        defer {
            for suffix in ["", "-wal", "-shm"] {
                try? FileManager.default.removeItem(atPath: copy + suffix)
            }
        }
        try FileManager.default.copyItem(atPath: database, toPath: copy)
        if FileManager.default.fileExists(atPath: database + "-wal") {
            try FileManager.default.copyItem(atPath: database + "-wal", toPath: copy + "-wal")
        }
        return try DatabaseQueue(path: copy).read(body)
    }

    /// Pieces of the cells that `later` no longer has: 24 octets from the front, the middle and the
    /// end of each, since a page's gaps keep pieces rather than wholes.
    func pieces(goneIn later: Evidence) -> [(name: String, octets: [UInt8])] {
        cells.subtracting(later.cells).flatMap { cell in
            let last = max(0, cell.octets.count - 24)
            return Set([0, last / 2, last]).map { start in
                (
                    name: "\(cell.column) from \(start)",
                    octets: Array(cell.octets[start...].prefix(24))
                )
            }
        }
    }
}

extension Person {
    /// What the vault holds of its consultations, and the slots of all keys.
    func vaultEvidence() throws -> Evidence {
        try Evidence(
            of: home + "/vault.sqlite", tables: /c[0-9]+_records|slots[0-9]+/, least: 40)
    }
}

extension Stage {
    /// The keys under which the relay seals what it stores for a group or mailbox of these names.
    ///
    /// A page's gaps may keep pieces of stored messages. They are sealed under these keys, so it is
    /// the keys, overwritten in place, whose absence is the erasure.
    func relayKeys(of names: [[UInt8]]) throws -> [(name: String, octets: [UInt8])] {
        try Evidence.copy(of: relayFolder + "/relay.sqlite") { db in
            try ["group_slot", "mailbox_slot"].flatMap { table in
                try Row.fetchAll(db, sql: "SELECT content, key FROM \(table)").compactMap { row in
                    let content: Data = row["content"]
                    let key: Data = row["key"]
                    guard names.contains(where: { content.range(of: Data($0)) != nil }) else {
                        return nil
                    }
                    return (name: "a key in \(table)", octets: Array(key))
                }
            }
        }
    }
}
