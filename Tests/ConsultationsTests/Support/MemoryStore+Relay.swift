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

    /// A member's blob of zeros, whole, in every group.
    func addBlob(_ id: BlobID, byteCount: Int) throws {
        let shape = BlobShape(byteCount: UInt64(byteCount))
        let day = Day(unixSeconds: 0)
        for place in state.groups.keys {
            let group = GroupNumber(rawValue: place)
            try addBlob(
                id, in: group, byteCount: byteCount, by: MailboxNumber(rawValue: 1), on: day)
            commit()
            for index in 0..<(shape?.pieceCount ?? 0) {
                guard let blob = try blob(id, in: group) else { continue }
                let piece = [UInt8](repeating: 0, count: shape?.byteCount(ofPiece: index) ?? 0)
                try addPiece(piece, to: blob, on: day)
                commit()
            }
        }
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
