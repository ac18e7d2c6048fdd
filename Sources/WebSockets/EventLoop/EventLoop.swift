internal import CWebSockets
internal import Glibc
internal import Synchronization

/// One thread that runs a libuv loop, with the WebSocket servers and clients that were put on it.
///
/// The path of a message has no task and no `await`: a handler is called on the loop, decides, and
/// sends. An `actor` can live here too: let its `unownedExecutor` be the loop's, and a handler enters
/// it by `assumeIsolated`, without a hop. The loop is kept alive by its own thread until `shutdown()`.
///
/// Methods marked "loop only" are called on the loop's thread, else the process stops.
public final class EventLoop: SerialExecutor, @unchecked Sendable {
    /// A signal that the loop can take in place of the default action.
    public enum Signal: Hashable, Sendable {
        /// SIGTERM: the service manager asks the process to end.
        case terminate
        /// SIGINT: a person at the terminal does.
        case interrupt
        /// SIGHUP: configuration and certificates are to be read again.
        case hangUp
    }

    private enum Item {
        case work(@Sendable () -> Void)
        case job(UnownedJob)
    }

    private enum Phase {
        case starting, running
        /// The loop's handles are closing: nothing may wake it, its thread looks at the inbox once more.
        case closing
        case ended
    }

    let core = LoopCore()
    private let lock = Lock()
    /// The thread that runs the loop's work now; 0 for none.
    private let runner = Atomic<UInt>(0)

    // Guarded by `lock`.
    private var inbox: [Item] = []
    private var phase = Phase.starting
    private var isShutdownAsked = false
    private var isRunningLateJobs = false
    private var startProblem: String?
    private var isJoinable = false
    private var thread = pthread_t()
    private var endWaiters: [CheckedContinuation<Void, Never>] = []

    private let name: String

    /// Starts the thread; returns when the loop runs. Any thread.
    ///
    /// - Parameters:
    ///   - name: the thread's name, of which the system keeps fifteen octets.
    ///   - signals: taken by the loop instead of ending the process, from now until shutdown.
    ///   - onSignal: called on the loop.
    /// - Throws: `.notStarted` if the system gives no thread or no descriptors.
    public init(
        name: String = "loop", signals: Set<Signal> = [],
        onSignal: (@Sendable (Signal) -> Void)? = nil
    ) throws(EventLoopError) {
        self.name = String(decoding: name.utf8.prefix(15), as: UTF8.self)
        core.loop = self
        core.signals = signals
        core.onSignal = onSignal
        let argument = unsafe Unmanaged.passRetained(self).toOpaque()
        var created = pthread_t()
        let error = unsafe pthread_create(&created, nil, runEventLoopThread, argument)
        guard error == 0 else {
            unsafe Unmanaged<EventLoop>.fromOpaque(argument).release()
            throw .notStarted("no thread (error \(error))")
        }
        let problem = lock.withLock { () -> String? in
            thread = created
            isJoinable = true
            while phase == .starting { lock.wait() }
            return startProblem
        }
        if let problem {
            wait()
            throw .notStarted(problem)
        }
    }

    deinit {
        if isJoinable { pthread_detach(thread) }
    }

    /// Whether the caller is on the loop. Any thread.
    public var isCurrent: Bool {
        runner.load(ordering: .relaxed) == UInt(pthread_self())
    }

    func requireCurrent(_ function: StaticString = #function) {
        precondition(isCurrent, "\(function) is called off its event loop")
    }

    /// Runs `work` on the loop, in the order of the calls. Any thread.
    ///
    /// - Returns: false once the loop shuts down; `work` is then dropped without being run.
    @discardableResult
    public func execute(_ work: @escaping @Sendable () -> Void) -> Bool {
        lock.withLock {
            guard phase == .running, !isShutdownAsked else { return false }
            inbox.append(.work(work))
            if inbox.count == 1 { core.wake() }
            return true
        }
    }

    /// Runs `work` on the loop and waits for its result; directly if called there. Any thread.
    ///
    /// It blocks the caller: for setting up, not for the path of a message.
    ///
    /// - Throws: `.stopped` once the loop shuts down.
    public func executeAndWait<R: Sendable>(
        _ work: @escaping @Sendable () -> R
    ) throws(EventLoopError) -> R {
        if isCurrent { return work() }
        let done = Lock()
        let box = ResultBox<R>()
        let isAccepted = execute {
            let result = work()
            done.withLock {
                box.result = result
                done.broadcast()
            }
        }
        guard isAccepted else { throw .stopped }
        return done.withLock {
            while true {
                if let result = box.result { return result }
                done.wait()
            }
        }
    }

    /// Runs `work` once when the callbacks of this turn are over, before messages that were sent in
    /// it are written: here the replies of a turn can be packed into one frame. Loop only.
    public func atEndOfTurn(_ work: @escaping () -> Void) {
        requireCurrent()
        core.atEndOfTurn(work)
    }

    /// Runs `work` after a delay, and then again and again if `every` is given. Loop only.
    ///
    /// - Returns: what `cancel()` is called on; it need not be kept.
    @discardableResult
    public func schedule(
        after delay: Duration, every period: Duration? = nil, _ work: @escaping () -> Void
    ) -> EventLoopTimer {
        requireCurrent()
        return core.schedule(after: delay, every: period, work)
    }

