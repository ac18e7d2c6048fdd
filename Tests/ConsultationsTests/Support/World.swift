import Clinic
import ClinicTestSupport
import Credentials
import Cryptography
import FoundationEssentials
import RelayCore
import RelayProtocol
import RelayTestSupport
import TLSSyntax
import TestSupport
import Vault

@testable import Consultations

/// A clinic, a relay and devices in one process: everything that travels passes through `World`,
/// which can lose it, cut connections and stop anybody between two steps, all from one seed.
final class World {
    let clinic: TestClinic
    let relay: TestRelay
    var random: SeededGenerator
    /// The devices' wall clock, in Unix milliseconds.
    var now: UInt64
    private(set) var devices: [TestDevice] = []
    let folder: TemporaryFolder
    /// Sees every frame before it is delivered; nil drops it.
    var tamper: ((RelayFrame, TestDevice) -> RelayFrame?)?
    var options = DeviceOptions()
    /// Which MLS key made a ciphertext, also one that was never stored.
    private var origins: [[UInt8]: [UInt8]] = [:]
    /// The ciphertext that left under each MLS key.
    private var departed: [[UInt8]: [UInt8]] = [:]
    /// MLS keys under which two ciphertexts left. There must be none.
    private(set) var repeatedKeys = 0

    init(seed: UInt64 = 1) throws {
        clinic = try TestClinic()
        now = clinic.date.milliseconds + 1_000
        relay = try TestRelay(clinicRoot: clinic.rootKey.publicKey)
        random = SeededGenerator(seed: seed)
        folder = try TemporaryFolder()
        options.passphraseCost = .minimal
        options.shelfTarget = 3
    }

    func addPatient(
        _ name: String = "Paul Patient", reference: String = "P-1"
    ) async throws -> TestDevice {
        try await add(role: .patient, name: name, reference: reference)
    }

    func addDoctor(_ name: String = "Dr. Ada Lind") async throws -> TestDevice {
        let device = try await add(role: .doctor, name: name, reference: "D-1")
        try device.certify(by: clinic, name: name)
        return device
    }

    func add(role: PersonRole, name: String, reference: String) async throws -> TestDevice {
        let invitation = try clinic.invitation(
            role: role, name: name, reference: reference,
            relayKey: relay.identity.identity.publicKey)
        let token = try AdmissionToken(
            relayKey: relay.identity.identity.publicKey, serial: Random.bytes(16),
            expires: now / 1_000 + 86_400, clinicRoot: clinic.rootKey)
        let home = folder.file("\(name)-\(devices.count)")
        let device = try await TestDevice(
            name: name, invitation: invitation, token: token.encoded(), home: home, world: self)
        devices.append(device)
        watch(device)
        return device
    }

    /// A device over a vault that lies in `home` already.
    func addOpened(_ name: String, home: String) throws -> TestDevice {
        let device = try TestDevice(name: name, home: home, world: self)
        devices.append(device)
        watch(device)
        return device
    }

    /// Delivers everything until nobody has anything to say.
    func settle(limit: Int = 10_000) throws {
        for _ in 0..<limit where try !step() { return }
        throw Restless()
    }

    struct Restless: Error {}

    /// One frame from somebody to somebody, or what the relay does when all are silent; false if
    /// there is neither.
    func step() throws -> Bool {
        let talking = devices.filter { !$0.toRelay.isEmpty || !$0.fromRelay.isEmpty }
        guard let device = talking.randomElement(using: &random) else {
            guard relay.isWaiting else { return false }
            deliver(relay.passHoldingTime())
            return true
        }
        let outward =
            device.fromRelay.isEmpty || (!device.toRelay.isEmpty && Bool.random(using: &random))
        if outward {
            let message = device.toRelay.removeFirst()
            noteDeparture(message)
            deliver(relay.receive(message, from: device.connection))
        } else {
            let frame = device.fromRelay.removeFirst()
            now += 1
            if let tamper {
                if let changed = tamper(frame, device) { try device.receive(changed) }
            } else {
                try device.receive(frame)
            }
        }
        return true
    }

