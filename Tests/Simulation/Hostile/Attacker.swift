import Cryptography
import RelayProtocol
import RelayTestSupport

/// Somebody who has a mailbox of their own, and tries everything with it and without it. Whatever
/// the relay grants beyond what the mailbox's own rights are, the monitor sees.
final class Attacker: Client {
    let number: Int
    unowned let world: World
    private var wire: Int?
    private var nonce: [UInt8] = []
    private var proof: OpeningProof?
    private var home: Own
    private var others: [Own] = []
    private var tickets: [[UInt8]] = []
    private var usedTickets: [[UInt8]] = []
    private var overheard: [[UInt8]] = []
    private var deliveries: [(MailboxID, DeliveryID)] = []
    private var memberships: [(box: MailboxID, group: GroupID, epoch: UInt64)] = []
    private let token: [UInt8]
    private var stamp = 0

    private struct Own {
        let key: SigningKey
        let id: MailboxID
        let permit: JoinPermit
        var counter: UInt64 = 1
        var last: UInt64 = 0
        var isOpen = false
    }

    init(number: Int, world: World) throws {
        self.number = number
        self.world = world
        home = try Self.own(world)
        token = try AdmissionToken(
            relayKey: world.relayKey, serial: world.chance.bytes(16),
            expires: UInt64(World.epochSeconds + 3_650 * 86_400), clinicRoot: world.clinic
        ).encoded()
        world.monitor.know(home.id, of: number, isHostile: true)
    }

    private static func own(_ world: World) throws -> Own {
        let key = try SigningKey(seed: SecretBytes(world.chance.bytes(32)))
        guard let id = MailboxID(key.publicKey.bytes),
            let permit = JoinPermit(world.chance.bytes(32))
        else { throw CryptographyError.invalidKey }
        return Own(key: key, id: id, permit: permit)
    }

    // MARK: Client

    var isQuiet: Bool { true }
    var trouble: String { "" }
    var mailboxes: [MailboxID] { [] }
    func uses(_ mailbox: MailboxID) -> Bool { false }
    func start() { actLater() }
    func wake(_ stamp: Int) {}
    func restart(_ stamp: Int) {}
    func dial(_ stamp: Int) {}
    func crash() { if let wire { world.hangUp(wire); lost(wire) } }
    func goOn() { actLater() }
    func calmDown() { crash() }
    private func actLater() {
        world.plan(.attack(number), after: world.chance.delay(world.profile.pause * 2))
    }

    func lost(_ wire: Int) {
        guard wire == self.wire else { return }
        self.wire = nil
        proof = nil
        home.isOpen = false
        for index in others.indices { others[index].isOpen = false }
    }

    func received(_ bytes: [UInt8], on wire: Int) {
        guard wire == self.wire, let frame = try? RelayFrame(decoding: bytes) else { return }
        if let challenge = frame.challenge {
            proof = OpeningProof(
                relayKey: world.relayKey, clientNonce: nonce,
                relayNonce: challenge.nonce)
            open(&home, creation: .home(admissionToken: token))
        }
        for reply in frame.replies {
            switch reply.outcome {
            case .opened where reply.mailbox == home.id: home.isOpen = true
            case .opened:
                if let index = others.firstIndex(where: { $0.id == reply.mailbox }) {
                    others[index].isOpen = true
                }
            case .tickets(let drawn): tickets += drawn
            default: break
            }
        }
        for delivery in frame.deliveries {
            deliveries.append((delivery.mailbox, delivery.id))
            if let group = delivery.groupID {
                if delivery.kind == .welcome, let body = Body(octets: delivery.content) {
                    memberships.append((delivery.mailbox, group, body.epoch))
                } else if let body = Body(content: delivery.content) {
                    let epoch = body.kind == .commit ? body.epoch + 1 : body.epoch
                    for index in memberships.indices where memberships[index].group == group {
                        memberships[index].epoch = max(memberships[index].epoch, epoch)
                    }
                }
            }
            // Reads now and then.
            if world.chance.happens(6_000) {
                send(
                    ClientFrame(acknowledgements: [
                        Acknowledgement(mailbox: delivery.mailbox, deliveries: [delivery.id])
                    ]))
            }
        }
        if deliveries.count > 50 { deliveries.removeFirst(25) }
    }

    // MARK: Means

    private func send(_ frame: ClientFrame) {
        guard let wire else { return }
        world.send(frame.encoded(), toRelayOver: wire)
    }

    private func ask(_ request: Request) { send(ClientFrame(requests: [request])) }

    private func open(_ own: inout Own, creation: Opening.Creation?) {
        guard let proof else { return }
        own.counter += 1
        guard
            let signature = try? proof.sign(with: own.key, counter: own.counter, creation: creation)
        else { return }
        ask(
            Request(
                mailbox: own.id, id: .opening,
                operation: .open(
                    Opening(counter: own.counter, signature: signature, creation: creation))))
    }

    private func next(_ own: inout Own, _ operation: RelayProtocol.Operation) -> Request {
        own.last += 1
        return Request(
            mailbox: own.id, id: RequestID(rawValue: own.last),
            confirmed: RequestID(rawValue: own.last - 1), operation: operation)
    }

