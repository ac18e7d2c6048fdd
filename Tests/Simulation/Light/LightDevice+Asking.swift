import Cryptography
import RelayProtocol

/// What a light device asks of the relay.
extension LightDevice {
    func index(_ id: MailboxID) -> Int? { state.boxes.firstIndex { $0.id == id } }
    func talkIndex(_ group: GroupID, _ box: MailboxID) -> Int? {
        state.talks.firstIndex { $0.group == group && $0.box == box }
    }

    /// Starts whatever can be started.
    func pump() {
        guard isConnected else { return }
        openMailboxes()
        var index = 0
        while index < state.boxes.count {
            pump(box: index)
            index += 1
        }
    }

    // MARK: Opening

    private func openMailboxes() {
        if state.boxes[0].link == .closed { return open(0) }
        guard state.boxes[0].link == .open else { return }
        for index in state.boxes.indices where state.boxes[index].link == .closed {
            if state.boxes[index].pausedUntil > world.now {
                wakeLater(at: state.boxes[index].pausedUntil)
            } else {
                open(index)
            }
        }
    }

    private func open(_ index: Int) {
        guard let proof else { return }
        var creation: Opening.Creation?
        if !state.boxes[index].exists {
            if state.boxes[index].kind == .home {
                creation = .home(admissionToken: state.boxes[index].token)
            } else {
                if state.boxes[index].ticket == nil {
                    guard let ticket = takeTicket() else { return }
                    state.boxes[index].ticket = ticket
                }
                creation = .fresh(
                    ticket: state.boxes[index].ticket ?? [], permitHash: permitHash(index),
                    permitUses: permitUses(index))
            }
        }
        state.boxes[index].counter += 1
        state.boxes[index].link = .opening
        let box = state.boxes[index]
        guard
            let signature = try? proof.sign(with: box.key, counter: box.counter, creation: creation)
        else { return }
        let opening = Opening(counter: box.counter, signature: signature, creation: creation)
        out.requests.append(
            Request(mailbox: box.id, id: .opening, operation: .open(opening)))
    }

    private func permitHash(_ index: Int) -> [UInt8]? {
        state.boxes[index].kind == .patient ? nil : state.boxes[index].permit.hash
    }

    private func permitUses(_ index: Int) -> UInt32 {
        switch state.boxes[index].kind {
        case .lastResort: 16
        case .home, .patient: 0
        case .shelf, .guest: 1
        }
    }

    private func takeTicket() -> [UInt8]? {
        while let bytes = state.tickets.first {
            state.tickets.removeFirst()
            guard let ticket = try? Ticket(decoding: bytes),
                ticket.expires > Day(unixSeconds: world.wallSeconds)
            else { continue }
            return bytes
        }
        return nil
    }

    // MARK: Requests

    private func pump(box index: Int) {
        guard state.boxes[index].link == .open else { return }
        if state.boxes[index].pausedUntil > world.now {
            return wakeLater(at: state.boxes[index].pausedUntil)
        }
        if state.boxes[index].mustRepeat {
            state.boxes[index].mustRepeat = false
            repeatPending(of: index)
        }
        while state.boxes[index].pending.count < world.profile.pipeline, startNext(index) {}
        startTransfers(index)
    }

    /// What isn't answered is asked again, in its order.
    func repeatPending(of index: Int) {
        if world.flaw == .asksAnew {
            for place in state.boxes[index].pending.indices {
                state.boxes[index].lastRequest += 1
                state.boxes[index].pending[place].request.id =
                    RequestID(rawValue: state.boxes[index].lastRequest)
            }
        }
        out.requests += state.boxes[index].pending.map(\.request)
    }

    func start(
        _ operation: RelayProtocol.Operation, _ purpose: Pending.Purpose, of index: Int,
        epoch: UInt64 = 0
    ) {
        let confirmed =
            state.boxes[index].pending.first.map { $0.request.id.rawValue - 1 }
            ?? state.boxes[index].lastRequest
        state.boxes[index].lastRequest += 1
        let request = Request(
            mailbox: state.boxes[index].id,
            id: RequestID(rawValue: state.boxes[index].lastRequest),
            confirmed: RequestID(rawValue: confirmed), operation: operation)
        state.boxes[index].pending.append(
            Pending(request: request, purpose: purpose, epoch: epoch))
        out.requests.append(request)
    }

    /// Starts one request of a mailbox; false if there is nothing to ask.
    private func startNext(_ index: Int) -> Bool {
        let box = state.boxes[index]
        if box.kind == .home { return startHome(index) }
        if box.isRetiring {
            guard box.pending.isEmpty else { return false }
            start(.retire, .retire, of: index)
            return true
        }
        for talk in state.talks.indices where state.talks[talk].box == box.id {
            if startTalk(talk, index) { return true }
        }
        return false
    }

