import ClinicTestSupport
import Consultations
import Credentials
import Cryptography
import FoundationEssentials
import RelayProtocol
import RelayTestSupport
import TestSupport
import Vault

import struct Clinic.DoctorEntry

/// A real device: the code of `Consultations` and MLS over a real vault in a file. Its process can end
/// before and after any commit; what it said before must be in the vault when it comes back.
final class VaultDevice: Client {
    enum Role { case doctor, patient }

    let number: Int
    let role: Role
    unowned let world: World
    private(set) var core: BareDevice?
    let home: String
    private let options: DeviceOptions
    private var wire: Int?
    private var stamp = 0
    private var isArmed = false
    private var isStopping = Happening.deviceUnsent
    private var lastWake = Int.max
    private var isStopped = false
    /// What was said and stored, by consultation.
    var said: [ConsultationID: [String]] = [:]
    var count = 0
    /// Names of files that were taken in, by consultation; what is in them follows from the name.
    var sent: [ConsultationID: Set<String>] = [:]
    /// Files that the person was told about that the relay doesn't take them.
    var toldOf: Set<String> = []
    /// The process ended before it could tell.
    private var hasMissedWords = false
    /// Copies of the home, after so many units of work, and whether one has just taken its place.
    var copies: [(home: String, works: Int)] = []
    private(set) var works = 0
    var copyCount = 0
    var hasFallenBack = false
    /// It went on from an older home at least once.
    var hasForgotten = false
    /// That home wasn't what it had become.
    var isOlder = false
    /// And the relay, which knew of no later connection, couldn't tell: now, or once when all was calm.
    var isUntold = false
    private var wasUntold = false
    /// Which MLS key made a ciphertext, also one that was never stored.
    private var origins: [[UInt8]: Message.Origin] = [:]
    /// Its home mailbox first.
    private(set) var mailboxes: [MailboxID] = []
    /// The group of each consultation when all was calm, and how often it had said that it was
    /// reopened.
    var seen: [ConsultationID: (group: [UInt8], notices: Int)] = [:]

    private static let passphrase = SecretBytes(Array("a passphrase".utf8))

    init(number: Int, role: Role, world: World, clinic: TestClinic, folder: TemporaryFolder) throws
    {
        self.number = number
        self.role = role
        self.world = world
        home = folder.file("\(number)")
        var options = DeviceOptions()
        options.passphraseCost = .minimal
        options.shelfTarget = 3
        options.refreshAfterMessages = 5
        if world.profile.restores || world.profile.fallsBack { options.reopeningsPerHour = 1_000 }
        self.options = options
        let invitation = try clinic.invitation(
            role: role == .doctor ? .doctor : .patient, name: "Person \(number)",
            reference: "R-\(number)", relayKey: world.relayKey,
            joinBefore: clinic.date.addingTimeInterval(3_650 * 86_400))
        let core = try BareDevice(
            joining: invitation, home: home, passphrase: Self.passphrase, options: options,
            at: world.milliseconds)
        if role == .doctor {
            let certificates = try clinic.authority.certify(
                DoctorEntry(name: "Person \(number)", licence: "L-\(number)", specialty: "S"),
                identityKey: core.keys.identity,
                prescriptionKey: VerifyingKey(core.keys.prescription), at: clinic.date,
                days: 3_650)
            try core.certify(chain: certificates.identity, at: world.milliseconds)
        }
        take(core)
    }

    private func take(_ core: BareDevice) {
        self.core = core
        core.observeSeals { [unowned self] origin, content in
            origins[Hash.sha256(content)] = origin
        }
    }

    var isUp: Bool { core != nil }

    // MARK: Life

    func start() {
        dialLater(world.chance.below(200_000))
        actLater()
    }

    private func dialLater(_ delay: Int) {
        stamp += 1
        world.plan(.dial(number, stamp), after: delay)
    }

    private func actLater() {
        world.plan(.act(number), after: world.chance.delay(world.profile.pause))
    }

