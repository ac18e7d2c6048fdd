import Cryptography
import RelayProtocol

/// What a light device makes of answers and deliveries.
extension LightDevice {
    // MARK: Answers

    func receive(_ reply: Reply) {
        guard let index = index(reply.mailbox) else { return }
        if reply.id == .opening { return receiveOpening(reply.outcome, index) }
        guard
            let place = state.boxes[index].pending.firstIndex(where: { $0.request.id == reply.id })
        else { return }
        let isGivenUp =
            if case (.tickets, .refused(.limit, _)) =
                (state.boxes[index].pending[place].purpose, reply.outcome)
            {
                true
            } else {
                false
            }
        if case .refused(let refusal, let seconds) = reply.outcome, seconds > 0,
            state.boxes[index].pending[place].purpose.blob != nil
        {
            return pauseTransfer(
                state.boxes[index].pending.remove(at: place), refusal, seconds: seconds)
        }
        if case .refused(_, let seconds) = reply.outcome, seconds > 0, !isGivenUp {
            // Everything behind it waits, and all of it is asked again.
            state.boxes[index].pausedUntil = world.now + Int(seconds) * 1_000_000
            state.boxes[index].mustRepeat = true
            return wakeLater(at: state.boxes[index].pausedUntil)
        }
        let pending = state.boxes[index].pending.remove(at: place)
        finish(pending, reply.outcome, index)
    }

    private func receiveOpening(_ outcome: Outcome, _ index: Int) {
        guard state.boxes[index].link == .opening else { return }
        switch outcome {
        case .opened(let opened):
            if opened.lastRequest.rawValue > state.boxes[index].lastRequest {
                violate("the relay answered a request that was never made")
            }
            state.boxes[index].link = .open
            state.boxes[index].exists = true
            state.boxes[index].ticket = nil
            if state.boxes[index].kind == .guest, !state.boxes[index].isOffered {
                state.boxes[index].isOffered = true
                let box = state.boxes[index]
                world.invitations.append(
                    GuestInvitation(mailbox: box.id, permit: box.permit, client: number))
            }
            repeatPending(of: index)
        case .erased(let receipts):
            let id = state.boxes[index].id
            for receipt in receipts { take(receipt: receipt, of: id) }
            forget(id)
        case .refusedCounter: violate("its counter was called too low")
        case .refused(let refusal, let seconds):
            state.boxes[index].link = .closed
            if seconds > 0 {
                state.boxes[index].pausedUntil = world.now + Int(seconds) * 1_000_000
                if index == 0 { out.hangsUp = true }
                return
            }
            if refusal == .ticket, isExpired(state.boxes[index].ticket) {
                state.boxes[index].ticket = nil
                return
            }
            if refusal == .notAllowed, state.boxes[index].isRetiring {
                // It was retired, and the answer was lost.
                return forget(state.boxes[index].id)
            }
            violate("opening a \(state.boxes[index].kind) was refused: \(refusal)")
        default: violate("opening was answered with something else")
        }
    }

    private func isExpired(_ ticket: [UInt8]?) -> Bool {
        guard let ticket, let it = try? Ticket(decoding: ticket) else { return true }
        return it.expires < world.day.adding(days: 40)
    }

    private func finish(_ pending: Pending, _ outcome: Outcome, _ index: Int) {
        switch (pending.purpose, outcome) {
        case (.tickets, .tickets(let tickets)): state.tickets += tickets
        case (.tickets, .refused(.limit, _)):
            state.drawsAgainAt = world.now + 3_600_000_000
        case (.shelf(let id), .shelf):
            if let box = self.index(id) { state.boxes[box].isOffered = true }
        case (.claim(let group), .keyPackage(let sealed, let isLastResort)):
            create(group, with: sealed, isLastResort: isLastResort, of: index)
        case (.claim(let group), .refused(.shelfEmpty, _)): giveUp(group, index)
        case (.create(let group, let isLastResort), _):
            created(group, isLastResort, outcome, index)
        case (.send(let group, let counter), _): sent(group, counter, pending, outcome)
        case (.commit(let group), _): committed(group, outcome, pending)
        case (.close(let group, let counter), _): closed(group, counter, pending, outcome)
        case (.confirm, .done): break
        case (.confirm, .erased(let receipts)):
            for receipt in receipts { take(receipt: receipt, of: pending.request.mailbox) }
        case (.confirm(let group), .refused(.notAllowed, _)): refuse(group, pending)
        case (.inspect, .groupState(let state)):
            if state.epoch < pending.epoch { violate("the relay is behind in epochs") }
        case (.inspect(let group), .refused(.notAllowed, _)): refuse(group, pending)
        case (.blob, _): transferred(pending, outcome)
        case (.retire, .done), (.retire, .refused(.notAllowed, _)):
            forget(state.boxes[index].id)
        default: violate("\(pending.purpose) was answered \(outcome)")
        }
    }

    /// The relay doesn't have the mailbox any more.
    private func forget(_ id: MailboxID) {
        state.talks.removeAll { $0.box == id }
        state.boxes.removeAll { $0.id == id }
    }

