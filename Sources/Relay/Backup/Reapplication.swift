import Cryptography
import Foundation
import GRDB
package import RelayCore
package import RelayProtocol

/// A store that a backup can be restored into.
package protocol RestorableStore: RelayStore {
    /// At most `limit` mailboxes after `number`, and where to go on; `nil` at the end.
    func mailboxes(
        after number: MailboxNumber?, limit: Int
    ) throws(StoreError) -> (found: [(MailboxNumber, MailboxRecord)], next: MailboxNumber?)
    /// The name under which the trail knows a mailbox.
    func receiptHash(_ mailbox: MailboxID) throws(StoreError) -> [UInt8]
    /// The name under which the trail knows a group that was closed.
    func closingHash(_ group: GroupID) throws(StoreError) -> [UInt8]
    /// The name under which the trail knows that a mailbox confirmed a group's closing.
    func membershipHash(_ group: GroupID, _ mailbox: MailboxID) throws(StoreError) -> [UInt8]
    /// Keeps a receipt under such a name, unless it is there; true if it wasn't.
    func addReceipt(
        _ content: [UInt8], forHash mailbox: [UInt8], until day: Day
    ) throws(StoreError) -> Bool
    /// Takes those packages off a shelf that `isGone` names; how many there were.
    func removePackages(
        _ mailbox: MailboxNumber, where isGone: ([UInt8], Bool) -> Bool
    ) throws(StoreError) -> Int
}

/// Does again, in a restored database, what the trail says was done since the backup: what was
/// erased, spent or used once must not come back.
///
/// A backup made since another one that was put back is of a past that isn't any more: devices may
/// have forgotten mailboxes that it has, and the keys of the packages that name these. Then all
/// shelves are emptied; devices stock them again.
package struct Reapplication {
    /// What came back with the backup and is gone again.
    package struct Report: Codable, Equatable, Sendable {
        /// Groups erased once more.
        var groups = 0
        /// Mailboxes erased once more.
        var mailboxes = 0
        /// Groups closed once more.
        var closed = 0
        /// Owners' confirmations noted once more.
        var confirmed = 0
        /// Packages taken off shelves.
        var packages = 0
        /// Tokens and tickets marked as spent.
        var spent = 0
        /// Receipts stored for those who come back late.
        var receipts = 0
    }

    private var groups: Set<[UInt8]> = []
    private var mailboxes: Set<[UInt8]> = []
    private var packages: Set<[UInt8]> = []
    private var emptied: Set<[UInt8]> = []
    private var withoutLastResort: Set<[UInt8]> = []
    private var spent: [[UInt8]: Day] = [:]
    private var closed: [[UInt8]: Day] = [:]
    private var confirmed: Set<[UInt8]> = []
    private var receipts: [(mailbox: [UInt8], content: [UInt8], until: Day)] = []
    private let backupEnd: UInt64
    private var isOfAnotherPast = false

    /// - Parameter backupEnd: the number of the trail's next entry when the backup was made.
    package init(backupEnd: UInt64) { self.backupEnd = backupEnd }

    /// Takes an entry that says that a backup was put back which was made when `end` was next.
    package mutating func take(restoreTo end: UInt64) {
        if end < backupEnd { isOfAnotherPast = true }
    }

    /// Takes what one entry of the trail did.
    ///
    /// - Parameter receipt: what the entry says, if it is of an erasure.
    package mutating func take(_ effects: [TrailEffect], erasure receipt: [UInt8]?) {
        if let receipt, let receipt = try? ErasureReceipt(decoding: receipt) {
            groups.insert(receipt.groupHash)
        }
        for effect in effects {
            switch effect {
            case .spent(let hash, let until): spent[hash] = until
            case .mailboxErased(let hash): mailboxes.insert(hash)
            case .packageTaken(let hash): packages.insert(hash)
            case .shelfCleared(let mailbox): emptied.insert(mailbox)
            case .lastResortReplaced(let mailbox): withoutLastResort.insert(mailbox)
            case .receipt(let mailbox, let content, let until):
                receipts.append((mailbox, content, until))
            case .closed(let group, let deadline): closed[group] = deadline
            case .confirmed(let membership): confirmed.insert(membership)
            }
        }
    }

    /// Changes the store, inside a transaction.
    package func apply(to store: some RestorableStore) throws(StoreError) -> Report {
        var report = Report()
        try eraseGroups(in: store, &report)
        try closeGroups(in: store, &report)
        try eraseMailboxes(in: store, &report)
        for (hash, until) in spent where try store.spend(hash, until: until) { report.spent += 1 }
        for receipt in receipts {
            let isNew = try store.addReceipt(
                receipt.content, forHash: receipt.mailbox, until: receipt.until)
            if isNew { report.receipts += 1 }
        }
        return report
    }

    private func eraseGroups(
        in store: some RestorableStore, _ report: inout Report
    ) throws(StoreError) {
        guard !groups.isEmpty else { return }
        for (number, record) in try store.allGroups()
        where groups.contains(ErasureReceipt.groupHash(of: record.id)) {
            for case let member? in record.members {
                guard var mailbox = try store.mailbox(member.mailbox) else { continue }
                mailbox.memberships.removeAll { $0 == number }
                try store.updateMailbox(member.mailbox, mailbox)
            }
            _ = try store.eraseGroup(number, record.id)
            report.groups += 1
        }
    }

    /// Closes groups again, and takes from owners who had confirmed what waits for them.
    private func closeGroups(
        in store: some RestorableStore, _ report: inout Report
    ) throws(StoreError) {
        guard !closed.isEmpty || !confirmed.isEmpty else { return }
        for (number, record) in try store.allGroups() {
            var group = record
            if !group.isClosed, let deadline = closed[try store.closingHash(record.id)] {
                group.isClosed = true
                group.deadline = min(group.deadline, deadline)
                report.closed += 1
            }
            guard group.isClosed else { continue }
            for (position, member) in record.members.enumerated() {
                guard let member, member.role == .owner, member.state == .active,
                    let mailbox = try store.mailbox(member.mailbox),
                    confirmed.contains(try store.membershipHash(record.id, mailbox.id))
                else { continue }
                group.members[position]?.state = .confirmed
                try store.clearWaiting(MemberSet(1) << MemberSet(position), in: number)
                report.confirmed += 1
            }
            if group != record { try store.updateGroup(number, group) }
        }
    }

    private func eraseMailboxes(
        in store: some RestorableStore, _ report: inout Report
    ) throws(StoreError) {
        var cursor: MailboxNumber?
        repeat {
            let (found, next) = try store.mailboxes(after: cursor, limit: 500)
            for (number, record) in found {
                let hash = try store.receiptHash(record.id)
                if mailboxes.contains(hash) {
                    try remove(number, record, from: store)
                    report.mailboxes += 1
                } else if record.kind == .home {
                    report.packages += try store.removePackages(number) { package, isLastResort in
                        isOfAnotherPast || emptied.contains(hash)
                            || (isLastResort && withoutLastResort.contains(hash))
                            || packages.contains(TrailEffect.hash(ofPackage: package))
                    }
                }
            }
            cursor = next
        } while cursor != nil
    }

    /// A mailbox that left its group before it was erased is still a member in the backup.
    private func remove(
        _ number: MailboxNumber, _ record: MailboxRecord, from store: some RestorableStore
    ) throws(StoreError) {
        for groupNumber in record.memberships {
            guard var group = try store.group(groupNumber) else { continue }
            for (position, member) in group.members.enumerated()
            where member?.mailbox == number {
                try store.clearWaiting(MemberSet(1) << MemberSet(position), in: groupNumber)
                group.members[position] = nil
            }
            try store.updateGroup(groupNumber, group)
        }
        try store.eraseMailbox(number, record.id)
    }
}

