import Cryptography
import RelayProtocol

/// How a file becomes a blob (`protocol/payloads.md`, "Files"): its octets and zeros behind them, as
/// much as fills a bucket, cut such that each sealed part is one piece at the relay.
struct FileShape: Equatable {
    /// Octets of the file.
    let byteCount: Int
    /// The blob that its ciphertext is.
    let blob: BlobShape

    /// For a file to be sent; `nil` if no blob holds it.
    init?(byteCount: Int) {
        guard byteCount >= 0, byteCount <= Int(BlobShape.longestByteCount) else { return nil }
        var bucket = Padding.bucket(for: byteCount + StreamSealing.overheadByteCount)
        while let blob = BlobShape(byteCount: UInt64(bucket)) {
            if Self.room(in: blob) >= byteCount {
                self.byteCount = byteCount
                self.blob = blob
                return
            }
            bucket = Padding.bucket(for: bucket + 1)
        }
        return nil
    }

    /// For a file that another member speaks of; `nil` if it can't be so.
    init?(byteCount: UInt64, blobByteCount: UInt64) {
        guard let blob = BlobShape(byteCount: blobByteCount),
            let byteCount = Int(exactly: byteCount), byteCount <= Self.room(in: blob),
            // Every piece has something in it, so that each can be sealed.
            blob.byteCount(ofPiece: blob.pieceCount - 1) ?? 0 >= StreamSealing.overheadByteCount
        else { return nil }
        self.byteCount = byteCount
        self.blob = blob
    }

    /// Octets of plaintext in one piece.
    func contentByteCount(ofPiece index: Int) -> Int {
        (blob.byteCount(ofPiece: index) ?? 0) - StreamSealing.overheadByteCount
    }

    private static func room(in blob: BlobShape) -> Int {
        blob.byteCount - blob.pieceCount * StreamSealing.overheadByteCount
    }
}
