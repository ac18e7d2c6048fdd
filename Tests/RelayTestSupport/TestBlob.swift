import Cryptography
public import RelayProtocol

/// A blob as its device keeps it.
public struct TestBlob {
    /// Its name.
    public let id: BlobID
    /// Octets of the whole.
    public let byteCount: UInt64
    /// What it is made of.
    public let pieces: [[UInt8]]
    private let group: GroupID

    /// A blob of a group, of random octets.
    public init(of talk: TestConsultation, byteCount: Int) throws {
        guard let id = BlobID(Random.bytes(BlobID.byteCount)),
            let shape = BlobShape(byteCount: UInt64(byteCount))
        else { throw RelayWorld.Problem.noReply }
        self.id = id
        self.byteCount = UInt64(byteCount)
        group = talk.group
        pieces = (0..<shape.pieceCount).map { Random.bytes(shape.byteCount(ofPiece: $0) ?? 0) }
    }

    /// A blob of a group, of random octets, which a member has put.
    public init(of talk: TestConsultation, byteCount: Int, putBy mailbox: TestMailbox) throws {
        try self.init(of: talk, byteCount: byteCount)
        for operation in [beginning] + pieces.indices.map({ putting($0) }) {
            let outcome = try mailbox.ask(operation)
            guard outcome == .done else { throw RelayWorld.Problem.unexpected(outcome) }
        }
    }

    /// Names a piece.
    public func reference(_ index: Int) -> PieceReference {
        PieceReference(
            blob: BlobReference(groupID: group, blob: id), index: UInt32(clamping: index))
    }

    /// What begins it.
    public var beginning: RelayProtocol.Operation {
        .beginBlob(BlobBeginning(groupID: group, blob: id, byteCount: byteCount))
    }

    /// What puts a piece.
    public func putting(_ index: Int) -> RelayProtocol.Operation {
        .putPiece(reference(index), content: pieces[index])
    }

    /// Asks for room.
    public func begin(by mailbox: TestMailbox) throws -> Outcome { try mailbox.ask(beginning) }

    /// Puts a piece.
    public func put(_ index: Int, by mailbox: TestMailbox) throws -> Outcome {
        try mailbox.ask(putting(index))
    }

    /// Asks for what is there.
    public func state(for mailbox: TestMailbox) throws -> Outcome {
        try mailbox.ask(.inspectBlob(reference(0).blob))
    }

    /// Asks for a piece.
    public func read(_ index: Int, by mailbox: TestMailbox) throws -> Outcome {
        try mailbox.ask(.readPiece(reference(index)))
    }
}
