import Cryptography
import Foundation
import Glibc
import TestSupport
import Testing
import WebSockets

/// A real relay that is attacked while a pair of well-behaved devices goes on writing to one
/// another, each time over a new connection.
///
/// `CURTAIN_ATTACK_REPORT` set to 1 prints what was measured.
struct Siege {
    let relay: RelayAlone
    private let loop: EventLoop
    private let pair: WirePair
    private let process: Child

    private init(_ options: [String]) async throws {
        relay = try RelayAlone()
        try await relay.start(options)
        loop = try EventLoop(name: "devices")
        pair = try await WirePair(at: relay, on: loop)
        guard let process = relay.process else { throw StageError.neverHappened("the start") }
        self.process = process
    }

    /// Attacks a relay of its own.
    ///
    /// - Parameters:
    ///   - options: what the relay is started with.
    ///   - growth: MiB that it may take more than before, at any time.
    static func lay(
        _ name: String, options: [String] = [], growth: Int,
        _ attack: @escaping @Sendable (RelayAlone, EventLoop) async throws -> Void
    ) async throws {
        let siege = try await Siege(options)
        try await siege.run(name, growth, attack)
        await siege.loop.shutdownAndWait()
        try await siege.relay.remove()
    }

    private func run(
        _ name: String, _ growth: Int,
        _ attack: @escaping @Sendable (RelayAlone, EventLoop) async throws -> Void
    ) async throws {
        let reader = Task { [pair] in try await pair.read() }
        defer { reader.cancel() }
        var quiet: [Duration] = []
        for _ in 0..<20 { quiet.append(try await round()) }
        let before = try RelayVitals(of: process.pid)

        let hasEnded = Lock(false)
        let attacking = Task { [relay, loop] in
            defer { hasEnded.withLock { $0 = true } }
            try await attack(relay, loop)
        }
        var attacked: [Duration] = []
        repeat {
            attacked.append(try await round())
            try await Task.sleep(for: .milliseconds(5))
        } while !hasEnded.withLock({ $0 })
        try await attacking.value

        // Everything is as it was before.
        _ = try await round()
        try await eventually("all messages there") {
            await pair.received.count >= pair.accepted.count
        }
        #expect(await pair.faults() == [])
        try await eventually("what the attacker took is given back") {
            try RelayVitals(of: process.pid).descriptors <= before.descriptors
        }
        let after = try RelayVitals(of: process.pid)
        #expect(
            after.peak - before.resident < growth << 10, "before: \(before); after: \(after)")
        #expect(process.ending() == nil)
        if setting("CURTAIN_ATTACK_REPORT", default: 0) == 1 {
            print(
                "\(name): \(before) → \(after); a round of the bystanders, quiet",
                "\(Self.quantiles(quiet)), attacked \(Self.quantiles(attacked))")
        }
        process.signal(SIGTERM)
        #expect(try await process.wait(for: .seconds(30)) == .exited(0))
    }

    /// A new connection, an opening and ten messages.
    private func round() async throws -> Duration {
        let start = ContinuousClock.now
        try await pair.write(await pair.accepted.count + 10)
        return ContinuousClock.now - start
    }

    private static func quantiles(_ times: [Duration]) -> String {
        let sorted = times.sorted()
        guard !sorted.isEmpty else { return "never" }
        return "p50 \(sorted[sorted.count / 2]), p99 \(sorted[sorted.count * 99 / 100])"
            + " of \(sorted.count)"
    }
}

/// Runs what blocks on a thread of its own.
func onThread<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Swift.Result { try body() }) }
    }
}
