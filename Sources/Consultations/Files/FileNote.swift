import Cryptography
import FoundationEssentials
import RelayProtocol

/// What a message says of a file: where its ciphertext lies, how it is opened, what it is.
struct FileNote: Equatable {
    /// What opens the file. In the vault it is a record of its own.
    struct Key: Equatable {
        static let byteCount = StreamSealing.keyByteCount + StreamSealing.headerByteCount
        /// Key and header of the stream.
        let secret: SecretBytes

        init?(_ secret: SecretBytes) {
            guard secret.count == Self.byteCount else { return nil }
            self.secret = secret
        }

        init(key: SecretBytes, header: [UInt8]) {
            secret = unsafe SecretBytes(count: key.count + header.count) { output in
                unsafe key.withUnsafeBytes { unsafe output.copyMemory(from: $0) }
                unsafe UnsafeMutableRawBufferPointer(rebasing: output[key.count...])
                    .copyBytes(from: header)
            }
        }

        var key: SecretBytes { secret.slice(0..<StreamSealing.keyByteCount) }
        var header: [UInt8] {
            secret.slice(StreamSealing.keyByteCount..<Self.byteCount).exposedCopy()
        }
    }

    /// The blob's name at the relay.
    var blob: BlobID
    /// SHA-256 of the blob.
    var hash: [UInt8]
    /// The lengths of both.
    var shape: FileShape
    /// As the sender calls it.
    var name: String
    /// As the sender believes it to be.
    var mediaType: String
    /// `nil` in what is stored.
    var key: Key?

    /// Octets of a name, or of a media type.
    static let textLimit = 255

    init(
        blob: BlobID, hash: [UInt8], shape: FileShape, name: String, mediaType: String,
        key: Key? = nil
    ) {
        self.blob = blob
        self.hash = hash
        self.shape = shape
        self.name = name
        self.mediaType = mediaType
        self.key = key
    }

    /// Reads what another member, or this device's vault, says; `nil` if it breaks `payloads.md`.
    init?(_ wire: WireFile) {
        guard let blob = BlobID(wire.blob), wire.hash.count == 32,
            let shape = FileShape(byteCount: wire.bytes, blobByteCount: wire.blobBytes),
            wire.name.utf8.count <= Self.textLimit, wire.mediaType.utf8.count <= Self.textLimit
        else { return nil }
        self.init(
            blob: blob, hash: [UInt8](wire.hash), shape: shape, name: wire.name,
            mediaType: wire.mediaType)
        guard !wire.key.isEmpty || !wire.header.isEmpty else { return }
        guard wire.key.count == StreamSealing.keyByteCount,
            wire.header.count == StreamSealing.headerByteCount
        else { return nil }
        key = Key(key: SecretBytes(wire.key), header: [UInt8](wire.header))
    }

    var wire: WireFile {
        var wire = WireFile()
        wire.blob = Data(blob.bytes)
        wire.hash = Data(hash)
        wire.bytes = UInt64(shape.byteCount)
        wire.blobBytes = UInt64(shape.blob.byteCount)
        wire.name = name
        wire.mediaType = mediaType
        if let key {
            wire.key = unsafe key.key.withUnsafeBytes { unsafe Data($0) }
            wire.header = Data(key.header)
        }
        return wire
    }
}
