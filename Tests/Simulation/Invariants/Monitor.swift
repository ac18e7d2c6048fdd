import RelayCore
import RelayProtocol
import RelayTestSupport

/// Sees every frame that reaches the relay and every frame that it lets go, and holds them against
/// a model that knows nothing of how the relay works.
final class Monitor {
    unowned let world: World
    var boxes: [MailboxID: BoxModel] = [:]
    var groups: [GroupID: GroupModel] = [:]
    var groupsByHash: [[UInt8]: GroupModel] = [:]
    var commits: [UInt64: (request: CommitRequest, hash: [UInt8])] = [:]
    var commitsByHash: [[UInt8]: UInt64] = [:]
    var commitsByWelcome: [UInt64: UInt64] = [:]
    /// The ciphertext that left under each MLS key of real devices, by its hash, and in what.
    var keys: [KeyUse: (hash: [UInt8], request: Request)] = [:]
    /// Accepted, by name, and who must still say that it is on its disk.
    var waiting: [UInt64: Accepted] = [:]
    var spentTickets: [[UInt8]: MailboxID] = [:]
    var claimed: [[UInt8]: (MailboxID, RequestID)] = [:]
    /// Ids of erased groups that an attacker has tried to use again.
    var retaken: Set<GroupID> = []
    /// What the relay has said that it has, since the last calm.
    var accepted: Set<UInt64> = []
    /// Handed out by a relay that ended before it said that it had it.
    var floating: Set<UInt64> = []
    /// Blobs that somebody asked to begin.
    var blobs: [GroupID: [BlobID: BlobModel]] = [:]
    /// What each piece of an honest device's blob is.
    var pieces: [BlobID: [UInt32: UInt64]] = [:]
    /// What the batch at hand tells of blobs; it holds for what comes after it.
    var blobNews: [() -> Void] = []
    /// Blobs that should have been deleted at the last look.
    var overdue: Set<BlobID> = []
    var looks = 0
    var batches = 0

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
            // Nor can it tell an older home that it had this.
            let last = record?.requests.highest.rawValue ?? 0
            for (request, name) in box.past where request > last && waiting[name] == nil {
                accepted.remove(name)
            }
            box.past = [:]
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
        blobsRestored(state)
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
        for news in blobNews { news() }
        blobNews = []
    }

    func won(_ hash: [UInt8], epoch: UInt64) {
        guard let name = commitsByHash[hash], let commit = commits[name]?.request,
            let group = groups[commit.groupID]
        else { return violate("a commit won that nobody made") }
        if commit.epoch != epoch { violate("a commit won another epoch than it named") }
        if let other = group.winners[epoch], other != hash {
            return violate("two commits won epoch \(epoch) of group \(group.number)")
        }
        if group.winners[epoch] == nil {
            group.take(commit, hash: hash)
            group.wonIn[epoch] = batches
            world.trace.note(.committed, at: world.now, group.number, Int(epoch))
        }
    }

    /// What a delivery says of a commit; a Welcome can be the first that is heard of one.
    func winner(in delivery: Delivery) -> (epoch: UInt64, hash: [UInt8])? {
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

    func note(receipt bytes: [UInt8]) {
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
            if group.closeAskedOn == nil
                || !group.owners.allSatisfy({ group.confirmed.contains($0) })
            {
                violate("group \(group.number) was erased before its owners confirmed")
            }
        } else {
            // At start, a clock that is a day ahead is believed. A closing brings the deadline nearer.
            let afterClosing = group.closeAskedOn?.adding(days: ProtocolConstants.closingDays)
            let deadline = min(group.deadline, afterClosing ?? group.deadline)
            if world.day.adding(days: 2) < deadline {
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
}
