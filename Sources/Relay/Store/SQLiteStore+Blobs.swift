import Cryptography
import GRDB
import RelayCore
import RelayProtocol

/// Blobs: pieces are sealed under the group's key, as messages are, and so end with it.
extension SQLiteStore {
    var blobUsage: BlobUsage { blobs.usage }

    func blob(_ id: BlobID, in group: GroupNumber) throws(StoreError) -> BlobRecord? {
        try blobs.blob(named: hash(id, in: group), of: group.rawValue)
    }

    func addBlob(
        _ id: BlobID, in group: GroupNumber, byteCount: Int, by owner: MailboxNumber, on day: Day
    ) throws(StoreError) {
        try blobs.add(
            named: hash(id, in: group), of: group.rawValue, byteCount: byteCount,
            by: owner.rawValue, day: day.rawValue)
    }

    func addPiece(
        _ content: [UInt8], to blob: BlobRecord, on day: Day
    ) throws(StoreError) {
        let number = BlobTable.number(ofPiece: blob.pieceCount, of: blob.number)
        let sealed = try seal(
            content, groups.key(of: blob.group.rawValue), Self.context(ofPiece: number))
        try blobs.addPiece(sealed, numbered: number)
        let isLast =
            BlobShape(byteCount: UInt64(blob.byteCount))?.pieceCount
            == blob.pieceCount + 1
        try blobs.update(
            blob.number, owner: isLast ? 0 : blob.owner?.rawValue ?? 0,
            pieceCount: blob.pieceCount + 1, adding: content.count, day: day.rawValue)
    }

    func piece(_ index: Int, of blob: BlobRecord) throws(StoreError) -> [UInt8]? {
        let number = BlobTable.number(ofPiece: index, of: blob.number)
        guard let sealed = try blobs.piece(numbered: number) else { return nil }
        return try open(
            sealed, groups.key(of: blob.group.rawValue), Self.context(ofPiece: number))
    }

    func blobUsage(in group: GroupNumber) throws(StoreError) -> BlobUsage {
        try blobs.usage(of: group.rawValue)
    }

    func unfinishedBlobs(of mailbox: MailboxNumber) throws(StoreError) -> Int {
        try blobs.unfinishedCount(of: mailbox.rawValue)
    }

    func dropUnfinishedBlobs(before day: Day, empty other: Day) throws(StoreError) {
        try blobs.dropUnfinished(before: day.rawValue, empty: other.rawValue)
    }

    func clearDroppedBlobs(limit: Int) throws(StoreError) -> Bool {
        try blobs.clear(limit: limit)
    }

    // MARK: Inspecting

    /// Adds what doesn't hold of a group's blobs.
    ///
    /// - Parameter isDeep: opens every piece; otherwise their lengths are read.
    func inspectBlobs(
        of group: GroupNumber, isDeep: Bool, pause: () throws(StoreError) -> Void,
        _ found: inout Inspection
    ) throws(StoreError) {
        for blob in try blobs.blobs(of: group.rawValue) {
            var new = Inspection()
            do throws(StoreError) {
                try inspect(blob, isDeep, pause, &new)
            } catch {
                guard case .corrupt = error, try !isThere(blob) else { throw error }
            }
            if !new.isEmpty, try isThere(blob) {
                found.problems += new.problems
                found.gaps.formUnion(new.gaps)
            }
        }
    }

    private func inspect(
        _ blob: BlobRecord, _ isDeep: Bool, _ pause: () throws(StoreError) -> Void,
        _ found: inout Inspection
    ) throws(StoreError) {
        guard let shape = BlobShape(byteCount: UInt64(blob.byteCount)),
            (blob.owner == nil) == (blob.pieceCount == shape.pieceCount)
        else { return found.problems.append("a blob is longer or shorter than it can be") }
        for index in 0..<blob.pieceCount {
            let number = BlobTable.number(ofPiece: index, of: blob.number)
            let byteCount = try blobs.byteCount(ofPieceNumbered: number).map {
                $0 - Sealing.overheadByteCount
            }
            guard byteCount == shape.byteCount(ofPiece: index) else {
                return found.problems.append("a piece of a blob is missing, or of another length")
            }
            if isDeep, try !canBeRead({ () throws(StoreError) in _ = try piece(index, of: blob) }) {
                found.gaps.insert(.piece(number))
            }
            if index % 64 == 63 { try pause() }
        }
    }

    /// Beside a running relay a blob may have been erased while it was looked at.
    private func isThere(_ blob: BlobRecord) throws(StoreError) -> Bool {
        try blobs.blobs(of: blob.group.rawValue).contains { $0.number == blob.number }
    }

    /// Adds blobs without a group, and pieces without a blob.
    func inspectStrayBlobs(
        pause: () throws(StoreError) -> Void, _ found: inout Inspection
    ) throws(StoreError) {
        do {
            let isStray = try Bool.fetchOne(
                database,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM blob
                    WHERE slot != 0 AND slot NOT IN (SELECT slot FROM group_name))
                    """)
            if isStray == true { found.problems.append("a blob is of a group that isn't there") }
        } catch {
            throw StoreError(error)
        }
        var next = Int64.min
        var count = 0
        while let blob = try blobs.blob(ofPieceFrom: next) {
            guard blob.isThere else {
                found.problems.append("a piece is of a blob that isn't there")
                break
            }
            next = BlobTable.number(ofPiece: 0, of: blob.number + 1)
            // Behind the last number that there can be.
            if next <= 0 { break }
            count += 1
            if count % 64 == 0 { try pause() }
        }
    }

    /// Beside messages' numbers, which are under the same key and never get there.
    private static func context(ofPiece number: Int64) -> UInt64 {
        UInt64(bitPattern: number) | 1 << 63
    }
}