    // MARK: - The end

    /// Ends the loop: listeners, connections (abruptly), timers, thread. Returns at once. Any thread.
    ///
    /// Work that `execute` accepted before is still run; handlers still learn that their connections
    /// closed. Actors of this loop go on working afterwards, more slowly.
    public func shutdown() {
        lock.withLock {
            guard phase == .running, !isShutdownAsked else { return }
            isShutdownAsked = true
            core.wake()
        }
    }

    /// Blocks until the thread has ended. Any thread but the loop's.
    public func wait() {
        precondition(!isCurrent, "an event loop cannot wait for itself")
        let mustJoin = lock.withLock {
            while phase != .ended { lock.wait() }
            defer { isJoinable = false }
            return isJoinable
        }
        if mustJoin { pthread_join(thread, nil) }
    }

    /// `shutdown()`, and returns when the thread has ended.
    public func shutdownAndWait() async {
        shutdown()
        await withCheckedContinuation { continuation in
            let hasEnded = lock.withLock {
                if phase != .ended { endWaiters.append(continuation) }
                return phase == .ended
            }
            if hasEnded { continuation.resume() }
        }
        wait()
    }

    // MARK: - The thread

    fileprivate func run() {
        runner.store(UInt(pthread_self()), ordering: .relaxed)
        unsafe shim_name_thread(name)
        let problem = core.open()
        lock.withLock {
            startProblem = problem
            phase = problem == nil ? .running : .closing
            lock.broadcast()
        }
        if problem == nil { core.runUntilClosed() }
        finish()
    }

    /// Called by the core when something woke the loop.
    func runInbox() {
        let items = lock.withLock {
            let items = inbox
            inbox = []
            return items
        }
        run(items)
        let mustClose = lock.withLock {
            guard isShutdownAsked, phase == .running, inbox.isEmpty else { return false }
            phase = .closing
            return true
        }
        if mustClose { core.close() }
    }

    private func run(_ items: [Item]) {
        for item in items {
            switch item {
            case .work(let work): work()
            case .job(let job): unsafe job.runSynchronously(on: asUnownedSerialExecutor())
            }
        }
    }

    private func finish() {
        while true {
            let items = lock.withLock { () -> [Item]? in
                guard inbox.isEmpty else {
                    defer { inbox = [] }
                    return inbox
                }
                runner.store(0, ordering: .relaxed)
                phase = .ended
                lock.broadcast()
                return nil
            }
            guard let items else { break }
            run(items)
        }
        let waiters = lock.withLock { endWaiters }
        for waiter in waiters { waiter.resume() }
    }

    // MARK: - SerialExecutor

    /// Takes a job of an actor that lives here. Any thread, at any time.
    ///
    /// After the loop's end jobs run one after the other on a thread made for them, so that an actor
    /// can still be asked for its last state.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let mustRunLate = lock.withLock {
            inbox.append(.job(job))
            if phase == .running, inbox.count == 1 { core.wake() }
            guard phase == .ended, !isRunningLateJobs else { return false }
            isRunningLateJobs = true
            return true
        }
        guard mustRunLate else { return }
        let argument = unsafe Unmanaged.passRetained(self).toOpaque()
        var created = pthread_t()
        if unsafe pthread_create(&created, nil, runLateJobsThread, argument) == 0 {
            pthread_detach(created)
        } else {
            unsafe Unmanaged<EventLoop>.fromOpaque(argument).release()
            runLateJobs()
        }
    }

    fileprivate func runLateJobs() {
        runner.store(UInt(pthread_self()), ordering: .relaxed)
        while true {
            let items = lock.withLock { () -> [Item]? in
                guard inbox.isEmpty else {
                    defer { inbox = [] }
                    return inbox
                }
                isRunningLateJobs = false
                runner.store(0, ordering: .relaxed)
                return nil
            }
            guard let items else { return }
            run(items)
        }
    }

    /// The executor's identity.
    public func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        unsafe UnownedSerialExecutor(ordinary: self)
    }

    /// Lets `assumeIsolated` accept the loop's thread.
    public func checkIsolated() {
        requireCurrent()
    }

    /// Whether the caller is on the loop.
    public func isIsolatingCurrentContext() -> Bool? {
        isCurrent
    }
}

/// Why a loop did not do what was asked.
public enum EventLoopError: Error, Equatable {
    /// The system refused a thread or descriptors. Fault: caller or machine.
    case notStarted(String)
    /// The loop has been shut down. Fault: caller.
    case stopped
}

/// Carries a result between two threads that take turns by a lock.
private final class ResultBox<R: Sendable>: @unchecked Sendable {
    var result: R?
}

private func runEventLoopThread(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let argument = unsafe argument {
        unsafe Unmanaged<EventLoop>.fromOpaque(argument).takeRetainedValue().run()
    }
    return nil
}

private func runLateJobsThread(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let argument = unsafe argument {
        unsafe Unmanaged<EventLoop>.fromOpaque(argument).takeRetainedValue().runLateJobs()
    }
    return nil
}
