internal import Cryptography
internal import Foundation
internal import GRDB

/// Where the wrapped key of each scope lies: rows of fixed size that exist before they are used and
/// are overwritten in place, so that an erased key leaves no copy in the file.
///
/// SQLite moves rows when it splits or joins pages, and leaves what it moved in the gaps. So slots
/// are made in chunks, each a table of its own that fits into one page and that never gets another
/// row: nothing in it ever moves. Slot 0 is the person's; slot n is consultation n's.
enum KeySlots {
    static let perChunk: UInt32 = 32

    /// The first octet of a cell.
    enum State: UInt8 {
        case free = 0
        case live = 1
        case erased = 2
    }

    /// One octet of state, then nonce, key and tag; random octets while there is no key.
    static let cellByteCount = 1 + 32 + Sealing.overheadByteCount

    private static func cell(_ state: State, _ content: [UInt8]) -> Data {
        Data([state.rawValue] + content)
    }

    private static func emptyCell(_ state: State) -> Data {
        cell(state, Random.bytes(cellByteCount - 1))
    }

    private static func binding(_ vaultID: [UInt8], _ slot: UInt32) -> [UInt8] {
        LabelledContent.encode(label: "vault slot", fields: [vaultID, slot.bigEndianBytes])
    }

    /// The chunks in the file.
    static func chunkCount(_ db: Database) throws -> UInt32 {
        let names = try db.rows("SELECT name FROM sqlite_schema WHERE name GLOB 'slots[0-9]*'")
        guard let count = UInt32(exactly: names.count), count > 0 else {
            throw VaultError.damaged(.slot)
        }
        return count
    }

    /// Makes a chunk of free slots, before any of them holds a key.
    static func addChunk(_ chunk: UInt32, _ db: Database) throws {
        try db.execute(sql: Schema.createSlots(chunk: chunk))
        let first = chunk * perChunk
        for slot in first..<first + perChunk {
            try db.run(
                "INSERT INTO \(Schema.slots(chunk: chunk)) (id, cell) VALUES (?, ?)",
                [Int64(slot), emptyCell(.free)])
        }
    }

    /// The slots of a chunk, ascending.
    static func states(
        inChunk chunk: UInt32, _ db: Database
    ) throws -> [(slot: UInt32, state: State)] {
        let rows = try db.rows("SELECT id, cell FROM \(Schema.slots(chunk: chunk)) ORDER BY id")
        return try rows.map { row in
            guard let slot = row[0].integer.flatMap({ UInt32(exactly: $0) }),
                slot / perChunk == chunk, let cell = row[1].octets, cell.count == cellByteCount,
                let state = State(rawValue: cell[0])
            else { throw VaultError.damaged(.slot) }
            return (slot, state)
        }
    }

    /// Puts a new key into a free slot.
    static func fill(
        _ slot: UInt32, vaultID: [UInt8], vaultKey: GuardedSecret, _ db: Database
    ) throws -> ScopeKeys {
        let key = SecretBytes.random(count: 32)
        let wrapped = try Sealing.seal(
            key, key: vaultKey.copy(), associatedData: binding(vaultID, slot))
        try overwrite(slot, with: cell(.live, wrapped), db)
        return try ScopeKeys(slotKey: key)
    }

    /// The keys of a live slot, or nil if it is free or erased.
    static func open(
        _ slot: UInt32, vaultID: [UInt8], vaultKey: GuardedSecret, _ db: Database
    ) throws -> ScopeKeys? {
        let rows = try db.rows(
            "SELECT cell FROM \(Schema.slots(chunk: slot / perChunk)) WHERE id = ?", [Int64(slot)])
        guard let cell = rows.first?[0].octets, cell.count == cellByteCount,
            let state = State(rawValue: cell[0])
        else { throw VaultError.damaged(.slot) }
        guard state == .live else { return nil }
        guard
            let key = try? Sealing.openSecret(
                Array(cell.dropFirst()), key: vaultKey.copy(),
                associatedData: binding(vaultID, slot))
        else { throw VaultError.damaged(.slot) }
        return try ScopeKeys(slotKey: key)
    }

    /// Overwrites a slot's key with random octets, for good.
    static func erase(_ slot: UInt32, _ db: Database) throws {
        try overwrite(slot, with: emptyCell(.erased), db)
    }

    private static func overwrite(_ slot: UInt32, with cell: Data, _ db: Database) throws {
        let changed = try db.run(
            "UPDATE \(Schema.slots(chunk: slot / perChunk)) SET cell = ? WHERE id = ?",
            [cell, Int64(slot)])
        guard changed == 1 else { throw VaultError.damaged(.slot) }
    }
}