    private func giveUp(_ group: GroupID, _ index: Int) {
        state.talks.removeAll { $0.group == group }
        state.boxes[index].isRetiring = true
    }

    private func created(
        _ group: GroupID, _ isLastResort: Bool, _ outcome: Outcome, _ index: Int
    ) {
        guard let talk = talkIndex(group, state.boxes[index].id) else { return }
        switch outcome {
        case .done: state.talks[talk].phase = .active
        case .refused(let refusal, _) where isLastResort && [.permit, .limit].contains(refusal):
            giveUp(group, index)
        case .refused(.permit, _):
            // The package's mailbox was erased with an old receipt, or its days are over.
            violate("a one-use package was used already")
        case .refused(.malformed, _) where world.profile.bendsTime,
            .refused(.limit, _) where world.profile.bendsTime:
            giveUp(group, index)
        default: violate("creation was answered \(outcome)")
        }
    }

    /// The relay says that this device isn't a member. It is when the model says so.
    func refuse(_ group: GroupID, _ pending: Pending) {
        guard let talk = talkIndex(group, pending.request.mailbox) else { return }
        state.talks[talk].isRefused = true
        state.talks[talk].outbox = []
        world.monitor.noteRefusal(of: state.talks[talk].box, in: group)
    }

    private func sent(
        _ group: GroupID, _ counter: UInt64, _ pending: Pending, _ outcome: Outcome
    ) {
        guard let talk = talkIndex(group, pending.request.mailbox) else { return }
        switch outcome {
        case .done:
            state.talks[talk].files[counter] = nil
            // A repetition may be put off while what came after it is answered.
            guard counter > state.talks[talk].accepted else { return }
            state.talks[talk].accepted = counter
            state.talks[talk].acceptedIn = pending.epoch
        case .staleEpoch(let epoch, _): stale(talk, epoch, counter, pending)
        case .refused(.groupClosed, _): state.talks[talk].outbox = []
        case .refused(.notAllowed, _): refuse(group, pending)
        default: violate("a message was answered \(outcome)")
        }
    }

    private func stale(_ talk: Int, _ epoch: UInt64, _ counter: UInt64?, _ pending: Pending) {
        if epoch <= pending.epoch { violate("called stale in an epoch that isn't over") }
        state.talks[talk].awaited = max(state.talks[talk].awaited, epoch)
        guard let counter else { return }
        let place =
            state.talks[talk].outbox.firstIndex { $0 > counter } ?? state.talks[talk].outbox.count
        state.talks[talk].outbox.insert(counter, at: place)
    }

    private func closed(
        _ group: GroupID, _ counter: UInt64, _ pending: Pending, _ outcome: Outcome
    ) {
        guard let talk = talkIndex(group, pending.request.mailbox) else { return }
        switch outcome {
        case .done: break
        case .staleEpoch(let epoch, _):
            stale(talk, epoch, nil, pending)
            state.talks[talk].closeIsSent = false
        case .refused(.groupClosed, _): break
        case .refused(.notAllowed, _): refuse(group, pending)
        default: violate("closing was answered \(outcome)")
        }
    }

    private func committed(_ group: GroupID, _ outcome: Outcome, _ pending: Pending) {
        guard let talk = talkIndex(group, pending.request.mailbox),
            let commit = state.talks[talk].commit
        else { return }
        switch outcome {
        case .committed(_, let hash), .staleEpoch(_, let hash):
            if hash == commit.hash { merge(talk) } else { drop(talk) }
            if case .staleEpoch(let epoch, _) = outcome {
                state.talks[talk].awaited = max(state.talks[talk].awaited, epoch)
            }
        case .refused(.groupClosed, _), .refused(.permit, _), .refused(.limit, _),
            .refused(.exists, _):
            drop(talk)
        case .refused(.notAllowed, _):
            let removed = commit.removes
            drop(talk)
            // The guest has left by itself, or this device isn't a member itself any more.
            if removed.isEmpty { refuse(group, pending) }
            state.talks[talk].guests.removeAll { removed.contains($0.mailbox) }
        default: violate("a commit was answered \(outcome)")
        }
    }

    /// The relay took this device's commit.
    private func merge(_ talk: Int) {
        guard let commit = state.talks[talk].commit else { return }
        state.talks[talk].commit = nil
        state.talks[talk].epoch += 1
        state.talks[talk].guests.removeAll { commit.removes.contains($0.mailbox) }
        state.talks[talk].guests += commit.adds
    }

    private func drop(_ talk: Int) {
        if let commit = state.talks[talk].commit { world.invitations += commit.adds }
        state.talks[talk].commit = nil
    }

    // MARK: Deliveries