    func watch(_ device: TestDevice) {
        device.engine.sealObserver = { [unowned self] origin, content in
            let group = (try? PrivateMessageHeader(message: content))?.groupID ?? []
            origins[content] =
                group + Array("\(origin.sender) \(origin.epoch) \(origin.generation)".utf8)
        }
    }

    private func noteDeparture(_ message: [UInt8]) {
        guard let frame = try? ClientFrame(decoding: message) else { return }
        for request in frame.requests {
            let content: [UInt8]
            switch request.operation {
            case .send(let request): content = request.content
            // An abandoned group is closed with octets that no key made.
            case .close(let request) where origins[request.content] == nil: continue
            case .close(let request): content = request.content
            default: continue
            }
            guard let key = origins[content] else {
                repeatedKeys += 1
                continue
            }
            if let other = departed[key], other != content { repeatedKeys += 1 }
            departed[key] = content
        }
    }

    func connect(_ device: TestDevice) throws {
        disconnect(device)
        device.connection = relay.connect()
        now += 1
        try device.work { try $0.connectionOpened(at: now) }
    }

    /// What is on its way in either direction is lost.
    func disconnect(_ device: TestDevice) {
        guard device.connection != nil else { return }
        deliver(relay.disconnect(device.connection))
        device.connection = nil
        device.toRelay = []
        device.fromRelay = []
        try? device.engine.connectionClosed(at: now)
    }

    func deliver(_ outputs: [(ConnectionID, RelayFrame)]) {
        for (connection, frame) in outputs {
            devices.first { $0.connection == connection }?.fromRelay.append(frame)
        }
    }

    /// The relay comes back with what it had when the backup was made; nobody is connected.
    func restoreRelay(_ backup: MemoryState) throws {
        for device in devices { disconnect(device) }
        relay.store.restore(backup)
        try relay.reincarnate()
    }

    /// Time passes, and devices do what is due then.
    func pass(seconds: UInt64) throws {
        now += seconds * 1_000
        relay.clock.monotonicMilliseconds += seconds * 1_000
        for device in devices {
            if let due = device.engine.wakeAt, due <= now, device.connection != nil {
                try device.work { try $0.wake(at: now) }
            }
        }
        try settle()
    }

    /// The relay's process ends and starts again with what it had committed.
    func restartRelay() throws {
        for device in devices { disconnect(device) }
        try relay.restart()
    }
}

/// The relay's engine over memory.
final class TestRelay {
    private(set) var identity: RelayIdentity
    let store = MemoryStore()
    private var engine: RelayEngine
    private var lastConnection: UInt64 = 0
    var clock = RelayTime(
        unixSeconds: Date.now.seconds, monotonicMilliseconds: 1_000)

    init(clinicRoot: VerifyingKey) throws {
        identity = RelayIdentity(
            identity: try SigningKey(), ticketKey: .random(count: 32),
            deliveryKey: .random(count: 32), incarnation: Random.bytes(16),
            clinicRoot: clinicRoot)
        engine = try Self.engine(store, identity, clock)
    }

    private static func engine(
        _ store: MemoryStore, _ identity: RelayIdentity, _ clock: RelayTime
    ) throws -> RelayEngine {
        var limits = RelayLimits()
        limits.shelfClaimsPerHour = 100_000
        limits.claimsPerHour = 100_000
        limits.published.ticketsPerDay = 1_000
        return try RelayEngine(
            store: store, identity: identity, limits: limits,
            clock: ClockGuard(at: clock, lastHour: nil, isConfirmed: true))
    }

    func restart() throws {
        store.rollback()
        engine = try Self.engine(store, identity, clock)
    }

    /// Another incarnation, over what `store` has now.
    func reincarnate() throws {
        identity = RelayIdentity(
            identity: identity.identity, ticketKey: .random(count: 32),
            deliveryKey: .random(count: 32), incarnation: Random.bytes(16),
            clinicRoot: identity.clinicRoot)
        engine = try Self.engine(store, identity, clock)
    }

