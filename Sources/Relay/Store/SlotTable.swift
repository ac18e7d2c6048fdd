import Cryptography
import GRDB
import RelayCore

/// A table of slots of fixed size, with keys beside them and names that lead to them.
///
/// Free slots exist beforehand, zeroed; a new record takes a random one. Slots are at most half in
/// use, so that a few tries find a free one and the order of making shows nowhere.
final class SlotTable {
    private let read: SQLStatement
    private let readKey: SQLStatement
    private let write: SQLStatement
    private let writeAll: SQLStatement
    private let insert: SQLStatement
    private let scan: SQLStatement
    private let find: SQLStatement
    private let addName: SQLStatement
    private let removeName: SQLStatement
    private let contentByteCount: Int
    /// Slots that new records are put into.
    private var capacity: Int64
    /// Slots that are there: some more while the table grows.
    private(set) var madeCount: Int64
    private(set) var count: Int
    private var keys: [Int64: SecretBytes] = [:]

    private static let keyCacheLimit = 100_000
    private static let leastGrowth: Int64 = 256
    /// A quarter of the slots is made while a twentieth of them is taken.
    private static let slotsPerRecord: Int64 = 8

    init(_ database: Database, named name: String, contentByteCount: Int) throws {
        self.contentByteCount = contentByteCount
        read = try SQLStatement(database, "SELECT content FROM \(name)_slot WHERE number = ?")
        readKey = try SQLStatement(database, "SELECT key FROM \(name)_slot WHERE number = ?")
        write = try SQLStatement(
            database, "UPDATE \(name)_slot SET content = ?2 WHERE number = ?1")
        writeAll = try SQLStatement(
            database, "UPDATE \(name)_slot SET content = ?, key = ? WHERE number = ?")
        insert = try SQLStatement(
            database, "INSERT INTO \(name)_slot (number, content, key) VALUES (?, ?, ?)")
        scan = try SQLStatement(
            database,
            "SELECT number, content FROM \(name)_slot WHERE number > ? ORDER BY number LIMIT ?")
        find = try SQLStatement(database, "SELECT slot FROM \(name)_name WHERE hash = ?")
        addName = try SQLStatement(
            database, "INSERT INTO \(name)_name (hash, slot) VALUES (?, ?)")
        removeName = try SQLStatement(database, "DELETE FROM \(name)_name WHERE hash = ?")
        capacity = try Int64.fetchOne(database, sql: "SELECT max(number) FROM \(name)_slot") ?? 0
        madeCount = capacity
        count = try Int.fetchOne(database, sql: "SELECT count(*) FROM \(name)_name") ?? 0
    }

    /// The slot that a name leads to.
    func slot(named hash: UInt64) throws(StoreError) -> Int64? {
        try find.first([Int64(bitPattern: hash)]) { $0.integer(0) }
    }

    /// What a slot holds.
    func content(of slot: Int64) throws(StoreError) -> [UInt8]? {
        try read.first([slot]) { $0.octets(0) }
    }

    /// The key beside a slot's content.
    func key(of slot: Int64) throws(StoreError) -> SecretBytes {
        if let key = keys[slot] { return key }
        guard let octets = try readKey.first([slot], { $0.octets(0) }), octets.count == 32 else {
            throw .corrupt("a key is missing")
        }
        let key = SecretBytes(octets)
        if keys.count >= Self.keyCacheLimit { keys.removeAll() }
        keys[slot] = key
        return key
    }

    /// Takes a free slot for a new record, with a new key.
    func add(_ content: [UInt8], named hash: UInt64) throws(StoreError) -> Int64 {
        try makeRoom()
        let slot = try freeSlot()
        let key = SecretBytes.random(count: 32)
        try writeAll.run([content, key.exposedCopy(), slot])
        try addName.run([Int64(bitPattern: hash), slot])
        keys[slot] = key
        count += 1
        return slot
    }

    /// Overwrites a slot's content and leaves its key.
    func update(_ slot: Int64, _ content: [UInt8]) throws(StoreError) {
        try write.run([slot], lending: content)
    }

    /// Overwrites a slot's content and key with zeros, and forgets its name.
    func erase(_ slot: Int64, named hash: UInt64) throws(StoreError) {
        keys[slot] = nil
        try writeAll.run([
            [UInt8](repeating: 0, count: contentByteCount),
            [UInt8](repeating: 0, count: 32), slot,
        ])
        try removeName.run([Int64(bitPattern: hash)])
        count -= 1
    }

    /// Reads slots in their order, free ones included.
    func scan(
        after slot: Int64, limit: Int, _ body: (Int64, [UInt8]) throws(StoreError) -> Void
    ) throws(StoreError) {
        try scan.each([slot, limit]) { row throws(StoreError) in
            try body(row.integer(0), row.octets(1))
            return true
        }
    }

    private func freeSlot() throws(StoreError) -> Int64 {
        while true {
            let bound = UInt32(clamping: capacity)
            let slot = Int64(Random.number(below: bound)) + 1
            if try content(of: slot)?.first == 0 { return slot }
        }
    }

    /// The table grows by a quarter at once, so that a slot's number tells little of when it was
    /// taken; but those slots are made a few with each new record beforehand, so that no batch has
    /// to write them all.
    private func makeRoom() throws(StoreError) {
        let next = capacity + max(Self.leastGrowth, capacity / 4)
        let used = Int64(count) * 2
        if used >= capacity - capacity / 10 {
            try makeSlots(through: min(next, madeCount + Self.slotsPerRecord))
        }
        if used >= capacity {
            try makeSlots(through: next)
            capacity = next
        }
    }

    private func makeSlots(through last: Int64) throws(StoreError) {
        let zeros = [UInt8](repeating: 0, count: contentByteCount)
        let key = [UInt8](repeating: 0, count: 32)
        while madeCount < last {
            try insert.run([madeCount + 1, zeros, key])
            madeCount += 1
        }
    }
}
