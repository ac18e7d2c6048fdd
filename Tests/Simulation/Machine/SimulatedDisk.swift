import RelayCore
import RelayProtocol
import RelayTestSupport

/// The disk beneath the relay's store: what was committed, what is durable, what backups hold, and
/// the trail, which lies on another disk.
///
/// Transactions are atomic, as SQLite's are. A commit that wasn't synced is lost by a crash, or
/// isn't.
final class SimulatedDisk {
    /// What a backup holds, and up to where the trail was when it was made.
    struct Backup {
        let state: MemoryState
        let trailEnd: Int
    }

    let store = MemoryStore()
    /// How this disk lies, for tests that show that a lie is found.
    private let flaw: Flaw
    private(set) var durable = MemoryState()
    private var unsynced: [[MemoryChange]] = []
    private var lastSynced: MemoryState?
    private(set) var trail = SimulatedTrail()

    init(flaw: Flaw) {
        self.flaw = flaw
        switch flaw {
        case .forgetsErasures:
            store.filter = { if case .eraseGroup = $0 { false } else { true } }
        case .losesPieces:
            var count = 0
            store.filter = { change in
                guard case .piece = change else { return true }
                count += 1
                return count % 50 != 0
            }
        default: break
        }
    }

    /// Writes that this batch can still make before the disk is full; `nil`: it isn't.
    func limit(writes: Int?) {
        store.failure = writes.map { _ in .full }
        store.writesBeforeFailure = writes ?? 0
    }

    /// The batch is whole. Answers whether it has to be synced before it is let go: acknowledgements
    /// alone needn't be.
    func commit() -> Bool {
        let batch = store.commit()
        unsynced.append(batch)
        return batch.contains { if case .acknowledge = $0 { false } else { true } }
    }

    /// Commits that a crash may lose.
    var unsyncedCount: Int { unsynced.count }

    /// What was committed is on the disk.
    func sync() {
        if flaw == .losesSynced { lastSynced = durable }
        for changes in unsynced { keep(changes) }
        unsynced = []
    }

    private func keep(_ changes: some Sequence<MemoryChange>) {
        for change in changes {
            trail.note(change, in: durable)
            durable.apply(change)
        }
    }

    /// The machine stops: what wasn't synced is there or isn't, all of it or a beginning.
    func crash(keeping count: Int) {
        for changes in unsynced.prefix(count) { keep(changes) }
        if flaw == .tearsBatches, let torn = unsynced.dropFirst(count).first {
            keep(torn.prefix(torn.count / 2))
        }
        if flaw == .losesSynced, let lastSynced { durable = lastSynced }
        unsynced = []
        store.replace(with: durable)
    }

    // MARK: Backups

    var backup: Backup { Backup(state: durable, trailEnd: trail.count) }

    /// Puts a backup in place of everything and does again what the trail says.
    func restore(_ backup: Backup) throws {
        limit(writes: nil)
        store.replace(with: backup.state)
        if flaw != .forgetsTrail { try trail.reapply(after: backup.trailEnd, to: store) }
        trail.noteRestore(to: backup.trailEnd)
        store.commit()
        durable = store.committed
    }
}
