import RelayProtocol

/// What the relay answers: what was asked, to whom it may be, and the same each time.
extension Monitor {
    func answered(_ reply: Reply, _ wire: Int, _ client: Int) {
        let mailbox = reply.mailbox
        let isRefusal = if case .refused = reply.outcome { true } else { false }
        world.trace.say(
            "client \(client) is answered \(reply.id.rawValue): \(words(reply.outcome))")
        guard let box = boxes[mailbox], box.client == client else {
            if !isRefusal {
                violate("client \(client) was served as somebody else: \(reply.outcome)")
            }
            world.trace.note(.attackRefused, at: world.now, client)
            return
        }
        if case .refused(let refusal, let seconds) = reply.outcome {
            world.trace.note(
                seconds > 0 ? .paused : .refused, at: world.now, client, Int(refusal.rawValue))
        }
        if reply.id == .opening { return opened(reply.outcome, mailbox, wire) }
        guard box.wire == wire else {
            if !isRefusal { violate("a mailbox was served where it isn't open") }
            return
        }
        // It may just have been opened elsewhere; then nothing was decided here.
        if box.isMoving(from: wire), reply.outcome == .refused(.notAllowed, retryAfterSeconds: 0) {
            return
        }
        let id = reply.id.rawValue
        let isNew = box.answers[id] == nil
        if isFinal(reply.outcome), id > box.confirmed {
            if let before = box.answers[id], before != reply.outcome, !(box.isGone && isRefusal) {
                violate("request \(id) was answered \(before), then \(reply.outcome)")
            }
            boxes[mailbox]?.answers[id] = reply.outcome
        }
        guard isNew else { return }
        let operations = box.asked[id] ?? []
        if box.isHostile {
            let isFair = operations.contains { allows(reply.outcome, $0, mailbox) }
            if !isFair, !isRefusal { violate("an attacker got \(reply.outcome)") }
        } else if let operation = operations.last(where: { allows(reply.outcome, $0, mailbox) })
            ?? operations.first
        {
            if !allows(reply.outcome, operation, mailbox) {
                violate("client \(client) got \(reply.outcome) against the rules")
            }
            note(operation, reply, mailbox)
        }
    }

    /// Whether an answer stays what it is.
    func isFinal(_ outcome: Outcome) -> Bool {
        switch outcome {
        case .refused(let refusal, let seconds):
            seconds == 0 && ![.forgotten, .limit, .malformed].contains(refusal)
        case .opened, .groupState, .shelf, .refusedCounter, .keyPackage(_, lastResort: true),
            .blobState, .piece:
            false
        default: true
        }
    }

    func opened(_ outcome: Outcome, _ mailbox: MailboxID, _ wire: Int) {
        var counter = UInt64.max
        if let box = boxes[mailbox], box.openings[wire]?.isEmpty == false {
            counter = box.openings[wire]?.removeFirst() ?? counter
        }
        guard case .opened(let opened) = outcome, let box = boxes[mailbox] else { return }
        // An older vault may make again what it had given up.
        if opened.lastCounter == 0, box.isGone, world.profile.fallsBack { box.goBack(to: 0) }
        world.trace.note(.opened, at: world.now, box.client, wire)
        if opened.lastCounter < box.counter || counter <= box.counter {
            violate("an opening counter went back")
        }
        box.counter = counter
        if box.wire != wire {
            boxes[mailbox]?.wire = wire
            boxes[mailbox]?.unacknowledged = [:]
            boxes[mailbox]?.byteCount = 0
            boxes[mailbox]?.cursor = 0
        }
        guard opened.lastCounter == 0, case .open(let opening)? = box.asked[0]?.first,
            case .fresh(let ticket, _, _)? = opening.creation
        else { return }
        if let other = spentTickets[ticket], other != mailbox {
            violate("a ticket was spent twice")
        }
        spentTickets[ticket] = mailbox
    }

