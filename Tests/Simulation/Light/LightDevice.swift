import Cryptography
import RelayProtocol

/// A device that follows the delivery rules of `protocol/relay.md` with everything else left out:
/// what a real device keeps in its vault is a value here, and ciphertexts say who they are.
///
/// Every unit of work is stored as a whole before anything of it leaves. A process can end before
/// that, after it, and between any two frames that leave.
final class LightDevice: Client {
    enum Role { case doctor, patient, guest }

    /// What leaves after a unit of work is stored.
    struct Outgoing {
        var hello: Hello?
        var acknowledgements: [(mailbox: MailboxID, delivery: DeliveryID)] = []
        var requests: [Request] = []
        var hangsUp = false
    }

    enum Fate { case whole, lost, sent(Int), diskFull }

    let number: Int
    let role: Role
    unowned let world: World
    var state: LightState
    private(set) var isUp = false
    private(set) var wire: Int?
    /// Changes with everything that makes planned events void.
    private var stamp = 0
    private var isArmed = false
    private var wakeAt = Int.max

    // Only as long as a connection lasts.
    private var nonce: [UInt8] = []
    private(set) var proof: OpeningProof?
    var out = Outgoing()

    init(number: Int, role: Role, world: World) throws {
        self.number = number
        self.role = role
        self.world = world
        state = LightState(boxes: [])
        var home = try makeBox(.home)
        home.token = try AdmissionToken(
            relayKey: world.relayKey, serial: world.chance.bytes(16),
            expires: UInt64(World.epochSeconds + 3_650 * 86_400), clinicRoot: world.clinic
        ).encoded()
        state.boxes.append(home)
        world.monitor.know(home.id, of: number, isHostile: false)
    }

    func makeBox(_ kind: LightBox.Kind) throws -> LightBox {
        let key = try SigningKey(seed: SecretBytes(world.chance.bytes(32)))
        guard let id = MailboxID(key.publicKey.bytes),
            let permit = JoinPermit(world.chance.bytes(JoinPermit.byteCount))
        else { throw CryptographyError.invalidKey }
        world.monitor.know(id, of: number, isHostile: false)
        return LightBox(
            key: key, id: id, kind: kind, permit: permit,
            counter: UInt64(world.chance.between(1...1_000_000)))
    }

    var home: LightBox { state.boxes[0] }
    var isConnected: Bool { proof != nil }

    // MARK: Life

    func start() {
        isUp = true
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
        guard isUp, stamp == self.stamp, wire == nil else { return }
        guard let wire = world.connect(number) else {
            return dialLater(world.chance.delay(300_000))
        }
        self.wire = wire
        wakeAt = .max
        work {
            nonce = world.chance.bytes(ProtocolConstants.nonceByteCount)
            out.hello = Hello(nonce: nonce)
        }
    }

    /// The connection is gone, or given up.
    func lost(_ wire: Int) {
        guard wire == self.wire else { return }
        forgetConnection()
        if isUp { dialLater(world.chance.delay(world.chance.pick([5_000, 50_000, 300_000]) ?? 0)) }
    }

    func hangUp() {
        guard let wire else { return }
        world.hangUp(wire)
        lost(wire)
    }

    private func forgetConnection() {
        wire = nil
        proof = nil
        out = Outgoing()
        for index in state.boxes.indices {
            state.boxes[index].link = .closed
            state.boxes[index].pausedUntil = 0
            state.boxes[index].mustRepeat = false
        }
        for talk in state.talks.indices {
            for place in state.talks[talk].transfers.indices {
                state.talks[talk].transfers[place].atRelay = .unknown
            }
        }
    }

    /// The process ends at the next unit of work, somewhere in it; or now.
    func crash() {
        guard isUp else { return }
        if world.chance.happens(5_000) { isArmed = true } else { goDown() }
    }

    private func goDown() {
        world.trace.note(.deviceCrash, at: world.now, number)
        if let wire { world.hangUp(wire) }
        forgetConnection()
        isUp = false
        isArmed = false
        stamp += 1
        world.plan(.deviceStart(number, stamp), after: world.chance.delay(500_000))
    }

    func restart(_ stamp: Int) {
        guard !isUp, stamp == self.stamp else { return }
        world.trace.note(.deviceRestart, at: world.now, number)
        isUp = true
        dialLater(0)
    }

    func calmDown() {
        isArmed = false
        // Nobody waits for hours for room.
        for talk in state.talks.indices {
            state.talks[talk].transfers.removeAll {
                $0.isMine && $0.pausedUntil > world.now + 600_000_000
            }
        }
        if !isUp {
            stamp += 1
            world.plan(.deviceStart(number, stamp), after: 0)
        } else if wire == nil {
            dialLater(world.chance.below(100_000))
        }
    }

    func goOn() { actLater() }

    func act() {
        actLater()
        guard isUp else { return }
        work { doSomething() }
    }

    func wake(_ stamp: Int) {
        guard isUp, stamp == self.stamp, wire != nil, world.now >= wakeAt else { return }
        wakeAt = .max
        world.trace.note(.wake, at: world.now, number)
        work {}
    }

    func wakeLater(at time: Int) {
        guard time < wakeAt else { return }
        wakeAt = time
        world.plan(.wake(number, stamp), after: time - world.now)
    }

    // MARK: Units of work

