/// A mailbox: an Ed25519 public key of 32 octets that stands for nothing else.
public struct MailboxID: Hashable, Sendable {
    /// Octets of an identifier.
    public static let byteCount = 32
    let words: Words

    init(_ words: Words) { self.words = words }

    /// Takes 32 octets; `nil` for another number of them.
    public init?(_ bytes: some Collection<UInt8>) {
        guard let words = Words(bytes) else { return nil }
        self.words = words
    }

    /// The 32 octets.
    public var bytes: [UInt8] { words.bytes }
}

/// An MLS group id at the relay: 32 random octets.
public struct GroupID: Hashable, Sendable {
    /// Octets of an identifier.
    public static let byteCount = 32
    let words: Words

    init(_ words: Words) { self.words = words }

    /// Takes 32 octets; `nil` for another number of them.
    public init?(_ bytes: some Collection<UInt8>) {
        guard let words = Words(bytes) else { return nil }
        self.words = words
    }

    /// The 32 octets.
    public var bytes: [UInt8] { words.bytes }
}

/// A delivery: 16 octets, never given twice by one relay, different for each recipient.
public struct DeliveryID: Hashable, Sendable {
    /// Octets of an identifier.
    public static let byteCount = 16
    /// The first eight octets, most significant first.
    public let high: UInt64
    /// The last eight octets, most significant first.
    public let low: UInt64

    /// Joins both halves.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Takes 16 octets; `nil` for another number of them.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        high = UInt64(bigEndianOctets: bytes.prefix(8))
        low = UInt64(bigEndianOctets: bytes.dropFirst(8))
    }

    /// The 16 octets.
    public var bytes: [UInt8] { high.bigEndianOctets + low.bigEndianOctets }
}

/// The number that a device gives a request; strictly increasing per mailbox, from 1.
public struct RequestID: RawRepresentable, Hashable, Comparable, Sendable {
    /// The number on the wire.
    public let rawValue: UInt64
    /// Takes a number; 0 stands only for `Open`, whose answer isn't stored.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// The id of every `Open`.
    public static let opening = RequestID(rawValue: 0)
    /// The highest id that a relay takes: one that stores can order as a signed number.
    public static let last = RequestID(rawValue: 1 << 62)
    /// Orders by number.
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Whole days since 1970-01-01 UTC: the relay's only calendar.
public struct Day: RawRepresentable, Hashable, Comparable, Sendable {
    /// Days since 1970-01-01 UTC.
    public let rawValue: UInt32
    /// Takes a number of days.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The day that a Unix time falls on.
    public init(unixSeconds: UInt64) { rawValue = UInt32(clamping: unixSeconds / 86_400) }
    /// The day so many days later; stays at the last day there is.
    public func adding(days: UInt32) -> Day {
        let (sum, overflow) = rawValue.addingReportingOverflow(days)
        return Day(rawValue: overflow ? .max : sum)
    }
    /// The day so many days earlier; stays at the first day there is.
    public func before(_ days: UInt32) -> Day { Day(rawValue: rawValue - min(rawValue, days)) }
    /// Orders by time.
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// 32 octets kept in place, so that identifiers are hashed and copied without touching the heap.
struct Words: Hashable, Sendable {
    private let first: UInt64
    private let second: UInt64
    private let third: UInt64
    private let fourth: UInt64

    init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == 32 else { return nil }
        self.init(Array(bytes), at: 0)
    }

    /// Takes the 32 octets that begin at `offset`; there must be as many.
    init(_ bytes: [UInt8], at offset: Int) {
        first = UInt64(bigEndian: bytes, at: offset)
        second = UInt64(bigEndian: bytes, at: offset + 8)
        third = UInt64(bigEndian: bytes, at: offset + 16)
        fourth = UInt64(bigEndian: bytes, at: offset + 24)
    }

    var bytes: [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(32)
        append(to: &octets)
        return octets
    }

    func append(to octets: inout [UInt8]) {
        first.appendBigEndian(to: &octets)
        second.appendBigEndian(to: &octets)
        third.appendBigEndian(to: &octets)
        fourth.appendBigEndian(to: &octets)
    }
}

extension UInt64 {
    /// The number whose octets these are, most significant first; at most the last eight count.
    package init(bigEndianOctets octets: some Collection<UInt8>) {
        self = octets.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The number whose eight octets begin at `offset`; there must be as many.
    init(bigEndian octets: [UInt8], at offset: Int) {
        self = unsafe octets.withUnsafeBytes {
            let eight = unsafe UnsafeRawBufferPointer(rebasing: $0[offset..<offset + 8])
            return unsafe UInt64(bigEndian: eight.loadUnaligned(as: UInt64.self))
        }
    }

    /// Its eight octets, most significant first.
    package var bigEndianOctets: [UInt8] {
        unsafe withUnsafeBytes(of: bigEndian) { unsafe [UInt8]($0) }
    }

    /// Appends its eight octets, most significant first.
    func appendBigEndian(to octets: inout [UInt8]) {
        unsafe withUnsafeBytes(of: bigEndian) { unsafe octets.append(contentsOf: $0) }
    }
}
