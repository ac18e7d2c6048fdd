import Foundation

/// A measured value with its unit.
struct Figure {
    let value: Double
    let unit: String

    /// Three significant digits.
    var text: String {
        let digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
        return String(format: "%.\(digits)f %@", value, unit)
    }
}

/// Prints a table: what was measured, its median, and the limit beside it.
struct Report {
    init(_ title: String, _ runs: String) {
        print("\n\(title) (\(runs))")
        Self.row("", "measured", "limit", "ratio", "what the limit is")
    }

    /// - Parameter limit: what the machine allows at best, in the same unit, measured in this run.
    func line(_ name: String, _ figure: Figure, limit: Figure? = nil, of what: String = "") {
        var ratio = ""
        if let limit, limit.value > 0 {
            ratio = String(format: "%.2f ×", figure.value / limit.value)
        }
        Self.row(name, figure.text, limit?.text ?? "–", ratio, what)
    }

    private static func row(
        _ name: String, _ measured: String, _ limit: String, _ ratio: String, _ what: String
    ) {
        func pad(_ text: String, _ width: Int, left: Bool = false) -> String {
            let fill = String(repeating: " ", count: max(0, width - text.count))
            return left ? fill + text : text + fill
        }
        print(
            "  " + pad(name, 44) + pad(measured, 14, left: true) + pad(limit, 14, left: true)
                + pad(ratio, 9, left: true) + "  " + what)
    }
}

/// The middle one of several values; of an even number, the mean of the two in the middle.
func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return .nan }
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// The value below which `share` of them lie.
func quantile(_ share: Double, of values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return .nan }
    return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
}

extension Duration {
    /// In microseconds.
    var microseconds: Double {
        Double(components.seconds) * 1e6 + Double(components.attoseconds) / 1e12
    }

    /// In milliseconds.
    var milliseconds: Double { microseconds / 1000 }

    /// In seconds.
    var seconds: Double { microseconds / 1e6 }
}
