/// The trail put together from all copies of it: what one lacks, another may have. An entry counts
/// once it can be read; whether they make one chain the verifier tells.
struct JoinedTrail {
    /// An entry, and who has it.
    struct Link {
        let entry: TrailEntry
        /// The copies that have it, by their places.
        let holders: [Int]
        /// Whether another copy has another entry in its place.
        let isDisputed: Bool
    }

    private struct Copy {
        var reader: TrailReader
        var first: TrailEntry?
        var isAtEnd = false
        var isDamaged = false
    }

    private var copies: [Copy]
    /// The least number that may come.
    private(set) var next: UInt64 = 0

    init(_ readers: [TrailReader]) { copies = readers.map { Copy(reader: $0) } }

    /// Whether something in a copy couldn't be read so far.
    func isDamaged(_ place: Int) -> Bool { copies[place].isDamaged }

    /// Octets behind a copy's last entry, once that was taken.
    func restByteCount(_ place: Int) -> Int { copies[place].reader.restByteCount }

    /// The next entry that any copy has; `nil` at the end of all.
    mutating func take() throws(RelayError) -> Link? {
        for place in copies.indices { try advance(place) }
        let candidates = copies.map(\.first)
        guard let entry = candidates.compactMap({ $0 }).min(by: { $0.sequence < $1.sequence })
        else { return nil }
        next = entry.sequence + 1
        return Link(
            entry: entry,
            holders: candidates.indices.filter { candidates[$0]?.hash == entry.hash },
            isDisputed: candidates.contains {
                $0?.sequence == entry.sequence && $0?.hash != entry.hash
            })
    }

    /// Passes what has been taken, and what stands behind a later entry.
    private mutating func advance(_ place: Int) throws(RelayError) {
        while !copies[place].isAtEnd {
            if let first = copies[place].first, first.sequence >= next { return }
            switch try copies[place].reader.next() {
            case .entry(let entry): copies[place].first = entry
            case .unreadable: copies[place].isDamaged = true
            case nil: (copies[place].first, copies[place].isAtEnd) = (nil, true)
            }
        }
    }
}
