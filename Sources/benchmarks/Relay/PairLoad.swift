import RelayProtocol
import WebSockets

/// Workload M: pairs on connections of their own, each writer with a window of messages that aren't
/// accepted yet; every message is accepted, delivered, checked and acknowledged.
struct PairLoad {
    /// What one run gave.
    struct Result {
        let perSecond: Double
        /// Milliseconds from sending to acceptance.
        let median: Double
        let high: Double
        /// Milliseconds of an fdatasync just before the run.
        let sync: Double
        /// Processor time of the relay for each message, in microseconds.
        let relayTime: Double
    }

    private struct Lane: Sendable {
        let writer: LoadConnection
        let reader: LoadConnection
        let pair: LoadPair
    }

    private let relay: RelayProcess
    private let loop: LoadLoop
    private let lanes: [Lane]

    init(pairs count: Int, on relay: RelayProcess) async throws {
        let loop = try LoadLoop()
        let population = Population(relay: relay, loop: loop)
        lanes = try await concurrently(Array(0..<count), atATime: 16) { _ in
            let writer = try await population.connection()
            let reader = try await population.connection()
            let writing = try await population.mailboxes(1, on: writer, canBeAdded: false)
            let reading = try await population.mailboxes(1, on: reader, canBeAdded: true)
            let pair = try await population.pair(writing[0], reading[0], on: writer)
            await reader.read(from: pair.group)
            return Lane(writer: writer, reader: reader, pair: pair)
        }
        self.loop = loop
        self.relay = relay
    }

    /// Runs the load several times, and once more before to warm up.
    func measure(runs: Int, window: Int, seconds: Double) async throws -> [Result] {
        var results: [Result] = []
        for _ in 0...runs {
            results.append(try await run(window: window, seconds: seconds))
        }
        return Array(results.dropFirst())
    }

    func run(window: Int, seconds: Double) async throws -> Result {
        let sync = try Floors.fdatasyncMilliseconds(in: relay.folder)
        let before = await received()
        let processor = try relay.processorSeconds()
        let start = ContinuousClock.now
        let deadline = start + .milliseconds(Int64(seconds * 1000))
        let latencies = try await withThrowingTaskGroup(of: [Double].self) { group in
            for lane in lanes {
                group.addTask {
                    try await lane.writer.write(
                        to: lane.pair.group, as: lane.pair.writer.id, window: window,
                        .until(deadline))
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        // Everything accepted must arrive, in order: the readers check that.
        let sent = latencies.count
        var arrived = await received() - before
        while arrived < sent {
            guard ContinuousClock.now < deadline + .seconds(20) else {
                throw BenchmarkError.unexpected("\(sent - arrived) messages never came")
            }
            try await Task.sleep(for: .milliseconds(1))
            arrived = await received() - before
        }
        let time = (ContinuousClock.now - start).seconds
        let used = try relay.processorSeconds() - processor
        for lane in lanes {
            if let failure = await lane.reader.failure { throw failure }
        }
        return Result(
            perSecond: Double(arrived) / time, median: benchmarks.median(latencies),
            high: quantile(0.99, of: latencies), sync: sync,
            relayTime: used * 1e6 / Double(max(1, arrived)))
    }

    func close() async {
        for lane in lanes {
            await lane.writer.close()
            await lane.reader.close()
        }
        loop.shutdownAndWait()
    }

    private func received() async -> Int {
        var sum = 0
        for lane in lanes { sum += await lane.reader.receivedCount }
        return sum
    }
}
