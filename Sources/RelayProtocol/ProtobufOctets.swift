/// Reads Protocol Buffers where the octets follow one fixed pattern, and says `nil` where they don't.
///
/// Messages and acknowledgements make up nearly all traffic, and reading them through generated code
/// costs an allocation for every field. What doesn't follow the pattern goes to the generated code,
/// which alone decides what is a frame.
struct ProtobufScanner {
    private let octets: [UInt8]
    private var position: Int
    private var end: Int
    /// Fields that may still come.
    private(set) var allowance = ProtocolConstants.frameFields

    /// Begins at the first octet.
    init(_ octets: [UInt8]) {
        self.octets = octets
        position = 0
        end = octets.count
    }

    /// Nothing is left of the present message.
    var isAtEnd: Bool { position == end }

    /// Passes a tag of one octet, if it comes next.
    mutating func pass(_ tag: UInt8) -> Bool {
        guard position < end, octets[position] == tag, allowance > 0 else { return false }
        allowance -= 1
        position += 1
        return true
    }

    /// Passes a tag of two octets, if it comes next.
    mutating func pass(_ first: UInt8, _ second: UInt8) -> Bool {
        guard end - position >= 2, octets[position] == first, octets[position + 1] == second,
            allowance > 0
        else { return false }
        allowance -= 1
        position += 2
        return true
    }

    /// Passes octets, if so many come next.
    mutating func skip(_ count: Int) -> Bool {
        guard count <= end - position else { return false }
        position += count
        return true
    }

    /// Passes octets behind their length.
    mutating func skipOctets() -> Bool {
        guard let count = length() else { return false }
        return skip(count)
    }

    /// A tag of any length.
    mutating func tag() -> UInt32? {
        guard allowance > 0, let number = number(), let tag = UInt32(exactly: number) else {
            return nil
        }
        allowance -= 1
        return tag
    }

    /// A number of at most ten octets, whose bits beyond 64 count for nothing, as in the generated
    /// code.
    mutating func number() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < end, shift < 64 {
            let octet = octets[position]
            position += 1
            value |= UInt64(octet & 0x7f) << shift
            if octet < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    /// A number behind a tag of one octet; 0 if the tag doesn't come next.
    mutating func number(after tag: UInt8) -> UInt64? {
        pass(tag) ? number() : 0
    }

    /// The length of what follows, if so much follows.
    private mutating func length() -> Int? {
        guard let number = number(), let count = Int(exactly: number), count <= end - position
        else { return nil }
        return count
    }

    /// A message within this one: `read` must use it up.
    mutating func message<Value>(_ read: (inout ProtobufScanner) -> Value?) -> Value? {
        guard let count = length() else { return nil }
        let outer = end
        end = position + count
        defer { end = outer }
        guard let value = read(&self), isAtEnd else { return nil }
        return value
    }

    /// Octets behind a tag of one octet; none if the tag doesn't come next.
    mutating func octets(after tag: UInt8) -> [UInt8]? {
        guard pass(tag) else { return [] }
        guard let count = length() else { return nil }
        defer { position += count }
        return Array(octets[position..<position + count])
    }

    /// An identifier of 32 octets behind a tag of one octet.
    mutating func words(after tag: UInt8) -> Words? {
        guard pass(tag, 32), end - position >= 32 else { return nil }
        defer { position += 32 }
        return Words(octets, at: position)
    }

    /// An identifier of 16 octets behind a tag of one octet.
    mutating func deliveryID(after tag: UInt8) -> DeliveryID? {
        guard pass(tag, 16), end - position >= 16 else { return nil }
        defer { position += 16 }
        return DeliveryID(
            high: UInt64(bigEndian: octets, at: position),
            low: UInt64(bigEndian: octets, at: position + 8))
    }
}

/// Writes Protocol Buffers field by field, each of the tags used having one octet unless said.
struct ProtobufWriter {
    private(set) var octets: [UInt8] = []

    /// - Parameter capacity: how much will come, roughly.
    init(capacity: Int) { octets.reserveCapacity(capacity) }

    mutating func write(tag: UInt8) { octets.append(tag) }

    mutating func write(_ number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            octets.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        octets.append(UInt8(truncatingIfNeeded: rest))
    }

    mutating func write(length: Int) { write(UInt64(clamping: length)) }

    /// A number as a field; 0 is left out (proto3).
    mutating func write(_ number: UInt64, tag: UInt8) {
        guard number != 0 else { return }
        write(tag: tag)
        write(number)
    }

    /// Octets as a field; none are left out.
    mutating func write(_ content: [UInt8], tag: UInt8) {
        guard !content.isEmpty else { return }
        write(message: content, tag: tag)
    }

    /// A message as a field, empty or not.
    mutating func write(message: [UInt8], tag: UInt8) {
        write(tag: tag)
        write(length: message.count)
        octets += message
    }

    mutating func write(_ words: Words, tag: UInt8) {
        write(tag: tag)
        write(tag: 32)
        words.append(to: &octets)
    }

    mutating func write(_ id: DeliveryID, tag: UInt8) {
        write(tag: tag)
        write(tag: 16)
        id.high.appendBigEndian(to: &octets)
        id.low.appendBigEndian(to: &octets)
    }

    /// Octets that `write` makes of a number.
    static func byteCount(of number: UInt64) -> Int {
        max(1, (64 - number.leadingZeroBitCount + 6) / 7)
    }

    /// Octets of a number's field with a tag of one octet.
    static func fieldByteCount(of number: UInt64) -> Int {
        number == 0 ? 0 : 1 + byteCount(of: number)
    }

    /// Octets of a field of so many octets, with a tag of one octet.
    static func fieldByteCount(ofOctets count: Int) -> Int {
        count == 0 ? 0 : 1 + byteCount(of: UInt64(clamping: count)) + count
    }
}
