import Foundation
import WebSockets

/// Workloads M, O and I against the built relay, beside what the machine does at best in the same
/// run and what brokers did on such a machine.
///
/// The recipients of all loads keep nothing on disk: they acknowledge from memory. "Stored" says that
/// the relay has every message on its own disk, synced, before it accepts it; "delivered", that it
/// may accept a message when its recipient has acknowledged it. The goals of M are for both.
struct RelayBenchmarks {
    private let runs: Int
    private var echoes: [Double] = []
    private var syncs: [Double] = []
    private var rows: [(inserted: Double, deleted: Double)] = []

    /// `CURTAIN_BENCH_RUNS` says how often each workload is run, three times by default, and
    /// `CURTAIN_BENCH_WORKLOADS` which, all (`MOI`) by default; `CURTAIN_BENCH_PAIRS=50x16` runs M
    /// alone in one size, for a profiler to look at.
    static func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let runs = environment["CURTAIN_BENCH_RUNS"].flatMap { Int($0) }
        var benchmarks = RelayBenchmarks(runs: max(1, runs ?? 3))
        let size = environment["CURTAIN_BENCH_PAIRS"]?.split(separator: "x").compactMap { Int($0) }
        if let size, size.count == 2 {
            return try await benchmarks.runPairs(size[0], window: size[1])
        }
        try await benchmarks.runAll(environment["CURTAIN_BENCH_WORKLOADS"] ?? "MOI")
    }

    private init(runs: Int) { self.runs = runs }

    private mutating func runAll(_ workloads: String) async throws {
        // Before the first relay is started, which inherits it.
        try RelayProcess.allowDescriptors(12_000)
        var table = GoalTable(
            """
            Relay: 1 KiB messages on loopback without TLS, median of \(runs) runs; recipients \
            acknowledge from memory (don't sync)
            """)
        if workloads.contains("M") { try await pairs(&table) }
        if workloads.contains("O") { try await offline(&table) }
        if workloads.contains("I") { try await idle(&table) }
        floors()
        if table.missed > 0 { print("  \(table.missed) of the goals are missed in this run") }
    }

    // MARK: M

    private mutating func pairs(_ table: inout GoalTable) async throws {
        for mode in Self.modes {
            let relay = try RelayProcess(mode.options)
            defer { relay.end() }
            try await pairs(mode, on: relay, &table)
        }
    }

    private mutating func pairs(
        _ mode: Mode, on relay: RelayProcess, _ table: inout GoalTable
    ) async throws {
        let single = try await single(on: relay)
        let (sync, echo) = (median(single.map(\.sync)), median(single.map(\.echo)))
        echoes.append(echo)
        table.line(
            "M, 1 pair × 1, \(mode.name): accepted after, p50",
            Figure(value: median(single.map(\.accepted)), unit: "ms"),
            .atMost(mode.isStored ? 1.5 * (sync + echo) : 2.5 * echo), ("0.06", "0.03", "0.33"),
            why: mode.isStored
                ? String(format: "1.5 × (fdatasync %.3f + echo %.3f)", sync, echo)
                : String(format: "2.5 × echo %.3f", echo))

        let many = try await measure(50, window: 16, on: relay)
        table.line(
            "M, 50 pairs × 16, \(mode.name)",
            Figure(value: median(many.map(\.perSecond)), unit: "/s"),
            .atLeast(60_000), ("54,000", "87,000", "9,600"),
            why: time(of: many))

        let most = try await measure(500, window: 16, on: relay)
        table.line(
            "M, 500 pairs × 16, \(mode.name)",
            Figure(value: median(most.map(\.perSecond)), unit: "/s"),
            .atLeast(50_000), ("12,000", "71,000", "9,900"),
            why: time(of: most))
        table.line(
            "M, 500 pairs × 16, \(mode.name): accepted after, p99",
            Figure(value: median(most.map(\.high)), unit: "ms"),
            .atMost(250), ("1,100", "172", "4,400"))
    }

    private mutating func runPairs(_ pairs: Int, window: Int) async throws {
        try RelayProcess.allowDescriptors(12_000)
        for mode in Self.modes {
            let relay = try RelayProcess(mode.options)
            defer { relay.end() }
            let results = try await measure(pairs, window: window, on: relay)
            let rate = Figure(value: median(results.map(\.perSecond)), unit: "messages/s")
            print("\(mode.name): \(rate.text), \(time(of: results))")
        }
    }

    private mutating func measure(
        _ pairs: Int, window: Int, on relay: RelayProcess
    ) async throws -> [PairLoad.Result] {
        let load = try await PairLoad(pairs: pairs, on: relay)
        let results = try await load.measure(runs: runs, window: window, seconds: 2)
        await load.close()
        syncs += results.map(\.sync)
        return results
    }

    /// A machine that is hardly used answers quickly or late by moods that last some seconds: so many
    /// short runs, each with floors of its own just before.
    private mutating func single(
        on relay: RelayProcess
    ) async throws -> [(accepted: Double, sync: Double, echo: Double)] {
        let load = try await PairLoad(pairs: 1, on: relay)
        var results: [(accepted: Double, sync: Double, echo: Double)] = []
        for run in 0...5 * runs {
            let echo = try await Floors.echoMilliseconds(count: 1_000)
            let result = try await load.run(window: 1, seconds: 0.4)
            if run > 0 { results.append((result.median, result.sync, echo)) }
        }
        await load.close()
        syncs += results.map(\.sync)
        return results
    }

    private func time(of results: [PairLoad.Result]) -> String {
        String(
            format: "relay's processor time %.1f µs each; p50 %.3g ms, p99 %.3g ms",
            median(results.map(\.relayTime)), median(results.map(\.median)),
            median(results.map(\.high)))
    }

    // MARK: O

    private mutating func offline(_ table: inout GoalTable) async throws {
        let relay = try RelayProcess()
        defer { relay.end() }
        var results: [OfflineLoad.Result] = []
        for _ in 0..<runs {
            // Beside each run, for the disk changes from moment to moment.
            rows.append(try SQLiteFloor.rates(in: relay.folder))
            results.append(
                try await OfflineLoad(relay: relay, mailboxes: 1_000, messages: 100).run())
        }
        let (inserted, deleted) = (median(rows.map(\.inserted)), median(rows.map(\.deleted)))
        table.line(
            "O, 1,000 mailboxes × 100, stored",
            Figure(value: median(results.map(\.stored)), unit: "/s"), .atLeast(inserted / 2),
            ("156,000", "134,000", "8,000"), why: "0.5 × SQLite's inserts")
        table.line(
            "O, 1,000 mailboxes × 100, drained",
            Figure(value: median(results.map(\.drained)), unit: "/s"), .atLeast(deleted / 2),
            ("19,000", "93,000", "27,000"), why: "0.5 × SQLite's deletes")
    }

    // MARK: I

    private func idle(_ table: inout GoalTable) async throws {
        var results: [IdleLoad.Result] = []
        for _ in 0..<runs {
            let relay = try RelayProcess()
            defer { relay.end() }
            results.append(try await IdleLoad(relay: relay, devices: 10_000).run())
        }
        table.line(
            "I, memory for each of 10,000 idle devices",
            Figure(value: median(results.map(\.kibibytes)), unit: "KiB"), .atMost(9),
            ("25", "6", "165"))
        let alone = median(results.map(\.alone)) * 1000
        table.line(
            "I, a question's round trip beside them, p50",
            Figure(value: median(results.map(\.crowded)) * 1000, unit: "µs"),
            .atMost(1.5 * alone), ("56 → 34", "15 → 865", "40 → 32"),
            why: String(format: "1.5 × %.0f µs alone", alone))
    }

    private func floors() {
        let report = Report("What this machine does at best", "in the same run")
        if !syncs.isEmpty {
            report.line(
                "append of 1 KiB with fdatasync", Figure(value: median(syncs) * 1000, unit: "µs"))
        }
        if !echoes.isEmpty {
            report.line(
                "bare WebSocket echo of 1 KiB", Figure(value: median(echoes) * 1000, unit: "µs"))
        }
        guard !rows.isEmpty else { return }
        report.line(
            "SQLite rows of 1 KiB inserted, 256 a transaction",
            Figure(value: median(rows.map(\.inserted)), unit: "/s"))
        report.line(
            "SQLite rows of 1 KiB deleted, 256 a transaction",
            Figure(value: median(rows.map(\.deleted)), unit: "/s"))
    }

    /// How the relay is run for workload M.
    private struct Mode {
        let name: String
        let options: [String]
        /// Every message is on the disk before it is accepted.
        /// Else a message whose recipients acknowledge it in time is accepted without the disk.
        let isStored: Bool
    }

    private static let modes = [
        Mode(name: "stored", options: ["--limit-hold-milliseconds", "0"], isStored: true),
        Mode(name: "delivered", options: [], isStored: false),
    ]
}