    private func startHome(_ index: Int) -> Bool {
        guard state.boxes[index].pending.isEmpty else { return false }
        let unstocked = state.boxes.first {
            ($0.kind == .shelf || $0.kind == .lastResort) && $0.link == .open && !$0.isOffered
        }
        if let box = unstocked {
            let package = box.id.bytes + box.permit.secret.exposedCopy()
            let isLastResort = box.kind == .lastResort
            start(
                .stockShelf(
                    ShelfStock(
                        packages: isLastResort ? [] : [package],
                        lastResort: isLastResort ? package : nil)), .shelf(box.id), of: index)
            return true
        }
        guard state.tickets.count < 3 else { return false }
        if state.drawsAgainAt > world.now {
            wakeLater(at: state.drawsAgainAt)
            return false
        }
        start(.drawTickets(count: 6), .tickets, of: index)
        return true
    }

    private func startTalk(_ talk: Int, _ index: Int) -> Bool {
        let it = state.talks[talk]
        let pending = state.boxes[index].pending.filter { $0.isFor(it.group) }
        if case .claiming(let shelf) = it.phase {
            guard pending.isEmpty else { return false }
            start(.claimKeyPackage(shelf: shelf), .claim(it.group), of: index)
            return true
        }
        guard case .active = it.phase, !it.isRefused, !it.isRemoved else { return false }
        if it.isClosed {
            // Files that are being fetched are fetched before it is erased.
            guard it.isOwner, !it.confirmIsSent, pending.isEmpty,
                !it.transfers.contains(where: { !$0.isMine })
            else { return false }
            state.talks[talk].confirmIsSent = true
            start(.confirm(it.group), .confirm(it.group), of: index)
            return true
        }
        // What was sent in an epoch that is over is answered first, so that nothing overtakes it.
        let isSettled = pending.allSatisfy { $0.epoch == it.epoch }
        guard it.commit == nil, !it.closeIsSent, it.epoch >= it.awaited, isSettled else {
            return false
        }
        if let counter = it.outbox.first {
            return sendNext(counter, talk, index)
        }
        if it.wantsCommit, it.isOwner {
            state.talks[talk].wantsCommit = false
            return startCommit(talk, index)
        }
        if it.wantsClose, pending.isEmpty {
            let counter = it.lastCounter
            let body = Body(kind: .closing, sender: it.box, counter: counter, epoch: it.epoch)
            state.talks[talk].closeIsSent = true
            start(
                .close(message(body, it, padding: 0)), .close(it.group, counter: counter),
                of: index, epoch: it.epoch)
            return true
        }
        return false
    }

    private func sendNext(_ counter: UInt64, _ talk: Int, _ index: Int) -> Bool {
        let it = state.talks[talk]
        state.talks[talk].outbox.removeFirst()
        let file = it.files[counter]
        let body = Body(
            kind: file == nil ? .message : .file, sender: it.box, counter: counter,
            epoch: it.epoch, file: file)
        start(
            .send(message(body, it, padding: world.chance.below(400))),
            .send(it.group, counter: counter), of: index, epoch: it.epoch)
        return true
    }

    private func message(_ body: Body, _ talk: Talk, padding: Int) -> MessageRequest {
        MessageRequest(
            groupID: talk.group, epoch: talk.epoch,
            content: body.content(
                talk.group, padding: padding,
                isProposal: body.kind == .message && body.counter % 16 == 0))
    }

    private func startCommit(_ talk: Int, _ index: Int) -> Bool {
        let it = state.talks[talk]
        let body = Body(
            kind: .commit, sender: it.box, counter: UInt64(world.chance.below(1 << 40)),
            epoch: it.epoch)
        let content = body.content(it.group, padding: world.chance.below(300))
        var commit = CommitRequest(groupID: it.group, epoch: it.epoch, content: content)
        var removed: [MailboxID] = []
        var added: [GuestInvitation] = []
        if !it.guests.isEmpty, world.chance.happens(3_500), let guest = world.chance.pick(it.guests)
        {
            removed = [guest.mailbox]
            commit.removes = removed
        } else if it.guests.count < 4, let guest = invitation(to: it),
            world.chance.happens(7_000)
        {
            world.invitations.removeAll { $0.mailbox == guest.mailbox }
            added = [guest]
            let expires: Day? =
                world.chance.happens(1_000) ? world.day.adding(days: 1) : nil
            commit.adds = [
                Member(mailbox: guest.mailbox, permit: guest.permit, role: .guest, expires: expires)
            ]
            let welcome = Body(
                kind: .welcome, sender: it.box, counter: UInt64(world.chance.below(1 << 40)),
                epoch: it.epoch + 1)
            commit.welcomes = [WelcomeDelivery(mailbox: guest.mailbox, content: welcome.octets)]
        }
        state.talks[talk].commit = Talk.Commit(
            name: Body.name(of: content), hash: Hash.sha256(content), adds: added,
            removes: removed)
        start(.commit(commit), .commit(it.group), of: index, epoch: it.epoch)
        return true
    }

