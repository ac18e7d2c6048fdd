import RelayProtocol

/// What the model knows of a blob.
final class BlobModel {
    let id: BlobID
    let group: GroupModel
    /// Who asked first to begin it.
    let owner: MailboxID
    let isHostile: Bool
    let byteCount: UInt64
    /// The relay has said that it has so many pieces; `nil`: it hasn't said that it was begun.
    var pieceCount: Int?
    /// The day on which the last of it can have come at the earliest.
    var touched = Day(rawValue: 0)

    init(_ request: BlobBeginning, in group: GroupModel, by owner: MailboxID, isHostile: Bool) {
        id = request.blob
        self.group = group
        self.owner = owner
        self.isHostile = isHostile
        byteCount = request.byteCount
    }

    /// Pieces that it has when it is whole.
    var wholeCount: Int { BlobShape(byteCount: byteCount)?.pieceCount ?? 0 }
    var isWhole: Bool { pieceCount == wholeCount }
}
