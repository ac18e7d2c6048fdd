/// Reads the presentation language from untrusted bytes (RFC 9420 §2.1).
///
/// Every read checks its length first, so no input traps; a failed read may leave the position
/// anywhere, so a reader that threw is thrown away.
public struct TLSReader: Sendable {
    private let bytes: [UInt8]
    private let end: Int

    /// The offset of the next octet, counted from the start of the bytes.
    public private(set) var position: Int

    /// Reads `bytes` from their start.
    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
        position = 0
        end = bytes.count
    }

    private init(_ bytes: [UInt8], from start: Int, to end: Int) {
        self.bytes = bytes
        position = start
        self.end = end
    }

    /// How many octets are left.
    public var remainingCount: Int { end - position }

    /// Whether everything was read.
    public var isAtEnd: Bool { position == end }

    /// Refuses octets behind the structure.
    public func finish() throws(TLSError) {
        guard isAtEnd else { throw .trailingBytes }
    }

    /// The octets between an earlier position of this reader and now.
    public func bytesRead(since start: Int) -> [UInt8] {
        guard start >= 0, start <= position else { return [] }
        return Array(bytes[start..<position])
    }

    private mutating func advance(by count: Int) throws(TLSError) -> Int {
        guard count >= 0, count <= end - position else { throw .truncated }
        defer { position += count }
        return position
    }

    /// Reads a `uint8`.
    public mutating func readUInt8() throws(TLSError) -> UInt8 {
        bytes[try advance(by: 1)]
    }

    /// Reads a `uint16`.
    public mutating func readUInt16() throws(TLSError) -> UInt16 {
        let start = try advance(by: 2)
        return UInt16(bytes[start]) << 8 | UInt16(bytes[start + 1])
    }

    /// Reads a `uint32`.
    public mutating func readUInt32() throws(TLSError) -> UInt32 {
        let start = try advance(by: 4)
        var value: UInt32 = 0
        for offset in 0..<4 { value = value << 8 | UInt32(bytes[start + offset]) }
        return value
    }

    /// Reads a `uint64`.
    public mutating func readUInt64() throws(TLSError) -> UInt64 {
        let start = try advance(by: 8)
        var value: UInt64 = 0
        for offset in 0..<8 { value = value << 8 | UInt64(bytes[start + offset]) }
        return value
    }

    /// Reads a fixed number of octets.
    public mutating func readBytes(count: Int) throws(TLSError) -> [UInt8] {
        let start = try advance(by: count)
        return Array(bytes[start..<start + count])
    }

    /// Reads all that is left.
    public mutating func readRemaining() -> [UInt8] {
        defer { position = end }
        return Array(bytes[position..<end])
    }

    /// Reads a vector's length prefix of 1, 2 or 4 octets (RFC 9420 §2.1.2).
    public mutating func readVectorLength() throws(TLSError) -> Int {
        let first = try readUInt8()
        let low = Int(first & 0x3f)
        switch first >> 6 {
        case 0:
            return low
        case 1:
            let length = low << 8 | Int(try readUInt8())
            guard length > 0x3f else { throw .nonMinimalLength }
            return length
        case 2:
            let length = low << 24 | Int(try readUInt8()) << 16 | Int(try readUInt16())
            guard length > 0x3fff else { throw .nonMinimalLength }
            return length
        default:
            throw .reservedLengthPrefix
        }
    }

    /// Reads an `opaque x<V>`.
    public mutating func readVector() throws(TLSError) -> [UInt8] {
        try readBytes(count: try readVectorLength())
    }

    /// Passes over an `opaque x<V>`.
    public mutating func skipVector() throws(TLSError) {
        _ = try advance(by: try readVectorLength())
    }

    /// Reads a vector's length prefix and returns a reader of its content alone.
    public mutating func readVectorReader() throws(TLSError) -> TLSReader {
        let count = try readVectorLength()
        let start = try advance(by: count)
        return TLSReader(bytes, from: start, to: start + count)
    }

    /// Reads a `T x<V>`.
    @inlinable
    public mutating func readArray<Element: TLSDecodable>(
        of type: Element.Type = Element.self
    ) throws(TLSError) -> [Element] {
        var content = try readVectorReader()
        var elements: [Element] = []
        while !content.isAtEnd {
            elements.append(try Element(from: &content))
        }
        return elements
    }

    /// Reads the presence octet of an `optional<T>` (RFC 9420 §2.1.1).
    public mutating func readPresence() throws(TLSError) -> Bool {
        switch try readUInt8() {
        case 0: return false
        case 1: return true
        default: throw .invalidValue
        }
    }

    /// Reads an `optional<T>` (RFC 9420 §2.1.1).
    @inlinable
    public mutating func readOptional<Value: TLSDecodable>(
        of type: Value.Type = Value.self
    ) throws(TLSError) -> Value? {
        try readPresence() ? try Value(from: &self) : nil
    }
}
