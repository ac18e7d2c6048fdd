import RelayCore
import RelayProtocol
import RelayTestSupport

/// What is stored.
extension Monitor {
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
        checkRoomOfBlobs(state)
        for group in state.groups.values
        where group.members.count(where: { $0?.state == .active })
            > Int(limits.published.groupMembers)
        {
            violate("a group has too many members")
        }
    }

    /// Nothing is left of what was erased, and everything that is left fits together.
    func checkStore(_ state: MemoryState) {
        for (place, group) in state.groups {
            if groups[group.id]?.isErased == true, !retaken.contains(group.id) {
                violate("group \(groups[group.id]?.number ?? -1) is still stored after its erasure")
            }
            for member in group.members {
                guard let member else { continue }
                let box = state.mailboxes[member.mailbox.rawValue]
                if box?.memberships.contains(GroupNumber(rawValue: place)) != true {
                    violate("a group has a member that doesn't know it")
                }
            }
        }
        for (place, messages) in state.messages where !messages.isEmpty {
            if state.groups[place] == nil { violate("messages are left of a group that is gone") }
        }
        for (place, box) in state.mailboxes {
            for group in box.memberships {
                let members = state.groups[group.rawValue]?.members ?? []
                if !members.contains(where: { $0?.mailbox.rawValue == place }) {
                    violate("a mailbox is a member of a group that doesn't know it")
                }
            }
        }
    }
}
