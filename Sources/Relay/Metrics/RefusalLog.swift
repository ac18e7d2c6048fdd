import Cryptography
import Logging
import RelayCore

/// Tells the log at the level `debug` what was refused since it last did, by reason. Counts only: who
/// was refused is nowhere.
struct RefusalLog: Sendable {
    private struct Told {
        var connections: [String: UInt64] = [:]
        var requests: [String: UInt64] = [:]
    }

    private let log: Logger
    private let health: Lock<RelayHealth>
    private let told = Lock(Told())

    init(_ log: Logger, _ health: Lock<RelayHealth>) {
        self.log = log
        self.health = health
    }

    /// - Parameter connections: refused or cut so far, by reason.
    func tell(connections: [String: UInt64]) {
        let refusals = health.withLock { $0.counters.refusals }
        let requests = Dictionary(
            uniqueKeysWithValues: refusals.map { (RelayMetrics.label($0), $1) })
        let before = told.withLock { told in
            defer { told = Told(connections: connections, requests: requests) }
            return told
        }
        tell("connections refused or cut", Self.new(connections, since: before.connections))
        tell("requests refused", Self.new(requests, since: before.requests))
    }

    private func tell(_ words: Logger.Message, _ counts: Logger.Metadata) {
        if !counts.isEmpty { log.debug(words, metadata: counts) }
    }

    private static func new(
        _ counts: [String: UInt64], since before: [String: UInt64]
    ) -> Logger.Metadata {
        counts.reduce(into: [:]) { new, count in
            let more = count.value &- (before[count.key] ?? 0)
            if more > 0 { new[count.key] = .stringConvertible(more) }
        }
    }
}