    func dial(_ stamp: Int) {
        guard core != nil, stamp == self.stamp, wire == nil, !isStopped else { return }
        goOnIfCopied()
        guard core != nil else { return }
        guard let wire = world.connect(number) else {
            return dialLater(world.chance.delay(300_000))
        }
        self.wire = wire
        work { try $0.connectionOpened(at: world.milliseconds) }
    }

    func lost(_ wire: Int) {
        guard wire == self.wire else { return }
        self.wire = nil
        work { try $0.connectionClosed(at: world.milliseconds) }
        if core != nil { dialLater(world.chance.delay(world.isCalm ? 50_000 : 300_000)) }
    }

    func crash() {
        guard core != nil else { return }
        if world.chance.happens(7_000) { isArmed = true } else { goDown() }
    }

    func goDown() {
        world.trace.note(.deviceCrash, at: world.now, number)
        if let wire { world.hangUp(wire) }
        wire = nil
        core?.close()
        core = nil
        isArmed = false
        stamp += 1
        world.plan(.deviceStart(number, stamp), after: world.chance.delay(500_000))
    }

    func restart(_ stamp: Int) {
        guard core == nil, stamp == self.stamp else { return }
        world.trace.note(.deviceRestart, at: world.now, number)
        do {
            let core = try BareDevice(
                home: home, passphrase: Self.passphrase, options: options,
                at: world.milliseconds)
            take(core)
            if hasFallenBack { try takeStock(core) }
            for consultation in core.consultations { try compare(consultation.id, core) }
            hasMissedWords = false
        } catch {
            return violate("doesn't open its vault: \(error)")
        }
        dialLater(0)
    }

    /// What was said is in the vault, and of what was being said when the process ended, all or
    /// nothing.
    private func compare(_ id: ConsultationID, _ core: BareDevice) throws {
        let mine = try texts(of: id, isMine: true, core)
        if !mine.starts(with: said[id] ?? []) { violate("what it had said is gone") }
        said[id] = mine
        try compareFiles(of: id, core, mayMiss: hasMissedWords)
    }

    func texts(
        of id: ConsultationID, isMine: Bool, _ core: BareDevice
    ) throws -> [String] {
        try core.messages(of: id).filter { $0.isMine == isMine }.compactMap {
            if case .text(let text) = $0.body { text } else { nil }
        }
    }

    func calmDown() {
        isArmed = false
        if core == nil {
            stamp += 1
            world.plan(.deviceStart(number, stamp), after: 0)
        } else if wire == nil {
            dialLater(world.chance.below(100_000))
        }
    }

    func goOn() { actLater() }

    func wake(_ stamp: Int) {
        guard world.now >= lastWake else { return }
        lastWake = .max
        guard wire != nil else { return }
        world.trace.note(.wake, at: world.now, number)
        work { try $0.wake(at: world.milliseconds) }
    }

    // MARK: Units of work

    private func arm(_ core: BareDevice, _ units: Int) {
        guard world.mayFail else { return }
        if isArmed || world.chance.happens(world.profile.deviceCrashes) {
            isArmed = false
            core.stop = world.chance.happens(5_000) ? .beforeCommit : .afterCommit
            isStopping = core.stop == .beforeCommit ? .deviceUnstored : .deviceUnsent
        } else if world.chance.happens(world.profile.deviceFull) {
            core.stop = .diskFull
        }
        core.unitsBeforeStop = units > 1 ? world.chance.below(units) : 0
    }

    func work(units: Int = 1, _ body: (BareDevice) throws -> Void) {
        guard let core else { return }
        works += 1
        arm(core, units)
        do {
            try body(core)
            carryOut(core)
        } catch is BareDevice.Stopped {
            world.trace.note(isStopping, at: world.now, number)
            hasMissedWords = isStopping == .deviceUnsent
            goDown()
        } catch DeviceError.vault(.diskFull) {
            world.trace.note(.deviceDiskFull, at: world.now, number)
            _ = core.takeOutputs()
            if let wire {
                world.hangUp(wire)
                lost(wire)
            }
        } catch DeviceError.notInState, DeviceError.unknownConsultation {
            // It was ended meanwhile.
        } catch {
            violate("fails: \(error)")
        }
    }

