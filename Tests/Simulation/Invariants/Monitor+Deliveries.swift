import RelayCore
import RelayProtocol
import TLSSyntax

/// What the relay hands out: to members only, under one name, in one order, within the window.
extension Monitor {
    func delivered(_ delivery: Delivery, _ wire: Int, _ client: Int) {
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
        if !group.isErased { checkWindow(delivery, name, wire) }
        checkMembership(delivery, group, box)
    }

    func checkName(_ delivery: Delivery, _ name: UInt64, _ box: BoxModel) {
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
    func checkOrder(_ mailbox: MailboxID, _ name: UInt64) {
        guard let box = boxes[mailbox], !box.isHostile, !floating.contains(name) else { return }
        let rank = box.ranks[name] ?? box.lastRank + 1
        if rank <= box.cursor { violate("mail in another order than before") }
        boxes[mailbox]?.ranks[name] = rank
        boxes[mailbox]?.lastRank = max(box.lastRank, rank)
        boxes[mailbox]?.cursor = rank
    }

    func checkWindow(_ delivery: Delivery, _ name: UInt64, _ wire: Int) {
        let mailbox = delivery.mailbox
        boxes[mailbox]?.unacknowledged[delivery.id] = (
            name, delivery.content.count, delivery.groupID
        )
        boxes[mailbox]?.byteCount += delivery.content.count
        guard let box = boxes[mailbox] else { return }
        let limits = world.profile.limits
        if box.unacknowledged.count > 1,
            box.unacknowledged.count > limits.windowMessages
                || box.byteCount > limits.windowByteCount
        {
            violate(
                "\(box.unacknowledged.count) messages of \(box.byteCount) octets on their way to client \(box.client)"
            )
        }
        // Nothing is on its way any more to a member whose days have ended.
        let others = boxes.values.filter {
            $0.wire == wire && !$0.isMoving(from: wire) && !$0.mayExpire
        }
        let byteCount = others.reduce(0) { $0 + $1.byteCount }
        let count = others.reduce(0) { $0 + $1.unacknowledged.count }
        if count > 1, byteCount > limits.connectionByteCount {
            violate("\(count) messages of \(byteCount) octets on their way over one connection")
        }
    }

    func checkMembership(_ delivery: Delivery, _ group: GroupModel, _ box: BoxModel) {
        let epoch: UInt64
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
    }
}
