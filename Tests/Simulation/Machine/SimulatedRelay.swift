import Relay
import RelayCore
import RelayProtocol
import RelayTestSupport

/// The relay's process around `RelayEngine`: frames wait while a batch is on its way to the disk,
/// all of them are the next batch, and what a batch says leaves when it is durable.
///
/// As `RelayWriter` and `Switchboard`, which do the same with two threads. Who may decide when, what
/// is swept when and how frames are packed is theirs (`EngineGate`, `WriterSchedule`, `FramePacker`).
final class SimulatedRelay {
    private enum Arrival {
        case opened(Int)
        case frame(Int, ClientFrame)
        case garbage(Int)
        case closed(Int)

        var wireOfFrame: Int? {
            switch self {
            case .frame(let wire, _), .garbage(let wire): wire
            case .opened, .closed: nil
            }
        }
    }

    /// What a durable batch lets go, on its way from the writer to the loop.
    private struct Release {
        let output: BatchOutput
        let handled: [Int]
    }

    private unowned let world: World
    let disk: SimulatedDisk
    private var backups: [(disk: SimulatedDisk.Backup, groups: [GroupID: GroupModel.History])] = []
    private(set) var engine: RelayEngine?
    /// Which life of the process this is.
    private(set) var life = 0
    private var gate = EngineGate()
    private var inbox: [Arrival] = []
    /// Frames of each connection that the writer hasn't dealt with, as the loop knows.
    private var waiting: [Int: Int] = [:]
    private var inFlight: Release?
    private var releases: [Release] = []
    private var batchNumber = 0
    private var isDoomed = false
    private var schedule = WriterSchedule(from: RelayTime(unixSeconds: 0, monotonicMilliseconds: 0))

    /// What a relay answers is also what it would answer with another disk.
    var isFull = false
    var isNearlyFull = false
    var hasLittleRoom = false
    var isSlow = false

    init(world: World) {
        self.world = world
        disk = SimulatedDisk(flaw: world.flaw)
    }

    var isUp: Bool { engine != nil }
    /// Whether its disk tells of a time at which it ran.
    var hasRun: Bool { disk.durable.clockMark != nil }
    /// Nothing waits to be dealt with.
    var isQuiet: Bool {
        isUp && inbox.isEmpty && inFlight == nil && releases.isEmpty
            && disk.store.state.dropped.isEmpty
    }

    private var time: RelayTime {
        RelayTime(
            unixSeconds: world.wallSeconds, monotonicMilliseconds: UInt64(world.now / 1_000))
    }

    // MARK: Life

    func start() {
        life += 1
        do {
            let guarding = ClockGuard(
                at: time, lastHour: try disk.store.clockMark(),
                isConfirmed: world.isCalm || world.flaw == .believesClock)
            let chance = world.chance
            engine = try RelayEngine(
                store: disk.store, identity: world.identity, limits: world.profile.limits,
                clock: guarding
            ) { chance.bytes($0) }
        } catch {
            world.violate("the relay doesn't start: \(error)")
        }
        look()
        schedule = WriterSchedule(from: time)
        gate = EngineGate()
        gate.leave(with: engine, hasRelease: false)
        world.trace.note(.restart, at: world.now, life)
        world.plan(.relayTick(life), after: 1_000_000)
    }

    /// The process ends here and now.
    func crash() {
        guard isUp else { return }
        let happening: Happening =
            inFlight != nil ? .crashUnsynced : releases.isEmpty ? .crash : .crashUnsaid
        world.trace.note(happening, at: world.now, life)
        stop()
    }

    private func stop() {
        forgetAll()
        let count = disk.unsyncedCount
        let kept = world.chance.below(count + 1)
        if kept < count { world.trace.note(.unsyncedLost, at: world.now, count - kept) }
        if kept > 0 { world.trace.note(.unsyncedKept, at: world.now, kept) }
        disk.crash(keeping: kept)
        world.monitor.relayStopped(disk.durable)
        world.cutAll()
        world.plan(.relayStart(life), after: world.chance.delay(200_000))
    }

