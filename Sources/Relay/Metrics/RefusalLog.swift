import Cryptography
import Logging
import RelayCore

/// Tells the log at the level `debug` what was refused since it last did, by reason. Counts only: who
/// was refused is nowhere.
struct RefusalLog: Sendable {
    private struct Told {
        var connections: [String: UInt64] = [:]
        var requests: [UInt8: UInt64] = [:]
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
        let now = Told(
            connections: connections, requests: health.withLock { $0.counters.refusals })
        let before = told.withLock { told in
            defer { told = now }
            return told
        }
        tell("connections refused or cut", now.connections.more(than: before.connections))
        tell(
            "requests refused",
            now.requests.more(than: before.requests).map { (RelayMetrics.label($0.key), $0.count) })
    }

    private func tell(_ words: Logger.Message, _ counts: [(key: String, count: UInt64)]) {
        guard !counts.isEmpty else { return }
        log.debug(
            words,
            metadata: counts.reduce(into: [:]) { $0[$1.key] = .stringConvertible($1.count) })
    }
}
