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
        cells = try DatabaseQueue(path: copy).read { db in
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

    /// The cells that `later` no longer has, whole.
    func wholes(goneIn later: Evidence) -> [(name: String, octets: [UInt8])] {
        cells.subtracting(later.cells).map { (name: $0.column, octets: $0.octets) }
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
    /// The relay's slots: names of groups and mailboxes, and the keys that seal what is stored.
    ///
    /// A page's gaps may keep pieces of stored messages. They are sealed under these keys, so it is
    /// the keys, overwritten in place, whose absence is the erasure.
    func relayEvidence() throws -> Evidence {
        try Evidence(
            of: relayFolder + "/relay.sqlite", tables: /group_slot|mailbox_slot/, least: 16)
    }
}
