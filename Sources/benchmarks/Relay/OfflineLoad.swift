import RelayProtocol
import WebSockets

/// Workload O: messages for mailboxes whose devices are away, which then come back and take them.
struct OfflineLoad {
    /// What one run gave, in messages per second.
    struct Result {
        let stored: Double
        let drained: Double
    }

    let relay: RelayProcess
    let mailboxes: Int
    let messages: Int

    private struct Lane: Sendable {
        let writer: LoadConnection
        let pairs: [LoadPair]
    }

    /// Fills and drains once, with mailboxes made for the occasion.
    func run() async throws -> Result {
        let loop = try LoadLoop()
        let population = Population(relay: relay, loop: loop)
        let lanes = try await makeLanes(of: 50, population)
        let pairs = lanes.flatMap(\.pairs)
        let count = mailboxes * messages

        // The readers' connections are closed by now: nobody is there to take anything.
        var start = ContinuousClock.now
        let accepted = try await withThrowingTaskGroup(of: Int.self) { group in
            for lane in lanes {
                for pair in lane.pairs {
                    group.addTask {
                        try await lane.writer.write(
                            to: pair.group, as: pair.writer.id, window: 16, .count(messages)
                        ).count
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        let stored = Double(count) / (ContinuousClock.now - start).seconds
        guard accepted == count else {
            throw BenchmarkError.unexpected("\(accepted) of \(count) were accepted")
        }

        let readers = try await population.connections(mailboxes)
        start = .now
        let waiting = try await concurrently(Array(zip(readers, pairs)), atATime: mailboxes) {
            reader, pair in
            await reader.read(from: pair.group)
            return Int(try await reader.open(pair.reader.key, counter: 2))
        }
        guard waiting.reduce(0, +) == count else {
            throw BenchmarkError.unexpected("\(waiting.reduce(0, +)) of \(count) were waiting")
        }
        try await arrival(of: messages, at: readers)
        // The answer to a question behind the last acknowledgement leaves after that one's batch.
        _ = try await concurrently(Array(zip(readers, pairs)), atATime: mailboxes) {
            reader, pair in
            try await reader.ping(pair.group, as: pair.reader.id, count: 1)
        }
        let drained = Double(count) / (ContinuousClock.now - start).seconds

        try await expectNothingLeft(pairs, population)
        for reader in readers { await reader.close() }
        for lane in lanes { await lane.writer.close() }
        loop.shutdownAndWait()
        return Result(stored: stored, drained: drained)
    }

    private func makeLanes(of width: Int, _ population: Population) async throws -> [Lane] {
        let lanes = try await concurrently(
            Array(0..<mailboxes / width), atATime: 8
        ) { _ in
            let writer = try await population.connection()
            let reader = try await population.connection()
            let writing = try await population.mailboxes(width, on: writer, canBeAdded: false)
            let reading = try await population.mailboxes(width, on: reader, canBeAdded: true)
            var pairs: [LoadPair] = []
            for (mine, other) in zip(writing, reading) {
                pairs.append(try await population.pair(mine, other, on: writer))
            }
            await reader.close()
            return Lane(writer: writer, pairs: pairs)
        }
        // Until the relay has seen the readers go.
        try await Task.sleep(for: .milliseconds(300))
        return lanes
    }

    private func arrival(of count: Int, at readers: [LoadConnection]) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        for reader in readers {
            while await reader.receivedCount < count {
                if let failure = await reader.failure { throw failure }
                guard ContinuousClock.now < deadline else {
                    throw BenchmarkError.unexpected("messages never came")
                }
                try await Task.sleep(for: .milliseconds(1))
            }
            if let failure = await reader.failure { throw failure }
        }
    }

    private func expectNothingLeft(
        _ pairs: [LoadPair], _ population: Population
    ) async throws {
        let probe = try await population.connection()
        let waiting = try await concurrently(pairs) { pair in
            try await probe.open(pair.reader.key, counter: 3)
        }
        await probe.close()
        guard waiting.allSatisfy({ $0 == 0 }) else {
            throw BenchmarkError.unexpected("acknowledged messages are still there")
        }
    }
}
