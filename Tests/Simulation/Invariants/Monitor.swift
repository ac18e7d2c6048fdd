import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import TLSSyntax

/// Sees every frame that reaches the relay and every frame that it lets go, and holds them against
/// a model that knows nothing of how the relay works.
final class Monitor {
    unowned let world: World
    var boxes: [MailboxID: BoxModel] = [:]
    var groups: [GroupID: GroupModel] = [:]
    private var groupsByHash: [[UInt8]: GroupModel] = [:]
    private var commits: [UInt64: (request: CommitRequest, hash: [UInt8])] = [:]
    private var commitsByHash: [[UInt8]: UInt64] = [:]
    private var commitsByWelcome: [UInt64: UInt64] = [:]
    /// Accepted, by name, and who must still say that it is on its disk.
    var waiting: [UInt64: Accepted] = [:]
    private var spentTickets: [[UInt8]: MailboxID] = [:]
    private var claimed: [[UInt8]: (MailboxID, RequestID)] = [:]
    /// Ids of erased groups that an attacker has tried to use again.
    private(set) var retaken: Set<GroupID> = []
    /// What the relay has said that it has, since the last calm.
    var accepted: Set<UInt64> = []
    /// Handed out by a relay that ended before it said that it had it.
    var floating: Set<UInt64> = []
    private var looks = 0
    private var batches = 0

    init(world: World) { self.world = world }

    func know(_ mailbox: MailboxID, of client: Int, isHostile: Bool) {
        boxes[mailbox] = BoxModel(client: client, isHostile: isHostile)
    }

    func violate(_ what: String) { world.violate(what) }

    /// A commit that was asked for.
    func change(by name: UInt64) -> CommitRequest? { commits[name]?.request }

    /// Whose mailboxes are in a group.
    func clients(in group: GroupID) -> [Int] {
        guard let group = groups[group] else { return [] }
        return (group.members[group.epoch] ?? []).compactMap { boxes[$0.mailbox]?.client }
    }

    /// Whether a member's days end by the clock: one that runs ahead ends them for a while.
    func mayExpire(_ mailbox: MailboxID, in group: GroupID) -> Bool {
        guard let group = groups[group], world.profile.bendsTime else { return false }
        return group.members.values.contains { places in
            places.contains { $0.mailbox == mailbox && $0.expires != nil }
        }
    }

    /// Whether an attacker is among the members.
    func hasAttacker(_ group: GroupID) -> Bool {
        guard let group = groups[group] else { return false }
        return (group.members[group.epoch] ?? []).contains { boxes[$0.mailbox]?.isHostile == true }
    }

    // MARK: What reaches the relay

    func arrived(_ frame: ClientFrame, on wire: Int) {
        guard let client = world.client(of: wire) else { return }
        for acknowledgement in frame.acknowledgements {
            guard boxes[acknowledgement.mailbox]?.client == client else { continue }
            for id in acknowledgement.deliveries { acknowledged(id, acknowledgement.mailbox, wire) }
        }
        for request in frame.requests { asked(request, client, wire) }
    }

    private func acknowledged(_ id: DeliveryID, _ mailbox: MailboxID, _ wire: Int) {
        guard let name = boxes[mailbox]?.nameOfID[id] else { return }
        boxes[mailbox]?.acknowledged.insert(name)
        if let item = boxes[mailbox]?.unacknowledged.removeValue(forKey: id) {
            boxes[mailbox]?.byteCount -= item.byteCount
        }
        waiting[name]?.for.removeAll { $0 == mailbox }
        if waiting[name]?.for.isEmpty == true { waiting[name] = nil }
        world.trace.note(.acknowledged, at: world.now, wire)
    }

