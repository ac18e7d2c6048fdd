import ClinicTestSupport
import Cryptography
import FoundationEssentials
import RelayCore
import RelayProtocol
import TestSupport

/// One simulated world: a relay, devices, attackers, and everything between them, on one clock and
/// from one seed. Nothing in it asks the real clock, the real network, a real disk, or anything whose
/// order the seed doesn't decide.
final class World {
    let seed: UInt64
    let chance: Chance
    let trace = Trace()
    let profile: Profile
    let flaw: Flaw
    let clinic: SigningKey
    private let founded: TestClinic?
    private var folder: TemporaryFolder?
    /// Microseconds since the beginning, by a clock that nobody sets.
    private(set) var now = 0
    /// What the relay's wall clock is ahead.
    var clockError = 0
    private var events = EventQueue()
    private(set) var steps = 0
    private var lastRestore = 0

    private(set) var identity: RelayIdentity
    private(set) lazy var relay = SimulatedRelay(world: self)
    private(set) lazy var monitor = Monitor(world: self)
    private(set) var clients: [any Client] = []
    private var wires: [Int: Wire] = [:]
    /// Whose the wires are, those that are gone included.
    private var owners: [Int] = []
    /// The newest wire on which the relay heard of each client.
    private var lastHeard: [Int: Int] = [:]
    /// Nothing goes wrong any more until everything is done.
    private(set) var isCalm = false
    /// What was found.
    private(set) var violation: String?
    /// Join permits that guests gave to owners.
    var invitations: [GuestInvitation] = []

    static let epochSeconds = 20_000 * 86_400 + 40_000

    init(seed: UInt64, vaults: Int = 0, flaw: Flaw = .none, isLoud: Bool = false) throws {
        self.seed = seed
        self.flaw = flaw
        chance = Chance(seed: seed)
        var profile = Profile(chance: chance)
        if vaults > 0 {
            SeededSodium.draw(from: chance)
            profile.draw(vaults: vaults, by: chance)
            let date = Date(timeIntervalSince1970: Double(Self.epochSeconds))
            let founded = try TestClinic(at: date)
            self.founded = founded
            clinic = founded.rootKey
        } else {
            founded = nil
            clinic = try SigningKey(seed: SecretBytes(chance.bytes(32)))
        }
        self.profile = profile
        identity = RelayIdentity(
            identity: try SigningKey(seed: SecretBytes(chance.bytes(32))),
            ticketKey: SecretBytes(chance.bytes(32)), deliveryKey: SecretBytes(chance.bytes(32)),
            incarnation: chance.bytes(16), clinicRoot: clinic.publicKey)
        trace.isLoud = isLoud
        try populate()
        try populateWithVaults()
    }

    private func populate() throws {
        for _ in 0..<profile.doctors { try add(.doctor) }
        for _ in 0..<profile.patients { try add(.patient) }
        for _ in 0..<profile.guests { try add(.guest) }
        for _ in 0..<profile.hostiles {
            clients.append(try Attacker(number: clients.count, world: self))
        }
    }

    /// Real devices, with a clinic of their own.
    private func populateWithVaults() throws {
        guard let founded else { return }
        let folder = try TemporaryFolder()
        self.folder = folder
        for index in 0..<profile.vaults * 2 {
            clients.append(
                try VaultDevice(
                    number: clients.count, role: index % 2 == 0 ? .doctor : .patient, world: self,
                    clinic: founded, folder: folder))
        }
    }

    private func add(_ role: LightDevice.Role) throws {
        clients.append(try LightDevice(number: clients.count, role: role, world: self))
    }

    /// A restored relay is another incarnation.
    func reincarnate() {
        if flaw != .keepsIncarnation { identity.incarnation = chance.bytes(16) }
        if flaw != .keepsNames { identity.deliveryKey = SecretBytes(chance.bytes(32)) }
    }

    var relayKey: VerifyingKey { identity.identity.publicKey }
    var vaultDevices: [VaultDevice] { clients.compactMap { $0 as? VaultDevice } }
    var devices: [LightDevice] { clients.compactMap { $0 as? LightDevice } }
    var mayFail: Bool { !isCalm }
    /// The relay's wall clock.
    var wallSeconds: UInt64 { UInt64(max(0, Self.epochSeconds + now / 1_000_000 + clockError)) }
    /// The day it really is.
    var day: Day { Day(unixSeconds: UInt64(Self.epochSeconds + now / 1_000_000)) }

    /// A device's wall clock, in Unix milliseconds.
    var milliseconds: UInt64 { UInt64(Self.epochSeconds * 1_000 + now / 1_000) }

