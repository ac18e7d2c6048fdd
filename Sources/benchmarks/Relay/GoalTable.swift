import Foundation

/// A table of what was measured beside what is wanted, and beside what brokers do on such a machine.
struct GoalTable {
    /// What a figure is to reach.
    enum Goal {
        case atLeast(Double)
        case atMost(Double)
        case none
    }

    /// NATS JetStream without fsync, mosquitto in memory, RabbitMQ with fsync; measured beforehand.
    typealias Brokers = (nats: String, mosquitto: String, rabbit: String)

    private static let widths = [50, 12, 12, 6, 10, 11, 10]
    private(set) var missed = 0

    init(_ title: String) {
        print("\n\(title)")
        Self.row(["", "measured", "goal", "", "NATS", "mosquitto", "RabbitMQ"], "")
    }

    /// - Parameter why: where a goal that depends on this run comes from.
    mutating func line(
        _ name: String, _ figure: Figure, _ goal: Goal, _ brokers: Brokers = ("", "", ""),
        why: String = ""
    ) {
        var wanted = ""
        var verdict = ""
        switch goal {
        case .atLeast(let value):
            wanted = "≥ " + Figure(value: value, unit: figure.unit).text
            verdict = figure.value >= value ? "ok" : "MISS"
        case .atMost(let value):
            wanted = "≤ " + Figure(value: value, unit: figure.unit).text
            verdict = figure.value <= value ? "ok" : "MISS"
        case .none: break
        }
        if verdict == "MISS" { missed += 1 }
        Self.row(
            [
                name, figure.text, wanted, verdict, brokers.nats, brokers.mosquitto, brokers.rabbit,
            ], why)
    }

    private static func row(_ cells: [String], _ rest: String) {
        var text = "  "
        for (index, (cell, width)) in zip(cells, widths).enumerated() {
            let fill = String(repeating: " ", count: max(1, width - cell.count))
            text += index == 0 ? cell + fill : fill + cell
        }
        print(text + (rest.isEmpty ? "" : "  " + rest))
    }
}
