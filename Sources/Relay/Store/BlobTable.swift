import GRDB
import RelayCore
import RelayProtocol

/// Blobs and their pieces.
///
/// A piece's number is the blob's number and its index. Blobs of an erased group, and those that are
/// dropped, lose group, name and owner at once, so that nobody finds them any more; their pieces,
/// whose key is gone in the first case, are deleted a few at a time (`clear`).
final class BlobTable {
    private let find: SQLStatement
    private let sum: SQLStatement
    private let list: SQLStatement
    private let countUnfinished: SQLStatement
    private let insert: SQLStatement
    private let update: SQLStatement
    private let addPiece: SQLStatement
    private let readPiece: SQLStatement
    private let readLength: SQLStatement
    private let findPiece: SQLStatement
    private let dropOfGroup: SQLStatement
    private let dropOfMailbox: SQLStatement
    private let dropOld: SQLStatement
    private let findDropped: SQLStatement
    private let removePieces: SQLStatement
    private let remove: SQLStatement
    /// What all blobs take, those that are dropped included until they are deleted.
    private(set) var usage: BlobUsage
    private var usageBefore: BlobUsage
    /// Whether there may be something to clear.
    private var mayHaveDropped = true

    /// Bits of a piece's number that are its index.
    private static let indexBits: Int64 = 16

    init(_ database: Database) throws {
        func prepare(_ text: String) throws -> SQLStatement { try SQLStatement(database, text) }
        let columns = "number, slot, owner, size, pieces"
        // Bounded, whatever a damaged row says: sums must not overflow.
        let stored = "max(0, min(size, pieces << 16, 1 << 30))"
        let dropping = "UPDATE blob SET slot = 0, hash = 0, owner = 0, day = 0"

        find = try prepare("SELECT \(columns) FROM blob WHERE slot = ? AND hash = ?")
        sum = try prepare(
            "SELECT count(*), coalesce(sum(min(size, 1 << 30)), 0) FROM blob WHERE slot = ?")
        list = try prepare("SELECT \(columns) FROM blob WHERE slot = ?")
        countUnfinished = try prepare("SELECT count(*) FROM blob WHERE owner = ? AND owner != 0")
        insert = try prepare(
            """
            INSERT INTO blob (slot, hash, owner, size, pieces, day) VALUES (?, ?, ?, ?, 0, ?)
            """)
        update = try prepare("UPDATE blob SET owner = ?, pieces = ?, day = ? WHERE number = ?")
        addPiece = try prepare("INSERT INTO piece (number, content) VALUES (?, ?)")
        readPiece = try prepare("SELECT content FROM piece WHERE number = ?")
        readLength = try prepare("SELECT length(content) FROM piece WHERE number = ?")
        findPiece = try prepare(
            """
            SELECT number, EXISTS (SELECT 1 FROM blob WHERE blob.number = piece.number >> 16)
            FROM piece WHERE number >= ? ORDER BY number LIMIT 1
            """)
        dropOfGroup = try prepare("\(dropping) WHERE slot = ?")
        dropOfMailbox = try prepare("\(dropping) WHERE owner = ? AND owner != 0")
        dropOld = try prepare(
            "\(dropping) WHERE owner != 0 AND (day < ? OR pieces = 0 AND day < ?)")
        findDropped = try prepare("SELECT \(columns) FROM blob WHERE slot = 0 LIMIT 1")
        removePieces = try prepare(
            """
            DELETE FROM piece WHERE number IN (
                SELECT number FROM piece WHERE number >= ? AND number < ? LIMIT ?)
            """)
        remove = try prepare("DELETE FROM blob WHERE number = ?")
        let all = try prepare("SELECT sum(slot != 0), coalesce(sum(\(stored)), 0) FROM blob")
        usage = try all.first { BlobUsage($0) } ?? BlobUsage()
        usageBefore = usage
    }

    // MARK: Batches

    func begin() { usageBefore = usage }

    func rollback() {
        usage = usageBefore
        mayHaveDropped = true
    }

    // MARK: Blobs

    func blob(named hash: UInt64, of group: Int64) throws(StoreError) -> BlobRecord? {
        var found: BlobRecord?
        try find.each([group, Int64(bitPattern: hash)]) { row throws(StoreError) in
            found = try BlobRecord(row)
            return false
        }
        return found
    }

    /// All of a group.
    func blobs(of group: Int64) throws(StoreError) -> [BlobRecord] {
        var found: [BlobRecord] = []
        try list.each([group]) { row throws(StoreError) in
            found.append(try BlobRecord(row))
            return true
        }
        return found
    }

