/// How long to wait before connecting again: doubled after every failure, and drawn between half
/// and the whole of that, so that the clients of a restarted relay don't all come at once.
struct Backoff {
    private let bounds: ClosedRange<Duration>
    private var failures = 0

    init(bounds: ClosedRange<Duration>) { self.bounds = bounds }

    /// The next pause; `random` is drawn from the whole range of numbers.
    mutating func next(random: UInt32) -> Duration {
        var ceiling = bounds.lowerBound
        for _ in 0..<min(failures, 32) where ceiling < bounds.upperBound { ceiling *= 2 }
        ceiling = min(ceiling, bounds.upperBound)
        failures += 1
        let share = 0.5 + 0.5 * Double(random) / Double(UInt32.max)
        return ceiling * share
    }

    /// A connection that worked starts the count again.
    mutating func reset() { failures = 0 }
}
