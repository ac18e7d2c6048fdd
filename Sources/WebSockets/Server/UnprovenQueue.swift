/// Connections that nobody vouches for, in the order in which that began.
struct UnprovenQueue {
    private typealias Entry = (id: ConnectionID, since: UInt64)
    private var since: [ConnectionID: UInt64] = [:]
    /// In that order; those that have gone, or are vouched for now, are left out when met.
    private var entries: [Entry] = []
    private var head = 0

    var count: Int { since.count }

    mutating func add(_ id: ConnectionID, at now: UInt64) {
        guard since[id] == nil else { return }
        since[id] = now
        if entries.count > 2 * since.count + 64 {
            entries = entries[head...].filter { isThere($0) }
            head = 0
        }
        entries.append((id, now))
    }

    mutating func remove(_ id: ConnectionID) { since[id] = nil }

    /// The oldest of those that are meant, and since when it is here.
    mutating func oldest(
        where isMeant: (ConnectionID) -> Bool
    ) -> (id: ConnectionID, since: UInt64)? {
        while head < entries.count, !isThere(entries[head]) { head += 1 }
        return entries[head...].first { isThere($0) && isMeant($0.id) }
    }

    private func isThere(_ entry: Entry) -> Bool { since[entry.id] == entry.since }
}
