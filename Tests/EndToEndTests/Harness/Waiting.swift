import Foundation

/// A number from the environment, else `value`.
func setting(_ name: String, default value: UInt64) -> UInt64 {
    ProcessInfo.processInfo.environment[name].flatMap(UInt64.init) ?? value
}

/// Whether this process and its children run under a sanitizer: `tools/test` gives them its options.
let isSanitized = ProcessInfo.processInfo.environment["TSAN_OPTIONS"] != nil

/// Waits until `condition` holds; throws when it doesn't within the limit.
func eventually(
    _ what: String, within limit: Duration = .seconds(60),
    every interval: Duration = .milliseconds(50), _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while true {
        let isLate = ContinuousClock.now >= deadline
        if try await condition() { return }
        guard !isLate else { throw StageError.neverHappened(what) }
        try await Task.sleep(for: interval)
    }
}