    /// Whether somebody may get such an answer to such a request.
    func allows(
        _ outcome: Outcome, _ operation: RelayProtocol.Operation, _ mailbox: MailboxID
    ) -> Bool {
        if case .refused = outcome { return true }
        if boxes[mailbox]?.isHostile == true, let group = operation.group, retaken.contains(group) {
            return true
        }
        switch (operation, outcome) {
        case (.send(let it), .done), (.close(let it), .done):
            guard let group = groups[it.groupID],
                let place = group.place(of: mailbox, in: it.epoch)
            else { return false }
            if case .close = operation { return place.role == .owner }
            return true
        case (.commit(let it), .committed):
            return groups[it.groupID]?.place(of: mailbox, in: it.epoch)?.role == .owner
        case (.send(let it), .staleEpoch), (.close(let it), .staleEpoch):
            return isKnown(outcome, it.groupID, mailbox)
        case (.commit(let it), .staleEpoch): return isKnown(outcome, it.groupID, mailbox)
        case (.confirm(let id), .done), (.confirm(let id), .erased):
            return groups[id]?.owners.contains(mailbox) == true
        case (.inspectGroup(let id), .groupState(let state)):
            guard let group = groups[id], (group.erasedIn ?? batches) == batches else {
                return false
            }
            return group.place(of: mailbox, in: state.epoch) != nil
                && group.beginning(of: state.epoch).map { $0 == state.commitHash } ?? true
        case (.createGroup, .done), (.retire, .done), (.drawTickets, .tickets),
            (.stockShelf, .shelf), (.claimKeyPackage, .keyPackage):
            return true
        default: return allows(ofBlobs: outcome, operation, mailbox)
        }
    }

    /// Whether a stale answer names the commit that won, to somebody who is or was a member.
    func isKnown(_ outcome: Outcome, _ id: GroupID, _ mailbox: MailboxID) -> Bool {
        guard case .staleEpoch(let epoch, let hash) = outcome, let group = groups[id],
            group.members.values.contains(where: { $0.contains { $0.mailbox == mailbox } })
        else { return false }
        return group.beginning(of: epoch).map { $0 == hash } ?? false
    }

    func note(
        _ operation: RelayProtocol.Operation, _ reply: Reply, _ mailbox: MailboxID
    ) {
        switch (operation, reply.outcome) {
        case (.createGroup(let it), .done):
            groups[it.groupID]?.noteMade()
            if let group = groups[it.groupID] {
                for welcome in it.welcomes { accept(welcome.content, group, [welcome.mailbox]) }
            }
        case (.send(let it), .done):
            guard let group = groups[it.groupID] else { return }
            accept(it.content, group, members(group, it.epoch).filter { $0 != mailbox })
        case (.close(let it), .done):
            guard let group = groups[it.groupID] else { return }
            world.trace.note(.closed, at: world.now, group.number)
            accept(it.content, group, members(group, it.epoch))
        case (.commit(let it), .committed):
            guard let group = groups[it.groupID] else { return }
            accept(it.content, group, members(group, it.epoch))
            let expiring = it.adds.filter { $0.expires != nil }.map(\.mailbox)
            for welcome in it.welcomes where !expiring.contains(welcome.mailbox) {
                accept(welcome.content, group, [welcome.mailbox])
            }
        case (_, .staleEpoch(let epoch, _)):
            world.trace.note(.stale, at: world.now, boxes[mailbox]?.client ?? 0, Int(epoch))
        case (.confirm(let id), .done):
            world.trace.note(.confirmed, at: world.now, groups[id]?.number ?? 0)
        case (.confirm, .erased):
            boxes[mailbox]?.isGone = true
        case (.claimKeyPackage, .keyPackage(let package, lastResort: false)):
            if let (other, id) = claimed[package], other != mailbox || id != reply.id {
                violate("a one-use package was given twice")
            }
            claimed[package] = (mailbox, reply.id)
        default: note(ofBlobs: operation, reply, mailbox)
        }
    }

    func members(_ group: GroupModel, _ epoch: UInt64) -> [MailboxID] {
        (group.members[epoch] ?? []).filter { $0.expires == nil }.map(\.mailbox)
    }

    /// The relay has said that it has it: each of these will.
    func accept(_ content: [UInt8], _ group: GroupModel, _ recipients: [MailboxID]) {
        let name = Body.name(of: content)
        world.trace.note(.accepted, at: world.now, group.number, content.count)
        accepted.insert(name)
        let missing = recipients.filter { id in
            guard let box = boxes[id], !box.isHostile else { return false }
            return !box.acknowledged.contains(name)
        }
        if !missing.isEmpty {
            waiting[name] = Accepted(
                group: group, for: missing, description: Self.describe(content))
        }
    }
}

extension RelayProtocol.Operation {
    /// The group that it is about.
    fileprivate var group: GroupID? {
        switch self {
        case .send(let it), .close(let it): it.groupID
        case .commit(let it): it.groupID
        case .confirm(let id), .inspectGroup(let id): id
        case .createGroup(let it): it.groupID
        case .beginBlob(let it): it.groupID
        case .inspectBlob(let it): it.groupID
        case .putPiece(let it, _), .readPiece(let it): it.blob.groupID
        default: nil
        }
    }
}
