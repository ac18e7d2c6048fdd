package import RelayCore

/// Lets one thread at a time at the decisions: the writer, which waits for its turn, or the loop,
/// which has a look and goes the long way if it isn't free.
package final class EngineGate: @unchecked Sendable {
    private let monitor = Monitor()
    private var engine: RelayEngine?
    private var isTaken = false
    private var isWanted = false
    /// The writer has it: it may enter again, after it failed inside.
    private var isWriters = false
    /// What the writer has let go and the loop hasn't sent. Until it has, the loop decides nothing,
    /// or its own outputs would overtake these.
    private var releaseCount = 0

    package init() {}

    // MARK: The writer

    /// Waits until the loop is out.
    package func enter() {
        monitor.withLock {
            isWanted = true
            while isTaken, !isWriters { monitor.wait() }
            isWanted = false
            isTaken = true
            isWriters = true
        }
    }

    /// Lets the loop in again.
    ///
    /// - Parameter engine: what the loop may use; `nil`: it may not.
    /// - Parameter hasRelease: the loop is about to be given what this batch lets go.
    package func leave(with engine: RelayEngine?, hasRelease: Bool) {
        monitor.withLock {
            isTaken = false
            isWriters = false
            self.engine = engine
            if hasRelease { releaseCount += 1 }
        }
    }

    // MARK: The loop

    /// The loop has sent what one batch let go.
    package func released() { monitor.withLock { releaseCount -= 1 } }

    /// The engine, if nobody else has it or waits for it.
    package func tryEnter() -> RelayEngine? {
        monitor.withLock {
            guard !isTaken, !isWanted, releaseCount == 0, let engine else { return nil }
            isTaken = true
            return engine
        }
    }

    /// Keeps the loop out until the writer lets it in again; while the loop has the engine.
    package func withdraw() { monitor.withLock { engine = nil } }

    /// Gives it back.
    package func leave() {
        monitor.withLock {
            isTaken = false
            if isWanted { monitor.signal() }
        }
    }
}
