import Cryptography
import Foundation
import TestSupport
import Testing

@testable import MLS

private func setting(_ name: String) -> Int? {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
}

/// Random groups against a model. `MLS_MODEL_GROUPS` asks for more, and `MLS_MODEL_SEED` for others: a
/// seed is one history, whatever else runs.
@Suite struct `Random groups` {
    private struct Totals {
        var groups = 0
        var messages = 0
        var largest = 0
        var operations: [Operation: Int] = [:]
        var failures: [String] = []

        mutating func take(_ other: Totals) {
            groups += other.groups
            messages += other.messages
            largest = max(largest, other.largest)
            operations.merge(other.operations, uniquingKeysWith: +)
            failures += other.failures
        }
    }

    /// The history that belongs to a seed, in groups of up to 6 or, rarely, 50.
    private static func run(_ seed: UInt64) throws -> ModelGroup {
        let isLarge = seed % 200 == 0
        let suite: CipherSuite =
            seed % 50 == 25 ? .xwingAES256 : seed % 2 == 0 ? .x25519ChaCha20 : .x25519AES128
        var model = try ModelGroup(
            seed: seed, suite: suite, largest: isLarge ? 50 : 3 + Int(seed % 4))
        for _ in 0..<(isLarge ? 90 : 30) { try model.step() }
        try model.finish()
        return model
    }

    @Test func `agree where they should and nowhere else, whatever happens`() async throws {
        let count = setting("MLS_MODEL_GROUPS") ?? 2_000
        let start = UInt64(setting("MLS_MODEL_SEED") ?? 1)
        let lanes = ProcessInfo.processInfo.activeProcessorCount
        let totals = await withTaskGroup(of: Totals.self) { tasks in
            for lane in 0..<lanes {
                tasks.addTask {
                    var totals = Totals()
                    for offset in stride(from: lane, to: count, by: lanes) {
                        let seed = start + UInt64(offset)
                        do {
                            let model = try Self.run(seed)
                            totals.groups += 1
                            totals.messages += model.sent.count
                            totals.largest = max(totals.largest, model.largestSeen)
                            for operation in model.history {
                                totals.operations[operation, default: 0] += 1
                            }
                        } catch {
                            totals.failures.append("seed \(seed): \(error)")
                        }
                        await Task.yield()
                    }
                    return totals
                }
            }
            var all = Totals()
            for await totals in tasks { all.take(totals) }
            return all
        }
        #expect(totals.failures == [])
        #expect(totals.groups == count)
        if setting("MLS_MODEL_GROUPS") != nil {
            print(totals.groups, "groups, largest", totals.largest)
            for operation in Operation.allCases {
                print(operation.rawValue, totals.operations[operation] ?? 0)
            }
        }
        guard count >= 2_000 else { return }
        #expect(totals.largest > 40)
        for operation in Operation.allCases {
            #expect(totals.operations[operation] ?? 0 > 0, "never happened: \(operation)")
        }
    }

    @Test func `do the same when their seed comes again`() throws {
        for seed: UInt64 in 1...4 {
            #expect(try Self.run(seed).history == Self.run(seed).history)
        }
    }
}
