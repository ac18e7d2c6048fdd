public import Cryptography
private import RelayProtocol
internal import TLSSyntax

extension [TrailEntry] {
    /// The latest hour that was written while the clock was trusted; it needn't be the last entry's,
    /// for those of activity tell no more than their day.
    var latestTrustedHour: UInt32? { lazy.filter { !$0.isClockDoubted }.map(\.hour).max() }
}

/// One entry of the audit trail, chained to the one before (`protocol/relay.md`, "The trail").
///
///     struct {
///         uint64 sequence;        // from 0
///         opaque previous[32];    // hash of the entry before
///         uint32 hour;            // hours since 1970-01-01 UTC; whole days for activity
///         uint8 clock_doubted;
///         uint8 kind;
///         opaque content<V>;      // for auditors
///         opaque sealed<V>;       // for a restore; under a key that only the relay has
///     } TrailEntry;
public struct TrailEntry: Equatable, Sendable {
    /// What an entry tells. Values that this version doesn't know are chained like all others.
    public struct Kind: RawRepresentable, Hashable, Sendable {
        /// As it is written.
        public let rawValue: UInt8
        /// Takes any value.
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// The relay's signature over the chain so far.
        public static let head = Kind(rawValue: 1)
        /// The relay started.
        public static let started = Kind(rawValue: 2)
        /// The relay stopped in order.
        public static let stopped = Kind(rawValue: 3)
        /// What the operator set has changed.
        public static let configured = Kind(rawValue: 4)
        /// Homes admitted, mailboxes made and retired, packages claimed: numbers only.
        public static let activity = Kind(rawValue: 5)
        /// A consultation was erased; the content is the receipt.
        public static let erasure = Kind(rawValue: 6)
        /// What was accepted and refused since the last summary, in numbers.
        public static let summary = Kind(rawValue: 7)
        /// A backup was made and verified.
        public static let backup = Kind(rawValue: 8)
        /// A restore was rehearsed.
        public static let rehearsal = Kind(rawValue: 9)
        /// The relay was restored from a backup.
        public static let restored = Kind(rawValue: 10)
        /// The operator asked for something over the control socket.
        public static let command = Kind(rawValue: 11)
        /// The relay was restored without a trail; the chain begins here.
        public static let resumed = Kind(rawValue: 12)
    }

    /// Its place.
    public let sequence: UInt64
    /// The hash of the entry before.
    public let previous: [UInt8]
    /// Hours since 1970-01-01 UTC.
    public let hour: UInt32
    /// Whether the relay doubted its clock when it wrote this.
    public let isClockDoubted: Bool
    /// What it tells.
    public let kind: Kind
    /// For auditors: text of `name=value` lines, a receipt, or a signature.
    public let content: [UInt8]
    /// For a restore: sealed effects, or nothing.
    public let sealed: [UInt8]
    /// SHA-256 with label "trail entry" of the encoded entry.
    public let hash: [UInt8]

    /// Puts an entry behind another.
    init(
        after end: TrailEnd, hour: UInt32, isClockDoubted: Bool, kind: Kind,
        content: [UInt8] = [], sealed: [UInt8] = []
    ) {
        sequence = end.next
        previous = end.hash
        self.hour = hour
        self.isClockDoubted = isClockDoubted
        self.kind = kind
        self.content = content
        self.sealed = sealed
        hash = Self.hash(
            of: Self.encode(sequence, previous, hour, isClockDoubted, kind, content, sealed))
    }

    /// Reads the body of a frame.
    ///
    /// - Throws: `TLSError` if it is none.
    init(decoding body: [UInt8]) throws(TLSError) {
        var reader = TLSReader(body)
        sequence = try reader.readUInt64()
        guard sequence < .max else { throw .invalidValue }
        previous = try reader.readBytes(count: 32)
        hour = try reader.readUInt32()
        isClockDoubted = try reader.readPresence()
        kind = Kind(rawValue: try reader.readUInt8())
        content = try reader.readVector()
        sealed = try reader.readVector()
        try reader.finish()
        hash = Self.hash(of: body)
    }

