import RelayCore
import RelayProtocol

extension SQLiteStore {
    /// Reads and opens everything that is kept, and says what doesn't hold; nothing is changed.
    /// `pause` is called between pieces, so that another connection can go on.
    ///
    /// - Parameter isDeep: opens files as well; otherwise their lengths are read.
    func inspect(
        isDeep: Bool = true, pause: () throws(StoreError) -> Void = {}
    ) throws(StoreError) -> [String] {
        var problems: [String] = []
        var cursor: MailboxNumber?
        repeat {
            let (found, next) = try mailboxes(after: cursor, limit: 200)
            for (number, record) in found {
                if try mailbox(record.id)?.0 != number {
                    problems.append("a mailbox isn't found by its name")
                }
                for group in record.memberships where try self.group(group) == nil {
                    problems.append("a mailbox names a group that isn't there")
                }
                if record.kind == .home { _ = try packages(of: number) }
            }
            cursor = next
            try pause()
        } while cursor != nil
        for (number, _) in try allGroups() {
            // With many files this takes a while, and a running relay goes on.
            guard let record = try group(number) else { continue }
            if try group(record.id)?.0 != number {
                problems.append("a group isn't found by its name")
            }
            for case let member? in record.members where try mailbox(member.mailbox) == nil {
                problems.append("a group names a mailbox that isn't there")
            }
            var last = MessageNumber(rawValue: 0)
            var isComplete = false
            while !isComplete {
                let part = try messages(
                    in: number, waitingFor: .max, after: last, limit: 200, byteCount: 4 << 20)
                isComplete = part.isComplete
                if let message = part.found.last { last = message.number }
                try pause()
            }
            problems += try inspectBlobs(of: number, isDeep: isDeep, pause: pause)
        }
        return problems + (try inspectStrayBlobs(pause: pause))
    }
}

extension RelayStore {
    /// Every group with its place.
    func allGroups() throws(StoreError) -> [(GroupNumber, GroupRecord)] {
        var all: [(GroupNumber, GroupRecord)] = []
        var cursor: GroupNumber?
        repeat {
            let (found, next) = try groups(after: cursor, limit: 500)
            all += found
            cursor = next
        } while cursor != nil
        return all
    }
}
