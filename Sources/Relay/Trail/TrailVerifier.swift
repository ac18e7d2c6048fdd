public import Cryptography
internal import RelayProtocol

/// What doesn't hold in a trail. Fault: the disk, or whoever changed the files.
public enum TrailFault: Error, Equatable, Sendable {
    /// The trail begins with this entry; those before it are missing.
    case headMissing(first: UInt64)
    /// Entries are missing, or stand elsewhere.
    case gap(expected: UInt64, found: UInt64)
    /// An entry doesn't continue the one before it.
    case broken(at: UInt64)
    /// Octets behind this many entries can't be read as entries.
    case unreadable(after: UInt64)
    /// A head's signature isn't this relay's.
    case signature(at: UInt64)
    /// A receipt in it isn't this relay's.
    case receipt(at: UInt64)
    /// The end is missing: the database knows of more entries.
    case tailMissing(next: UInt64, expected: UInt64)
    /// From this entry on the trail isn't the one that the database belongs to.
    case foreign(next: UInt64)
    /// The database can't be asked for the trail's end.
    case endUnknown
    /// A head kept elsewhere isn't in this trail.
    case headNotFound(sequence: UInt64)
    /// The mirror isn't a beginning of the trail, nor the trail one of the mirror.
    case mirrorDiffers(at: UInt64)
}

/// Follows a chain entry by entry and collects what doesn't hold. Reads nothing by itself.
public struct TrailVerifier: Sendable {
    /// What doesn't hold, at most `faultLimit` of them.
    public private(set) var faults: [TrailFault] = []
    /// Entries seen.
    public private(set) var count: UInt64 = 0
    /// The last signed head that holds.
    public private(set) var head: TrailHead?
    /// The number after the last entry seen.
    public var next: UInt64 { end?.next ?? 0 }
    /// Entries behind the last signed head: nobody has signed them yet.
    public var unsignedCount: UInt64 { head.map { next &- $0.sequence &- 1 } ?? count }
    /// The entry with which the trail begins again after a restore without one.
    public private(set) var resumedAt: UInt64?

    private(set) var end: TrailEnd?
    private let relayKey: VerifyingKey
    private var wanted: [TrailHead]
    private var wantedEnds: [TrailEnd]

    private static let faultLimit = 100

    /// Begins before the first entry.
    ///
    /// - Parameter kept: heads that were kept elsewhere and must be in the trail.
    public init(relayKey: VerifyingKey, kept: [TrailHead] = []) {
        self.init(relayKey: relayKey, kept: kept, ends: [])
    }

    /// - Parameter ends: ends that the chain must have had at some time.
    init(relayKey: VerifyingKey, kept: [TrailHead] = [], ends: [TrailEnd]) {
        self.relayKey = relayKey
        wanted = kept
        wantedEnds = ends.filter { $0 != TrailEnd(relayKey: relayKey) }
    }

    /// Takes the next entry.
    public mutating func take(_ entry: TrailEntry) {
        if let end {
            if entry.sequence != end.next {
                note(.gap(expected: end.next, found: entry.sequence))
            } else if entry.previous != end.hash {
                note(.broken(at: entry.sequence))
            }
        } else if entry.kind == .resumed {
            resumedAt = entry.sequence
        } else {
            let start = TrailEnd(relayKey: relayKey)
            if entry.sequence != start.next {
                note(.headMissing(first: entry.sequence))
            } else if entry.previous != start.hash {
                note(.broken(at: 0))
            }
        }
        check(entry)
        count += 1
        end = entry.end
        wantedEnds.removeAll { $0 == entry.end }
    }

    /// Takes what comes next in a copy of the trail.
    mutating func take(_ piece: TrailReader.Piece) {
        switch piece {
        case .entry(let entry): take(entry)
        case .unreadable: note(.unreadable(after: next))
        }
    }

    /// Ends the check: what had to be in the trail and wasn't is a fault.
    public mutating func finish() { finish(notBeyond: nil) }

    /// - Parameter latest: the end that the database has; entries behind it are nobody's.
    mutating func finish(notBeyond latest: TrailEnd?) {
        if let latest, next > latest.next { note(.foreign(next: latest.next)) }
        for head in wanted { note(.headNotFound(sequence: head.sequence)) }
        for wanted in wantedEnds {
            note(
                wanted.next > next
                    ? .tailMissing(next: next, expected: wanted.next) : .foreign(next: next))
        }
        wanted = []
        wantedEnds = []
    }

    private mutating func check(_ entry: TrailEntry) {
        if let head = TrailHead(entry) {
            if head.isValid(relayKey: relayKey) {
                self.head = head
                wanted.removeAll { $0 == head }
            } else {
                note(.signature(at: entry.sequence))
            }
        }
        if entry.kind == .erasure, entry.receipt(relayKey: relayKey) == nil {
            note(.receipt(at: entry.sequence))
        }
    }

    mutating func note(_ fault: TrailFault) {
        if faults.count < Self.faultLimit { faults.append(fault) }
    }
}

extension TrailEntry {
    /// The receipt that an entry of an erasure holds; `nil` for other entries, and if it isn't this
    /// relay's.
    func receipt(relayKey: VerifyingKey) -> ErasureReceipt? {
        guard kind == .erasure, let receipt = try? ErasureReceipt(decoding: content),
            (try? receipt.verify(relayKey: relayKey)) != nil
        else { return nil }
        return receipt
    }
}
