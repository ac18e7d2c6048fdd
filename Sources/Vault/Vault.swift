public import Cryptography
internal import GRDB
internal import Glibc

/// The sealed file of one device: records that only a passphrase opens, written in transactions that
/// are durable when they return, and erased so that nothing of them is left in the file.
///
/// All calls run on the calling thread. Use a vault from one actor or thread at a time; a second
/// thread waits. What is where and under which key: `protocol/vault.md`.
public final class Vault: Sendable {
    /// The name of the file inside the home.
    public static let fileName = "vault.sqlite"

    /// The folder that the vault lies in.
    public let home: String

    let queue: DatabaseQueue
    private let state: Lock<State>

    private struct State {
        /// Nil once closed: with it the keys in memory are gone.
        var ring: KeyRing?
        var lock: HomeLock?
        /// Set when the disk failed in a way after which nothing is certain.
        var failure: VaultError?
        /// The thread inside a transaction; it must not ask for another.
        var owner: pthread_t?
        /// An erasure is committed, but the write-ahead log couldn't be emptied yet.
        var erasureIsPending = false
    }

    /// Takes over an opened file.
    init(home: String, queue: DatabaseQueue, ring: KeyRing, lock: HomeLock, logIsEmpty: Bool) {
        self.home = home
        self.queue = queue
        state = Lock(State(ring: ring, lock: lock, erasureIsPending: !logIsEmpty))
    }

    deinit {
        close()
    }

    // MARK: Transactions

    /// Looks at the vault; nothing can be changed.
    ///
    /// - Throws: `VaultError`, or whatever `body` throws.
    public func read<Result>(_ body: (ReadTransaction) throws -> Result) throws -> Result {
        try transact(.deferred, ReadTransaction.init, body)
    }

    /// Changes the vault: when this returns, everything is on the disk; when it throws, nothing is.
    ///
    /// - Throws: `VaultError`, or whatever `body` throws. `.diskFull` leaves the vault usable. A
    ///   failure of the disk inside `body` is thrown even if `body` went on after it.
    public func write<Result>(_ body: (WriteTransaction) throws -> Result) throws -> Result {
        try transact(.immediate, WriteTransaction.init, body)
    }

    private func transact<Transaction: ReadTransaction, Result>(
        _ kind: Database.TransactionKind, _ make: (Database, KeyRing) -> Transaction,
        _ body: (Transaction) throws -> Result
    ) throws -> Result {
        try exclusively { db, ring in
            try storage { try db.beginTransaction(kind) }
            let transaction = make(db, ring)
            let result: Result
            do {
                defer { transaction.end() }
                result = try body(transaction)
                if let failure = transaction.failure { throw failure }
            } catch {
                rollback(db)
                if let failure = transaction.failure, failure.endsVault { remember(failure) }
                throw error
            }
            do {
                try storage { try db.commit() }
            } catch {
                rollback(db)
                throw error
            }
            let hasErased = (transaction as? WriteTransaction)?.hasErased ?? false
            let ring = transaction.ring
            let truncates = state.withLock { state in
                if state.ring != nil { state.ring = ring }
                state.erasureIsPending = state.erasureIsPending || hasErased
                return state.erasureIsPending
            }
            // The commit stands whatever happens here; `completeErasures` reports it.
            if truncates { try? emptyLog(db) }
            return result
        }
    }

    /// Runs `body` alone, with the keys.
    private func exclusively<Result>(_ body: (Database, KeyRing) throws -> Result) throws -> Result
    {
        let thread = pthread_self()
        guard state.withLock({ $0.owner }) != thread else {
            throw VaultError.misuse(.nestedTransaction)
        }
        return try queue.writeWithoutTransaction { db in
            let ring = try state.withLock { state throws(VaultError) in
                guard let ring = state.ring else { throw .misuse(.closed) }
                if let failure = state.failure { throw failure }
                state.owner = thread
                return ring
            }
            defer { state.withLock { $0.owner = nil } }
            return try body(db, ring)
        }
    }

    /// Translates failures, and remembers the one after which nothing is certain.
    private func storage<Result>(_ body: () throws -> Result) throws(VaultError) -> Result {
        do {
            return try body()
        } catch {
            let error = VaultError(error)
            if error.endsVault { remember(error) }
            throw error
        }
    }

    private func remember(_ failure: VaultError) {
        state.withLock { $0.failure = $0.failure ?? failure }
    }

