import Cryptography
import Foundation
import Glibc
import TestSupport
import Testing
import WebSockets

/// A real relay that is attacked while a pair of well-behaved devices goes on writing to one
/// another, each time over a new connection.
///
/// `CURTAIN_ATTACK_REPORT` set to 1 prints what was measured. Set to 2, attacks are repeated until
/// there are enough rounds, and another relay is attacked first in the same way: what the bystanders
/// feel of that is the machine's load, not their relay's doing. Their p99 may double at most.
struct Siege {
    let relay: RelayAlone
    private let loop: EventLoop
    private let pair: WirePair
    private let process: Child

    private typealias Attack = @Sendable (RelayAlone, EventLoop) async throws -> Void
    private static let report = setting("CURTAIN_ATTACK_REPORT", default: 0)
    private static let fewestRounds = report == 2 ? 300 : 1

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
    /// - Returns: how long each round of the bystanders took meanwhile.
    @discardableResult static func lay(
        _ name: String, options: [String] = [], growth: Int,
        _ attack: @escaping @Sendable (RelayAlone, EventLoop) async throws -> Void
    ) async throws -> [Duration] {
        let siege = try await Siege(options)
        let reader = Task { try await siege.pair.read() }
        defer { reader.cancel() }
        var quiet: [Duration] = []
        for _ in 0..<max(20, fewestRounds) { quiet.append(try await siege.round()) }
        var beside: [Duration] = []
        if report == 2 {
            let other = try RelayAlone()
            try await other.start(options)
            beside = try await siege.rounds(while: attack, on: other)
            try await other.kill()
        }
        let (attacked, vitals) = try await siege.endure(attack, growth)
        let half = try #require(quantile(0.5, of: attacked))
        #expect(half < .seconds(3), "bystanders are hardly served")
        if let high = quantile(0.99, of: attacked), let usual = quantile(0.99, of: beside) {
            #expect(high <= usual * 2, "p99 has more than doubled, from \(usual) to \(high)")
        }
        if report > 0 {
            print(
                "\(name): \(vitals); a round of the bystanders, quiet \(quantiles(quiet)), beside"
                    + " another relay's attack \(quantiles(beside)), attacked \(quantiles(attacked))"
            )
        }
        await siege.loop.shutdownAndWait()
        return attacked
    }

    /// Everything is as it was before, and the relay ends as it should.
    private func endure(
        _ attack: @escaping Attack, _ growth: Int
    ) async throws -> (rounds: [Duration], vitals: String) {
        let before = try RelayVitals(of: process.pid)
        let attacked = try await rounds(while: attack, on: relay)
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
        process.signal(SIGTERM)
        #expect(try await process.wait() == .exited(0))
        return (attacked, "\(before) → \(after)")
    }

    /// What the bystanders do while somebody is attacked.
    private func rounds(
        while attack: @escaping Attack, on victim: RelayAlone
    ) async throws -> [Duration] {
        let (hasEnded, count) = (Lock(false), Lock(0))
        let attacking = Task { [loop] in
            defer { hasEnded.withLock { $0 = true } }
            repeat {
                try await attack(victim, loop)
            } while count.withLock({ $0 }) < Self.fewestRounds
        }
        var rounds: [Duration] = []
        repeat {
            rounds.append(try await round())
            count.withLock { $0 = rounds.count }
            try await Task.sleep(for: .milliseconds(5))
        } while !hasEnded.withLock({ $0 })
        try await attacking.value
        return rounds
    }

    /// A new connection, an opening and ten messages.
    private func round() async throws -> Duration {
        let start = ContinuousClock.now
        try await pair.write(await pair.accepted.count + 10)
        return ContinuousClock.now - start
    }

    private static func quantiles(_ times: [Duration]) -> String {
        guard let half = quantile(0.5, of: times), let high = quantile(0.99, of: times) else {
            return "never"
        }
        return "p50 \(half), p99 \(high) of \(times.count)"
    }

    private static func quantile(_ part: Double, of times: [Duration]) -> Duration? {
        times.isEmpty ? nil : times.sorted()[Int(Double(times.count - 1) * part)]
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
