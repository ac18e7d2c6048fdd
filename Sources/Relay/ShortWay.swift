import RelayCore
import RelayProtocol
import WebSockets

/// Decides on the loop's thread what needs no disk (`RelayEngine.receivedFromMemory`), so that a
/// message between two connected devices wakes no other thread. Lives on the loop's thread.
final class ShortWay {
    private let gate: EngineGate
    private let clock: SystemClock
    private let loop: EventLoop
    /// Sends what follows.
    private let send: (ConnectionOutput) -> Void
    /// Asks the writer to look after what is due.
    private let wakeWriter: () -> Void
    /// While this turn of the loop has the engine.
    private var engine: RelayEngine?
    private var since: UInt64 = 0
    /// Seconds from the turn's first frame to when its deliveries left.
    private(set) var deliverySeconds = Histogram(bounds: Histogram.seconds)
    private var isWatching = false

    init(
        gate: EngineGate, clock: SystemClock, loop: EventLoop,
        send: @escaping (ConnectionOutput) -> Void, wakeWriter: @escaping () -> Void
    ) {
        self.gate = gate
        self.clock = clock
        self.loop = loop
        self.send = send
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

    /// The engine until the end of this turn.
    private func enter() -> RelayEngine? {
        if let engine { return engine }
        guard let entered = gate.tryEnter() else { return nil }
        engine = entered
        since = SystemClock.nanoseconds
        entered.beginFromMemory(at: clock.now)
        loop.atEndOfTurn { [self] in leave() }
        return entered
    }

    private func leave() {
        guard let engine else { return }
        self.engine = nil
        let output = engine.finishFromMemory()
        let deadline = engine.nextDeadline
        gate.leave()
        for connection in output.connections { send(connection) }
        if output.deliveryCount > 0 {
            deliverySeconds.add(SystemClock.seconds(since: since), times: output.deliveryCount)
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
