/// Names and other short texts in signed structures: UTF-8, no control characters, bounded.
public enum Text {
    /// Octets that a text may have unless its field says otherwise.
    public static let maximumByteCount = 200

    /// Whether a text may stand in a signed structure: neither too long nor, unless allowed, empty,
    /// without control, format and line-separating characters, and not blank at its ends.
    public static func isValid(
        _ text: String, maximumByteCount: Int = maximumByteCount, mayBeEmpty: Bool = false
    ) -> Bool {
        let count = text.utf8.count
        guard count <= maximumByteCount else { return false }
        guard count > 0 else { return mayBeEmpty }
        let scalars = text.unicodeScalars
        guard let first = scalars.first, let last = scalars.last else { return false }
        return !first.properties.isWhitespace && !last.properties.isWhitespace
            && scalars.allSatisfy(isPrintable)
    }

    /// Reads UTF-8 strictly: replacement of broken octets would let two encodings pass for one.
    static func decode(
        _ octets: [UInt8], maximumByteCount: Int = maximumByteCount, mayBeEmpty: Bool = false
    ) -> String? {
        guard let text = String(validating: octets, as: UTF8.self) else { return nil }
        let isValid = isValid(text, maximumByteCount: maximumByteCount, mayBeEmpty: mayBeEmpty)
        return isValid ? text : nil
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .unassigned, .surrogate,
            .privateUse:
            // A joiner inside a word is part of several scripts; all else of the kind only hides.
            scalar == "\u{200C}" || scalar == "\u{200D}"
        default:
            true
        }
    }
}