    private func rollback(_ db: Database) {
        // SQLite may have rolled back by itself; then there is nothing to do.
        guard db.isInsideTransaction else { return }
        do {
            try db.rollback()
        } catch {
            remember(.storage(code: SQLITE_ROLLBACK_FAILED))
        }
    }

    // MARK: Erasure

    /// Erases a consultation: its key, its tables and every octet of them in the vault's files.
    public func eraseConsultation(_ number: ConsultationNumber) throws(VaultError) {
        try plain { try write { try $0.eraseConsultation(number) } }
        try completeErasures()
    }

    /// Makes sure that no octet of what `write` erased is left in the write-ahead log.
    ///
    /// `write` tries by itself after the commit, opening and closing the vault too.
    public func completeErasures() throws(VaultError) {
        try plain {
            try exclusively { db, _ in
                if state.withLock({ $0.erasureIsPending }) { try emptyLog(db) }
            }
        }
    }

    /// Rewrites the file, so that records which were removed or replaced leave no ciphertext in the
    /// gaps of pages either. Takes some ten milliseconds per megabyte.
    public func scrub() throws(VaultError) {
        try plain {
            try exclusively { db, _ in
                try storage { try db.execute(sql: "VACUUM") }
                try emptyLog(db)
            }
        }
    }

    private func emptyLog(_ db: Database) throws(VaultError) {
        _ = try storage { try db.checkpoint(.truncate) }
        state.withLock { $0.erasureIsPending = false }
    }

    // MARK: Keys and counters

    /// Raises a counter durably, in a transaction of its own (`WriteTransaction.raiseCounter`).
    public func raiseCounter(
        named name: [UInt8], in scope: Scope = .person
    ) throws(VaultError) -> UInt64 {
        try plain { try write { try $0.raiseCounter(named: name, in: scope) } }
    }

    /// Wraps the vault's keys under a new passphrase, in place of the old wraps.
    ///
    /// - Throws: `.wrongPassphrase` if `old` isn't the present one.
    public func changePassphrase(
        from old: SecretBytes, to new: SecretBytes, cost: PasswordHash.Cost = .interactive
    ) throws(VaultError) {
        try plain {
            try exclusively { db, ring in
                let keys = try storage { try Self.header(db) }.keys(for: old)
                let header = try VaultHeader(
                    vaultID: ring.vaultID, keys: keys, passphrase: new, cost: cost)
                try storage { try Self.store(header, db) }
                try emptyLog(db)
            }
        }
    }

    /// A key of 32 octets that the vault doesn't hold: it takes the passphrase each time, stays the
    /// same when the passphrase changes, and is wiped when the caller lets go of it.
    public func passphraseKey(_ passphrase: SecretBytes) throws(VaultError) -> SecretBytes {
        try plain {
            try exclusively { db, _ in
                try storage { try Self.header(db) }.keys(for: passphrase).passphraseKey
            }
        }
    }

    // MARK: The end

    /// Lets SQLite examine its file and opens every record.
    public func check() throws(VaultError) {
        try plain {
            try exclusively { db, _ in
                let answer = try storage { try db.rows("PRAGMA integrity_check(1)") }
                guard case .string("ok")? = answer.first?.first?.storage else {
                    throw VaultError.damaged(.file)
                }
            }
            try read { transaction in
                try transaction.openAll(in: .person)
                for number in try transaction.consultations() {
                    try transaction.openAll(in: .consultation(number))
                }
            }
        }
    }

    /// Closes the file, wipes the keys and lets others open it; all later calls are misuse. Inside
    /// of a transaction it does nothing.
    public func close() {
        guard state.withLock({ $0.owner }) != pthread_self() else { return }
        queue.writeWithoutTransaction { db in
            let wasOpen = state.withLock { state in
                defer { state.ring = nil }
                return state.ring != nil
            }
            if wasOpen { _ = try? db.checkpoint(.truncate) }
        }
        // The last connection also removes the emptied log. What fails here is repeated on opening.
        try? queue.close()
        state.withLock { $0.lock = nil }
    }

    /// Narrows what our own closures throw.
    private func plain<Result>(_ body: () throws -> Result) throws(VaultError) -> Result {
        do {
            return try body()
        } catch {
            throw VaultError(error)
        }
    }
}

/// SQLite's SQLITE_IOERR_ROLLBACK_ATOMIC: no other code says that going back failed.
private let SQLITE_ROLLBACK_FAILED: Int32 = 10 | (31 << 8)
