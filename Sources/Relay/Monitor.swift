private import CoreFoundation
private import Glibc

/// A lock, with waiting until another thread has changed what it guards.
@safe final class Monitor: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe condition = .allocate(capacity: 1)
        // Waiting takes as long as it should even if somebody sets the clock.
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(condition, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe condition.deallocate()
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    func withLock<Result>(_ body: () -> Result) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return body()
    }

    /// Waits for a signal, perhaps in vain; only inside `withLock`, which it leaves meanwhile.
    func wait() { unsafe pthread_cond_wait(condition, mutex) }

    /// The same for at most so long.
    func wait(atMost milliseconds: Int) {
        let end = SystemClock.nanoseconds &+ UInt64(max(0, milliseconds)) &* 1_000_000
        var until = timespec(
            tv_sec: Int(end / 1_000_000_000), tv_nsec: Int(end % 1_000_000_000))
        unsafe pthread_cond_timedwait(condition, mutex, &until)
    }

    /// Wakes a thread that waits.
    func signal() { unsafe pthread_cond_signal(condition) }
}
