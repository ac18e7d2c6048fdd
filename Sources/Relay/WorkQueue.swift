/// What the loop hands to the writer: many add, one waits and takes everything at once.
final class WorkQueue<Item: Sendable>: @unchecked Sendable {
    private let monitor = Monitor()
    private var items: [Item] = []
    /// Somebody waits for what follows from one of them.
    private var isUrgent = false
    /// When the first one that somebody waits for came, else the last.
    private var since: UInt64 = 0
    /// Whoever takes them has come back for more.
    private var isWaiting = false

    /// Items that can wait, above which they are taken none the less.
    private static var patientLimit: Int { 32 }

    /// - Parameter canWait: nobody waits for what follows from it. It is taken together with the
    ///   next item that somebody waits for, or after `hurry`.
    func add(_ item: Item, canWait: Bool = false) {
        let wakes = monitor.withLock {
            items.append(item)
            guard !isUrgent else { return false }
            since = SystemClock.nanoseconds
            isUrgent = !canWait || items.count >= Self.patientLimit
            return isUrgent
        }
        if wakes { monitor.signal() }
    }

    /// What could wait has waited long enough.
    func hurry() {
        let wakes = monitor.withLock {
            guard !isUrgent, !items.isEmpty else { return false }
            isUrgent = true
            return true
        }
        if wakes { monitor.signal() }
    }

    /// Takes all items, after waiting for an urgent one for at most `milliseconds`; and when that
    /// came, in nanoseconds of the steady clock.
    func takeAll(waitingAtMost milliseconds: Int) -> (items: [Item], since: UInt64) {
        monitor.withLock {
            if !isUrgent, milliseconds > 0 {
                isWaiting = true
                monitor.wait(atMost: milliseconds)
                isWaiting = false
            }
            return take()
        }
    }

    /// Takes all items in place of the one who waits for them and isn't needed: nothing urgent came.
    func takeInstead() -> (items: [Item], since: UInt64)? {
        monitor.withLock { isWaiting && !isUrgent ? take() : nil }
    }

    private func take() -> (items: [Item], since: UInt64) {
        isUrgent = false
        var taken: [Item] = []
        swap(&taken, &items)
        return (taken, since)
    }
}
