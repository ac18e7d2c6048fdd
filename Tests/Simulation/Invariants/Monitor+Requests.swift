import Consultations
import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport

/// What reaches the relay.
extension Monitor {
    func arrived(_ frame: ClientFrame, on wire: Int) {
        guard let client = world.client(of: wire) else { return }
        for acknowledgement in frame.acknowledgements {
            guard boxes[acknowledgement.mailbox]?.client == client else { continue }
            for id in acknowledgement.deliveries { acknowledged(id, acknowledgement.mailbox, wire) }
        }
        for request in frame.requests { asked(request, client, wire) }
    }

    func acknowledged(_ id: DeliveryID, _ mailbox: MailboxID, _ wire: Int) {
        guard let name = boxes[mailbox]?.nameOfID[id] else { return }
        boxes[mailbox]?.acknowledged.insert(name)
        if let item = boxes[mailbox]?.unacknowledged.removeValue(forKey: id) {
            boxes[mailbox]?.byteCount -= item.byteCount
        }
        waiting[name]?.for.removeAll { $0 == mailbox }
        if waiting[name]?.for.isEmpty == true { waiting[name] = nil }
        world.trace.note(.acknowledged, at: world.now, wire)
    }

    func asked(_ request: Request, _ client: Int, _ wire: Int) {
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
                if world.profile.fallsBack,
                    case .send(let message)? = boxes[mailbox]?.asked[id + 1]?.first
                {
                    boxes[mailbox]?.past[id + 1] = Body.name(of: message.content)
                }
                boxes[mailbox]?.answers[id + 1] = nil
                boxes[mailbox]?.asked[id + 1] = nil
                boxes[mailbox]?.askedOn[id + 1] = nil
            }
        }
        if boxes[mailbox]?.asked[id]?.contains(request.operation) != true {
            boxes[mailbox]?.asked[id, default: []].append(request.operation)
        } else {
            world.trace.note(.repeated, at: world.now, client, Int(clamping: id))
        }
        asked(ofBlobs: request, mailbox)
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
            for member in commit.adds {
                groups[commit.groupID]?.mayBeAdded.insert(member.mailbox)
                if member.expires != nil { boxes[member.mailbox]?.mayExpire = true }
            }
            for welcome in commit.welcomes {
                commitsByWelcome[Body.name(of: welcome.content)] = name
            }
        case .close(let message):
            let group = groups[message.groupID]
            group?.closeAskedOn = group?.closeAskedOn ?? world.day
        case .retire: boxes[mailbox]?.isGone = true
        case .confirm(let group):
            groups[group]?.confirmed.insert(mailbox)
            boxes[mailbox]?.drop(group)
        default: break
        }
    }

    /// A ciphertext leaves. The key that made it makes no other, whatever happened to the device.
    func noteKey(
        _ origin: Message.Origin, in group: GroupID, of content: [UInt8], in request: Request
    ) {
        let use = KeyUse(group: group, origin: origin)
        if let (other, first) = keys[use], other != content, !isLost(first) {
            violate("a key was used twice")
        }
        keys[use] = (content, request)
    }

    /// Whether the relay never took a request, lost on its way or in a crash: then nobody can tell an
    /// older vault that there was one (`protocol/vault.md`, "Copies").
    private func isLost(_ request: Request) -> Bool {
        let state = world.relay.disk.durable
        let record = state.mailboxNumbers[request.mailbox].flatMap { state.mailboxes[$0] }
        let last = record?.requests.highest ?? .opening
        return world.profile.fallsBack && last < request.id
    }

    /// An MLS key for one ciphertext.
    struct KeyUse: Hashable {
        let group: GroupID
        let origin: Message.Origin
    }
}