    /// The entry as it stands in the file: length, body, hash.
    var frame: [UInt8] {
        let body = Self.encode(sequence, previous, hour, isClockDoubted, kind, content, sealed)
        var writer = TLSWriter()
        writer.write(UInt32(clamping: body.count))
        writer.write(bytes: body)
        writer.write(bytes: hash)
        return writer.bytes
    }

    /// The chain's end after this entry.
    var end: TrailEnd { TrailEnd(next: sequence &+ 1, hash: hash) }

    private static func encode(
        _ sequence: UInt64, _ previous: [UInt8], _ hour: UInt32, _ isClockDoubted: Bool,
        _ kind: Kind, _ content: [UInt8], _ sealed: [UInt8]
    ) -> [UInt8] {
        var writer = TLSWriter()
        writer.write(sequence)
        writer.write(bytes: previous)
        writer.write(hour)
        writer.write(UInt8(isClockDoubted ? 1 : 0))
        writer.write(kind.rawValue)
        writer.write(vector: content)
        writer.write(vector: sealed)
        return writer.bytes
    }

    private static func hash(of body: [UInt8]) -> [UInt8] {
        Hash.sha256(label: "trail entry", body)
    }
}

/// Where a chain ends: what the next entry has to continue.
struct TrailEnd: Equatable, Sendable {
    /// The number of the next entry.
    var next: UInt64
    /// The hash of the last one; before the first, a hash of the relay's key.
    var hash: [UInt8]

    init(next: UInt64, hash: [UInt8]) {
        self.next = next
        self.hash = hash
    }

    /// Before a relay's first entry.
    init(relayKey: VerifyingKey) {
        self.init(next: 0, hash: Hash.sha256(label: "trail", relayKey.bytes))
    }

    /// Reads what `encoded` wrote.
    init?(_ octets: [UInt8]) {
        guard octets.count == 40 else { return nil }
        self.init(
            next: UInt64(bigEndianOctets: octets[..<8]), hash: Array(octets[8...]))
    }

    /// 40 octets for the store.
    var encoded: [UInt8] { next.bigEndianOctets + hash }
}

/// A signed head: the relay's word that its trail has this entry at this place. Kept elsewhere, it
/// shows whether the trail was cut or rewritten later.
public struct TrailHead: Equatable, Sendable {
    /// The entry that holds the signature.
    public let sequence: UInt64
    /// The hash of the entry before it.
    public let previous: [UInt8]
    /// When it was signed.
    public let hour: UInt32
    /// The signature, label "trail head".
    public let signature: [UInt8]

    /// Puts a head together that was kept elsewhere.
    public init(sequence: UInt64, previous: [UInt8], hour: UInt32, signature: [UInt8]) {
        self.sequence = sequence
        self.previous = previous
        self.hour = hour
        self.signature = signature
    }

    /// The head that an entry holds; `nil` for other entries.
    init?(_ entry: TrailEntry) {
        guard entry.kind == .head else { return nil }
        self.init(
            sequence: entry.sequence, previous: entry.previous, hour: entry.hour,
            signature: entry.content)
    }

    /// Signs the chain up to its end.
    static func entry(
        after end: TrailEnd, hour: UInt32, isClockDoubted: Bool, identity: SigningKey
    ) throws(CryptographyError) -> TrailEntry {
        let signature = try identity.sign(
            label: label, identity.publicKey.bytes, end.next.bigEndianOctets, end.hash,
            UInt64(hour).bigEndianOctets)
        return TrailEntry(
            after: end, hour: hour, isClockDoubted: isClockDoubted, kind: .head,
            content: signature)
    }

    /// Whether this relay signed it.
    public func isValid(relayKey: VerifyingKey) -> Bool {
        relayKey.isValid(
            signature: signature, label: Self.label, relayKey.bytes, sequence.bigEndianOctets,
            previous, UInt64(hour).bigEndianOctets)
    }

    private static let label = "trail head"
}
