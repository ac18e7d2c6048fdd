import Cryptography
import Logging
import RelayCore
import RelayProtocol

/// One engine at work: makes batches of what came, each with one sync. Whoever has the gate may use
/// it, the writer's thread or, for a few messages, the loop's.
///
/// A batch that throws leaves nothing behind but an unusable engine; another shift takes over.
final class WriterShift {
    let desk: WriterDesk
    private let limits: Lock<RelayLimits>
    private let refusedConnections: Lock<[String: UInt64]>
    private let health: Lock<RelayHealth>
    private let log: Logger
    var schedule: WriterSchedule
    private(set) var figures: BatchFigures
    /// What of the store changes slowly, as last looked at.
    var survey: StoreSurvey
    /// As they were before the batch at hand: what a batch counts that fails is counted again.
    private(set) var countersBefore: RelayCounters
    /// Whether a batch has become durable.
    private(set) var hasCommitted = false
    /// Something was written since `takeHasWorked`.
    private var hasWorked = false
    private var lastSyncSeconds = Double.infinity
    private var withheld = WithheldAnswers()
    /// Why a batch on the loop's thread failed, and what was to be in it.
    private var failure: (error: StoreError, events: [RelayEvent])?

    init(
        _ desk: WriterDesk, from start: RelayTime, isForgotten: Bool, figures: BatchFigures,
        limits: Lock<RelayLimits>, refusedConnections: Lock<[String: UInt64]>,
        health: Lock<RelayHealth>, log: Logger
    ) throws(StoreError) {
        self.desk = desk
        self.limits = limits
        self.refusedConnections = refusedConnections
        self.health = health
        self.log = log
        self.figures = figures
        schedule = WriterSchedule(from: start)
        countersBefore = desk.engine.counters
        survey = try desk.survey(at: start)
        if !isForgotten { withheld.begin(at: start) }
        report(at: start)
    }

    /// Whether the last sync took at most so many seconds, and nothing else is to be waited for.
    func isQuick(within seconds: Double) -> Bool { lastSyncSeconds <= seconds && !isForgetting }

    /// Whether the log is still to forget something.
    var isForgetting: Bool { withheld.since != nil }

    /// Writes one batch; what it lets go once this returns.
    ///
    /// - Parameter events: what is done once durable is taken out at once, the rest stays.
    /// - Parameter since: when the first of them came, in nanoseconds of the steady clock.
    /// - Parameter sweeps: does what is due and nobody asks for, too.
    func write(
        _ events: inout [RelayEvent], since: UInt64, sweeps: Bool, at now: RelayTime
    ) throws(StoreError) -> RelayRelease {
        if let failure {
            events = failure.events + events
            throw failure.error
        }
        countersBefore = desk.engine.counters
        let trailEventCount = desk.trail.eventCount
        do throws(StoreError) {
            return try attempt(&events, since: since, sweeps: sweeps, at: now)
        } catch {
            desk.store.rollback()
            desk.trail.dropEvents(behind: trailEventCount)
            throw error
        }
    }

    private func attempt(
        _ events: inout [RelayEvent], since: UInt64, sweeps: Bool, at now: RelayTime
    ) throws(StoreError) -> RelayRelease {
        let (store, engine, trail) = (desk.store, desk.engine, desk.trail)
        var batch = RelayRelease()
        try store.begin()
        engine.begin(at: now)
        try carry(events, &batch)
        if sweeps { try schedule.sweep(engine, at: now) }
        let output = try engine.finish()
        if batch.isLast { trail.note(TrailEvent(.stopped, [])) }
        try trail.prepare(
            store, counters: engine.counters,
            refusedConnections: refusedConnections.withLock { $0 },
            isClockDoubted: engine.clockDoubt != nil, at: now)
        try store.commit()
        try trail.publish()
        desk.batchIsDurable()
        let eventCount = events.count
        events.removeAll(where: \.isDoneOnceDurable)
        if output.hasErased { withheld.begin(at: now) }
        if isForgetting, try forgetsLog(at: now) { batch.outputs = withheld.end() }
        for connection in output.connections {
            if withheld.concerns(connection, ofErasing: output.hasErased) {
                batch.outputs += withheld.add(connection, limit: engine.limits.unsentByteCount)
            } else {
                batch.outputs.append(connection)
            }
        }
        note(eventCount, deliveries: output.deliveryCount, since: since)
        return batch
    }

    /// Whether what was erased is gone from the log, too.
    private func forgetsLog(at now: RelayTime) throws(StoreError) -> Bool {
        do {
            if try desk.store.forgetLog() { return true }
        } catch {
            guard error == .full else { throw error }
        }
        if withheld.isTimeToWarn(at: now) { log.warning("\(WithheldAnswers.trouble)") }
        return false
    }

    private func note(_ eventCount: Int, deliveries: Int, since: UInt64) {
        hasCommitted = true
        if eventCount > 0 || desk.store.hasWritten { hasWorked = true }
        if eventCount > 0 { figures.sizes.add(Double(eventCount)) }
        if let seconds = desk.store.syncSeconds {
            lastSyncSeconds = seconds
            figures.syncSeconds.add(seconds)
        }
        figures.deliverySeconds.add(SystemClock.seconds(since: since), times: deliveries)
        if desk.engine.counters.damagedPieces > countersBefore.damagedPieces {
            log.warning("a piece of a file can't be read; a backup tells how much is damaged")
        }
        let damaged = desk.engine.counters.damagedMessages - countersBefore.damagedMessages
        if damaged > 0 {
            log.warning(
                "stored messages can't be read and are gaps for their recipients",
                metadata: ["count": .stringConvertible(damaged)])
        }
    }

    /// Notes that a batch on the loop's thread failed; the writer sees to it.
    func fail(_ error: StoreError, _ events: [RelayEvent]) { failure = (error, events) }

    /// Whether there was something to do since this was last asked.
    func takeHasWorked() -> Bool {
        defer { hasWorked = false }
        return hasWorked
    }

    /// Tells whoever watches.
    func report(at now: RelayTime) {
        desk.delaysErasure = withheld.delaySeconds(at: now) > 0
        let (engine, store) = (desk.engine, desk.store)
        let figures = RelayHealth(
            lastBatchMilliseconds: now.monotonicMilliseconds, isFull: engine.refusesGrowth,
            isClockDoubted: engine.clockDoubt != nil, connections: engine.connectionCount,
            mailboxes: store.mailboxCount, groups: store.groupCount,
            messages: store.waiting, blobs: store.blobUsage, counters: engine.counters,
            batches: figures, survey: survey,
            erasureDelaySeconds: withheld.delaySeconds(at: now))
        health.withLock { $0 = figures }
    }

    private func carry(
        _ events: [RelayEvent], _ batch: inout RelayRelease
    ) throws(StoreError) {
        let engine = desk.engine
        for event in events {
            switch event {
            case .opened(let id): engine.connected(id)
            case .frame(let id, let frame, let byteCount):
                batch.note(id, byteCount)
                try engine.received(frame, from: id)
            case .garbage(let id, let byteCount):
                batch.note(id, byteCount)
                engine.receivedGarbage(from: id)
            case .closed(let id):
                withheld.drop(id)
                try engine.disconnected(id)
            case .limits(let new):
                limits.withLock { $0 = new }
                engine.limits = new
            case .task(let task): try task(desk)
            case .due: break  // The end of the batch sees to it.
            case .stop:
                try engine.sayGoodbye()
                batch.isLast = true
            }
        }
    }
}