    private func asked(_ request: Request, _ client: Int, _ wire: Int) {
        world.trace.say("client \(client) asks \(request.id.rawValue): \(words(request.operation))")
        let mailbox = request.mailbox
        guard boxes[mailbox]?.client == client else { return }
        if request.id == .opening {
            boxes[mailbox]?.asked[0] = [request.operation]
            if case .open(let opening) = request.operation {
                boxes[mailbox]?.openings[wire, default: []].append(opening.counter)
            }
            return
        }
        let id = request.id.rawValue
        if let confirmed = boxes[mailbox]?.confirmed, request.confirmed.rawValue > confirmed,
            request.confirmed < request.id, boxes[mailbox]?.isHostile == false
        {
            boxes[mailbox]?.confirmed = request.confirmed.rawValue
            for id in confirmed..<request.confirmed.rawValue {
                boxes[mailbox]?.answers[id + 1] = nil
                boxes[mailbox]?.asked[id + 1] = nil
            }
        }
        if boxes[mailbox]?.asked[id]?.contains(request.operation) != true {
            boxes[mailbox]?.asked[id, default: []].append(request.operation)
        } else {
            world.trace.note(.repeated, at: world.now, client, Int(clamping: id))
        }
        switch request.operation {
        case .createGroup(let creation) where groups[creation.groupID] == nil:
            let model = GroupModel(creation, by: mailbox, number: groups.count)
            groups[creation.groupID] = model
            groupsByHash[ErasureReceipt.groupHash(of: creation.groupID)] = model
        case .createGroup(let creation) where boxes[mailbox]?.isHostile == true:
            // The relay doesn't know the ids of what it has erased.
            if groups[creation.groupID]?.isErased == true { retaken.insert(creation.groupID) }
        case .createGroup(let creation): groups[creation.groupID]?.ask(creation, by: mailbox)
        case .commit(let commit):
            let name = Body.name(of: commit.content)
            guard commits[name] == nil else { return }
            let hash = Hash.sha256(commit.content)
            commits[name] = (commit, hash)
            commitsByHash[hash] = name
            for mailbox in commit.removes { groups[commit.groupID]?.mayBeRemoved.insert(mailbox) }
            for welcome in commit.welcomes {
                commitsByWelcome[Body.name(of: welcome.content)] = name
            }
        case .close(let message): groups[message.groupID]?.isCloseAsked = true
        case .confirm(let group):
            groups[group]?.confirmed.insert(mailbox)
            boxes[mailbox]?.drop(group)
        default: break
        }
    }

    // MARK: What leaves the relay

    /// The relay's process ended.
    ///
    /// - Parameter state: what it will find when it starts again.
    func relayStopped(_ state: MemoryState) {
        for (id, box) in boxes {
            box.wire = nil
            let record = state.mailboxNumbers[id].flatMap { state.mailboxes[$0] }
            for (request, answer) in box.answers where answer == .done {
                // What every recipient has may be taken once more: nobody gets it twice.
                guard record?.requests.standing(of: RequestID(rawValue: request)) == .free,
                    case .send(let message)? = box.asked[request]?.first,
                    waiting[Body.name(of: message.content)] == nil
                else { continue }
                box.answers[request] = nil
                accepted.remove(Body.name(of: message.content))
            }
        }
        for box in boxes.values {
            // What nobody was told that it was taken may come again as something new, or never.
            for name in box.idOfName.keys where !accepted.contains(name) {
                box.idOfName[name] = nil
                box.ranks[name] = nil
                floating.insert(name)
            }
        }
    }

    /// What is known of every group, for a backup.
    var histories: [GroupID: GroupModel.History] { groups.mapValues(\.history) }

    /// The relay was put back. What it had taken since is gone there, and the devices see to it; what
    /// was erased, spent or taken once since isn't back.
    func relayRestored(_ state: MemoryState, _ histories: [GroupID: GroupModel.History]) {
        waiting = [:]
        accepted = []
        floating = []
        for (id, box) in boxes {
            box.goBack(to: state.mailboxNumbers[id].flatMap { state.mailboxes[$0]?.counter } ?? 0)
        }
        for (id, group) in groups { group.goBack(to: histories[id]) }
        checkStore(state)
    }

