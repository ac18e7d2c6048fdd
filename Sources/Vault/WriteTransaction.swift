public import Cryptography
internal import Foundation
internal import GRDB

/// Changes that come true together when the closure returns, or not at all.
public final class WriteTransaction: ReadTransaction {
    /// Whether octets of an erased consultation may still lie in the write-ahead log.
    private(set) var hasErased = false

    /// Puts a record under a number, in place of what was there.
    public func put(
        _ value: [UInt8], at number: Int64, of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) {
        try put(SecretBytes(value), at: number, of: collection, in: scope)
    }

    /// Puts a secret under a number, in place of what was there.
    public func put(
        _ value: SecretBytes, at number: Int64, of collection: Vault.Collection,
        in scope: Vault.Scope
    ) throws(VaultError) {
        try refuseReserved(collection)
        try store(value, at: number, of: collection, in: scope)
    }

    /// Puts a record under a name, in place of what was there.
    public func put(
        _ value: [UInt8], for key: [UInt8], of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) {
        try put(SecretBytes(value), for: key, of: collection, in: scope)
    }

    /// Puts a secret under a name, in place of what was there.
    public func put(
        _ value: SecretBytes, for key: [UInt8], of collection: Vault.Collection,
        in scope: Vault.Scope
    ) throws(VaultError) {
        try refuseReserved(collection)
        try store(value, named: key, of: collection, in: scope)
    }

    /// Puts a record under the collection's next number, from 1. A number is never used again, also
    /// after its record was removed.
    @discardableResult
    public func append(
        _ value: [UInt8], to collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> Int64 {
        try append(SecretBytes(value), to: collection, in: scope)
    }

    /// Puts a secret under the collection's next number, from 1.
    @discardableResult
    public func append(
        _ value: SecretBytes, to collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> Int64 {
        try refuseReserved(collection)
        let row = Int64(collection.rawValue)
        let used = try self.value(at: row, of: .sequences, in: scope).map {
            Int64(bitPattern: UInt64(bigEndian: $0))
        }
        let highest = max(used ?? 0, try lastNumber(of: collection, in: scope) ?? 0)
        guard highest < .max else { throw .damaged(.record) }
        let number = highest + 1
        try store(
            SecretBytes(number.bigEndianBytes), at: row, of: .sequences, in: scope)
        try store(value, at: number, of: collection, in: scope)
        return number
    }

    /// Removes the record under a number; answers whether there was one.
    @discardableResult
    public func remove(
        at number: Int64, of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> Bool {
        try refuseReserved(collection)
        return try perform { db in
            try remove(try place(number, collection, scope, db).0, db)
        }
    }

    /// Removes the record under a name; answers whether there was one.
    @discardableResult
    public func remove(
        for key: [UInt8], of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) -> Bool {
        try refuseReserved(collection)
        return try perform { db in
            try remove(try place(named: key, collection, scope, db).0, db)
        }
    }

    /// Removes all records of a collection in a scope.
    public func removeAll(
        of collection: Vault.Collection, in scope: Vault.Scope
    ) throws(VaultError) {
        try refuseReserved(collection)
        try perform { db in
            _ = try ring.keys(of: scope, db)
            try db.run(
                "DELETE FROM \(Schema.records(of: scope)) WHERE collection = ?",
                [Int64(collection.rawValue)])
        }
    }

    /// Raises a counter by one, or starts it at random in 1...2³², so that equal counters of
    /// different names tell nobody anything.
    public func raiseCounter(
        named name: [UInt8], in scope: Vault.Scope
    ) throws(VaultError) -> UInt64 {
        let raised: UInt64
        if let present = try counter(named: name, in: scope) {
            guard present < .max else { throw .damaged(.record) }
            raised = present + 1
        } else {
            raised = UInt64(bigEndian: Random.bytes(4)) + 1
        }
        try store(SecretBytes(raised.bigEndianBytes), named: name, of: .counters, in: scope)
        return raised
    }

    /// Raises a counter to `floor`, if it is below it.
    public func raiseCounter(
        named name: [UInt8], in scope: Vault.Scope, to floor: UInt64
    ) throws(VaultError) {
        guard try counter(named: name, in: scope) ?? 0 < floor else { return }
        try store(SecretBytes(floor.bigEndianBytes), named: name, of: .counters, in: scope)
    }

    /// Opens a scope with tables and a key of its own.
    public func createConsultation() throws(VaultError) -> Vault.ConsultationNumber {
        try perform { db in try ring.createConsultation(db) }
    }

    /// Destroys a consultation's key and drops its tables; the commit also empties the write-ahead
    /// log, which `Vault.completeErasures` makes sure of.
    ///
    /// - Throws: `.unknownConsultation` also if it is erased already.
    public func eraseConsultation(_ number: Vault.ConsultationNumber) throws(VaultError) {
        try perform { db in try ring.erase(number, db) }
        hasErased = true
    }

    // MARK: Rows

    private func refuseReserved(_ collection: Vault.Collection) throws(VaultError) {
        if collection.isReserved { throw .misuse(.reservedCollection) }
    }

    private func store(
        _ value: SecretBytes, at number: Int64, of collection: Vault.Collection,
        in scope: Vault.Scope
    ) throws(VaultError) {
        try perform { db in
            let (place, keys) = try place(number, collection, scope, db)
            try upsert(try RecordFormat.seal(value, name: [], at: place, keys: keys), place, db)
        }
    }

    private func store(
        _ value: SecretBytes, named name: [UInt8], of collection: Vault.Collection,
        in scope: Vault.Scope
    ) throws(VaultError) {
        try perform { db in
            let (place, keys) = try place(named: name, collection, scope, db)
            try upsert(try RecordFormat.seal(value, name: name, at: place, keys: keys), place, db)
        }
    }

    private func upsert(_ sealed: [UInt8], _ place: RecordPlace, _ db: Database) throws {
        try db.run(
            """
            INSERT INTO \(Schema.records(of: place.scope)) (collection, key, sealed)
            VALUES (?, ?, ?) ON CONFLICT (collection, key) DO UPDATE SET sealed = excluded.sealed
            """, [Int64(place.collection.rawValue), Data(place.key), Data(sealed)])
    }

    private func remove(_ place: RecordPlace, _ db: Database) throws -> Bool {
        try db.run(
            "DELETE FROM \(Schema.records(of: place.scope)) WHERE collection = ? AND key = ?",
            [Int64(place.collection.rawValue), Data(place.key)]) > 0
    }
}