    private func forgetAll() {
        engine = nil
        inbox = []
        waiting = [:]
        inFlight = nil
        releases = []
    }

    /// Makes a backup. One of a relay that doesn't know all the devices yet would shut them out: their
    /// admission tokens are spent.
    func backUp() {
        guard world.vaultDevices.allSatisfy({ $0.isKnown(in: disk.durable) }) else { return }
        world.trace.note(.backedUp, at: world.now, life, disk.trail.count)
        backups.append((disk.backup, world.monitor.histories))
        if backups.count > 4 { backups.remove(at: world.chance.below(backups.count)) }
    }

    /// The opening counter that it will always know of.
    func counter(of mailbox: MailboxID?) -> UInt64 {
        mailbox.flatMap { disk.durable.mailboxNumbers[$0] }
            .flatMap { disk.durable.mailboxes[$0]?.counter } ?? 0
    }

    /// The operator puts a backup in place of what the relay has; one made since that was made, too.
    func restore() {
        guard isUp, let index = world.chance.pick(Array(backups.indices)) else { return }
        let backup = backups[index]
        stop()
        do {
            try disk.restore(backup.disk)
        } catch {
            return world.violate("a backup can't be restored: \(error)")
        }
        world.reincarnate()
        world.trace.note(.restored, at: world.now, life, backup.disk.trailEnd)
        world.monitor.relayRestored(disk.durable, backup.groups)
    }

    // MARK: What comes

    func opened(_ wire: Int) { take(.opened(wire)) }
    func received(_ content: [UInt8], from wire: Int) {
        guard let frame = try? ClientFrame(decoding: content) else { return take(.garbage(wire)) }
        guard isUp else { return }
        world.monitor.arrived(frame, on: wire)
        guard let rest = takeShortWay(frame, wire) else { return }
        take(.frame(wire, rest))
    }

    /// What needs no disk is dealt with at once, if nobody else is at the decisions and nothing that
    /// the connection sent before waits. Returns what is left to do.
    private func takeShortWay(_ frame: ClientFrame, _ wire: Int) -> ClientFrame? {
        guard waiting[wire] == nil, let engine = gate.tryEnter() else { return frame }
        do {
            engine.beginFromMemory(at: time)
            let rest = try engine.receivedFromMemory(
                frame, from: ConnectionID(rawValue: UInt64(wire)))
            if rest != frame { world.trace.note(.early, at: world.now, wire) }
            let output = engine.finishFromMemory()
            gate.leave()
            send(output)
            planDeadline()
            return rest
        } catch {
            world.violate("the short way fails: \(error)")
            return nil
        }
    }

    /// When a message has waited long enough in memory, it is stored.
    private func planDeadline() {
        guard let deadline = engine?.nextDeadline else { return }
        world.plan(.relayDue(life), after: Int(clamping: deadline) * 1_000 - world.now)
    }

    func due() {
        guard let deadline = engine?.nextDeadline, deadline <= time.monotonicMilliseconds else {
            return
        }
        if inFlight == nil { work() }
    }
    func closed(_ wire: Int) { take(.closed(wire)) }

    private func take(_ arrival: Arrival) {
        guard isUp else { return }
        inbox.append(arrival)
        if let wire = arrival.wireOfFrame { waiting[wire, default: 0] += 1 }
        if inFlight == nil { work() }
    }

    /// Looks at the disk.
    func look() {
        engine?.refusesGrowth = isFull || isNearlyFull
        engine?.refusesBlobs = isFull || isNearlyFull || hasLittleRoom
        engine?.defersClearing = isFull
    }

    func tick() {
        guard isUp else { return }
        look()
        // When all is calm there is nothing to look for.
        world.plan(.relayTick(life), after: world.isCalm ? 10_000_000 : 1_000_000)
        if inFlight == nil { work() }
    }

    // MARK: Batches

