import RelayCore
import RelayProtocol
import RelayTestSupport

/// The relay's process around `RelayEngine`: frames wait while a batch is on its way to the disk,
/// all of them are the next batch, and what a batch says leaves when it is durable. As
/// `RelayWriter`, which does the same with a thread.
final class SimulatedRelay {
    private enum Arrival {
        case opened(Int)
        case frame(Int, ClientFrame)
        case garbage(Int)
        case closed(Int)
    }

    private unowned let world: World
    let disk: SimulatedDisk
    private var backups: [(disk: SimulatedDisk.Backup, groups: [GroupID: GroupModel.History])] = []
    private(set) var engine: RelayEngine?
    /// Which life of the process this is.
    private(set) var life = 0
    private var inbox: [Arrival] = []
    private var inFlight: BatchOutput?
    private var batchNumber = 0
    private var isDoomed = false
    private var lastGroups = Int.min
    private var lastDay: Day?
    private var cursor: GroupNumber?
    private var isSweeping = false

    /// What a relay answers is also what it would answer with another disk.
    var isFull = false
    var isNearlyFull = false
    var isSlow = false

    init(world: World) {
        self.world = world
        disk = SimulatedDisk(flaw: world.flaw)
    }

    var isUp: Bool { engine != nil }
    /// Nothing waits to be dealt with.
    var isQuiet: Bool { isUp && inbox.isEmpty && inFlight == nil }

    private var time: RelayTime {
        RelayTime(
            unixSeconds: world.wallSeconds, monotonicMilliseconds: UInt64(world.now / 1_000))
    }

    // MARK: Life

    func start() {
        life += 1
        do {
            let guarding = ClockGuard(
                at: time, lastHour: try disk.store.clockMark(), isConfirmed: world.isCalm)
            let chance = world.chance
            engine = try RelayEngine(
                store: disk.store, identity: world.identity, limits: world.profile.limits,
                clock: guarding
            ) { chance.bytes($0) }
        } catch {
            world.violate("the relay doesn't start: \(error)")
        }
        engine?.refusesGrowth = isFull || isNearlyFull
        lastDay = nil
        lastGroups = .min
        isSweeping = false
        world.trace.note(.restart, at: world.now, life)
        world.plan(.relayTick(life), after: 1_000_000)
    }

    /// The process ends here and now.
    func crash() {
        guard isUp else { return }
        world.trace.note(inFlight == nil ? .crash : .crashUnsynced, at: world.now, life)
        stop()
    }

    private func stop() {
        engine = nil
        inbox = []
        inFlight = nil
        let count = disk.unsyncedCount
        let kept = world.chance.below(count + 1)
        if kept < count { world.trace.note(.unsyncedLost, at: world.now, count - kept) }
        if kept > 0 { world.trace.note(.unsyncedKept, at: world.now, kept) }
        disk.crash(keeping: kept)
        world.monitor.relayStopped(disk.durable)
        world.cutAll()
        world.plan(.relayStart(life), after: world.chance.delay(200_000))
    }

    /// Makes a backup. One of a relay that doesn't know all the devices yet would shut them out: their
    /// admission tokens are spent.
    func backUp() {
        guard world.vaultDevices.allSatisfy({ $0.isKnown(in: disk.durable) }) else { return }
        world.trace.note(.backedUp, at: world.now, life, disk.trail.count)
        backups.append((disk.backup, world.monitor.histories))
        if backups.count > 4 { backups.remove(at: world.chance.below(backups.count)) }
    }

