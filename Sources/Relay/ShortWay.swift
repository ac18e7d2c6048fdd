import RelayCore
import RelayProtocol
import WebSockets

/// Does on the loop's thread what needn't wake the writer's: decides what needs no disk
/// (`RelayEngine.receivedFromMemory`), so a message between two connected devices, and stores a few
/// messages that came alone. Lives on the loop's thread.
final class ShortWay {
    private let gate: EngineGate
    private let clock: SystemClock
    private let loop: EventLoop
    /// Sends what follows from memory.
    private let send: (ConnectionOutput) -> Void
    /// Makes a batch of what is queued, while this thread has the gate; `nil` if it can't.
    private let write: () -> RelayRelease?
    /// Sends what a batch lets go.
    private let release: (RelayRelease) -> Void
    /// Asks the writer to look after what is queued or due.
    private let wakeWriter: () -> Void
    /// While this turn of the loop has the engine.
    private var engine: RelayEngine?
    private var since: UInt64 = 0
    /// Frames of this turn with messages to be stored.
    private var storingCount = 0
    /// Whether the turn before had few of them: then no more are on their way.
    private var isCalm = true
    private var willEndTurn = false
    /// Seconds from the turn's first frame to when its deliveries left, of what was never stored.
    private(set) var deliverySeconds = Histogram(bounds: Histogram.seconds)
    private var isWatching = false

    /// Frames to be stored in one turn, above which the writer stores them while this thread reads on.
    private static let fewFrames = 2

    init(
        gate: EngineGate, clock: SystemClock, loop: EventLoop,
        send: @escaping (ConnectionOutput) -> Void, write: @escaping () -> RelayRelease?,
        release: @escaping (RelayRelease) -> Void, wakeWriter: @escaping () -> Void
    ) {
        self.gate = gate
        self.clock = clock
        self.loop = loop
        self.send = send
        self.write = write
        self.release = release
        self.wakeWriter = wakeWriter
    }

    /// Deals with what it can of a frame; the rest is the writer's. False in `hasLooked`: the engine
    /// wasn't free, and nothing is known of the frame.
    func take(
        _ frame: ClientFrame, from id: RelayCore.ConnectionID
    ) -> (rest: ClientFrame?, hasLooked: Bool) {
        guard let engine = enter() else { return (frame, false) }
        do {
            return (try engine.receivedFromMemory(frame, from: id), true)
        } catch {
            // It touches no store, so it can't fail.
            return (frame, false)
        }
    }

    /// Whether a frame about to be queued needs to wake nobody: this turn ends with storing it.
    func stores(_ frame: ClientFrame) -> Bool {
        guard frame.hasFewMessages else { return false }
        storingCount += 1
        planEndOfTurn()
        return isCalm && storingCount <= Self.fewFrames
    }

    /// The engine until the end of this turn.
    private func enter() -> RelayEngine? {
        if let engine { return engine }
        guard let entered = gate.tryEnter() else { return nil }
        engine = entered
        since = SystemClock.nanoseconds
        entered.beginFromMemory(at: clock.now)
        planEndOfTurn()
        return entered
    }

    private func planEndOfTurn() {
        guard !willEndTurn else { return }
        willEndTurn = true
        loop.atEndOfTurn { [self] in endTurn() }
    }

    private func endTurn() {
        willEndTurn = false
        let stores = isCalm && (1...Self.fewFrames).contains(storingCount)
        isCalm = storingCount <= Self.fewFrames
        storingCount = 0
        let output = engine?.finishFromMemory()
        guard let engine = engine ?? (stores ? gate.tryEnter() : nil) else {
            if stores { wakeWriter() }
            return
        }
        self.engine = nil
        let batch = stores ? write() : nil
        let deadline = engine.nextDeadline
        gate.leave()
        if let output {
            for connection in output.connections { send(connection) }
            deliverySeconds.add(SystemClock.seconds(since: since), times: output.deliveryCount)
        }
        if let batch {
            release(batch)
        } else if stores {
            wakeWriter()
        }
        if let deadline { watch(until: deadline) }
    }

    /// Sees to it that the writer wakes when a held message's time is up.
    private func watch(until deadline: UInt64) {
        guard !isWatching else { return }
        isWatching = true
        let now = clock.now.monotonicMilliseconds
        let wait = Int64(clamping: deadline > now ? deadline - now : 0)
        loop.schedule(after: .milliseconds(wait + 1)) { [self] in
            isWatching = false
            guard let engine = gate.tryEnter() else { return wakeWriter() }
            let next = engine.nextDeadline
            gate.leave()
            guard let next else { return }
            if next <= clock.now.monotonicMilliseconds { return wakeWriter() }
            watch(until: next)
        }
    }
}

extension ClientFrame {
    /// A device sends a message or a few, and asks for nothing else.
    fileprivate var hasFewMessages: Bool {
        guard hello == nil, (1...4).contains(requests.count) else { return false }
        return requests.allSatisfy {
            if case .send = $0.operation { return true }
            return false
        }
    }
}