    /// A batch is let go. What it says of commits is looked at first: the rest may build on it.
    func begin(_ outputs: [ConnectionOutput]) {
        batches += 1
        var winners: [(epoch: UInt64, hash: [UInt8])] = []
        for output in outputs {
            for reply in output.frame.replies {
                switch reply.outcome {
                case .committed(let epoch, let hash): winners.append((epoch &- 1, hash))
                case .staleEpoch(let epoch, let hash) where commitsByHash[hash] != nil:
                    winners.append((epoch &- 1, hash))
                case .groupState(let state) where commitsByHash[state.commitHash] != nil:
                    winners.append((state.epoch &- 1, state.commitHash))
                case .erased(let receipts): for receipt in receipts { note(receipt: receipt) }
                default: break
                }
            }
            for delivery in output.frame.deliveries {
                if let winner = winner(in: delivery) { winners.append(winner) }
                if delivery.kind == .receipt { note(receipt: delivery.content) }
            }
        }
        for (epoch, hash) in winners.sorted(by: { $0.epoch < $1.epoch }) { won(hash, epoch: epoch) }
        for output in outputs {
            let wire = Int(output.connection.rawValue)
            guard let client = world.client(of: wire) else { continue }
            for reply in output.frame.replies { answered(reply, wire, client) }
            for delivery in output.frame.deliveries { delivered(delivery, wire, client) }
        }
    }

    private func won(_ hash: [UInt8], epoch: UInt64) {
        guard let name = commitsByHash[hash], let commit = commits[name]?.request,
            let group = groups[commit.groupID]
        else { return violate("a commit won that nobody made") }
        if commit.epoch != epoch { violate("a commit won another epoch than it named") }
        if let other = group.winners[epoch], other != hash {
            return violate("two commits won epoch \(epoch) of group \(group.number)")
        }
        if group.winners[epoch] == nil {
            group.take(commit, hash: hash)
            world.trace.note(.committed, at: world.now, group.number, Int(epoch))
        }
    }

    /// What a delivery says of a commit; a Welcome can be the first that is heard of one.
    private func winner(in delivery: Delivery) -> (epoch: UInt64, hash: [UInt8])? {
        var name = Body.name(of: delivery.content)
        if delivery.kind == .welcome {
            guard let commit = commitsByWelcome[name] else { return nil }
            name = commit
        }
        guard delivery.kind == .commit || delivery.kind == .welcome else { return nil }
        guard let commit = commits[name] else {
            violate("a commit that nobody made was delivered")
            return nil
        }
        return (commit.request.epoch, commit.hash)
    }

    private func delivered(_ delivery: Delivery, _ wire: Int, _ client: Int) {
        let mailbox = delivery.mailbox
        guard let box = boxes[mailbox], box.client == client else {
            return violate("mail of another client's mailbox")
        }
        guard box.wire == wire else { return violate("mail for a mailbox that isn't open there") }
        if delivery.kind == .receipt { return }
        let name = Body.name(of: delivery.content)
        world.trace.say("client \(client) is sent \(Self.describe(delivery.content))")
        checkName(delivery, name, box)
        checkOrder(mailbox, name)
        guard let group = delivery.groupID.flatMap({ groups[$0] }) else {
            return violate("mail of an unknown group")
        }
        // What was handed out before it, in the same batch, may still leave.
        if let batch = group.erasedIn, batch < batches {
            violate("mail of group \(group.number) after its erasure")
        }
        if !group.isErased { checkWindow(delivery, name) }
        checkMembership(delivery, group, box)
    }

    private func checkName(_ delivery: Delivery, _ name: UInt64, _ box: BoxModel) {
        if let other = box.idOfName[name], other != delivery.id {
            violate("one message under two names")
        }
        if let other = box.nameOfID[delivery.id], other != name {
            violate("one name for two messages")
        }
        if box.idOfName[name] != nil {
            world.trace.note(.redelivered, at: world.now, box.client)
        }
        boxes[delivery.mailbox]?.idOfName[name] = delivery.id
        boxes[delivery.mailbox]?.nameOfID[delivery.id] = name
    }

    /// On every connection in the order in which it came on the first.
    private func checkOrder(_ mailbox: MailboxID, _ name: UInt64) {
        guard let box = boxes[mailbox], !box.isHostile, !floating.contains(name) else { return }
        let rank = box.ranks[name] ?? box.lastRank + 1
        if rank <= box.cursor { violate("mail in another order than before") }
        boxes[mailbox]?.ranks[name] = rank
        boxes[mailbox]?.lastRank = max(box.lastRank, rank)
        boxes[mailbox]?.cursor = rank
    }