    /// The permit of a guest who isn't there yet.
    private func invitation(to talk: Talk) -> GuestInvitation? {
        let present = world.monitor.clients(in: talk.group)
        return world.chance.pick(world.invitations.filter { !present.contains($0.client) })
    }

    // MARK: What a person does

    func doSomething() {
        world.trace.note(.acted, at: world.now, number)
        switch role {
        case .doctor: stockUp(.shelf, to: 2)
        case .patient: if state.talks.count < 3, world.chance.happens(3_000) { askForTalk() }
        case .guest: stockUp(.guest, to: 2)
        }
        guard let index = state.talks.indices.randomElement(using: world.chance) else { return }
        switch world.chance.below(100) {
        case 0..<3 where state.talks[index].isOwner && state.talks[index].isWritable:
            if state.talks[index].log.count > 20 || world.chance.happens(2_000) {
                state.talks[index].wantsClose = true
                state.talks[index].lastCounter += 1
            }
        case 3..<16 where state.talks[index].isOwner && state.talks[index].isWritable:
            state.talks[index].wantsCommit = true
        case 16..<20: inspect(index)
        case 20..<32 where world.profile.sendsFiles: sendFile(in: index)
        case 32: giveUpFile(in: index)
        default: say(in: index)
        }
    }

    private func say(in index: Int) {
        guard state.talks[index].isWritable, state.talks[index].outbox.count < 40 else { return }
        for _ in 0..<world.chance.between(1...3) {
            state.talks[index].lastCounter += 1
            state.talks[index].outbox.append(state.talks[index].lastCounter)
        }
    }

    private func inspect(_ talk: Int) {
        let it = state.talks[talk]
        guard it.isWritable, let index = index(it.box), state.boxes[index].link == .open,
            state.boxes[index].pausedUntil <= world.now, state.boxes[index].pending.isEmpty
        else { return }
        start(.inspectGroup(it.group), .inspect(it.group), of: index, epoch: it.epoch)
    }

    private func stockUp(_ kind: LightBox.Kind, to count: Int) {
        let free = state.boxes.filter { box in
            box.kind == kind && !state.talks.contains { $0.box == box.id }
        }
        if free.count < count, let box = try? makeBox(kind) { state.boxes.append(box) }
        if kind == .shelf, !state.boxes.contains(where: { $0.kind == .lastResort }),
            world.chance.happens(1_000), let box = try? makeBox(.lastResort)
        {
            state.boxes.append(box)
        }
    }

    private func askForTalk() {
        let doctors = world.devices.filter { $0.role == .doctor }
        guard let doctor = world.chance.pick(doctors), let box = try? makeBox(.patient),
            let group = GroupID(world.chance.bytes(GroupID.byteCount))
        else { return }
        state.boxes.append(box)
        state.talks.append(
            Talk(
                group: group, box: box.id, role: .owner,
                phase: .claiming(shelf: doctor.home.id), epoch: 1, joined: 1))
    }

    /// Makes the group with the package that was claimed.
    func create(_ group: GroupID, with package: [UInt8], isLastResort: Bool, of index: Int) {
        guard let talk = talkIndex(group, state.boxes[index].id) else { return }
        guard package.count == 64, let mailbox = MailboxID(package[..<32]),
            let permit = JoinPermit(Array(package[32...]))
        else { return violate("a package that is none") }
        state.talks[talk].phase = .creating
        state.talks[talk].attempts += 1
        let it = state.talks[talk]
        let welcome = Body(
            kind: .welcome, sender: it.box, counter: UInt64(world.chance.below(1 << 40)),
            epoch: it.epoch)
        let creation = GroupCreation(
            groupID: group, epoch: it.epoch, commitHash: Hash.sha256(welcome.octets),
            members: [Member(mailbox: mailbox, permit: permit, role: .owner)],
            welcomes: [WelcomeDelivery(mailbox: mailbox, content: welcome.octets)],
            deadline: Day(unixSeconds: world.wallSeconds).adding(
                days: UInt32(world.chance.pick([3, 40, 300]) ?? 40)))
        start(
            .createGroup(creation), .create(group, isLastResort: isLastResort), of: index)
    }
}

extension Pending {
    /// Whether it writes to the group.
    func isFor(_ group: GroupID) -> Bool {
        switch purpose {
        case .send(let it, _), .commit(let it), .close(let it, _), .create(let it, _),
            .claim(let it), .confirm(let it):
            it == group
        case .tickets, .shelf, .inspect, .retire, .blob: false
        }
    }
}

extension Range<Int> {
    func randomElement(using chance: Chance) -> Int? {
        isEmpty ? nil : lowerBound + chance.below(count)
    }
}
