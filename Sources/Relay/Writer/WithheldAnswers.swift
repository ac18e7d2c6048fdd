import RelayCore
import RelayProtocol

/// What tells of an erasure waits here until the log has forgotten what was erased. That can take as
/// long as another process reads the database; everybody else is served meanwhile.
struct WithheldAnswers {
    /// Since when, in milliseconds of the steady clock; `nil` while there is nothing to be forgotten.
    private(set) var since: UInt64?
    private var outputs: [ConnectionOutput] = []
    private var byteCount = 0
    private var nextWarning: UInt64 = 0

    /// Something was erased that may still stand in the log.
    mutating func begin(at now: RelayTime) { since = since ?? now.monotonicMilliseconds }

    /// Whether a batch's output has to wait: what the erasing batch says, what tells of an erasure, and
    /// all that follows it on the same connection.
    func concerns(_ output: ConnectionOutput, ofErasing hasErased: Bool) -> Bool {
        guard since != nil else { return false }
        return hasErased || output.frame.tellsOfErasure
            || outputs.contains { $0.connection == output.connection }
    }

    /// Keeps it back; of more than `limit` octets nothing, but the end of their connections: devices ask
    /// again on others.
    mutating func add(_ output: ConnectionOutput, limit: Int) -> [ConnectionOutput] {
        outputs.append(output)
        byteCount += FramePacker.byteCount(of: output.frame)
        guard byteCount > limit else { return [] }
        var ended: [ConnectionID: ConnectionOutput] = [:]
        for var output in outputs {
            (output.frame, output.closing) = (RelayFrame(), .goingAway)
            ended[output.connection] = output
        }
        (outputs, byteCount) = ([], 0)
        return Array(ended.values)
    }

    /// A connection has ended.
    mutating func drop(_ connection: ConnectionID) {
        outputs.removeAll { $0.connection == connection }
        byteCount = outputs.reduce(0) { $0 + FramePacker.byteCount(of: $1.frame) }
    }

    /// The log has forgotten: what may leave now.
    mutating func end() -> [ConnectionOutput] {
        defer { self = WithheldAnswers() }
        return outputs
    }

    /// For how long the log hasn't forgotten, in seconds.
    func delaySeconds(at now: RelayTime) -> UInt64 {
        guard let since, since < now.monotonicMilliseconds else { return 0 }
        return (now.monotonicMilliseconds - since) / 1_000
    }

    /// Whether it is time to tell of it: once a minute.
    mutating func isTimeToWarn(at now: RelayTime) -> Bool {
        guard delaySeconds(at: now) > 0, now.monotonicMilliseconds >= nextWarning else {
            return false
        }
        nextWarning = now.monotonicMilliseconds + 60_000
        return true
    }

    /// What `check` says of it.
    static let trouble = "another process reads the database and delays an erasure"
}

extension RelayFrame {
    fileprivate var tellsOfErasure: Bool {
        deliveries.contains { $0.kind == .receipt }
            || replies.contains {
                if case .erased = $0.outcome { return true }
                return false
            }
    }
}
