import RelayProtocol

/// A blob of a light device: what is in it follows from its name.
struct LightFile: Equatable {
    let id: BlobID
    let shape: BlobShape

    static let octetCount = BlobID.byteCount + 8

    init(id: BlobID, shape: BlobShape) {
        self.id = id
        self.shape = shape
    }

    /// Reads what a message says of it.
    init?(octets: some Collection<UInt8>) {
        let octets = Array(octets.prefix(Self.octetCount))
        guard octets.count == Self.octetCount, let id = BlobID(octets.prefix(BlobID.byteCount)),
            let shape = BlobShape(
                byteCount: octets.suffix(8).reduce(0) { $0 << 8 | UInt64($1) })
        else { return nil }
        self.init(id: id, shape: shape)
    }

    var octets: [UInt8] { id.bytes + Body.octets(UInt64(shape.byteCount)) }

    func piece(_ index: Int) -> [UInt8] {
        let count = shape.byteCount(ofPiece: index) ?? 0
        let start = (id.bytes + Body.octets(UInt64(index))).prefix(count)
        return start + [UInt8](repeating: id.bytes[0], count: count - start.count)
    }
}

/// A file that is put at the relay, or fetched from there.
struct LightTransfer {
    enum AtRelay { case unknown, absent, pieces(Int) }

    let file: LightFile
    let isMine: Bool
    /// Of one's own.
    var atRelay = AtRelay.unknown
    /// Pieces that came.
    var fetched = 0
    var pausedUntil = 0
}
