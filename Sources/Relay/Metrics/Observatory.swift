import Cryptography
import Foundation
import RelayCore
import WebSockets

/// Answers whoever watches the relay: metrics, and whether it lives and is ready. Loop only, but for
/// what is said to be for any thread.
final class Observatory: @unchecked Sendable {
    private let folder: DataFolder
    private let health: Lock<RelayHealth>
    private let inForce: Lock<InForce>
    private let switchboard: Switchboard
    private let start = Date()
    /// Set once it listens.
    weak var server: WebSocketServer?
    private var reloads = ReloadFigures()
    /// SIGTERM has come.
    var isDraining = false

    /// Silence of the writer, which gives a sign of life every second, after which it is given up.
    private static let longestSilence = 15.0

    init(
        folder: DataFolder, health: Lock<RelayHealth>, inForce: Lock<InForce>,
        switchboard: Switchboard
    ) {
        self.folder = folder
        self.health = health
        self.inForce = inForce
        self.switchboard = switchboard
    }

    func noteReload(succeeded: Bool) {
        if succeeded { reloads.taken += 1 } else { reloads.refused += 1 }
    }

    /// Whether the writer gives signs of life. Any thread.
    var isWriterAlive: Bool { Self.silence(health.withLock { $0 }) < Self.longestSilence }

    private static func silence(_ health: RelayHealth) -> Double {
        guard health.lastBatchMilliseconds > 0 else { return .infinity }
        let now = SystemClock().now.monotonicMilliseconds
        return Double(now - min(now, health.lastBatchMilliseconds)) / 1_000
    }

    // MARK: - Answers

    /// The answer to a GET where devices connect.
    func answer(_ path: String) -> WebSocketServer.HTTPResponse? {
        switch path {
        case "/healthz": answerHealth()
        case "/readyz": answerReadiness()
        default: nil
        }
    }

    /// The answer to a GET on the listener for those who watch.
    func answerWatcher(_ path: String) -> WebSocketServer.HTTPResponse? {
        guard path == "/metrics" else { return answer(path) }
        return .init(
            contentType: "text/plain; version=0.0.4; charset=utf-8", body: Array(page.utf8))
    }

    /// Alive: a restart would not help.
    private func answerHealth() -> WebSocketServer.HTTPResponse {
        let health = health.withLock { $0 }
        // Before its first sign it opens the store, which may take its time.
        guard health.lastBatchMilliseconds == 0 || Self.silence(health) < Self.longestSilence else {
            return Self.unavailable("the writer doesn't answer")
        }
        return .init(body: Array((health.isFull ? "ok, disk nearly full\n" : "ok\n").utf8))
    }

    /// Ready: devices may be sent here.
    private func answerReadiness() -> WebSocketServer.HTTPResponse {
        let health = health.withLock { $0 }
        if isDraining || switchboard.isStopping { return Self.unavailable("the relay stops") }
        if health.lastBatchMilliseconds == 0 { return Self.unavailable("the relay starts") }
        guard Self.silence(health) < Self.longestSilence else {
            return Self.unavailable("the writer doesn't answer")
        }
        if health.isFull { return Self.unavailable("the disk is full") }
        return .init(body: Array("ready\n".utf8))
    }

    private static func unavailable(_ words: String) -> WebSocketServer.HTTPResponse {
        .init(status: 503, body: Array((words + "\n").utf8), retryAfterSeconds: 5)
    }

    private var page: String {
        var health = health.withLock { $0 }
        let inForce = inForce.withLock { $0 }
        let silence = Self.silence(health)
        if let short = switchboard.deliverySeconds { health.batches.deliverySeconds.add(short) }
        return RelayMetrics(
            health: health, server: server?.counters ?? ServerCounters(), cuts: switchboard.cuts,
            connections: server?.connectionCount ?? 0, handshakes: server?.handshakeCount ?? 0,
            waitingByteCount: switchboard.totalByteCount,
            incompleteByteCount: server?.incompleteByteCount ?? 0,
            unsentByteCount: switchboard.unsentByteCount,
            settings: inForce.settings, freeByteCount: folder.freeByteCount,
            certificateExpiry: inForce.certificate?.expiry, reloads: reloads,
            writerSilence: silence.isFinite ? silence : 0,
            isDraining: isDraining || switchboard.isStopping, start: start
        ).page
    }

    /// How long the relay has been running. Any thread.
    var runningSeconds: Int { Int(max(0, Date().timeIntervalSince(start))) }

    /// Connections refused or cut so far, by reason.
    var refusedConnections: [String: UInt64] {
        let counters = server?.counters ?? ServerCounters()
        var refused = Dictionary(
            switchboard.cuts.byReason, uniquingKeysWith: { first, _ in first })
        for reason in ConnectionRefusal.allCases {
            refused[reason.rawValue] = counters.refused[reason]
        }
        return refused
    }
}
