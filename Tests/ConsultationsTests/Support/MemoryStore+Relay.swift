import RelayCore
import RelayProtocol
import RelayTestSupport

/// What a relay in memory can be made to do.
extension MemoryStore {
    /// An older state comes back, without a trail: nobody remembers which tickets were spent, so
    /// the caller changes the ticket key, and shelves are emptied.
    func restore(_ backup: MemoryState) {
        var state = backup
        state.shelves = [:]
        state.lastResorts = [:]
        replace(with: state)
    }

    /// A relay that adds a mailbox of its own to every group's list.
    func addSpy(_ mailbox: MailboxID) throws {
        let number = try addMailbox(MailboxRecord(id: mailbox, kind: .consultation, counter: 1))
        for (place, var record) in state.groups {
            record.members.append(MemberRecord(mailbox: number, role: .guest))
            try updateGroup(GroupNumber(rawValue: place), record)
        }
        commit()
    }

    /// A relay that says that other commits began the epochs.
    func forgeHistory() throws {
        for (place, var record) in state.groups {
            record.commitHash = [UInt8](repeating: 7, count: 32)
            try updateGroup(GroupNumber(rawValue: place), record)
        }
        commit()
    }

    /// Every octet string that the relay keeps, for marker searches.
    var everything: [[UInt8]] {
        messageContents + state.shelves.values.flatMap { $0 }
            + state.answers.values.flatMap(\.values)
    }
}
