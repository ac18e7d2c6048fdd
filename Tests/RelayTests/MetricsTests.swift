import Foundation
import Logging
import RelayCore
import Testing
import WebSockets

@testable import Relay

/// A page of Prometheus' text format, read strictly.
private struct Page {
    struct Problem: Error, CustomStringConvertible { let description: String }

    /// Kinds by metric's name.
    private(set) var kinds: [String: String] = [:]
    /// Values by name and labels, as written.
    private(set) var samples: [String: Double] = [:]

    init(_ text: String) throws {
        guard text.hasSuffix("\n") else { throw Problem(description: "no newline at the end") }
        var current = ""
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            if let match = line.wholeMatch(of: /# HELP ([a-z_:][a-z0-9_:]*) ([^\\]+)/) {
                current = String(match.1)
                guard kinds[current] == nil else { throw Problem(description: "twice: \(line)") }
                kinds[current] = ""
            } else if let match = line.wholeMatch(
                of: /# TYPE ([a-z0-9_:]+) (counter|gauge|histogram)/)
            {
                guard match.1 == current, kinds[current] == "" else {
                    throw Problem(description: "misplaced: \(line)")
                }
                kinds[current] = String(match.2)
            } else if let match = line.wholeMatch(
                of:
                    /([a-z0-9_:]+)(\{[a-z_]+="([^"\\]|\\["\\n])*"\})? (-?[0-9.]+(e-?[0-9]+)?|\+Inf|NaN)/
            ) {
                let name = String(match.1)
                let isPart = ["_bucket", "_sum", "_count"].contains { name == current + $0 }
                guard kinds[current] == "histogram" ? isPart : name == current else {
                    throw Problem(description: "outside of its family: \(line)")
                }
                let key = name + String(match.2 ?? "")
                guard samples.updateValue(Double(match.4) ?? .nan, forKey: key) == nil else {
                    throw Problem(description: "twice: \(line)")
                }
            } else {
                throw Problem(description: "not understood: \(line)")
            }
        }
    }
}

/// A page with something in every place.
enum Metrics {
    static func everything() -> RelayMetrics {
        var health = RelayHealth()
        health.counters.refusals = [5: 3]
        health.batches.sizes.add(3)
        health.survey.clockBehindHours = 5
        (health.counters.acceptedStored, health.counters.acceptedDelivered) = (4, 9)
        health.batches.syncSeconds.add(0.000_3)
        health.batches.syncSeconds.add(60)
        health.batches.deliverySeconds.add(0.001, times: 7)
        return RelayMetrics(
            health: health, server: ServerCounters(),
            cuts: ConnectionCuts(slowReader: 6, unproven: 8), connections: 2, handshakes: 1,
            waitingByteCount: 0, incompleteByteCount: 0, unsentByteCount: 0,
            settings: RelaySettings(),
            freeByteCount: 1 << 40,
            certificateExpiry: Date(), reloads: .init(taken: 1, refused: 2), writerSilence: 0.5,
            isDraining: false, start: Date())
    }
}

@Suite struct `A page of metrics` {
    @Test func `is Prometheus' text format to the letter`() throws {
        let page = try Page(Metrics.everything().page)
        for (name, kind) in page.kinds {
            #expect(name.hasSuffix("_total") == (kind == "counter"), "\(name)")
            #expect(name.hasPrefix("curtain_relay_") || name.hasPrefix("process_"))
        }
        #expect(page.samples[#"curtain_relay_requests_refused_total{reason="rate"}"#] == 3)
        #expect(page.samples[#"curtain_relay_limit{name="limit-connections"}"#] == 20_000)
        #expect(page.samples["curtain_relay_clock_behind_hours"] == 5)
        #expect(page.samples[#"curtain_relay_limit{name="limit-frame-bytes"}"#] == 1_048_576)
    }

    @Test func `has histograms that add up`() throws {
        let page = try Page(Metrics.everything().page)
        let name = "curtain_relay_sync_seconds"
        #expect(page.kinds[name] == "histogram")
        #expect(page.samples[name + #"_bucket{le="0.0002"}"#] == 0)
        #expect(page.samples[name + #"_bucket{le="0.0005"}"#] == 1)
        #expect(page.samples[name + #"_bucket{le="10"}"#] == 1)
        #expect(page.samples[name + #"_bucket{le="+Inf"}"#] == 2)
        #expect(page.samples[name + "_count"] == 2)
        #expect(page.samples["curtain_relay_delivery_seconds_count"] == 7)
    }