    func usage(of group: Int64) throws(StoreError) -> BlobUsage {
        try sum.first([group]) { BlobUsage($0) } ?? BlobUsage()
    }

    func unfinishedCount(of mailbox: Int64) throws(StoreError) -> Int {
        Int(try countUnfinished.first([mailbox]) { $0.integer(0) } ?? 0)
    }

    func add(
        named hash: UInt64, of group: Int64, byteCount: Int, by owner: Int64, day: UInt32
    ) throws(StoreError) {
        try insert.run([group, Int64(bitPattern: hash), owner, byteCount, Int64(day)])
        usage.count += 1
    }

    /// Notes that another piece is there, or all of them; then nothing tells any more whose it was
    /// and when it came.
    func update(
        _ blob: Int64, owner: Int64, pieceCount: Int, adding byteCount: Int, day: UInt32
    ) throws(StoreError) {
        try update.run([owner, pieceCount, owner == 0 ? 0 : Int64(day), blob])
        usage.byteCount += byteCount
    }

    // MARK: Pieces

    static func number(ofPiece index: Int, of blob: Int64) -> Int64 {
        blob << indexBits | Int64(index)
    }

    func addPiece(_ sealed: [UInt8], numbered number: Int64) throws(StoreError) {
        try addPiece.run([number], lending: sealed)
    }

    func piece(numbered number: Int64) throws(StoreError) -> [UInt8]? {
        try readPiece.first([number]) { $0.octets(0) }
    }

    /// Octets of a piece as it is stored.
    func byteCount(ofPieceNumbered number: Int64) throws(StoreError) -> Int? {
        try readLength.first([number]) { Int($0.integer(0)) }
    }

    /// The blob that the first piece from that number on is of, and whether it is there.
    func blob(ofPieceFrom number: Int64) throws(StoreError) -> (number: Int64, isThere: Bool)? {
        try findPiece.first([number]) { ($0.integer(0) >> Self.indexBits, $0.integer(1) != 0) }
    }

    // MARK: Dropping

    func drop(ofGroup group: Int64) throws(StoreError) { try drop(dropOfGroup, [group]) }

    /// Those that aren't whole.
    func drop(ofMailbox mailbox: Int64) throws(StoreError) { try drop(dropOfMailbox, [mailbox]) }

    /// Those that aren't whole and got nothing since that day; those without any piece that were
    /// begun before the other day.
    func dropUnfinished(before day: UInt32, empty other: UInt32) throws(StoreError) {
        try drop(dropOld, [Int64(day), Int64(other)])
    }

    /// Their octets count until they are deleted.
    private func drop(_ statement: SQLStatement, _ arguments: [Int64]) throws(StoreError) {
        let count = try statement.runCounting(arguments)
        usage.count -= count
        if count > 0 { mayHaveDropped = true }
    }

    /// Deletes at most `limit` pieces of dropped blobs; true if there may be more.
    func clear(limit: Int) throws(StoreError) -> Bool {
        guard mayHaveDropped else { return false }
        var found: BlobRecord?
        try findDropped.each { row throws(StoreError) in
            found = try BlobRecord(row)
            return false
        }
        guard let blob = found else {
            mayHaveDropped = false
            return false
        }
        let count = try removePieces.runCounting([
            Self.number(ofPiece: 0, of: blob.number),
            Self.number(ofPiece: 0, of: blob.number + 1), limit,
        ])
        if count < limit {
            try remove.run([blob.number])
            usage.byteCount -= blob.storedByteCount
        }
        return true
    }
}

extension BlobRecord {
    /// From a row of number, slot, owner, size and pieces.
    ///
    /// - Throws: `.corrupt` for numbers that no blob has.
    fileprivate init(_ row: SQLRow) throws(StoreError) {
        let owner = row.integer(2)
        guard (1..<1 << 47).contains(row.integer(0)),
            let byteCount = UInt64(exactly: row.integer(3)),
            let shape = BlobShape(byteCount: byteCount),
            let pieceCount = Int(exactly: row.integer(4)),
            (0...shape.pieceCount).contains(pieceCount)
        else { throw .corrupt("what is kept of a blob is damaged") }
        self.init(
            number: row.integer(0), group: GroupNumber(rawValue: row.integer(1)),
            owner: owner == 0 ? nil : MailboxNumber(rawValue: owner),
            byteCount: shape.byteCount, pieceCount: pieceCount)
    }
}

extension BlobUsage {
    /// From a row of both.
    init(_ row: SQLRow) {
        self.init(count: Int(row.integer(0)), byteCount: Int(row.integer(1)))
    }
}
