/// Counts values by size: how many were at most each bound.
public struct Histogram: Equatable, Sendable {
    /// Upper bounds, ascending.
    public let bounds: [Double]
    /// Values between the bound before and this one; one more than bounds.
    public private(set) var counts: [UInt64]
    /// All values together.
    public private(set) var sum = 0.0

    /// An empty one.
    public init(bounds: [Double]) {
        self.bounds = bounds
        counts = [UInt64](repeating: 0, count: bounds.count + 1)
    }

    /// Adds a value, `times` times.
    public mutating func add(_ value: Double, times: Int = 1) {
        guard times > 0 else { return }
        let place = bounds.firstIndex { value <= $0 } ?? bounds.count
        counts[place] += UInt64(times)
        sum += value * Double(times)
    }

    /// Adds what another one with the same bounds has counted.
    mutating func add(_ other: Histogram) {
        guard other.bounds == bounds else { return }
        for place in counts.indices { counts[place] += other.counts[place] }
        sum += other.sum
    }

    /// How many there are.
    public var count: UInt64 { counts.reduce(0, +) }

    /// From 50 µs to ten seconds, for what takes a disk's or a network's time.
    public static let seconds: [Double] = [
        0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5,
        1, 2, 5, 10,
    ]
    /// Powers of two to 4,096, for what is counted.
    public static let numbers: [Double] = (0...12).map { Double(1 << $0) }
}

/// What the writer's batches were like.
public struct BatchFigures: Equatable, Sendable {
    /// Frames and ends of connections in one batch.
    public internal(set) var sizes = Histogram(bounds: Histogram.numbers)
    /// Seconds in which the disk made a batch durable; of batches that needed it.
    public internal(set) var syncSeconds = Histogram(bounds: Histogram.seconds)
    /// Seconds from when a batch's first frame was received to when its deliveries could leave; without
    /// those that went the short way.
    public internal(set) var deliverySeconds = Histogram(bounds: Histogram.seconds)

    /// Nothing yet.
    public init() {}
}