    private func checkWindow(_ delivery: Delivery, _ name: UInt64) {
        let mailbox = delivery.mailbox
        boxes[mailbox]?.unacknowledged[delivery.id] = (
            name, delivery.content.count, delivery.groupID
        )
        boxes[mailbox]?.byteCount += delivery.content.count
        guard let box = boxes[mailbox], box.unacknowledged.count > 1 else { return }
        let limits = world.profile.limits
        if box.unacknowledged.count > limits.windowMessages
            || box.byteCount > limits.windowByteCount
        {
            violate(
                "\(box.unacknowledged.count) messages of \(box.byteCount) octets on their way to client \(box.client)"
            )
        }
    }

    private func checkMembership(_ delivery: Delivery, _ group: GroupModel, _ box: BoxModel) {
        var epoch: UInt64
        if delivery.kind == .welcome {
            guard
                let found = group.members.keys.sorted().first(where: {
                    group.place(of: delivery.mailbox, in: $0) != nil
                })
            else { return violate("a Welcome for somebody who wasn't added") }
            epoch = found
        } else {
            guard let header = try? PrivateMessageHeader(message: delivery.content) else {
                return violate("mail without a header")
            }
            if header.groupID != group.id.bytes { violate("mail of another group") }
            epoch = header.epoch
        }
        guard group.members[epoch] != nil else { return violate("mail of an epoch to come") }
        guard let place = group.place(of: delivery.mailbox, in: epoch) else {
            return violate("mail of group \(group.number) for a non-member in epoch \(epoch)")
        }
        if let expires = place.expires, world.day > expires.adding(days: 2),
            !world.profile.bendsTime
        {
            violate("mail for a member that has expired")
        }
        epoch = 0
    }

    // MARK: Answers