    /// When a device's wall clock shows that.
    func microseconds(of milliseconds: UInt64) -> Int {
        Int(clamping: milliseconds) * 1_000 - Self.epochSeconds * 1_000_000
    }

    func violate(_ what: String) {
        if violation == nil { violation = what }
    }

    func plan(_ event: EventQueue.Event, after delay: Int) {
        events.plan(event, at: now + max(delay, 0))
    }

    // MARK: Running

    /// Runs so many steps and then until all is calm, or to the first violation.
    func run(steps limit: Int) {
        if trace.isLoud { print(profile) }
        relay.start()
        for client in clients { client.start() }
        if profile.faultPause > 0 { plan(.fault, after: chance.delay(profile.faultPause)) }
        var nextCalm = chance.between(600...3_000)
        while steps < limit, violation == nil {
            step()
            if steps >= nextCalm {
                calmDown()
                nextCalm = steps + chance.between(600...3_000)
            }
        }
        calmDown()
    }

    private func step() {
        guard let (time, event) = events.next() else { return violate("nothing happens any more") }
        now = max(now, time)
        steps += 1
        switch event {
        case .toRelay(let wire): arriveAtRelay(wire)
        case .toDevice(let wire): arriveAtDevice(wire)
        case .noticeAtRelay(let wire): noticeAtRelay(wire)
        case .noticeAtDevice(let wire): noticeAtDevice(wire)
        case .durable(let batch): relay.durable(batch)
        case .released(let life): if life == relay.life { relay.released() }
        case .relayStart(let life): if life == relay.life, !relay.isUp { relay.start() }
        case .relayTick(let life): if life == relay.life { relay.tick() }
        case .relayDue(let life): if life == relay.life { relay.due() }
        case .act(let client): if !isCalm { clients[client].act() }
        case .wake(let client, let stamp): clients[client].wake(stamp)
        case .deviceStart(let client, let stamp): clients[client].restart(stamp)
        case .dial(let client, let stamp): clients[client].dial(stamp)
        case .attack(let client): if !isCalm { clients[client].act() }
        case .fault: if !isCalm { strike() }
        case .mend(let what): mend(what)
        }
    }

    /// Ends all trouble and waits until everybody has what is theirs; then looks.
    private func calmDown() {
        guard violation == nil else { return }
        isCalm = true
        trace.note(.calm, at: now, steps)
        relay.isFull = false
        relay.isNearlyFull = false
        relay.hasLittleRoom = false
        relay.isSlow = false
        clockError = 0
        if !relay.isUp { relay.start() } else { relay.look() }
        for client in clients { client.calmDown() }
        let end = now + 4 * 3_600_000_000
        var sinceLook = 0
        while violation == nil {
            step()
            sinceLook += 1
            guard sinceLook >= 37 else { continue }
            sinceLook = 0
            if isQuiet { break }
            if now > end {
                let waits = clients.filter { !$0.isQuiet }.map { "\($0.number) \($0.trouble)" }
                return violate("no calm after hours; still waiting: \(waits)")
            }
        }
        guard violation == nil else { return }
        monitor.examineCalm(relay.disk.durable)
        for device in vaultDevices { device.examineCalm() }
        isCalm = false
        for client in clients { client.goOn() }
        if profile.faultPause > 0 { plan(.fault, after: chance.delay(profile.faultPause)) }
    }

    private var isQuiet: Bool {
        relay.isQuiet && clients.allSatisfy(\.isQuiet)
            && wires.values.allSatisfy {
                $0.toRelay.isEmpty && $0.toDevice.isEmpty && !($0.isDead && $0.isOpenAtDevice)
            }
    }

    // MARK: The network

    /// A connection that the relay hears of after a while; `nil` while it can't be reached.
    func connect(_ client: Int) -> Int? {
        guard relay.isUp else { return nil }
        let number = owners.count
        owners.append(client)
        wires[number] = Wire(number: number, client: client)
        trace.note(.dialled, at: now, client, number)
        return number
    }

    func send(_ frame: [UInt8], toRelayOver number: Int, after delay: Int = 0) {
        guard let wire = wires[number], wire.isOpenAtDevice, !wire.isDead else { return }
        wire.lastToRelay = max(wire.lastToRelay, now + delay + latency)
        wire.toRelay.append(Wire.Frame(content: frame, dueAt: wire.lastToRelay))
        events.plan(.toRelay(number), at: wire.lastToRelay)
    }

