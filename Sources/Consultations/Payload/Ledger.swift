/// What has come from one other member, by the counters that it gives its messages
/// (`protocol/payloads.md`, "Counters"). It finds what is missing, whatever the relay says.
struct Ledger: Equatable {
    /// What a counter says about the message that carries it.
    enum Finding: Equatable {
        /// The next one.
        case next
        /// It had been missing.
        case filled
        /// These before it never came; oldest first.
        case gap([UInt64])
        /// It has been counted before.
        case repeated
    }

    /// Missing counters that are remembered; older ones are given up.
    static let missingLimit = 64

    /// The highest counter received.
    private(set) var received: UInt64
    /// Those below it that never came, ascending.
    private(set) var missing: [UInt64]
    /// What this device's person has read.
    private(set) var read: UInt64

    init(received: UInt64 = 0, missing: [UInt64] = [], read: UInt64 = 0) {
        self.received = received
        self.missing = missing
        self.read = read
    }

    /// Takes note of a message; counters are hostile input.
    mutating func note(_ counter: UInt64) -> Finding {
        if counter == 0 { return .repeated }
        if counter <= received {
            guard let index = missing.firstIndex(of: counter) else { return .repeated }
            missing.remove(at: index)
            return .filled
        }
        let gap = skip(to: counter - 1)
        received = counter
        return gap.isEmpty ? .next : .gap(gap)
    }

    /// Takes note that the sender has sent everything up to `counter`; answers what never came.
    mutating func noteSent(upTo counter: UInt64) -> [UInt64] {
        guard counter > received else { return [] }
        let gap = skip(to: counter)
        received = counter
        return gap
    }

    /// The person has read everything up to `counter`. Answers whether that is news.
    mutating func noteRead(upTo counter: UInt64) -> Bool {
        let reached = min(counter, received)
        guard reached > read else { return false }
        read = reached
        return true
    }

    private mutating func skip(to last: UInt64) -> [UInt64] {
        guard last > received else { return [] }
        let count = min(last - received, UInt64(Self.missingLimit))
        let gap = Array((last - (count - 1))...last)
        missing = Array((missing + gap).suffix(Self.missingLimit))
        return gap
    }
}

/// What another member has of this device's messages, as it says in its own.
struct Progress: Equatable {
    /// The highest counter that it has received.
    private(set) var received: UInt64
    /// Those below it that it misses.
    private(set) var missing: [UInt64]
    /// What its person has read.
    private(set) var read: UInt64

    init(received: UInt64 = 0, missing: [UInt64] = [], read: UInt64 = 0) {
        self.received = received
        self.missing = missing
        self.read = read
    }

    /// Takes over what the member says; nobody can have more than was sent, and nothing goes back.
    mutating func update(received: UInt64, missing: [UInt64], read: UInt64, sent: UInt64) {
        let reached = min(received, sent)
        guard reached >= self.received else { return }
        self.received = reached
        self.missing = Array(missing.filter { $0 <= reached }.prefix(Ledger.missingLimit))
        self.read = max(self.read, min(read, reached))
    }

    func has(_ counter: UInt64) -> Bool { counter <= received && !missing.contains(counter) }
    func hasRead(_ counter: UInt64) -> Bool { counter <= read && has(counter) }
}
