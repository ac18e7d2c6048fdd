import CEpoll
import Cryptography
import Glibc

/// The thread of the load generator: sockets, and the actors that live on it.
///
/// libwebsockets reads a client's frames octet by octet, which costs more than everything else that
/// generator and relay do for a message of 1 KiB. So the generator has sockets of its own, as lean as
/// the ones that brokers are measured with.
///
/// `@safe`: what it stores beside numbers is touched by its own thread only, the jobs under a lock.
@safe final class LoadLoop: SerialExecutor, @unchecked Sendable {
    private struct Inbox {
        var jobs: [UnownedJob] = []
        var isStopped = false
    }

    private let poll: Int32
    private let bell: Int32
    private let inbox = Lock(Inbox())
    private var thread = pthread_t()

    // The loop's thread only:
    private var sockets: [Int32: LoadSocket] = [:]
    private var endings: [() -> Void] = []
    /// Where every socket's input arrives first.
    private let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)

    init() throws {
        poll = epoll_create1(Int32(EPOLL_CLOEXEC))
        bell = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard poll >= 0, bell >= 0 else { throw BenchmarkError.system("epoll", errno) }
        control(EPOLL_CTL_ADD, bell, EPOLLIN.rawValue)
        let context = unsafe Unmanaged.passRetained(self).toOpaque()
        guard unsafe pthread_create(&thread, nil, runLoadLoop, context) == 0 else {
            throw BenchmarkError.system("pthread_create", errno)
        }
    }

    deinit {
        close(poll)
        close(bell)
        unsafe input.deallocate()
    }

    /// Ends the thread and closes what is open.
    func shutdownAndWait() {
        inbox.withLock { $0.isStopped = true }
        ring()
        pthread_join(thread, nil)
    }

    // MARK: - Jobs

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let wasEmpty = inbox.withLock { inbox in
            inbox.jobs.append(job)
            return inbox.jobs.count == 1
        }
        if wasEmpty { ring() }
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        unsafe UnownedSerialExecutor(ordinary: self)
    }

    func isIsolatingCurrentContext() -> Bool? { pthread_equal(pthread_self(), thread) != 0 }

    /// Runs once what came in this turn has been dealt with. On the loop only.
    func atEndOfTurn(_ work: @escaping () -> Void) { endings.append(work) }

    // MARK: - Sockets, on the loop only

    func add(_ socket: LoadSocket) {
        sockets[socket.descriptor] = socket
        control(EPOLL_CTL_ADD, socket.descriptor, EPOLLIN.rawValue)
    }

    func remove(_ socket: LoadSocket) {
        guard sockets.removeValue(forKey: socket.descriptor) != nil else { return }
        control(EPOLL_CTL_DEL, socket.descriptor, 0)
    }

    /// Whether a socket also waits until it can write.
    func watch(_ socket: LoadSocket, writing: Bool) {
        control(
            EPOLL_CTL_MOD, socket.descriptor,
            EPOLLIN.rawValue | (writing ? EPOLLOUT.rawValue : 0))
    }

    private func control(_ operation: Int32, _ descriptor: Int32, _ events: UInt32) {
        var event = unsafe epoll_event()
        unsafe event.events = events
        unsafe event.data.fd = descriptor
        unsafe epoll_ctl(poll, operation, descriptor, &event)
    }

    private func ring() {
        var one: UInt64 = 1
        unsafe write(bell, &one, 8)
    }

    fileprivate func run() {
        var events = unsafe [epoll_event](repeating: epoll_event(), count: 512)
        while true {
            endTurn()
            let count = unsafe epoll_wait(poll, &events, Int32(events.count), -1)
            for index in 0..<max(0, Int(count)) {
                let descriptor = unsafe events[index].data.fd
                if descriptor == bell {
                    guard runJobs() else { return end() }
                } else if let socket = sockets[descriptor] {
                    if unsafe events[index].events & EPOLLOUT.rawValue != 0 { socket.flush() }
                    if unsafe events[index].events & ~EPOLLOUT.rawValue != 0 {
                        unsafe socket.read(input)
                    }
                }
            }
        }
    }

    /// False if the loop is to end.
    private func runJobs() -> Bool {
        var rings: UInt64 = 0
        unsafe Glibc.read(bell, &rings, 8)
        let (jobs, isStopped) = inbox.withLock { inbox in
            defer { inbox.jobs = [] }
            return (inbox.jobs, inbox.isStopped)
        }
        for job in jobs {
            unsafe job.runSynchronously(on: asUnownedSerialExecutor())
        }
        return !isStopped
    }

    private func endTurn() {
        while !endings.isEmpty {
            let works = endings
            endings = []
            for work in works { work() }
        }
    }

    private func end() {
        for socket in sockets.values { socket.close() }
        sockets = [:]
    }
}

private func runLoadLoop(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let argument = unsafe argument {
        unsafe Unmanaged<LoadLoop>.fromOpaque(argument).takeRetainedValue().run()
    }
    return nil
}
