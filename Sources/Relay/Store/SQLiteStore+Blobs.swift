import RelayCore
import RelayProtocol

/// Blobs: pieces are sealed under the group's key, as messages are, and so end with it.
extension SQLiteStore {
    var blobUsage: BlobUsage { blobs.usage }

    func blob(_ id: BlobID, in group: GroupNumber) throws(StoreError) -> BlobRecord? {
        try blobs.blob(named: hash(id), of: group.rawValue)
    }

    func addBlob(
        _ id: BlobID, in group: GroupNumber, byteCount: Int, by owner: MailboxNumber, on day: Day
    ) throws(StoreError) {
        try blobs.add(
            named: hash(id), of: group.rawValue, byteCount: byteCount, by: owner.rawValue,
            day: day.rawValue)
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
            pieceCount: blob.pieceCount + 1, day: day.rawValue)
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

    func dropUnfinishedBlobs(before day: Day) throws(StoreError) {
        try blobs.dropUnfinished(before: day.rawValue)
    }

    func clearDroppedBlobs(limit: Int) throws(StoreError) -> Bool {
        try blobs.clear(limit: limit)
    }

    /// Reads and opens every piece of a group's blobs; what doesn't hold.
    func inspectBlobs(
        of group: GroupNumber, pause: () throws(StoreError) -> Void
    ) throws(StoreError) -> [String] {
        var problems: [String] = []
        for blob in try blobs.blobs(of: group.rawValue) {
            guard let shape = BlobShape(byteCount: UInt64(clamping: blob.byteCount)),
                blob.pieceCount <= shape.pieceCount,
                (blob.owner == nil) == (blob.pieceCount == shape.pieceCount)
            else {
                problems.append("a blob is longer or shorter than it can be")
                continue
            }
            for index in 0..<blob.pieceCount {
                if try piece(index, of: blob)?.count != shape.byteCount(ofPiece: index) {
                    problems.append("a piece of a blob is missing, or of another length")
                }
                try pause()
            }
        }
        return problems
    }

    /// Beside messages' numbers, which are under the same key and never get there.
    private static func context(ofPiece number: Int64) -> UInt64 {
        UInt64(bitPattern: number) | 1 << 63
    }
}
