private import Foundation

/// A page in Prometheus' text format, version 0.0.4.
struct MetricsPage {
    enum Kind: String { case counter, gauge, histogram }

    private(set) var text = ""

    /// A metric with one value.
    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double?) {
        guard let value else { return }
        head(name, kind, help)
        line(name, [], value)
    }

    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: some BinaryInteger) {
        add(name, kind, help, Double(value))
    }

    /// A metric with a value for each content of a label.
    mutating func add(
        _ name: String, _ kind: Kind, _ help: String, by label: String,
        _ values: [(String, Double)]
    ) {
        guard !values.isEmpty else { return }
        head(name, kind, help)
        for (content, value) in values { line(name, [(label, content)], value) }
    }

    mutating func add(_ name: String, _ help: String, _ histogram: Histogram) {
        head(name, .histogram, help)
        var total: UInt64 = 0
        for (bound, count) in zip(histogram.bounds, histogram.counts) {
            total += count
            line(name + "_bucket", [("le", Self.number(bound))], Double(total))
        }
        let count = Double(histogram.count)
        line(name + "_bucket", [("le", "+Inf")], count)
        line(name + "_sum", [], histogram.sum)
        line(name + "_count", [], count)
    }

    private mutating func head(_ name: String, _ kind: Kind, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    private mutating func line(_ name: String, _ labels: [(String, String)], _ value: Double) {
        text += name
        if !labels.isEmpty {
            text += "{" + labels.map { "\($0)=\"\(Self.escape($1))\"" }.joined(separator: ",") + "}"
        }
        text += " \(Self.number(value))\n"
    }

    private static func escape(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing(
            "\n", with: "\\n")
    }

    private static func number(_ value: Double) -> String {
        Int64(exactly: value).map(String.init) ?? "\(value)"
    }
}
