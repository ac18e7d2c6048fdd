private import CoreFoundation
private import Glibc

/// What the loop hands to the writer: many add, one waits and takes everything at once.
@safe final class WorkQueue<Item: Sendable>: @unchecked Sendable {
    private var items: [Item] = []
    /// When the first of them came.
    private var since: UInt64 = 0
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

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

    func add(_ item: Item) {
        unsafe pthread_mutex_lock(mutex)
        items.append(item)
        let wasEmpty = items.count == 1
        if wasEmpty { since = SystemClock.nanoseconds }
        unsafe pthread_mutex_unlock(mutex)
        if wasEmpty { unsafe pthread_cond_signal(condition) }
    }

    /// Takes all items, after waiting for one for at most `milliseconds`; and when the first of them
    /// came, in nanoseconds of the steady clock.
    func takeAll(waitingAtMost milliseconds: Int) -> (items: [Item], since: UInt64) {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        if items.isEmpty {
            var until = timespec()
            unsafe clock_gettime(CLOCK_REALTIME, &until)
            let nanoseconds = until.tv_nsec + milliseconds % 1_000 * 1_000_000
            until.tv_sec += milliseconds / 1_000 + nanoseconds / 1_000_000_000
            until.tv_nsec = nanoseconds % 1_000_000_000
            unsafe pthread_cond_timedwait(condition, mutex, &until)
        }
        var taken: [Item] = []
        swap(&taken, &items)
        return (taken, since)
    }
}