    func send(_ frame: [UInt8], toDeviceOf number: Int) {
        guard let wire = wires[number], wire.isOpenAtRelay, !wire.isDead else { return }
        wire.lastToDevice = max(wire.lastToDevice, now + latency)
        wire.toDevice.append(Wire.Frame(content: frame, dueAt: wire.lastToDevice))
        events.plan(.toDevice(number), at: wire.lastToDevice)
    }

    private var latency: Int {
        let delay = chance.delay(profile.latency)
        if delay > profile.latency * 10 { trace.note(.delayed, at: now, delay) }
        return delay
    }

    private func arriveAtRelay(_ number: Int) {
        guard let wire = wires[number], let frame = wire.toRelay.first else { return }
        wire.toRelay.removeFirst()
        guard relay.isUp else { return }
        if !wire.isOpenAtRelay {
            wire.isOpenAtRelay = true
            relay.opened(number)
        }
        trace.note(.toRelay, at: now, number, frame.content.count)
        let last = lastHeard[wire.client] ?? number
        if number < last { trace.note(.overtaken, at: now, number, last) }
        lastHeard[wire.client] = max(number, last)
        relay.received(frame.content, from: number)
    }

    private func arriveAtDevice(_ number: Int) {
        guard let wire = wires[number], let frame = wire.toDevice.first else { return }
        wire.toDevice.removeFirst()
        guard wire.isOpenAtDevice else { return }
        trace.note(.toDevice, at: now, number, frame.content.count)
        clients[wire.client].received(frame.content, on: number)
    }

    /// The connection breaks: of what is on its way only a beginning arrives, and each end notices
    /// in its own time.
    func cut(_ number: Int, isHalfOpen: Bool = false) {
        guard let wire = wires[number], !wire.isDead else { return }
        trace.note(
            isHalfOpen ? .halfOpen : .cut, at: now, number, wire.toRelay.count, wire.toDevice.count)
        wire.isDead = true
        let count = wire.toRelay.count + wire.toDevice.count
        wire.toRelay = Array(wire.toRelay.prefix(chance.below(wire.toRelay.count + 1)))
        wire.toDevice = Array(wire.toDevice.prefix(chance.below(wire.toDevice.count + 1)))
        let lost = count - wire.toRelay.count - wire.toDevice.count
        if lost > 0 { trace.note(.dropped, at: now, number, lost) }
        let longest = isHalfOpen ? 40_000_000 : 20_000
        plan(
            .noticeAtDevice(number), after: max(wire.lastToDevice - now, chance.below(longest)) + 1)
        plan(.noticeAtRelay(number), after: max(wire.lastToRelay - now, chance.below(longest)) + 1)
    }

    /// The device closes, or its process ended.
    func hangUp(_ number: Int) {
        guard let wire = wires[number], wire.isOpenAtDevice else { return }
        wire.isOpenAtDevice = false
        wire.toDevice = []
        if wire.isDead {
            dropIfOver(wire)
        } else {
            cut(number, isHalfOpen: mayFail && chance.happens(500))
        }
    }

    /// The relay closes behind what it has sent.
    func relayCloses(_ number: Int) {
        guard let wire = wires[number], wire.isOpenAtRelay else { return }
        wire.isOpenAtRelay = false
        wire.lastToDevice = max(wire.lastToDevice, now + latency)
        events.plan(.noticeAtDevice(number), at: wire.lastToDevice)
        wire.isDead = true
        wire.toRelay = []
    }

    /// The relay's process ended: nothing that comes later is heard.
    func cutAll() {
        for number in wires.keys.sorted() {
            guard let wire = wires[number] else { continue }
            wire.toRelay = []
            let wasDead = wire.isDead
            wire.isDead = true
            wire.isOpenAtRelay = false
            guard !wasDead else { continue }
            wire.toDevice = Array(wire.toDevice.prefix(chance.below(wire.toDevice.count + 1)))
            plan(
                .noticeAtDevice(number),
                after: max(wire.lastToDevice - now, chance.below(20_000)) + 1)
            plan(.noticeAtRelay(number), after: 1)
        }
    }

    private func noticeAtDevice(_ number: Int) {
        guard let wire = wires[number] else { return }
        wire.toDevice = []
        if wire.isOpenAtDevice {
            wire.isOpenAtDevice = false
            trace.note(.lost, at: now, wire.client, number)
            clients[wire.client].lost(number)
        }
        dropIfOver(wire)
    }

