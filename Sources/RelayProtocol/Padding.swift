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
}
