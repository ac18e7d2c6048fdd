private import Glibc
import RelayCore

/// Lets one thread at a time at the decisions: the writer, which waits for its turn, or the loop,
/// which has a look and goes the long way if it isn't free.
@safe final class EngineGate: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var engine: RelayEngine?
    private var isTaken = false
    private var isWanted = false
    /// The writer has it: it may enter again, after it failed inside.
    private var isWriters = false
    /// What the writer has let go and the loop hasn't sent. Until it has, the loop decides nothing,
    /// or its own outputs would overtake these.
    private var releaseCount = 0

    init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe condition = .allocate(capacity: 1)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe condition.deallocate()
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    // MARK: The writer

    /// Waits until the loop is out.
    func enter() {
        unsafe pthread_mutex_lock(mutex)
        isWanted = true
        while isTaken, !isWriters { unsafe pthread_cond_wait(condition, mutex) }
        isWanted = false
        isTaken = true
        isWriters = true
        unsafe pthread_mutex_unlock(mutex)
    }

    /// Lets the loop in again.
    ///
    /// - Parameter engine: what the loop may use; `nil`: it may not.
    /// - Parameter hasRelease: the loop is about to be given what this batch lets go.
    func leave(with engine: RelayEngine?, hasRelease: Bool) {
        unsafe pthread_mutex_lock(mutex)
        isTaken = false
        isWriters = false
        self.engine = engine
        if hasRelease { releaseCount += 1 }
        unsafe pthread_mutex_unlock(mutex)
    }

    // MARK: The loop

    /// The loop has sent what one batch let go.
    func released() {
        unsafe pthread_mutex_lock(mutex)
        releaseCount -= 1
        unsafe pthread_mutex_unlock(mutex)
    }

    /// The engine, if nobody else has it or waits for it.
    func tryEnter() -> RelayEngine? {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        guard !isTaken, !isWanted, releaseCount == 0, let engine else { return nil }
        isTaken = true
        return engine
    }

    /// Gives it back.
    func leave() {
        unsafe pthread_mutex_lock(mutex)
        isTaken = false
        if isWanted { unsafe pthread_cond_signal(condition) }
        unsafe pthread_mutex_unlock(mutex)
    }
}