    private func fate() -> Fate {
        guard world.mayFail else { return .whole }
        if isArmed || world.chance.happens(world.profile.deviceCrashes) {
            return world.chance.happens(5_000) ? .lost : .sent(world.chance.below(3))
        }
        return world.chance.happens(world.profile.deviceFull) ? .diskFull : .whole
    }

    func work(_ body: () -> Void) {
        let fate = fate()
        let saved: LightState?
        switch fate {
        case .lost, .diskFull: saved = state
        case .whole, .sent: saved = nil
        }
        out = Outgoing()
        body()
        pump()
        let outgoing = out
        out = Outgoing()
        switch fate {
        case .whole: send(outgoing, atMost: .max)
        case .sent(let count):
            send(outgoing, atMost: count)
            world.trace.note(.deviceUnsent, at: world.now, number)
            goDown()
        case .lost, .diskFull:
            if world.flaw == .sendsUnstored { send(outgoing, atMost: .max) }
            if world.flaw == .acknowledgesEarly {
                var early = Outgoing()
                early.acknowledgements = outgoing.acknowledgements
                send(early, atMost: .max)
            }
            if let saved { state = saved }
            if case .lost = fate {
                world.trace.note(.deviceUnstored, at: world.now, number)
                return goDown()
            }
            world.trace.note(.deviceDiskFull, at: world.now, number)
            hangUp()
        }
    }

    private func send(_ outgoing: Outgoing, atMost limit: Int) {
        guard let wire else { return }
        var frames: [ClientFrame] = []
        if let hello = outgoing.hello { frames.append(ClientFrame(hello: hello)) }
        var frame = ClientFrame(acknowledgements: acknowledgements(of: outgoing))
        for request in outgoing.requests {
            if world.chance.happens(2_000), frame != ClientFrame() {
                frames.append(frame)
                frame = ClientFrame()
            }
            frame.requests.append(request)
        }
        if frame != ClientFrame() { frames.append(frame) }
        for frame in frames.prefix(limit) { world.send(frame.encoded(), toRelayOver: wire) }
        if outgoing.hangsUp { hangUp() }
    }

    private func acknowledgements(of outgoing: Outgoing) -> [Acknowledgement] {
        var list: [Acknowledgement] = []
        for (mailbox, delivery) in outgoing.acknowledgements {
            if let index = list.firstIndex(where: { $0.mailbox == mailbox }) {
                list[index].deliveries.append(delivery)
            } else {
                list.append(Acknowledgement(mailbox: mailbox, deliveries: [delivery]))
            }
        }
        return list
    }

    func received(_ bytes: [UInt8], on wire: Int) {
        guard isUp, wire == self.wire else { return }
        guard let frame = try? RelayFrame(decoding: bytes) else {
            return world.violate("a device got a frame that is none")
        }
        work {
            if let challenge = frame.challenge { receive(challenge) }
            for reply in frame.replies { receive(reply) }
            for delivery in frame.deliveries { receive(delivery) }
        }
    }

    private func receive(_ challenge: Challenge) {
        do {
            let key = world.relayKey
            try RelayIntroduction.verify(challenge, clientNonce: nonce, pinned: key)
            proof = OpeningProof(relayKey: key, clientNonce: nonce, relayNonce: challenge.nonce)
        } catch {
            world.violate("a device got a challenge that doesn't hold")
        }
    }

    var mailboxes: [MailboxID] { state.boxes.map(\.id) }
    func uses(_ mailbox: MailboxID) -> Bool { index(mailbox) != nil }

    // MARK: Quiet

    /// All members have seen the same: what comes next begins a new list.
    func forgetLogs() {
        for index in state.talks.indices { state.talks[index].log = [] }
    }

    var isQuiet: Bool { trouble.isEmpty }

    var trouble: String {
        guard isUp, isConnected else { return "not connected" }
        for box in state.boxes {
            if box.link != .open { return "mailbox not open" }
            if let pending = box.pending.first, !isBlocked(pending, box) {
                return "pending \(pending.purpose)"
            }
            if box.isRetiring { return "retiring" }
        }
        for talk in state.talks {
            if world.monitor.hasAttacker(talk.group) || isBlocked(talk.box) { continue }
            if !talk.outbox.isEmpty, talk.isWritable || talk.wantsClose {
                return "unsent in epoch \(talk.epoch), awaiting \(talk.awaited), \(talk.phase)"
                    + (talk.commit == nil ? "" : ", a commit on its way")
            }
            if talk.wantsClose, !talk.closeIsSent, !talk.isClosed, !talk.isRefused {
                return "not closed"
            }
            if talk.isClosed, talk.isOwner, !talk.confirmIsSent { return "not confirmed" }
            if case .claiming = talk.phase { return "claiming" }
            if !talk.transfers.isEmpty, !talk.isRefused, !talk.isRemoved, !talk.confirmIsSent {
                return "a file on its way"
            }
        }
        return ""
    }

    private func isBlocked(_ box: MailboxID) -> Bool {
        guard let box = state.boxes.first(where: { $0.id == box }) else { return false }
        return box.pending.contains { isBlocked($0, box) }
    }

    /// Whether an attacker who reads nothing keeps everybody from writing to the group. Until
    /// somebody removes them, that is how it is.
    private func isBlocked(_ pending: Pending, _ box: LightBox) -> Bool {
        guard case .send(let group, _) = pending.purpose, box.pausedUntil > 0 else { return false }
        return world.monitor.hasAttacker(group)
    }

    func violate(_ what: String) { world.violate("device \(number): \(what)") }
}
