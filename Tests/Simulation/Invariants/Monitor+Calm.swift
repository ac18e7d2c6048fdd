import RelayCore
import RelayProtocol
import RelayTestSupport

/// What must hold when everything that was on its way has arrived.
extension Monitor {
    func examineCalm(_ state: MemoryState) {
        checkAcceptedArrived()
        checkStore(state)
        checkBlobs(state)
        checkTalks()
        checkOrder()
        forget()
    }

    /// Nothing that was accepted is lost.
    private func checkAcceptedArrived() {
        for (name, item) in waiting.sorted(by: { $0.key < $1.key }) where !item.group.isErased {
            for mailbox in item.for where isServed(mailbox, item.group) {
                violate(
                    "\(item.description) (\(name >> 8)), accepted in group \(item.group.number), never reached client "
                        + "\(boxes[mailbox]?.client ?? -1)")
            }
        }
    }

    /// Whether a client still wants what comes from a group.
    private func isServed(_ mailbox: MailboxID, _ group: GroupModel) -> Bool {
        guard let box = boxes[mailbox], !group.confirmed.contains(mailbox) else { return false }
        return world.clients[box.client].uses(mailbox)
    }

    /// Every member has what every sender was told that was accepted, and is in the same epoch.
    private func checkTalks() {
        var talks: [GroupID: [(Int, Talk)]] = [:]
        for device in world.devices {
            for talk in device.state.talks {
                talks[talk.group, default: []].append((device.number, talk))
            }
        }
        for (id, all) in talks {
            guard let group = groups[id], !group.isErased else { continue }
            let live = all.filter { _, talk in
                guard case .active = talk.phase else { return false }
                let place = group.place(of: talk.box, in: group.epoch)
                return !talk.isRemoved && !talk.isRefused && place != nil && place?.expires == nil
            }
            for (number, talk) in live {
                if talk.epoch != group.epoch {
                    violate(
                        "client \(number) is in epoch \(talk.epoch) of group \(group.number), "
                            + "which is in \(group.epoch)")
                }
                for (other, sender) in live where sender.box != talk.box {
                    let heard = talk.heard[sender.box]
                    let isExpected = sender.acceptedIn >= talk.joined && sender.accepted > 0
                    if let heard, heard != sender.accepted, !talk.isClosed {
                        violate("client \(number) has \(heard) of \(sender.accepted) of \(other)")
                    }
                    if heard == nil, isExpected, !talk.isClosed {
                        violate("client \(number) has nothing of client \(other)")
                    }
                }
            }
        }
    }

    /// One order for all: what the members saw, put together, has no circle in it.
    private func checkOrder() {
        var logs: [GroupID: [[UInt64]]] = [:]
        for device in world.devices {
            for talk in device.state.talks {
                logs[talk.group, default: []].append(talk.log.filter { !floating.contains($0) })
            }
        }
        for (id, lists) in logs where !Self.isOneOrder(lists) {
            violate("members of group \(groups[id]?.number ?? -1) saw different orders")
        }
    }

    static func isOneOrder(_ lists: [[UInt64]]) -> Bool {
        var followers: [UInt64: [UInt64]] = [:]
        var before: [UInt64: Int] = [:]
        for list in lists {
            for name in list { before[name, default: 0] += 0 }
            for (name, next) in zip(list, list.dropFirst()) {
                followers[name, default: []].append(next)
                before[next, default: 0] += 1
            }
        }
        var ready = before.filter { $0.value == 0 }.map(\.key)
        var count = 0
        while let name = ready.popLast() {
            count += 1
            for next in followers[name] ?? [] {
                before[next, default: 0] -= 1
                if before[next] == 0 { ready.append(next) }
            }
        }
        return count == before.count
    }

    /// Deliveries that a client hasn't acknowledged, as somebody might guess or steal them.
    func openDeliveries(of mailbox: MailboxID) -> [DeliveryID] {
        (boxes[mailbox]?.unacknowledged.keys.map { $0 } ?? []).sorted {
            ($0.high, $0.low) < ($1.high, $1.low)
        }
    }

    /// What is settled needn't be remembered.
    private func forget() {
        waiting = [:]
        accepted = []
        floating = []
        blobs = blobs.filter { groups[$0.key]?.isErased == false }
        for (id, box) in boxes where !box.isHostile {
            boxes[id]?.acknowledged = []
            boxes[id]?.idOfName = [:]
            boxes[id]?.ranks = [:]
            // A restored relay must not use a name again that it has forgotten.
            guard !world.profile.restores else { continue }
            boxes[id]?.nameOfID = [:]
            for (delivery, item) in box.unacknowledged {
                boxes[id]?.nameOfID[delivery] = item.name
            }
        }
        for device in world.devices { device.forgetLogs() }
    }
}