    /// The operator puts a backup in place of what the relay has. Those made since are of a past that
    /// isn't any more: shelves in them hold packages that the devices have given up by now.
    func restore() {
        guard isUp, let index = world.chance.pick(Array(backups.indices)) else { return }
        let backup = backups[index]
        backups.removeSubrange((index + 1)...)
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
    /// came before waits. Returns what is left to do.
    private func takeShortWay(_ frame: ClientFrame, _ wire: Int) -> ClientFrame? {
        guard let engine, inFlight == nil, inbox.isEmpty, world.chance.happens(9_000) else {
            return frame
        }
        do {
            engine.beginFromMemory(at: time)
            let rest = try engine.receivedFromMemory(
                frame, from: ConnectionID(rawValue: UInt64(wire)))
            world.trace.note(.early, at: world.now, wire)
            release(engine.finishFromMemory())
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
        if inFlight == nil { work() }
    }

    /// Looks at the disk.
    func look() { engine?.refusesGrowth = isFull || isNearlyFull }

    func tick() {
        guard isUp else { return }
        look()
        world.plan(.relayTick(life), after: 1_000_000)
        if inFlight == nil { work() }
    }

    // MARK: Batches

    private func work() {
        guard let engine else { return }
        let arrivals = inbox
        inbox = []
        if world.mayFail, world.chance.happens(world.profile.relayCrashes) { isDoomed = true }
        disk.limit(writes: isFull ? world.chance.below(12) : nil)
        disk.store.begin()
        engine.begin(at: time)
        do {
            try carry(arrivals, into: engine)
            try sweep(engine)
            let output = try engine.finish()
            let mustSync = disk.commit()
            planDeadline()
            batchNumber += 1
            world.trace.note(.batch, at: world.now, batchNumber, arrivals.count)
            if !mustSync || world.flaw == .answersEarly { release(output) }
            if !mustSync { return goOn() }
            inFlight = output
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

    private func sweep(_ engine: RelayEngine) throws {
        engine.sweepConnections()
        let day = time.day
        if lastGroups == .min || world.now >= lastGroups + 3_600_000_000
            || (lastDay != nil && lastDay != day)
        {
            lastGroups = world.now
            lastDay = day
            isSweeping = true
            cursor = nil
            try engine.sweepRecords()
        }
        if isSweeping {
            cursor = try engine.sweepGroups(from: cursor)
            isSweeping = cursor != nil
        }
    }

    /// The disk is full: nothing of the batch was; everybody connects again.
    private func batchFailed() {
        world.trace.note(.batchLost, at: world.now, batchNumber)
        disk.store.rollback()
        engine = nil
        inbox = []
        isFull = true
        world.monitor.relayStopped(disk.store.state)
        world.cutAll()
        start()
    }

    func durable(_ number: Int) {
        guard number == batchNumber, let output = inFlight else { return }
        disk.sync()
        world.trace.note(.durable, at: world.now, number)
        inFlight = nil
        if world.mayFail, world.chance.happens(world.profile.relayCrashes) {
            world.trace.note(.crashUnsaid, at: world.now, life)
            return stop()
        }
        if world.flaw != .answersEarly { release(output) }
        world.monitor.examine(disk.store.state)
        goOn()
    }

    private func goOn() {
        guard isUp, inFlight == nil else { return }
        if inbox.isEmpty { due() } else { work() }
    }

    private func release(_ output: BatchOutput) {
        world.monitor.begin(
            output.connections.sorted { $0.connection.rawValue < $1.connection.rawValue })
        for part in output.connections.sorted(by: {
            $0.connection.rawValue < $1.connection.rawValue
        }) {
            let wire = Int(part.connection.rawValue)
            for frame in split(part.frame) { world.send(frame.encoded(), toDeviceOf: wire) }
            if part.closing != nil {
                world.trace.note(.relayClosed, at: world.now, wire)
                world.relayCloses(wire)
            }
        }
    }

    /// What a packer may make of a frame: several, in the same order.
    private func split(_ frame: RelayFrame) -> [RelayFrame] {
        guard frame.challenge == nil, world.chance.happens(2_000) else { return [frame] }
        var parts: [RelayFrame] = []
        let size = world.chance.between(1...4)
        for start in stride(from: 0, to: frame.replies.count, by: size) {
            parts.append(RelayFrame(replies: Array(frame.replies[start...].prefix(size))))
        }
        for start in stride(from: 0, to: frame.deliveries.count, by: size) {
            parts.append(RelayFrame(deliveries: Array(frame.deliveries[start...].prefix(size))))
        }
        parts.append(RelayFrame(notices: frame.notices))
        return parts.filter { $0 != RelayFrame() }
    }
}
