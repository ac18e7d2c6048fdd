/// Why bytes are not an encoding of the wanted structure (RFC 9420 §2.1). Fault: whoever made them.
public enum TLSError: Error, Equatable, Sendable {
    /// The bytes end before the structure does.
    case truncated
    /// The structure ends before the bytes do.
    case trailingBytes
    /// A length prefix is longer than its value needs (RFC 9420 §2.1.2).
    case nonMinimalLength
    /// A length prefix starts with the bits 11 (RFC 9420 §2.1.2).
    case reservedLengthPrefix
    /// A field has a value that its type does not allow.
    case invalidValue
}