    func receive(_ delivery: Delivery) {
        guard let index = index(delivery.mailbox), state.boxes[index].link == .open else { return }
        out.acknowledgements.append((delivery.mailbox, delivery.id))
        let name = Body.name(of: delivery.content)
        if world.flaw != .takesTwice {
            guard !state.boxes[index].handled.contains(delivery.id) else { return }
            let isRepeated = state.boxes[index].handled.contains(content: name)
            state.boxes[index].handled.insert(delivery.id, content: name)
            if isRepeated { return }
        }
        world.trace.note(.delivered, at: world.now, number, Int(delivery.kind.rawValue))
        switch delivery.kind {
        case .welcome: welcomed(delivery, index)
        case .receipt: take(receipt: delivery.content, of: delivery.mailbox)
        default: heard(delivery, name)
        }
    }

    private func welcomed(_ delivery: Delivery, _ index: Int) {
        guard let group = delivery.groupID, let body = Body(octets: delivery.content) else {
            return violate("a Welcome that is none")
        }
        guard talkIndex(group, delivery.mailbox) == nil else { return violate("welcomed twice") }
        let isGuest = state.boxes[index].kind == .guest
        state.talks.append(
            Talk(
                group: group, box: delivery.mailbox, role: isGuest ? .guest : .owner,
                phase: .active, epoch: body.epoch, joined: body.epoch))
        world.trace.note(.welcomed, at: world.now, number)
    }

    private func heard(_ delivery: Delivery, _ name: UInt64) {
        guard let group = delivery.groupID, let talk = talkIndex(group, delivery.mailbox) else {
            // What a confirmed owner, or one whose mailbox was erased, doesn't want any more.
            return violate("something for a consultation that it isn't in")
        }
        guard let body = Body(content: delivery.content) else {
            return violate("something that nobody wrote")
        }
        let it = state.talks[talk]
        if it.isRemoved { violate("something after its removal") }
        // A clock that ran ahead ended its days for a while: what came then is not for it.
        if body.epoch > it.epoch, world.monitor.mayExpire(it.box, in: group) { return }
        state.talks[talk].log.append(name)
        switch body.kind {
        case .commit: take(commit: delivery, body, name, talk)
        case .message, .closing, .file:
            if body.epoch > it.epoch { violate("something of an epoch to come") }
            if body.epoch < it.joined { violate("something of before it was a member") }
            if it.isClosed { violate("something after the closing") }
            if body.sender == it.box, body.kind != .closing { violate("its own message") }
            // Under its id, which is the sender's counter, it is known: a relay that ended took it once
            // more, perhaps in another epoch.
            if let last = it.heard[body.sender], body.counter <= last,
                body.kind != .closing, world.flaw != .takesTwice
            {
                return
            }
            if let last = it.heard[body.sender], body.counter != last + 1,
                !world.monitor.mayExpire(body.sender, in: group),
                !world.monitor.mayExpire(it.box, in: group)
            {
                violate(
                    "\(body.counter) after \(last) of client "
                        + "\(world.monitor.boxes[body.sender]?.client ?? -1)")
            }
            state.talks[talk].heard[body.sender] = body.counter
            if let file = body.file { fetch(file, in: talk) }
            if body.kind == .closing {
                if delivery.kind != .closing { violate("a closing that isn't called one") }
                state.talks[talk].isClosed = true
                state.talks[talk].outbox = []
            }
        case .welcome: violate("a Welcome in disguise")
        }
    }

    private func take(commit delivery: Delivery, _ body: Body, _ name: UInt64, _ talk: Int) {
        let it = state.talks[talk]
        if let commit = it.commit, commit.name == name { return merge(talk) }
        if body.sender == it.box {
            // The echo of a commit that the relay's answer has merged already.
            guard body.epoch < it.epoch else { return violate("its own commit, unknown to it") }
            return
        }
        guard body.epoch == it.epoch else {
            return violate("a commit of epoch \(body.epoch) in epoch \(it.epoch)")
        }
        guard let change = world.monitor.change(by: name) else {
            return violate("a commit that nobody made")
        }
        // This device's own commit for the epoch lost; its answer is on its way.
        state.talks[talk].epoch += 1
        state.talks[talk].guests.removeAll { change.removes.contains($0.mailbox) }
        state.talks[talk].guests += change.adds.compactMap { member in
            member.permit.map {
                GuestInvitation(mailbox: member.mailbox, permit: $0, client: -1)
            }
        }
        if change.removes.contains(it.box) {
            state.talks[talk].isRemoved = true
            state.talks[talk].transfers = []
            if let index = index(it.box) { state.boxes[index].isRetiring = true }
        }
    }

    // MARK: Receipts

    func take(receipt bytes: [UInt8], of mailbox: MailboxID) {
        guard let receipt = try? ErasureReceipt(decoding: bytes),
            (try? receipt.verify(relayKey: world.relayKey)) != nil
        else { return violate("a receipt that doesn't hold") }
        state.talks.removeAll {
            $0.box == mailbox && receipt.groupHash == ErasureReceipt.groupHash(of: $0.group)
        }
        guard let index = index(mailbox), state.boxes[index].kind != .home,
            !state.talks.contains(where: { $0.box == mailbox })
        else { return }
        let kind = state.boxes[index].kind
        if kind == .patient || kind == .guest || kind == .shelf {
            state.boxes.removeAll { $0.id == mailbox }
        }
    }
}
