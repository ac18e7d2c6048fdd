/// The sizes to which everything that reaches the relay is padded, so that a size tells little
/// (`protocol/relay.md`, "Padding").
public enum Padding {
    /// The smallest bucket.
    public static let smallestBucket = 256

    /// The bucket for `byteCount` octets: powers of two and the steps half-way between them (256,
    /// 384, 512, 768, 1024, …), so that padding adds at most a half and few sizes are in use.
    public static func bucket(for byteCount: Int) -> Int {
        var bucket = smallestBucket
        while bucket < byteCount {
            if byteCount <= bucket + bucket / 2 { return bucket + bucket / 2 }
            bucket *= 2
        }
        return bucket
    }

    /// Appends octet 0x80 and zeros up to the bucket (ISO/IEC 7816-4).
    public static func pad(_ content: [UInt8]) -> [UInt8] {
        let size = bucket(for: content.count + 1)
        return content + [0x80] + [UInt8](repeating: 0, count: size - content.count - 1)
    }

    /// Takes the padding off again.
    ///
    /// - Throws: `.invalidStructure` if there is none. Fault: the sender.
    public static func unpad(_ padded: [UInt8]) throws(RelayProtocolError) -> [UInt8] {
        guard let mark = padded.lastIndex(where: { $0 != 0 }), padded[mark] == 0x80 else {
            throw .invalidStructure
        }
        return Array(padded[..<mark])
    }
}
