import RelayCore
import RelayProtocol

/// What looking at everything that is kept has shown.
struct Inspection: Equatable {
    /// Content that doesn't open any more. Whoever asks for it gets a gap, and everything else goes on.
    enum Gap: Hashable {
        case message(UInt64)
        case piece(Int64)
    }

    /// What doesn't hold, and would end the relay, or lose more than itself.
    var problems: [String] = []
    var gaps: Set<Gap> = []

    /// Whether all is well.
    var isEmpty: Bool { problems.isEmpty && gaps.isEmpty }

    /// The gaps in words; `nil` if there are none.
    var gapWords: String? {
        let messageCount = gaps.count { if case .message = $0 { true } else { false } }
        let counts = [(messageCount, "message"), (gaps.count - messageCount, "piece")]
        let words = counts.filter { $0.0 > 0 }.map { "\($0) \($1)\($0 == 1 ? "" : "s")" }
        guard !words.isEmpty else { return nil }
        return words.joined(separator: " and ") + (messageCount < gaps.count ? " of files" : "")
            + " can't be read"
    }
}

extension SQLiteStore {
    /// Reads and opens everything that is kept, and says what doesn't hold; nothing is changed.
    /// `pause` is called between pieces, so that another connection can go on.
    ///
    /// - Parameter isDeep: opens files as well; otherwise their lengths are read.
    func inspect(
        isDeep: Bool = true, pause: () throws(StoreError) -> Void = {}
    ) throws(StoreError) -> Inspection {
        var found = Inspection()
        var cursor: MailboxNumber?
        repeat {
            let (mailboxes, next) = try mailboxes(after: cursor, limit: 200)
            for (number, record) in mailboxes { try inspect(record, number, &found) }
            cursor = next
            try pause()
        } while cursor != nil
        for (number, _) in try allGroups() {
            // With many files this takes a while, and a running relay goes on.
            guard let record = try group(number) else { continue }
            if try group(record.id)?.0 != number {
                found.problems.append("a group isn't found by its name")
            }
            for case let member? in record.members where try mailbox(member.mailbox) == nil {
                found.problems.append("a group names a mailbox that isn't there")
            }
            var last = MessageNumber(rawValue: 0)
            var isComplete = false
            while !isComplete {
                let part = try messages(
                    in: number, waitingFor: .max, after: last, limit: 200, byteCount: 4 << 20)
                isComplete = part.isComplete
                for message in part.found where message.isDamaged {
                    found.gaps.insert(.message(message.number.rawValue))
                }
                if let message = part.found.last { last = message.number }
                try pause()
            }
            try inspectBlobs(of: number, isDeep: isDeep, pause: pause, &found)
        }
        try inspectStrayBlobs(pause: pause, &found)
        return found
    }

    private func inspect(
        _ record: MailboxRecord, _ number: MailboxNumber, _ found: inout Inspection
    ) throws(StoreError) {
        if try mailbox(record.id)?.0 != number {
            found.problems.append("a mailbox isn't found by its name")
        }
        for group in record.memberships where try self.group(group) == nil {
            found.problems.append("a mailbox names a group that isn't there")
        }
        if record.kind == .home,
            try !canBeRead({ () throws(StoreError) in _ = try packages(of: number) })
        {
            found.problems.append("a KeyPackage on a shelf can't be read")
        }
        if try !canBeRead({ () throws(StoreError) in try readAnswers(of: number) }) {
            found.problems.append("an answer to a mailbox can't be read")
        }
    }

    /// Whether what `body` opens is as it was stored.
    func canBeRead(_ body: () throws(StoreError) -> Void) throws(StoreError) -> Bool {
        do throws(StoreError) {
            try body()
            return true
        } catch {
            guard case .corrupt = error else { throw error }
            return false
        }
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
