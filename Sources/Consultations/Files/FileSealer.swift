import Cryptography
import RelayProtocol

/// Turns a file's content, part by part, into the pieces of its blob, under a key of its own.
struct FileSealer: ~Copyable {
    private let shape: FileShape
    private var sealer: StreamSealing.Sealer
    private var hash = RunningHash()
    private var index = 0
    private var taken = 0
    /// What opens it.
    let key: FileNote.Key

    init(_ shape: FileShape) throws(CryptographyError) {
        self.shape = shape
        let secret = SecretBytes.random(count: StreamSealing.keyByteCount)
        sealer = try StreamSealing.Sealer(key: secret)
        key = FileNote.Key(key: secret, header: sealer.header)
    }

    /// Octets of the file that the next piece takes; `nil` when all pieces are made.
    var nextByteCount: Int? {
        guard index < shape.blob.pieceCount else { return nil }
        return min(shape.byteCount - taken, shape.contentByteCount(ofPiece: index))
    }

    /// SHA-256 of the pieces made.
    var hashValue: [UInt8] { hash.value() }

    /// Makes the next piece of exactly `nextByteCount` octets, with zeros behind them where the file
    /// is over.
    mutating func seal(_ content: [UInt8]) -> [UInt8] {
        let room = max(0, shape.contentByteCount(ofPiece: index) - content.count)
        let piece = sealer.seal(
            content + [UInt8](repeating: 0, count: room), isLast: index == shape.blob.pieceCount - 1
        )
        hash.add(piece)
        taken += content.count
        index += 1
        return piece
    }
}