    private func batch(
        _ body: (RelayEngine) throws -> Void
    ) -> [(ConnectionID, RelayFrame)] {
        engine.begin(at: clock)
        do {
            try body(engine)
            let output = try engine.finish()
            store.commit()
            return output.connections.map { ($0.connection, $0.frame) }
        } catch {
            return []
        }
    }

    func connect() -> ConnectionID {
        lastConnection += 1
        let id = ConnectionID(rawValue: lastConnection)
        _ = batch { $0.connected(id) }
        return id
    }

    func disconnect(_ id: ConnectionID?) -> [(ConnectionID, RelayFrame)] {
        guard let id else { return [] }
        return batch { try $0.disconnected(id) }
    }

    func receive(_ message: [UInt8], from id: ConnectionID?) -> [(ConnectionID, RelayFrame)] {
        guard let id, let frame = try? ClientFrame(decoding: message) else { return [] }
        clock.monotonicMilliseconds += 1
        return batch { try $0.received(frame, from: id) }
    }

    /// Messages wait in the relay's memory for their recipients.
    var isWaiting: Bool { engine.nextDeadline != nil }

    /// The time of what waits longest in memory is up.
    func passHoldingTime() -> [(ConnectionID, RelayFrame)] {
        guard let deadline = engine.nextDeadline else { return [] }
        clock.monotonicMilliseconds = max(clock.monotonicMilliseconds, deadline)
        return batch { _ in }
    }

    /// Days pass, and the relay does what is due.
    func pass(days: UInt64) -> [(ConnectionID, RelayFrame)] {
        clock.unixSeconds += days * 86_400
        clock.monotonicMilliseconds += days * 86_400_000
        return batch { engine in
            _ = try engine.sweepGroups(from: nil)
        }
    }
}

/// One device: its engine, and what is on its way to and from the relay.
final class TestDevice {
    let name: String
    let home: String
    unowned let world: World
    private(set) var engine: Engine
    var connection: ConnectionID?
    var toRelay: [[UInt8]] = []
    var fromRelay: [RelayFrame] = []
    private(set) var events: [DeviceEvent] = []
    private(set) var troubles: [ConnectionTrouble] = []
    static let passphrase = SecretBytes(Array("a passphrase".utf8))

    init(
        name: String, invitation: Invitation, token: [UInt8], home: String, world: World
    ) async throws {
        self.name = name
        self.home = home
        self.world = world
        let vault = try Device.makeVault(
            invitation, home: home, passphrase: Self.passphrase, options: world.options,
            at: Date(milliseconds: world.now))
        engine = try Engine(vault: vault, options: world.options)
        // The clinic's own tool puts it into the invitation; the test relay takes this one.
        try engine.perform(at: world.now) { turn in
            turn.state.profile.admissionToken = Data(token)
            try turn.saveProfile()
        }
    }

    init(name: String, home: String, world: World) throws {
        self.name = name
        self.home = home
        self.world = world
        engine = try Engine(
            vault: try Vault.open(at: home, passphrase: Self.passphrase), options: world.options)
    }

    var id: PersonID { PersonID(identityKey: engine.state.identity.publicKey) }

    func certify(by clinic: TestClinic, name: String) throws {
        let certificates = try clinic.authority.certify(
            DoctorEntry(name: name, licence: "DE-12345", specialty: "General practice"),
            identityKey: engine.state.identity.publicKey,
            prescriptionKey: VerifyingKey([UInt8](engine.state.profile.practice.prescriptionKey)),
            at: clinic.date, days: 365)
        try work { engine in
            try engine.perform(at: world.now) { turn in
                turn.state.profile.practice.identityChain = certificates.identity.map { Data($0) }
                turn.state.profile.practice.prescriptionChain = certificates.prescription.map {
                    Data($0)
                }
                try turn.saveProfile()
            }
        }
    }