    /// A mailbox of somebody else.
    private func victim() -> MailboxID? {
        world.chance.pick(world.clients).flatMap { world.chance.pick($0.mailboxes) }
    }

    private func foreignTalk() -> Talk? {
        world.chance.pick(world.devices).flatMap { world.chance.pick($0.state.talks) }
    }

    // MARK: Attacks

    func act() {
        actLater()
        guard wire != nil else {
            wire = world.connect(number)
            nonce = world.chance.bytes(32)
            if world.chance.happens(9_500) { send(ClientFrame(hello: Hello(nonce: nonce))) }
            return
        }
        world.trace.note(.attacked, at: world.now, number)
        guard proof != nil, home.isOpen else { return attackClosed() }
        switch world.chance.below(22) {
        case 0: garbage()
        case 1: attackClosed()
        case 2, 3: grow()
        case 4, 5: postToForeignGroup()
        case 6, 7, 8: overstepAsGuest()
        case 9: acknowledgeForeign()
        case 10: bendRequestIDs()
        case 11: flood()
        case 12: spendTwice()
        case 13: takeGroupID()
        case 14: guessPermit()
        case 15: emptyShelf()
        case 16: openAsCopy()
        case 17, 18: attackBlobs()
        default: speakAsVictim()
        }
    }

    private func garbage() {
        guard let wire else { return }
        var bytes = world.chance.bytes(world.chance.between(1...200))
        if let frame = world.chance.pick(overheard), world.chance.happens(7_000) {
            bytes = frame
            bytes[world.chance.below(bytes.count)] ^= UInt8(1 << world.chance.below(8))
        }
        world.send(bytes, toRelayOver: wire)
    }

    /// Before anything is open, or beside it: somebody else's mailbox, with a key of one's own.
    private func attackClosed() {
        guard let victim = victim(), let proof else { return garbage() }
        let signature = try? proof.sign(with: home.key, counter: 1 << 40, creation: nil)
        ask(
            Request(
                mailbox: victim, id: .opening,
                operation: .open(Opening(counter: 1 << 40, signature: signature ?? []))))
        if let wire, let frame = world.overheard(by: number) {
            overheard.append(frame)
            if overheard.count > 20 { overheard.removeFirst() }
            world.send(frame, toRelayOver: wire)
        }
    }

    private func grow() {
        if tickets.isEmpty {
            return ask(next(&home, .drawTickets(count: 3)))
        }
        if let index = others.firstIndex(where: { !$0.isOpen }), world.chance.happens(8_000) {
            return open(&others[index], creation: nil)
        }
        guard others.count < 6, var own = try? Self.own(world) else { return }
        world.monitor.know(own.id, of: number, isHostile: true)
        let ticket = tickets.removeFirst()
        usedTickets.append(ticket)
        // The others can try to make groups.
        let canBeAdded = others.count.isMultiple(of: 2)
        open(
            &own,
            creation: .fresh(
                ticket: ticket, permitHash: canBeAdded ? own.permit.hash : nil,
                permitUses: canBeAdded ? 1 : 0))
        others.append(own)
        guard canBeAdded else { return }
        world.invitations.append(
            GuestInvitation(mailbox: own.id, permit: own.permit, client: number))
    }

    /// As a copy of a vault would: with a counter that was used.
    private func openAsCopy() {
        var copy = home
        copy.counter -= min(copy.counter, UInt64(world.chance.between(1...3)))
        open(&copy, creation: nil)
    }

    private func postToForeignGroup() {
        guard let talk = foreignTalk(),
            let index = others.indices.randomElement(using: world.chance)
        else { return }
        attack(talk.group, epoch: talk.epoch, with: index)
    }

    private func overstepAsGuest() {
        guard let membership = world.chance.pick(memberships),
            let index = others.firstIndex(where: { $0.id == membership.box })
        else { return postToForeignGroup() }
        attack(membership.group, epoch: membership.epoch, with: index)
    }

    private func attack(_ group: GroupID, epoch: UInt64, with index: Int) {
        let sender = others[index].id
        func content(_ kind: Body.Kind) -> [UInt8] {
            Body(kind: kind, sender: sender, counter: others[index].last, epoch: epoch)
                .content(group, padding: world.chance.below(200))
        }
        let operation: RelayProtocol.Operation
        switch world.chance.below(6) {
        case 0, 1:
            operation = .commit(
                CommitRequest(groupID: group, epoch: epoch, content: content(.commit)))
        case 2:
            operation = .close(
                MessageRequest(groupID: group, epoch: epoch, content: content(.closing)))
        case 3: operation = .confirm(group)
        case 4: operation = .inspectGroup(group)
        default:
            // What doesn't decrypt: honest members must get over it, so only strangers try.
            if memberships.contains(where: { $0.group == group }) { return }
            operation = .send(
                MessageRequest(groupID: group, epoch: epoch, content: content(.message)))
        }
        ask(next(&others[index], operation))
    }

