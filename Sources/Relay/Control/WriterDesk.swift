import RelayCore

/// Something to be done on the writer's thread, within a batch.
typealias WriterTask = @Sendable (WriterDesk) throws(StoreError) -> Void

/// What a task may use while it runs on the writer's thread.
final class WriterDesk {
    let store: SQLiteStore
    let trail: TrailKeeper
    let engine: RelayEngine
    /// A backup on its way, a piece of which is copied after every batch.
    private(set) var backup: BackupRun?
    /// Something erased still stands in the log, because another process reads the database.
    var delaysErasure = false
    /// What is wrong, in words.
    var troubles: [String] { trail.troubles + (delaysErasure ? [WithheldAnswers.trouble] : []) }
    private var completions: [(WriterDesk) -> Void] = []

    init(store: SQLiteStore, trail: TrailKeeper, engine: RelayEngine) {
        self.store = store
        self.trail = trail
        self.engine = engine
    }

    /// Calls `body` once the batch and its entries in the trail are durable.
    func afterCommit(_ body: @escaping (WriterDesk) -> Void) { completions.append(body) }

    /// Begins to copy the database; `completion` hears how it ended.
    func startBackup(
        to path: String, completion: @escaping @Sendable (ControlReply) -> Void
    ) {
        guard backup == nil else {
            return completion(.refused("another backup is being made"))
        }
        do throws(RelayError) {
            backup = try BackupRun(store.database, to: path, completion: completion)
        } catch {
            completion(.refused("the copy can't be begun"))
        }
    }

    /// The batch is durable.
    func batchIsDurable() {
        for completion in completions { completion(self) }
        completions = []
    }

    /// Copies the next piece of a backup.
    func stepBackup() {
        if let backup, backup.step() { self.backup = nil }
    }

    /// Gives up a backup on its way.
    func endBackup(_ words: String) {
        backup?.abandon(words)
        backup = nil
    }

    /// Nothing goes on here.
    func end() { endBackup("the relay stopped, or its disk is full") }
}