    private func carryOut(_ core: BareDevice) {
        for output in core.takeOutputs() {
            switch output {
            case .send(let frame):
                introduce(frame)
                if let wire { world.send(frame, toRelayOver: wire) }
            case .refused(let file):
                world.trace.note(.fileRefused, at: world.now, number)
                toldOf.insert(file)
            case .hangUp(let isFinal):
                if isFinal, !core.isCopied {
                    isStopped = true
                    return violate("gives up for good")
                }
                guard let wire else { continue }
                world.hangUp(wire)
                lost(wire)
            }
        }
        guard let due = core.wakeAt, wire != nil else { return }
        let time = max(world.now, world.microseconds(of: due))
        guard time < lastWake else { return }
        lastWake = time
        world.plan(.wake(number, stamp), after: time - world.now)
    }

    /// The model learns whose the mailboxes are.
    private func introduce(_ bytes: [UInt8]) {
        guard let frame = try? ClientFrame(decoding: bytes) else {
            return violate("sends a frame that is none")
        }
        for request in frame.requests {
            switch request.operation {
            case .open where world.monitor.boxes[request.mailbox] == nil:
                world.monitor.know(request.mailbox, of: number, isHostile: false)
                mailboxes.append(request.mailbox)
            case .send(let it), .close(let it):
                let hash = Hash.sha256(it.content)
                guard let origin = origins[hash] else { continue }
                world.monitor.noteKey(origin, in: it.groupID, of: hash, in: request)
            default: break
            }
        }
    }

    func received(_ bytes: [UInt8], on wire: Int) {
        guard wire == self.wire else { return }
        work { try $0.receive(bytes, at: world.milliseconds) }
    }

    // MARK: What a person does

    func act() {
        actLater()
        guard let core, !core.isCopied else { return }
        world.trace.note(.acted, at: world.now, number)
        let all = core.consultations
        if role == .patient, all.count < 2, world.chance.happens(1_500) { return ask() }
        guard let it = world.chance.pick(all) else { return }
        let now = world.milliseconds
        switch it.state {
        case .requested where role == .doctor && world.chance.happens(5_000):
            work { try $0.accept(it.id, at: now) }
        case .requested, .open:
            if world.chance.happens(200) { return work { try $0.end(it.id, at: now) } }
            if world.profile.sendsFiles, world.chance.happens(1_500) { return sendFile(to: it.id) }
            count += 1
            let text = "\(number)-\(count)"
            work { core in
                try core.say(text, in: it.id, at: now)
                said[it.id, default: []].append(text)
            }
        case .failed, .locked: work { try $0.end(it.id, at: now) }
        default: break
        }
    }

    private func ask() {
        let doctors = world.vaultDevices.filter { $0.role == .doctor }
        guard let doctor = world.chance.pick(doctors),
            let card = try? doctor.core?.card(at: world.milliseconds)
        else { return }
        work { try $0.request(card, at: world.milliseconds) }
    }

    // MARK: Quiet

    var isQuiet: Bool { trouble.isEmpty }

    var trouble: String {
        guard let core, wire != nil, !core.isCopied else { return "not connected" }
        // An older vault may have forgotten a file that the other waits for.
        if core.hasTransfers, !world.profile.fallsBack { return "a file on its way" }
        let forgotten = core.consultations.map(\.id).filter(isForgotten)
        return core.trouble(at: world.milliseconds, besides: forgotten) ?? ""
    }

    /// Whether no patient's vault knows of it any more: a patient's device isn't asked by anybody,
    /// so the doctor's waits until its person ends it.
    private func isForgotten(_ id: ConsultationID) -> Bool {
        guard role == .doctor, world.profile.fallsBack else { return false }
        let patients = world.vaultDevices.filter { $0.role == .patient }
        return patients.allSatisfy { (try? $0.core?.remembers(id)) == false }
    }

    func uses(_ mailbox: MailboxID) -> Bool { core?.uses(mailbox) == true }

    /// Whether a relay with these contents has admitted it.
    func isKnown(in state: MemoryState) -> Bool {
        mailboxes.first.map { state.mailboxNumbers[$0] != nil } ?? false
    }

