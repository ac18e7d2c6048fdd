public import Cryptography
internal import Foundation
internal import GRDB

/// A consistent look at the vault, valid inside the closure that got it.
public class ReadTransaction {
    private var database: Database?
    var ring: KeyRing
    /// The first failure of the disk; after it this transaction does nothing any more.
    private(set) var failure: VaultError?

    init(_ database: Database, _ ring: KeyRing) {
        self.database = database
        self.ring = ring
    }

    func end() { database = nil }

    /// Runs `body` on the open transaction and turns its failures into ours.
    ///
    /// SQLite may end a transaction when the disk fails; whoever went on would write outside of
    /// one. So such a failure sticks, and the commit repeats it.
    func perform<Result>(
        _ body: (Database) throws -> Result
    ) throws(VaultError) -> Result {
        guard let database else { throw .misuse(.transactionEnded) }
        if let failure { throw failure }
        do {
            return try body(database)
        } catch {
            let error = VaultError(error)
            switch error {
            case .misuse, .unknownConsultation, .valueTooLarge, .damaged(.record): break
            default: failure = error
            }
            throw error
        }
    }

    /// The record under a number, or nil.
    ///
    /// - Throws: `.damaged(.record)` if it isn't what was put there, `.unknownConsultation`.
    public func value(
        at number: Int64, of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> [UInt8]? {
        try secret(at: number, of: collection, in: scope)?.exposedCopy()
    }

    /// The record under a name, or nil.
    public func value(
        for key: [UInt8], of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> [UInt8]? {
        try secret(for: key, of: collection, in: scope)?.exposedCopy()
    }

    /// The record under a number, in memory that will be wiped, or nil.
    public func secret(
        at number: Int64, of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> SecretBytes? {
        try perform { db in
            let (place, keys) = try place(number, collection, scope, db)
            return try open(at: place, keys: keys, db)
        }
    }

    /// The record under a name, in memory that will be wiped, or nil.
    public func secret(
        for key: [UInt8], of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> SecretBytes? {
        try perform { db in
            let (place, keys) = try place(named: key, collection, scope, db)
            return try open(at: place, keys: keys, db)
        }
    }

    /// Numbered records in order, at most `limit` of them.
    public func records(
        of collection: Vault.Collection, in scope: Vault.Scope,
        numbers: ClosedRange<Int64> = .min ... .max, limit: Int = .max, descending: Bool = false
    ) throws(VaultError) -> [Vault.NumberedRecord] {
        try perform { db in
            let keys = try ring.keys(of: scope, db)
            let rows = try db.rows(
                """
                SELECT key, sealed FROM \(Schema.records(of: scope))
                WHERE collection = ? AND key BETWEEN ? AND ? AND length(key) = 8
                ORDER BY key \(descending ? "DESC" : "ASC") LIMIT ?
                """,
                [
                    Int64(collection.rawValue), Data(RecordPlace.key(of: numbers.lowerBound)),
                    Data(RecordPlace.key(of: numbers.upperBound)), Int64(max(0, limit)),
                ])
            return try rows.map { row in
                let (place, sealed) = try stored(row, collection, scope)
                guard let number = RecordPlace.number(in: place.key) else {
                    throw VaultError.damaged(.record)
                }
                let value = try RecordFormat.open(sealed, at: place, keys: keys).value
                return Vault.NumberedRecord(number: number, value: value.exposedCopy())
            }
        }
    }

    /// All records under names, in no meaningful order.
    public func namedRecords(
        of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> [Vault.NamedRecord] {
        try perform { db in
            let keys = try ring.keys(of: scope, db)
            let rows = try db.rows(
                """
                SELECT key, sealed FROM \(Schema.records(of: scope))
                WHERE collection = ? AND length(key) <> 8 ORDER BY key
                """, [Int64(collection.rawValue)])
            return try rows.map { row in
                let (place, sealed) = try stored(row, collection, scope)
                let record = try RecordFormat.open(sealed, at: place, keys: keys)
                return Vault.NamedRecord(key: record.name, value: record.value.exposedCopy())
            }
        }
    }

    /// How many records a collection has in a scope.
    public func count(
        of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> Int {
        try perform { db in
            _ = try ring.keys(of: scope, db)
            let count = try db.integer(
                "SELECT count(*) FROM \(Schema.records(of: scope)) WHERE collection = ?",
                [Int64(collection.rawValue)])
            return Int(count)
        }
    }

    /// The highest number in use, or nil.
    public func lastNumber(
        of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> Int64? {
        try perform { db in
            _ = try ring.keys(of: scope, db)
            let rows = try db.rows(
                """
                SELECT key FROM \(Schema.records(of: scope))
                WHERE collection = ? AND length(key) = 8 ORDER BY key DESC LIMIT 1
                """, [Int64(collection.rawValue)])
            guard let row = rows.first else { return nil }
            guard let number = row[0].octets.flatMap(RecordPlace.number(in:)) else {
                throw VaultError.damaged(.record)
            }
            return number
        }
    }

    /// The consultations that aren't erased, ascending.
    public func consultations() throws(VaultError) -> [Vault.ConsultationNumber] {
        try perform { db in
            try (0..<ring.chunkCount).flatMap { try KeySlots.states(inChunk: $0, db) }
                .filter { $0.state == .live && $0.slot > 0 }
                .map { Vault.ConsultationNumber(rawValue: $0.slot) }
        }
    }

    /// Where a counter stands, or nil if it was never raised.
    public func counter(
        named name: [UInt8], in scope: Vault.Scope
    ) throws(VaultError) -> UInt64? {
        guard let stored = try value(for: name, of: .counters, in: scope) else { return nil }
        guard stored.count == 8 else { throw .damaged(.record) }
        return UInt64(bigEndian: stored)
    }

    // MARK: Places

    func place(
        _ number: Int64, _ collection: Vault.Collection, _ scope: Vault.Scope, _ db: Database
    ) throws -> (RecordPlace, ScopeKeys) {
        let keys = try ring.keys(of: scope, db)
        return (place(RecordPlace.key(of: number), collection, scope), keys)
    }

    func place(
        named name: [UInt8], _ collection: Vault.Collection, _ scope: Vault.Scope, _ db: Database
    ) throws -> (RecordPlace, ScopeKeys) {
        let keys = try ring.keys(of: scope, db)
        let tag = try KeyedHash.compute(
            key: keys.names, label: "vault name", collection.rawValue.bigEndianBytes, name)
        return (place(tag, collection, scope), keys)
    }

    private func place(
        _ key: [UInt8], _ collection: Vault.Collection, _ scope: Vault.Scope
    ) -> RecordPlace {
        RecordPlace(vaultID: ring.vaultID, scope: scope, collection: collection, key: key)
    }

    /// Place and content of a row `key, sealed`.
    private func stored(
        _ row: [DatabaseValue], _ collection: Vault.Collection, _ scope: Vault.Scope
    ) throws -> (RecordPlace, sealed: [UInt8]) {
        guard row.count == 2, let key = row[0].octets, let sealed = row[1].octets else {
            throw VaultError.damaged(.record)
        }
        return (place(key, collection, scope), sealed)
    }

    private func open(
        at place: RecordPlace, keys: ScopeKeys, _ db: Database
    ) throws -> SecretBytes? {
        let rows = try db.rows(
            """
            SELECT sealed FROM \(Schema.records(of: place.scope)) WHERE collection = ? AND key = ?
            """, [Int64(place.collection.rawValue), Data(place.key)])
        guard let row = rows.first else { return nil }
        guard let sealed = row[0].octets else { throw VaultError.damaged(.record) }
        return try RecordFormat.open(sealed, at: place, keys: keys).value
    }

    /// Opens every record of a scope (see `Vault.check`).
    func openAll(in scope: Vault.Scope) throws(VaultError) {
        try perform { db in
            let keys = try ring.keys(of: scope, db)
            let table = Schema.records(of: scope)
            var last: Int64 = .min
            while true {
                let rows = try db.rows(
                    """
                    SELECT id, collection, key, sealed FROM \(table)
                    WHERE id > ? ORDER BY id LIMIT 64
                    """, [last])
                for row in rows {
                    guard let id = row[0].integer, id > last,
                        let collection = row[1].integer.flatMap({ UInt16(exactly: $0) })
                    else { throw VaultError.damaged(.record) }
                    let (place, sealed) = try stored(
                        Array(row[2...]), Vault.Collection(rawValue: collection), scope)
                    _ = try RecordFormat.open(sealed, at: place, keys: keys)
                    last = id
                }
                if rows.count < 64 { return }
            }
        }
    }
}
