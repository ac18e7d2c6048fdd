import Cryptography
import Dispatch
private import Foundation
private import GRDB
import Logging
import RelayCore
import RelayProtocol

/// The thread that writes. It takes all that waits as one batch, commits it with one sync, and only
/// then lets answers and deliveries go. A few messages that come while it sleeps, the loop's thread
/// writes in its place, without waking it (`writeInstead`).
///
/// Unchecked: what varies is used under the gate.
final class RelayWriter: @unchecked Sendable {
    private let database: RelayDatabase
    private let trail: TrailKeeper
    private let identity: RelayIdentity
    private let limits: Lock<RelayLimits>
    let clock: SystemClock
    private let acceptsClock: Bool
    private let folder: DataFolder
    private let log: Logger
    private let health: Lock<RelayHealth>
    private let release: @Sendable (RelayRelease) -> Void
    let events = WorkQueue<RelayEvent>()
    /// Connections refused or cut so far, by reason; the loop says so from time to time.
    let refusedConnections = Lock<[String: UInt64]>([:])
    /// Signalled once the store is taken up and events are dealt with.
    let hasBegun = DispatchSemaphore(value: 0)
    /// Whether messages may be accepted without having been stored.
    var canHold: Bool { limits.withLock { $0.holdMilliseconds > 0 } }
    /// Between this thread and the loop.
    let gate = EngineGate()
    /// Whoever has the gate may use it.
    private var shift: WriterShift?

    private static let tickMilliseconds = 1_000
    /// The same while the log is to forget something.
    private static let forgetMilliseconds = 100

    init(
        database: RelayDatabase, trail: TrailKeeper, identity: RelayIdentity,
        settings: RelaySettings, folder: DataFolder, log: Logger, health: Lock<RelayHealth>,
        release: @escaping @Sendable (RelayRelease) -> Void
    ) {
        self.database = database
        self.trail = trail
        self.identity = identity
        limits = Lock(settings.limits)
        clock = SystemClock(secondsAhead: UInt64(settings.clockAheadDays) * 86_400)
        acceptsClock = settings.acceptsClock
        self.folder = folder
        self.log = log
        self.health = health
        self.release = release
    }

    /// Works until it is told to stop. Throws when the disk can't be trusted any more.
    func run() throws(StoreError) {
        do {
            try database.queue.writeWithoutTransaction { database in
                var isRunning = true
                var lasting = Lasting()
                var waiting: WaitingMessages?
                while isRunning {
                    do {
                        let store = try SQLiteStore(
                            database, syncsItself: true, waiting: waiting)
                        defer { waiting = store.waiting }
                        isRunning = try serve(store, &lasting)
                    } catch {
                        guard StoreError(error) == .full else { throw error }
                        gate.enter()
                        isRunning = waitForRoom(&lasting)
                    }
                }
            }
            // The last connection to close writes the log back and removes it.
            try database.close()
            trail.endMirror()
        } catch {
            throw StoreError(error)
        }
    }

    /// Serves with one engine; true if another one has to take over because the disk was full.
    private func serve(
        _ store: SQLiteStore, _ lasting: inout Lasting
    ) throws(StoreError) -> Bool {
        let shift = try beginShift(store, &lasting)
        let desk = shift.desk
        self.shift = shift
        defer {
            self.shift = nil
            lasting.figures = shift.figures
            lasting.clock = desk.engine.clock
            desk.end()
        }
        hasBegun.signal()
        var patience = 0
        while true {
            let (new, since) = events.takeAll(
                waitingAtMost: desk.backup != nil || !lasting.undone.isEmpty ? 0 : patience)
            lasting.undone = lasting.undone.isEmpty ? new : lasting.undone + new
            gate.enter()
            let now = clock.now
            watchDisk(desk, lasting, at: now)
            if shift.schedule.isTimeForDisk(at: now) {
                try RelayDatabase.requireInPlace(store.database, at: folder.databasePath)
                for trouble in trail.newTroubles() { log.warning("\(trouble)") }
                shift.survey = try desk.survey(at: now)
            }
            let batch: RelayRelease
            do throws(StoreError) {
                batch = try shift.write(&lasting.undone, since: since, sweeps: true, at: now)
            } catch {
                lasting.counters = shift.countersBefore
                guard error == .full else { throw error }
                lasting.noteFull(at: now)
                return abandon(shift, &lasting.undone)
            }
            if store.hasLog, shift.schedule.isTimeForLog(at: now, hadWork: shift.takeHasWorked()) {
                try emptyLog(store, &lasting, at: now)
            }
            shift.report(at: now)
            patience = Self.patience(shift, at: now)
            // Before the loop may take the engine: both use the same database.
            if !batch.isLast { desk.stepBackup() }
            gate.leave(with: batch.isLast ? nil : desk.engine, hasRelease: !batch.isEmpty)
            lasting.undone.removeAll()
            if !batch.isEmpty { release(batch) }
            if batch.isLast { return false }
        }
    }