    private func answered(_ reply: Reply, _ wire: Int, _ client: Int) {
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
        } else if let operation = operations.first {
            if !allows(reply.outcome, operation, mailbox) {
                violate("client \(client) got \(reply.outcome) against the rules")
            }
            note(operation, reply, mailbox)
        }
    }

    /// Whether an answer stays what it is.
    private func isFinal(_ outcome: Outcome) -> Bool {
        switch outcome {
        case .refused(let refusal, let seconds):
            seconds == 0 && ![.forgotten, .limit, .malformed].contains(refusal)
        case .opened, .groupState, .shelf, .refusedCounter, .keyPackage(_, lastResort: true): false
        default: true
        }
    }

    private func opened(_ outcome: Outcome, _ mailbox: MailboxID, _ wire: Int) {
        var counter = UInt64.max
        if let box = boxes[mailbox], box.openings[wire]?.isEmpty == false {
            counter = box.openings[wire]?.removeFirst() ?? counter
        }
        guard case .opened(let opened) = outcome, let box = boxes[mailbox] else { return }
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
    private func allows(
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
        default: return false
        }
    }

    /// Whether a stale answer names the commit that won, to somebody who is or was a member.
    private func isKnown(_ outcome: Outcome, _ id: GroupID, _ mailbox: MailboxID) -> Bool {
        guard case .staleEpoch(let epoch, let hash) = outcome, let group = groups[id],
            group.members.values.contains(where: { $0.contains { $0.mailbox == mailbox } })
        else { return false }
        return group.beginning(of: epoch).map { $0 == hash } ?? false
    }

    private func note(
        _ operation: RelayProtocol.Operation, _ reply: Reply, _ mailbox: MailboxID
    ) {
        switch (operation, reply.outcome) {
        case (.createGroup(let it), .done):
            groups[it.groupID]?.isMade = true
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
        case (.retire, .done): boxes[mailbox]?.isGone = true
        case (.claimKeyPackage, .keyPackage(let package, lastResort: false)):
            if let (other, id) = claimed[package], other != mailbox || id != reply.id {
                violate("a one-use package was given twice")
            }
            claimed[package] = (mailbox, reply.id)
        default: break
        }
    }

    private func members(_ group: GroupModel, _ epoch: UInt64) -> [MailboxID] {
        (group.members[epoch] ?? []).filter { $0.expires == nil }.map(\.mailbox)
    }

    /// The relay has said that it has it: each of these will.
    private func accept(_ content: [UInt8], _ group: GroupModel, _ recipients: [MailboxID]) {
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

    private func words(_ operation: RelayProtocol.Operation) -> String {
        switch operation {
        case .send(let it), .close(let it):
            "\(Self.describe(it.content)) in group \(groups[it.groupID]?.number ?? -1)"
        case .commit(let it):
            "commit of epoch \(it.epoch) in group \(groups[it.groupID]?.number ?? -1), "
                + "adds \(it.adds.count), removes \(it.removes.count)"
        case .confirm(let id): "confirm group \(groups[id]?.number ?? -1)"
        default: String("\(operation)".prefix(60))
        }
    }

    private func words(_ outcome: Outcome) -> String { String("\(outcome)".prefix(60)) }

    private static func describe(_ content: [UInt8]) -> String {
        if let body = Body(content: content) {
            return "\(body.kind) \(body.counter) of epoch \(body.epoch)"
        }
        return Body(octets: content).map { "\($0.kind) to epoch \($0.epoch)" } ?? "content"
    }

    private func note(receipt bytes: [UInt8]) {
        guard let receipt = try? ErasureReceipt(decoding: bytes),
            let group = groupsByHash[receipt.groupHash]
        else { return violate("a receipt for no group") }
        guard !group.isErased else { return }
        group.isErased = true
        group.erasedIn = batches
        for places in group.members.values {
            for place in places {
                boxes[place.mailbox]?.isGone = true
                boxes[place.mailbox]?.drop(group.id)
            }
        }
        world.trace.note(.erased, at: world.now, group.number, Int(receipt.reason.rawValue))
        if receipt.reason == .confirmed {
            if !group.isCloseAsked || !group.owners.allSatisfy({ group.confirmed.contains($0) }) {
                violate("group \(group.number) was erased before its owners confirmed")
            }
        } else {
            // At start, a clock that is a day ahead is believed. A closing brings the deadline nearer:
            // to thirty days by the relay's clock.
            let slack = world.day.adding(days: 2)
            if !group.isCloseAsked, slack < group.deadline {
                violate("group \(group.number) was erased before its deadline")
            }
        }
    }

    /// A device was told that it isn't a member: it must be so.
    func noteRefusal(of mailbox: MailboxID, in id: GroupID) {
        guard let group = groups[id], !group.isErased, !group.confirmed.contains(mailbox),
            !group.mayBeRemoved.contains(mailbox)
        else { return }
        if let place = group.place(of: mailbox, in: group.epoch), place.expires == nil {
            violate("a member of group \(group.number) was told that it is none")
        }
    }

    // MARK: Now and then

    /// Looks at what is stored: quotas.
    func examine(_ state: MemoryState) {
        looks += 1
        guard looks % 32 == 0 else { return }
        let limits = world.profile.limits
        var counts: [Int64: (count: Int, byteCount: Int)] = [:]
        for (place, messages) in state.messages {
            guard let group = state.groups[place] else {
                return violate("messages of a group that is gone")
            }
            for message in messages where message.kind == .message {
                for case let (index, member?) in group.members.enumerated()
                where message.waiting & (1 << MemberSet(index)) != 0 {
                    let mailbox = member.mailbox.rawValue
                    counts[mailbox, default: (0, 0)].count += 1
                    counts[mailbox, default: (0, 0)].byteCount += message.content.count
                }
            }
        }
        for sum in counts.values
        where sum.count > limits.mailboxMessages || sum.byteCount > limits.mailboxByteCount {
            violate("a mailbox holds \(sum.count) messages of \(sum.byteCount) octets")
        }
        for group in state.groups.values
        where group.members.count(where: { $0?.state == .active })
            > Int(limits.published.groupMembers)
        {
            violate("a group has too many members")
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
        default: nil
        }
    }
}
