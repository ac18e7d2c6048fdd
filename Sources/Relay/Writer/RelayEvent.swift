import RelayCore
import RelayProtocol

/// What the loop tells the writer.
enum RelayEvent: Sendable {
    case opened(RelayCore.ConnectionID)
    case frame(RelayCore.ConnectionID, ClientFrame, byteCount: Int)
    case garbage(RelayCore.ConnectionID, byteCount: Int)
    case closed(RelayCore.ConnectionID)
    case limits(RelayLimits)
    case task(WriterTask)
    /// A held message's time is up.
    case due
    case stop

    /// Whether nothing of it is left to be done once its batch is durable: no answer, no end.
    var isDoneOnceDurable: Bool {
        switch self {
        case .limits, .task: true
        case .opened, .frame, .garbage, .closed, .due, .stop: false
        }
    }

    /// Whether it concerns no connection, so that it outlives an engine whose batch failed.
    var outlivesEngine: Bool {
        if case .stop = self { return true }
        return isDoneOnceDurable
    }
}

/// What the writer tells the loop, after the batch is durable.
struct RelayRelease: Sendable {
    /// In the order in which they leave.
    var outputs: [ConnectionOutput] = []
    /// What of each connection's frames has been dealt with.
    var handled: [RelayCore.ConnectionID: (frames: Int, byteCount: Int)] = [:]
    /// Every connection is to be closed: what they have open is no longer known.
    var closesAll = false
    /// Nothing comes any more.
    var isLast = false

    /// Whether the loop has nothing to do for it.
    var isEmpty: Bool { outputs.isEmpty && handled.isEmpty && !closesAll && !isLast }

    /// A frame has been dealt with.
    mutating func note(_ id: RelayCore.ConnectionID, _ byteCount: Int) {
        let sum = handled[id] ?? (0, 0)
        handled[id] = (sum.frames + 1, sum.byteCount + byteCount)
    }
}