    /// Another engine, and all that it works with.
    private func beginShift(
        _ store: SQLiteStore, _ lasting: inout Lasting
    ) throws(StoreError) -> WriterShift {
        let start = clock.now
        let guarding: ClockGuard
        if let clock = lasting.clock {
            guarding = clock
        } else {
            guarding = try makeGuard(store, at: start)
            lasting.clock = guarding
        }
        // What was erased before may still stand in the log.
        let isForgotten = try store.forgetLog()
        let engine = try makeEngine(store, guarding, lasting.counters)
        lasting.isWaiting = false
        let desk = WriterDesk(store: store, trail: trail, engine: engine)
        watchDisk(desk, lasting, at: start)
        return try WriterShift(
            desk, from: start, isForgotten: isForgotten, figures: lasting.figures, limits: limits,
            refusedConnections: refusedConnections, health: health, log: log)
    }

    /// The disk is full: sends everybody away; false if there is to be no other shift.
    private func abandon(_ shift: WriterShift, _ undone: inout [RelayEvent]) -> Bool {
        log.warning("the disk is full; all devices connect again, nothing accepted is lost")
        // Where nothing at all can be written, nothing more is tried before the end.
        if closeAll(&undone, mayStop: !shift.hasCommitted) { return false }
        if !shift.hasCommitted {
            undone += events.takeAll(waitingAtMost: Self.tickMilliseconds).items
        }
        return true
    }

    /// Makes a batch of what waits on the loop's thread, which has the gate; what it lets go, or `nil`
    /// if that is the writer's to do.
    ///
    /// Waking this thread and being woken by it takes longer than all else that a message costs beside
    /// the disk. But while the loop waits for the disk, nobody else is served: so it does for a few
    /// messages only, while the writer has nothing to do and the last sync took at most `seconds`.
    func writeInstead(ifSyncedWithin seconds: Double = 0.000_5) -> RelayRelease? {
        guard let shift, shift.isQuick(within: seconds),
            let (events, since) = events.takeInstead()
        else { return nil }
        var items = events
        do throws(StoreError) {
            let now = clock.now
            let batch = try shift.write(&items, since: since, sweeps: false, at: now)
            shift.report(at: now)
            return batch
        } catch {
            gate.withdraw()
            shift.fail(error, items)
            return nil
        }
    }

    /// Not even an engine can start: sends everybody away for a second; false if it is to stop.
    private func waitForRoom(_ lasting: inout Lasting) -> Bool {
        if !lasting.isWaiting {
            lasting.isWaiting = true
            log.warning("there is no room on the disk; nobody is served until there is")
        }
        let now = clock.now
        lasting.noteFull(at: now)
        health.withLock {
            $0.isFull = true
            $0.lastBatchMilliseconds = now.monotonicMilliseconds
        }
        hasBegun.signal()
        lasting.undone += events.takeAll(waitingAtMost: Self.tickMilliseconds).items
        return !closeAll(&lasting.undone, mayStop: true)
    }

    /// Sends everybody away: what came over connections comes again on others. The rest stays for
    /// the next engine; true if there is to be none.
    private func closeAll(_ undone: inout [RelayEvent], mayStop: Bool) -> Bool {
        var batch = RelayRelease(closesAll: true)
        for event in undone {
            switch event {
            case .frame(let id, _, let byteCount), .garbage(let id, let byteCount):
                batch.note(id, byteCount)
            case .stop: batch.isLast = mayStop
            case .opened, .closed, .limits, .task, .due: break
            }
        }
        undone.removeAll { !$0.outlivesEngine }
        gate.leave(with: nil, hasRelease: true)
        release(batch)
        return batch.isLast
    }