    @Test func `tells stored from delivered, and why connections were cut`() throws {
        let page = try Page(Metrics.everything().page)
        func value(_ name: String) -> Double? { page.samples["curtain_relay_" + name] }
        #expect(value(#"messages_accepted_total{way="stored"}"#) == 4)
        #expect(value(#"messages_accepted_total{way="delivered"}"#) == 9)
        #expect(value(#"connections_cut_total{reason="slow_reader"}"#) == 6)
        #expect(value(#"connections_cut_total{reason="unproven"}"#) == 8)
    }

    @Test func `counts deliveries of both ways together`() {
        var sum = Histogram(bounds: [1, 2])
        sum.add(0.5, times: 2)
        var other = Histogram(bounds: [1, 2])
        other.add(1.5)
        other.add(9)
        sum.add(other)
        #expect(sum.counts == [2, 1, 1])
        #expect(sum.sum == 11.5)
    }

    @Test func `has a line in the operator's table for each metric, and no other`() throws {
        let page = try Page(Metrics.everything().page)
        let chapter = try operatorsChapter()
        let documented = chapter.matches(
            of: /\n\| `((?:curtain_relay|process)_[a-z_]+)` \| (\w+) \|/)
        let table = Dictionary(
            documented.map { (String($0.1), String($0.2)) }, uniquingKeysWith: { $1 })
        #expect(table == page.kinds)
    }

    @Test(arguments: [
        "tools/operations/grafana.json", "tools/operations/alerts.yaml", "protocol/operations.md",
    ])
    func `has every metric that dashboard, alerts and chapter name`(file: String) throws {
        let page = try Page(Metrics.everything().page)
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: file), encoding: .utf8)
        if file.hasSuffix(".json") { _ = try JSONSerialization.jsonObject(with: Data(text.utf8)) }
        let named = Set(text.matches(of: /(?:curtain_relay|process)_[a-z_]+/).map { String($0.0) })
        #expect(!named.isEmpty)
        // What to do about each alert is in the chapter.
        let headings = try operatorsChapter().matches(of: /\n\*\*([^*]+)\*\*/)
        let explained = Set(headings.flatMap { $0.1.split { !$0.isLetter } })
        for alert in text.matches(of: /- alert: (\w+)/) {
            #expect(explained.contains(alert.1))
        }
        var families = Set(page.kinds.keys)
        for (name, kind) in page.kinds where kind == "histogram" {
            families.formUnion(["_bucket", "_sum", "_count"].map { name + $0 })
        }
        #expect(named.subtracting(families).isEmpty)
    }
}

@Suite struct `The log` {
    @Test func `has one line per event, for people or for programs`() throws {
        for format in LogFormat.allCases {
            let lines = Lines()
            let log = LogOutput(format, .info) { lines.add($0) }.logger()
            log.info("two\nlines", metadata: ["count": "3"])
            log.debug("not shown")
            let line = try #require(lines.all.first)
            #expect(lines.all.count == 1)
            #expect(line.filter { $0 == "\n" }.count == 1)
            switch format {
            case .text: #expect(line.contains(" info two lines count=3\n"))
            case .json:
                let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
                let fields = try #require(object as? [String: String])
                #expect(fields["level"] == "info")
                #expect(fields["message"] == "two\nlines")
                #expect(fields["count"] == "3")
            }
        }
    }

    @Test func `changes its level for loggers that are there`() {
        let lines = Lines()
        let output = LogOutput(.text, .warning) { lines.add($0) }
        let log = output.logger()
        log.info("not shown")
        output.level = .debug
        log.debug("shown")
        #expect(lines.all.count == 1)
    }
}

private final class Lines: @unchecked Sendable {
    private let lock = NSLock()
    private var lines: [String] = []
    func add(_ line: String) { lock.withLock { lines.append(line) } }
    var all: [String] { lock.withLock { lines } }
}
