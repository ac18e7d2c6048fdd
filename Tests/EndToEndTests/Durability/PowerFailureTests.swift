import Cryptography
import Foundation
import TestSupport
import Testing
import WebSockets

/// The real relay on a disk that forgets what wasn't synced (`Tests/LossyDisk`), killed again and
/// again while devices write.
///
/// `CURTAIN_CRASH_SEED` replays the choices of a seed.
@Suite struct `Power failures` {
    private static let seed = setting("CURTAIN_CRASH_SEED", default: 1)

    /// Stored, or, where the reader is connected, accepted when it has acknowledged.
    @Test(.timeLimit(.minutes(5)), arguments: [0, 15])
    func `of 20,000 accepted messages 20,000 are delivered, in order and once`(
        holdMilliseconds: Int
    ) async throws {
        let faults = try await Self.run(
            pairs: 8, messages: 2_500, failures: 12, lies: false,
            holdMilliseconds: holdMilliseconds)
        #expect(
            faults.isEmpty, "CURTAIN_CRASH_SEED=\(Self.seed)\n\(faults.joined(separator: "\n"))")
    }

    @Test(.timeLimit(.minutes(6)))
    func `a disk that lies about syncing is found out by this very test`() async throws {
        let faults = try await Self.run(
            pairs: 2, messages: 300, failures: 1, lies: true, holdMilliseconds: 0)
        #expect(faults.contains { $0.contains("lost") || $0.contains("damaged") })
    }

    /// Half of the readers are connected all the time, the others come when all is written.
    private static func run(
        pairs count: Int, messages: Int, failures: Int, lies: Bool, holdMilliseconds: Int
    ) async throws -> [String] {
        let options = ["--limit-hold-milliseconds", "\(holdMilliseconds)"]
        let relay = try RelayAlone()
        let disk = try LossyFolder(relay.dataFolder)
        let environment = disk.environment(lies: lies)
        try await relay.start(options, environment: environment)
        let loop = try EventLoop(name: "devices")
        var pairs: [WirePair] = []
        for _ in 0..<count {
            pairs.append(
                try await WirePair(at: relay, on: loop, dropsRepeats: holdMilliseconds > 0))
        }

        let accepted = Lock(0)
        let total = count * messages
        let readers = pairs.enumerated().filter { $0.offset.isMultiple(of: 2) }
            .map { pair in Task { try await pair.element.read() } }
        let writers = pairs.map { pair in
            Task { try await pair.write(messages) { more in accepted.withLock { $0 += more } } }
        }
        defer { for task in readers + writers { task.cancel() } }

        var generator = SeededGenerator(seed: seed)
        for failure in 1...failures {
            let moment =
                failure == failures
                ? total
                : total * failure / failures
                    - Int.random(
                        in: 0..<total / failures, using: &generator)
            while accepted.withLock({ $0 }) < moment {
                try await Task.sleep(for: .milliseconds(2))
            }
            try await relay.kill()
            // None, some or all of what wasn't synced survives.
            let share =
                failure == failures ? 0 : Double(Int.random(in: 0...2, using: &generator)) / 2
            try disk.fail(keeping: share, with: &generator)
            do {
                try await relay.start(options, environment: environment)
            } catch  where lies {
                try await relay.kill()
                return ["the store was damaged"]
            }
        }
        for writer in writers { try await writer.value }
        for reader in readers { reader.cancel() }
        var faults: [String] = []
        for (index, pair) in pairs.enumerated() {
            let reading = Task { try await pair.read(untilAccepted: messages) }
            let limit = Task {
                try await Task.sleep(for: .seconds(lies ? 3 : 120))
                reading.cancel()
            }
            _ = await reading.result
            limit.cancel()
            faults += await pair.faults().map { "pair \(index): \($0)" }
        }
        await loop.shutdownAndWait()
        let audit = try await relay.run("audit", "--verify").ending
        if audit != .exited(0) { faults.append("audit --verify: \(audit)") }
        let check = try await relay.run("check").ending
        // A backup is missing.
        if check != .exited(75) { faults.append("check: \(check)") }
        try await relay.kill()
        return faults
    }
}