    private func work() {
        guard let engine else { return }
        let arrivals = inbox
        inbox = []
        if world.mayFail, world.chance.happens(world.profile.relayCrashes) { isDoomed = true }
        disk.limit(writes: isFull ? world.chance.below(12) : nil)
        gate.enter()
        disk.store.begin()
        engine.begin(at: time)
        do {
            try carry(arrivals, into: engine)
            try schedule.sweep(engine, at: time)
            let batch = Release(
                output: try engine.finish(), handled: arrivals.compactMap(\.wireOfFrame))
            let mustSync = disk.commit()
            planDeadline()
            batchNumber += 1
            world.trace.note(.batch, at: world.now, batchNumber, arrivals.count)
            if !mustSync || world.flaw == .answersEarly { release(batch) }
            if !mustSync { return goOn() }
            inFlight = batch
            let typical = world.profile.diskLatency * (isSlow ? 200 : 1)
            let latency = world.chance.delay(typical)
            if isDoomed {
                isDoomed = false
                // Somewhere before it is durable, or right after.
                if world.chance.happens(5_000) { return crash() }
            }
            world.plan(.durable(batchNumber), after: latency)
        } catch StoreError.full {
            batchFailed()
        } catch {
            world.violate("the relay's store fails: \(error)")
        }
    }

    private func carry(_ arrivals: [Arrival], into engine: RelayEngine) throws {
        for arrival in arrivals {
            switch arrival {
            case .opened(let wire): engine.connected(ConnectionID(rawValue: UInt64(wire)))
            case .closed(let wire): try engine.disconnected(ConnectionID(rawValue: UInt64(wire)))
            case .garbage(let wire):
                engine.receivedGarbage(from: ConnectionID(rawValue: UInt64(wire)))
            case .frame(let wire, let frame):
                try engine.received(frame, from: ConnectionID(rawValue: UInt64(wire)))
            }
        }
    }

    /// The disk is full: nothing of the batch was; everybody connects again.
    private func batchFailed() {
        world.trace.note(.batchLost, at: world.now, batchNumber)
        disk.store.rollback()
        forgetAll()
        isFull = true
        world.monitor.relayStopped(disk.store.state)
        world.cutAll()
        start()
    }

    func durable(_ number: Int) {
        guard number == batchNumber, let batch = inFlight else { return }
        disk.sync()
        world.trace.note(.durable, at: world.now, number)
        inFlight = nil
        if world.mayFail, world.chance.happens(world.profile.relayCrashes) {
            world.trace.note(.crashUnsaid, at: world.now, life)
            return stop()
        }
        if world.flaw != .answersEarly { release(batch) }
        world.monitor.examine(disk.store.state)
        goOn()
    }

    private func goOn() {
        guard isUp, inFlight == nil else { return }
        if inbox.isEmpty { due() } else { work() }
    }

    /// The writer lets go what follows from a batch; the loop gets it a little later, while the
    /// writer may be at the next one.
    private func release(_ batch: Release) {
        releases.append(batch)
        gate.leave(with: engine, hasRelease: true)
        world.plan(.released(life), after: world.chance.delay(world.profile.diskLatency / 4))
    }

    /// The loop sends what the writer has let go.
    func released() {
        guard !releases.isEmpty else { return }
        let batch = releases.removeFirst()
        send(batch.output)
        gate.released()
        for wire in batch.handled {
            let left = waiting[wire, default: 0] - 1
            waiting[wire] = left > 0 ? left : nil
        }
    }

    private func send(_ output: BatchOutput) {
        let parts = output.connections.sorted {
            $0.connection.rawValue < $1.connection.rawValue
        }
        world.monitor.begin(parts)
        for part in parts {
            let wire = Int(part.connection.rawValue)
            let isCut = world.chance.happens(2_000)
            let frames = FramePacker.encode(
                part.frame,
                target: isCut ? world.chance.between(300...3_000) : FramePacker.target)
            for frame in frames { world.send(frame, toDeviceOf: wire) }
            if part.closing != nil {
                world.trace.note(.relayClosed, at: world.now, wire)
                world.relayCloses(wire)
            }
        }
    }
}