    func violate(_ what: String) { world.violate("device \(number): \(what)") }

    /// Both sides of every consultation that both still have show the same.
    func examineCalm() {
        guard let core else { return }
        wasUntold = wasUntold || isUntold
        do {
            for it in core.consultations where it.state == .open || it.state == .requested {
                let messages = try core.messages(of: it.id)
                let other = other(in: it.id)
                if other == nil, mustBeShared {
                    violate("goes on with what \(whoEnded(it.id))")
                }
                let mayLack = mayLack || other?.mayLack == true
                let hasGap = messages.contains { if case .gap = $0.body { true } else { false } }
                // What the sender has forgotten that it said, and then the other that it heard, is
                // nowhere any more.
                if hasGap, !mayLack, !(hasForgotten && other?.hasForgotten == true) {
                    violate("shows a gap")
                }
                if try texts(of: it.id, isMine: true, core) != said[it.id] ?? [] {
                    violate("shows something else than it said")
                }
                let isUnsent = messages.contains { $0.isMine && $0.state < .relayed }
                if isUnsent, !isForgotten(it.id) { violate("has something unsent") }
                try examineReopening(of: it, messages, core)
                let counterpart = other?.core?.consultations.first { $0.id == it.id }
                // A side that is locked takes nothing.
                let taker = counterpart?.isLocked == true || mayLack ? nil : other
                try examineFiles(of: it.id, messages, core, by: taker)
                guard let taker else { continue }
                let heard = try texts(of: it.id, isMine: false, core)
                let told = taker.said[it.id] ?? []
                // What an older vault of the other has forgotten is here at most.
                let known = heard.filter { taker.copies.isEmpty || told.contains($0) }
                if known != told || Set(heard).count != heard.count {
                    violate("shows \(heard) of device \(taker.number), who said \(told)")
                }
                if counterpart?.epoch != it.epoch { violate("is in another epoch than the other") }
            }
            for it in core.consultations {
                // What an older vault had only asked for can't be reopened.
                if case .locked(let lock) = it.state, !world.profile.bendsTime,
                    lock != .copiedVault || copies.isEmpty
                {
                    violate("is locked: \(lock)")
                }
            }
        } catch {
            violate("can't be read: \(error)")
        }
    }

    /// Whether what it had received may be gone, and what it says may go by a name that is taken
    /// (`protocol/vault.md`, "Copies").
    private var mayLack: Bool { isUntold || wasUntold }

    /// A fresh group is spoken of, and the other has come along.
    private func examineReopening(
        of it: Consultation, _ messages: [Message], _ core: BareDevice
    ) throws {
        let notices = messages.count {
            if case .notice(.reopened) = $0.body { true } else { false }
        }
        let group = core.groupID(of: it.id) ?? []
        let (before, known) = seen[it.id] ?? (group, 0)
        if before != group, notices <= known { violate("was reopened and doesn't say so") }
        for _ in known..<max(notices, known) {
            world.trace.note(.reopened, at: world.now, number, notices)
        }
        seen[it.id] = (group, notices)
        if let reason = it.reopening, let other = other(in: it.id) {
            violate("still reopens with device \(other.number): \(reason), \(it.state)")
        }
    }

    /// Whether what goes on here goes on at another's, too. What is locked its person ends alone, and
    /// an older home or a wrong clock can lock.
    private var mustBeShared: Bool { !world.profile.fallsBack && !world.profile.bendsTime }

    /// A device that knows that it is over.
    private func whoEnded(_ id: ConsultationID) -> String {
        let ended = world.vaultDevices.first { device in
            device !== self && (try? device.core?.remembers(id)) == true
        }
        return ended.map { "device \($0.number) has ended" } ?? "nobody else ever heard of"
    }

    private func other(in id: ConsultationID) -> VaultDevice? {
        world.vaultDevices.first { device in
            device !== self && device.core?.consultations.contains { $0.id == id } == true
        }
    }
}

extension Consultation {
    /// Whether it waits for its person.
    fileprivate var isLocked: Bool { if case .locked = state { true } else { false } }
}