    /// Calls the engine and puts what it wants to send on its way.
    @discardableResult
    func work<Result>(_ body: (Engine) throws -> Result) throws -> Result {
        do {
            let result = try body(engine)
            carryOut()
            return result
        } catch DeviceError.bug("Killed") {
            try crash()
            throw Killed()
        }
    }

    @discardableResult
    func perform<Result>(_ body: (inout Turn) throws -> Result) throws -> Result {
        world.now += 1
        return try work { try $0.perform(at: world.now, body) }
    }

    func receive(_ frame: RelayFrame) throws {
        try work { try $0.receive(frame.encoded(), at: world.now) }
    }

    private func carryOut() {
        let known = troubles.count
        for output in engine.takeOutputs() {
            switch output {
            case .send(let message): if connection != nil { toRelay.append(message) }
            case .event(let event): events.append(event)
            case .disconnect(let trouble): troubles.append(trouble)
            }
        }
        if troubles.count > known, connection != nil, troubles.last?.isFinal == true {
            world.disconnect(self)
        }
    }

    /// The process ends as by kill -9 and starts again with what lies on the disk.
    func crash() throws {
        world.disconnect(self)
        engine.vault.close()
        engine = try Engine(
            vault: try Vault.open(at: home, passphrase: Self.passphrase), options: world.options)
        world.watch(self)
    }

    /// The process ends at the next commit, before or after it is durable.
    func crashAtNextCommit(_ checkpoint: Engine.Checkpoint) {
        engine.checkpoint = { if $0 == checkpoint { throw Killed() } }
    }

    struct Killed: Error {}

    // MARK: What a person does

    func only() throws -> ConsultationState {
        let shown = engine.state.consultations.values.filter(\.isShown)
        guard let found = shown.first, shown.count == 1 else { throw Missing() }
        return found
    }

    struct Missing: Error {}

    func card() throws -> Card {
        let state = engine.state
        let chain = state.profile.practice.identityChain.map { [UInt8]($0) }
        let now = Date(milliseconds: world.now)
        return try Card(
            signing: try CardContent(
                relayURL: "ws://127.0.0.1:1", relayKey: state.relayKey, shelf: state.home.bytes,
                shelfKey: state.shelfKey, chain: chain, cipherSuite: CardSuite.required,
                issued: now, expires: now.addingTimeInterval(86_400)), with: state.identity)
    }

    @discardableResult
    func request(_ card: Card, reason: String = "Husten") throws -> Vault.ConsultationNumber {
        try perform { turn in
            try turn.request(
                card, time: world.now / 1_000 + 3_600, minutes: 20, reason: reason)
        }
    }

    func accept() throws {
        let number = try only().number
        try perform { turn in
            try turn.modify(number) { consultation, turn in
                consultation.record.standing.accepted = true
                try turn.enqueue(.accept, in: &consultation)
            }
        }
    }

    @discardableResult
    func say(_ text: String) throws -> MessageID {
        let id = try only().id
        return try perform { turn in
            let number = try turn.writable(id)
            return try turn.post(.text(text), to: number).id
        }
    }

    func end(givingUp: Bool = false) throws {
        let number = try only().number
        try perform { try $0.end(number, givingUp: givingUp) }
    }

    func messages() throws -> [Message] {
        let consultation = try only()
        let state = engine.state
        return try engine.read { transaction in
            try transaction.allRecords(
                StoredMessage.self, of: .messages, in: consultation.scope
            ).map { state.describe($0.record, number: $0.number, in: consultation) }
        }
    }

    /// The texts that are shown, in their order.
    func texts() throws -> [String] {
        try messages().compactMap { if case .text(let text) = $0.body { text } else { nil } }
    }

    var stateWords: [String] {
        engine.state.consultations.values.map { engine.state.describe($0).state.word }
    }

    func receipts() throws -> [KeptReceipt] {
        try engine.read { try $0.receipts().map(\.kept) }
    }
}