    /// Files of a group that it isn't in, or in which it is a guest.
    private func attackBlobs() {
        let membership = world.chance.happens(6_000) ? world.chance.pick(memberships) : nil
        let own = membership.flatMap { it in others.firstIndex { $0.id == it.box } }
        guard let index = own ?? others.indices.randomElement(using: world.chance),
            let group = membership?.group ?? foreignTalk()?.group,
            let random = BlobID(world.chance.bytes(BlobID.byteCount))
        else { return }
        let known = world.chance.pick(world.monitor.wholeBlobs(of: group)) ?? random
        let blob = BlobReference(groupID: group, blob: world.chance.happens(7_000) ? known : random)
        let piece = PieceReference(blob: blob, index: UInt32(world.chance.below(3)))
        let count = world.chance.pick([0, 300, BlobShape.pieceByteCount, 100_000]) ?? 0
        let operation: RelayProtocol.Operation
        switch world.chance.below(5) {
        case 0, 1:
            operation = .beginBlob(
                BlobBeginning(
                    groupID: group, blob: blob.blob,
                    byteCount: UInt64(world.chance.happens(500) ? .max : count)))
        case 2:
            let content = [UInt8](repeating: 9, count: min(count, BlobShape.pieceByteCount))
            operation = .putPiece(piece, content: content)
        case 3: operation = .inspectBlob(blob)
        default: operation = .readPiece(piece)
        }
        ask(next(&others[index], operation))
    }

    private func acknowledgeForeign() {
        guard let victim = victim() else { return }
        let stolen = world.chance.pick(world.monitor.openDeliveries(of: victim))
        let id = stolen ?? DeliveryID(high: UInt64(world.chance.below(1 << 40)), low: 7)
        send(
            ClientFrame(acknowledgements: [
                Acknowledgement(mailbox: victim, deliveries: [id]),
                Acknowledgement(mailbox: home.id, deliveries: [id]),
            ]))
    }

    private func bendRequestIDs() {
        let id = world.chance.pick([0, 1, 1 << 62, .max, home.last, home.last + 300]) ?? 1
        let confirmed = world.chance.pick([0, id, id &- 1, .max]) ?? 0
        ask(
            Request(
                mailbox: home.id, id: RequestID(rawValue: id),
                confirmed: RequestID(rawValue: confirmed), operation: .drawTickets(count: 1)))
    }

    private func flood() {
        guard let group = foreignTalk()?.group else { return }
        var frame = ClientFrame()
        for _ in 0..<world.chance.between(10...60) {
            frame.requests.append(next(&home, .inspectGroup(group)))
        }
        send(frame)
    }

    private func spendTwice() {
        guard let ticket = world.chance.pick(usedTickets), var own = try? Self.own(world) else {
            return
        }
        world.monitor.know(own.id, of: number, isHostile: true)
        open(&own, creation: .fresh(ticket: ticket, permitHash: nil, permitUses: 0))
        open(&own, creation: .home(admissionToken: token))
        open(&own, creation: .fresh(ticket: world.chance.bytes(52), permitHash: nil, permitUses: 0))
    }

    private func takeGroupID() {
        guard let talk = foreignTalk(),
            let index = others.indices.randomElement(using: world.chance),
            world.monitor.groups[talk.group]?.isMade == true
        else { return }
        ask(
            next(
                &others[index],
                .createGroup(
                    GroupCreation(
                        groupID: talk.group, epoch: 0, commitHash: world.chance.bytes(32),
                        members: [], welcomes: [],
                        deadline: Day(unixSeconds: world.wallSeconds).adding(days: 9)))))
    }

    private func guessPermit() {
        guard let victim = victim(), let index = others.indices.randomElement(using: world.chance),
            let group = GroupID(world.chance.bytes(32)),
            let permit = JoinPermit(world.chance.bytes(32))
        else { return }
        ask(
            next(
                &others[index],
                .createGroup(
                    GroupCreation(
                        groupID: group, epoch: 0, commitHash: world.chance.bytes(32),
                        members: [Member(mailbox: victim, permit: permit, role: .owner)],
                        welcomes: [WelcomeDelivery(mailbox: victim, content: [1])],
                        deadline: Day(unixSeconds: world.wallSeconds).adding(days: 9)))))
    }

    /// Takes packages off a shelf: allowed, but not so often that nobody else gets any.
    private func emptyShelf() {
        guard let doctor = world.devices.first(where: { $0.role == .doctor }),
            world.chance.happens(3_000)
        else { return }
        ask(next(&home, .stockShelf(ShelfStock(packages: [], withdraw: true))))
        ask(next(&home, .claimKeyPackage(shelf: doctor.home.id)))
    }

    private func speakAsVictim() {
        guard let talk = foreignTalk() else { return }
        let body = Body(kind: .message, sender: talk.box, counter: 1 << 50, epoch: talk.epoch)
        ask(
            Request(
                mailbox: talk.box, id: RequestID(rawValue: 1 << 40),
                operation: .send(
                    MessageRequest(
                        groupID: talk.group, epoch: talk.epoch,
                        content: body.content(talk.group, padding: 9)))))
    }
}