    private func noticeAtRelay(_ number: Int) {
        guard let wire = wires[number] else { return }
        wire.toRelay = []
        if wire.isOpenAtRelay {
            wire.isOpenAtRelay = false
            relay.closed(number)
        }
        dropIfOver(wire)
    }

    private func dropIfOver(_ wire: Wire) {
        if wire.isDead, !wire.isOpenAtDevice, !wire.isOpenAtRelay, wire.toRelay.isEmpty {
            wires[wire.number] = nil
        }
    }

    func isOpenAtDevice(_ number: Int) -> Bool { wires[number]?.isOpenAtDevice == true }

    // MARK: Trouble

    private func strike() {
        plan(.fault, after: chance.delay(profile.faultPause))
        guard let fault = chance.pick(profile.faults) else { return }
        switch fault {
        case .cut, .halfOpen:
            if let wire = chance.pick(wires.keys.sorted()) {
                cut(wire, isHalfOpen: fault == .halfOpen)
            }
        case .relayCrash: relay.crash()
        case .deviceCrash: clients[chance.below(clients.count)].crash()
        case .diskFull:
            trace.note(.diskFull, at: now)
            relay.isFull = true
            plan(.mend(0), after: chance.delay(profile.faultPause * 2))
        case .slowDisk:
            trace.note(.slowDisk, at: now)
            relay.isSlow = true
            plan(.mend(1), after: chance.delay(profile.faultPause))
        case .nearlyFull:
            trace.note(.nearlyFull, at: now)
            relay.isNearlyFull = true
            plan(.mend(2), after: chance.delay(profile.faultPause * 2))
        case .littleRoom:
            trace.note(.littleRoom, at: now)
            relay.hasLittleRoom = true
            plan(.mend(4), after: chance.delay(profile.faultPause * 2))
        case .clockAhead:
            // At its first start a relay has nothing to hold the clock against.
            guard relay.hasRun else { return }
            clockError = chance.pick([30, 4_000, 100_000, 3_000_000]) ?? 30
            trace.note(.clockJump, at: now, clockError)
            plan(.mend(3), after: chance.delay(profile.faultPause * 4))
        case .clockBehind:
            clockError = -(chance.pick([30, 4_000, 100_000]) ?? 30)
            trace.note(.clockJump, at: now, clockError)
            plan(.mend(3), after: chance.delay(profile.faultPause * 4))
        case .night:
            // Whoever comes back after a year and more finds no receipt any more.
            guard now < 300 * 86_400_000_000 else { return }
            let hours = chance.pick([1, 9, 24, 24 * 8, 24 * 31]) ?? 9
            trace.note(.night, at: now, hours)
            now += hours * 3_600_000_000
        case .backup: relay.backUp()
        case .restore:
            guard steps - lastRestore > 200 else { return }
            lastRestore = steps
            relay.restore()
        case .copyHome: chance.pick(vaultDevices)?.copyHome()
        case .fallBack:
            guard steps - lastRestore > 200 else { return }
            lastRestore = steps
            chance.pick(vaultDevices)?.fallBack()
        }
    }

    private func mend(_ what: Int) {
        switch what {
        case 0: relay.isFull = false
        case 1: relay.isSlow = false
        case 2: relay.isNearlyFull = false
        case 4: relay.hasLittleRoom = false
        default: clockError = 0
        }
    }

    func client(of wire: Int) -> Int? { owners.indices.contains(wire) ? owners[wire] : nil }

    /// A frame of somebody else on its way to the relay.
    func overheard(by client: Int) -> [UInt8]? {
        let others = wires.keys.sorted().compactMap { wires[$0] }.filter { $0.client != client }
        return chance.pick(others.flatMap { $0.toRelay.map(\.content) })
    }
}

/// A guest's permit, as it would be handed over outside of the relay.
struct GuestInvitation {
    var mailbox: MailboxID
    var permit: JoinPermit
    var client: Int
}

/// Whoever talks to the relay.
protocol Client: AnyObject {
    var number: Int { get }
    /// Whether it has all it wanted.
    var isQuiet: Bool { get }
    /// What it waits for, in words.
    var trouble: String { get }
    func start()
    func act()
    func wake(_ stamp: Int)
    func restart(_ stamp: Int)
    func dial(_ stamp: Int)
    func crash()
    func received(_ frame: [UInt8], on wire: Int)
    func lost(_ wire: Int)
    /// Its mailboxes, in the order in which they were made.
    var mailboxes: [MailboxID] { get }
    /// Whether it still wants what comes to a mailbox of its own.
    func uses(_ mailbox: MailboxID) -> Bool
    func calmDown()
    func goOn()
}
