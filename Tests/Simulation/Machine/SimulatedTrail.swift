import Relay
package import RelayCore
package import RelayProtocol
package import RelayTestSupport

/// What the relay's trail says of every durable batch, without chain, seal and file: what a restore has
/// to do again. Doing it is the real relay's code.
struct SimulatedTrail {
    private enum Entry {
        case effect(TrailEffect)
        /// The relay was restored from a backup made when the trail ended there.
        case restored(Int)
    }

    private var entries: [Entry] = []

    var count: Int { entries.count }

    /// Notes a restore.
    mutating func noteRestore(to end: Int) { entries.append(.restored(end)) }

    /// Notes a change before it is made, as `SQLiteStore` does.
    mutating func note(_ change: MemoryChange, in state: MemoryState) {
        entries += effects(of: change, in: state).map { .effect($0) }
    }

    private func effects(of change: MemoryChange, in state: MemoryState) -> [TrailEffect] {
        switch change {
        case .spend(let hash, let day): return [.spent(hash: hash, until: day)]
        case .eraseMailbox(_, let id): return [.mailboxErased(hash: id.bytes)]
        case .takeFromShelf(_, let package):
            return [.packageTaken(hash: TrailEffect.hash(ofPackage: package))]
        case .clearShelf(let place):
            return state.mailboxes[place].map { [.shelfCleared(mailbox: $0.id.bytes)] } ?? []
        case .lastResort(let place, _):
            guard let mailbox = state.mailboxes[place], state.lastResorts[place] != nil else {
                return []
            }
            return [.lastResortReplaced(mailbox: mailbox.id.bytes)]
        case .receipt(let content, let mailbox, let day):
            return [.receipt(mailbox: mailbox.bytes, content: content, until: day)]
        case .group(let place, let record):
            guard record.isClosed, let former = state.groups[place] else { return [] }
            let now = MemoryStore()
            now.replace(with: state)
            return (try? TrailEffect.ofUpdating(former, to: record, in: now)) ?? []
        default: return []
        }
    }

    /// Does again what happened after a place.
    func reapply(after end: Int, to store: MemoryStore) throws {
        var reapplication = Reapplication(backupEnd: UInt64(end))
        for entry in entries[end...] {
            switch entry {
            case .effect(let effect):
                // Every receipt is an entry of its own, too.
                let receipt: [UInt8]? =
                    if case .receipt(_, let content, _) = effect { content } else { nil }
                reapplication.take([effect], erasure: receipt)
            case .restored(let end): reapplication.take(restoreTo: UInt64(end))
            }
        }
        _ = try reapplication.apply(to: store)
    }
}

extension MemoryStore: RestorableStore {
    package func receiptHash(_ mailbox: MailboxID) -> [UInt8] { mailbox.bytes }
    package func closingHash(_ group: GroupID) -> [UInt8] { group.bytes }
    package func membershipHash(_ group: GroupID, _ mailbox: MailboxID) -> [UInt8] {
        group.bytes + mailbox.bytes
    }

    package func addReceipt(
        _ content: [UInt8], forHash hash: [UInt8], until day: Day
    ) throws(StoreError) -> Bool {
        guard let mailbox = MailboxID(hash) else { throw .corrupt("a hash that is none") }
        guard try !receipts(for: mailbox).contains(where: { $0.content == content }) else {
            return false
        }
        _ = try addReceipt(content, for: mailbox, until: day)
        return true
    }
}
