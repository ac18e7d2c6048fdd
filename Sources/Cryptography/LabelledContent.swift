/// The octets that Curtain's own signatures and hashes cover: `"Curtain 1.0 " + label` and each
/// field, every part preceded by its length as four octets, most significant first.
///
/// Nothing signed for one purpose can pass for another (`protocol/keys.md`).
public enum LabelledContent {
    /// Joins a label and fields unambiguously.
    public static func encode(label: String, fields: [[UInt8]]) -> [UInt8] {
        let parts = [Array("Curtain 1.0 \(label)".utf8)] + fields
        var octets: [UInt8] = []
        octets.reserveCapacity(parts.reduce(0) { $0 + $1.count + 4 })
        for part in parts {
            let count = UInt32(clamping: part.count)
            octets.append(
                contentsOf: [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) })
            octets.append(contentsOf: part)
        }
        return octets
    }
}
