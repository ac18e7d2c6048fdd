public import Cryptography

/// What two persons compare by phone: 35 digits, over 116 bits, from their identity keys.
///
/// It depends on nothing else, so it stays the same across epochs and consultations. Each group of
/// five digits is 40 bits of `SHA-256(label "safety code", [n], smaller key, larger key)`, n = 0
/// and 1 one after the other, modulo 100,000.
public struct SafetyCode: Hashable, Sendable, CustomStringConvertible {
    /// Digits of a code.
    public static let digitCount = 35

    /// The digits without spaces.
    public let digits: String

    /// The code of two identity keys, in either order.
    public init(_ one: VerifyingKey, _ other: VerifyingKey) {
        let isOrdered = one.bytes.lexicographicallyPrecedes(other.bytes)
        let (first, second) = isOrdered ? (one.bytes, other.bytes) : (other.bytes, one.bytes)
        let stream = (0..<2).flatMap { (number: UInt8) in
            Hash.sha256(label: "safety code", [number], first, second)
        }
        digits = stride(from: 0, to: Self.digitCount, by: 5).map { start in
            let group = stream[start..<start + 5].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let text = String(group % 100_000)
            return String(repeating: "0", count: 5 - text.count) + text
        }.joined()
    }

    /// Seven groups of five digits.
    public var description: String {
        var groups: [Substring] = []
        var rest = digits[...]
        while !rest.isEmpty {
            groups.append(rest.prefix(5))
            rest = rest.dropFirst(5)
        }
        return groups.joined(separator: " ")
    }

    /// Whether a text that somebody typed is this code; spaces and hyphens don't matter.
    public func matches(_ text: String) -> Bool {
        text.filter { $0 != " " && $0 != "-" && $0 != "\u{A0}" } == digits
    }
}
