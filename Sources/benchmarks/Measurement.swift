/// One timed operation, with the least it could cost.
struct Measurement {
    let name: String
    let microseconds: Double
    let floor: Double?

    /// A line of the table: operation, median, floor, ratio, operations per second.
    var line: String {
        var line = Self.pad(name, to: 56) + Self.number(microseconds, width: 12) + " µs"
        if let floor {
            line += Self.number(floor, width: 12) + " µs"
            line += Self.number(microseconds / floor, width: 8) + " ×"
        } else {
            line += Self.pad("", to: 25)
        }
        return line + Self.number(1_000_000 / microseconds, width: 12) + " /s"
    }

    static let header =
        pad("operation", to: 56) + "      median" + "             floor" + "     ratio"

    private static func pad(_ text: String, to width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    static func number(_ value: Double, width: Int) -> String {
        let tenths = Int((value * 10).rounded())
        let text = value >= 1_000 ? "\(Int(value.rounded()))" : "\(tenths / 10).\(tenths % 10)"
        return String(repeating: " ", count: max(0, width - text.count)) + text
    }
}

/// The median time of `body` over several runs of `count` calls each, in microseconds per call.
func median(runs: Int = 5, of count: Int, _ body: () throws -> Void) rethrows -> Double {
    let clock = ContinuousClock()
    var times: [Double] = []
    for _ in 0..<runs {
        let start = clock.now
        for _ in 0..<count { try body() }
        let elapsed = (clock.now - start).components
        let microseconds = Double(elapsed.seconds) * 1e6 + Double(elapsed.attoseconds) / 1e12
        times.append(microseconds / Double(count))
    }
    return times.sorted()[runs / 2]
}