extension SQLiteStore: RestorableStore {
    /// Takes every package off every shelf.
    func emptyShelves() throws(StoreError) -> Int {
        do {
            try database.execute(sql: "DELETE FROM shelf")
            return database.changesCount
        } catch {
            throw StoreError(error)
        }
    }

    /// Keeps a receipt under the hash of a mailbox, unless it is there; true if it wasn't.
    func addReceipt(
        _ content: [UInt8], forHash mailbox: [UInt8], until day: Day
    ) throws(StoreError) -> Bool {
        do {
            try database.execute(
                sql: """
                    INSERT INTO receipt (mailbox, until, content) SELECT ?1, ?2, ?3
                    WHERE NOT EXISTS (SELECT 1 FROM receipt WHERE mailbox = ?1 AND content = ?3)
                    """,
                arguments: [Data(mailbox), Int64(day.rawValue), Data(content)])
            return database.changesCount > 0
        } catch {
            throw StoreError(error)
        }
    }

    /// Takes those packages off a shelf that `isGone` names; how many there were.
    func removePackages(
        _ mailbox: MailboxNumber, where isGone: ([UInt8], Bool) -> Bool
    ) throws(StoreError) -> Int {
        var removed = 0
        for item in try packages(of: mailbox) where isGone(item.content, item.isLastResort) {
            do {
                try database.execute(
                    sql: "DELETE FROM shelf WHERE number = ?", arguments: [item.number])
            } catch {
                throw StoreError(error)
            }
            removed += 1
        }
        return removed
    }
}