    /// Milliseconds to wait for something to do.
    private static func patience(_ shift: WriterShift, at now: RelayTime) -> Int {
        guard !shift.schedule.isCatchingUp else { return 0 }
        let longest = shift.isForgetting ? forgetMilliseconds : tickMilliseconds
        let deadlines = [shift.desk.engine.nextDeadline, shift.schedule.nextClearing]
        guard let deadline = deadlines.compactMap(\.self).min() else { return longest }
        guard deadline > now.monotonicMilliseconds else { return 0 }
        return Int(min(deadline - now.monotonicMilliseconds, UInt64(longest)))
    }

    private func makeGuard(
        _ store: SQLiteStore, at start: RelayTime
    ) throws(StoreError) -> ClockGuard {
        let guarding = ClockGuard(
            at: start, lastHour: try trail.lastSureHour(store), isConfirmed: acceptsClock)
        if guarding.doubt != nil {
            log.warning(
                """
                erasure by deadline is paused: the clock is over a day past the last run; start \
                with --accept-clock when it is right
                """)
        }
        return guarding
    }

    private func makeEngine(
        _ store: SQLiteStore, _ guarding: ClockGuard, _ counters: RelayCounters
    ) throws(StoreError) -> RelayEngine {
        do {
            return try RelayEngine(
                store: store, identity: identity, limits: limits.withLock { $0 }, clock: guarding,
                counters: counters)
        } catch {
            throw .corrupt("the key of deliveries is damaged")
        }
    }

    /// Empties the log if that can be done now; else a later batch tries again.
    private func emptyLog(
        _ store: SQLiteStore, _ lasting: inout Lasting, at now: RelayTime
    ) throws(StoreError) {
        do {
            _ = try store.forgetLog()
        } catch {
            guard error == .full else { throw error }
            lasting.noteFull(at: now)
        }
    }

    private func watchDisk(_ desk: WriterDesk, _ lasting: Lasting, at now: RelayTime) {
        guard let space = folder.space else { return }
        let engine = desk.engine
        let was = (refusingGrowth: engine.refusesGrowth, refusingBlobs: engine.refusesBlobs)
        let isFull = now.monotonicMilliseconds < lasting.fullUntil
        // What was deleted leaves room in the database that the file system doesn't know of.
        let freed = space.hasRoomForBlobs(freed: 0) ? 0 : desk.store.freedByteCount
        engine.refusesGrowth = isFull || !space.hasRoom(freed: freed)
        engine.refusesBlobs = isFull || !space.hasRoomForBlobs(freed: freed)
        engine.defersClearing = isFull || !space.hasRoomForLog
        engine.spare = (
            Int(clamping: space.spare(above: space.reserve, freed: freed)),
            Int(clamping: space.spare(above: space.blobReserve, freed: freed))
        )
        // A copy isn't worth that devices are refused for it.
        if isFull || space.spare == 0 {
            desk.endBackup("there is no room for the copy in the data folder")
        }
        if engine.refusesGrowth, !was.refusingGrowth {
            log.warning("the disk is nearly full; what would grow is refused")
        } else if engine.refusesBlobs, !was.refusingBlobs {
            log.warning("there is little room on the disk; no more files are taken")
        }
    }

    /// What outlives an engine.
    private struct Lasting {
        var figures = BatchFigures()
        /// Taken and not dealt with yet; a full disk loses none of it.
        var undone: [RelayEvent] = []
        /// Until when growth is refused whatever room there seems to be.
        private(set) var fullUntil: UInt64 = 0
        /// No engine could start.
        var isWaiting = false
        /// As of the last batch.
        var counters = RelayCounters()
        /// From the relay's start on; the operator accepts the clock of that moment only.
        var clock: ClockGuard?

        mutating func noteFull(at now: RelayTime) {
            fullUntil = now.monotonicMilliseconds + 5_000
        }
    }
}
