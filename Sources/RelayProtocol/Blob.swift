/// A large ciphertext of a group at the relay, kept in pieces: 16 random octets.
public struct BlobID: Hashable, Sendable {
    /// Octets of an identifier.
    public static let byteCount = 16
    /// The 16 octets.
    public let bytes: [UInt8]

    /// Takes 16 octets; `nil` for another number of them.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = Array(bytes)
    }
}

/// How a ciphertext is cut into pieces (`protocol/relay.md`, "Blobs").
public struct BlobShape: Equatable, Sendable {
    /// Octets of every piece but the last, which may have fewer.
    public static let pieceByteCount = 64 << 10
    /// Octets of a blob, whatever the operator's limits say.
    public static let longestByteCount: UInt64 = 1 << 30

    /// Octets of the whole ciphertext.
    public let byteCount: Int
    /// Pieces that it has.
    public var pieceCount: Int {
        (byteCount + Self.pieceByteCount - 1) / Self.pieceByteCount
    }

    /// Takes a length; `nil` for none, or one that no blob has.
    public init?(byteCount: UInt64) {
        guard (1...Self.longestByteCount).contains(byteCount) else { return nil }
        self.byteCount = Int(byteCount)
    }

    /// Octets of one piece; `nil` behind the last.
    public func byteCount(ofPiece index: Int) -> Int? {
        guard (0..<pieceCount).contains(index) else { return nil }
        return min(Self.pieceByteCount, byteCount - index * Self.pieceByteCount)
    }
}

/// Room for a blob; the asker alone puts its pieces.
public struct BlobBeginning: Equatable, Sendable {
    /// Which group.
    public var groupID: GroupID
    /// The blob's name, chosen by the device.
    public var blob: BlobID
    /// Octets of the whole ciphertext, padded.
    public var byteCount: UInt64

    /// Makes a request for room.
    public init(groupID: GroupID, blob: BlobID, byteCount: UInt64) {
        self.groupID = groupID
        self.blob = blob
        self.byteCount = byteCount
    }
}

/// One blob of a group.
public struct BlobReference: Equatable, Sendable {
    /// Which group.
    public var groupID: GroupID
    /// Which of its blobs.
    public var blob: BlobID

    /// Names a blob.
    public init(groupID: GroupID, blob: BlobID) {
        self.groupID = groupID
        self.blob = blob
    }
}

/// One piece of a blob.
public struct PieceReference: Equatable, Sendable {
    /// Which blob.
    public var blob: BlobReference
    /// Which piece, from 0.
    public var index: UInt32

    /// Names a piece.
    public init(blob: BlobReference, index: UInt32) {
        self.blob = blob
        self.index = index
    }
}

/// What the relay has of a blob.
public struct BlobState: Equatable, Sendable {
    /// Octets of the whole, as begun; 0: there is no such blob.
    public var byteCount: UInt64
    /// The first so many pieces are durable.
    public var pieceCount: UInt32

    /// Makes a state.
    public init(byteCount: UInt64, pieceCount: UInt32) {
        self.byteCount = byteCount
        self.pieceCount = pieceCount
    }

    /// Of a blob that isn't there.
    public static let none = BlobState(byteCount: 0, pieceCount: 0)
}
