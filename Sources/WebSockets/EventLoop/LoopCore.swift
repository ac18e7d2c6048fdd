internal import CWebSockets

/// What the loop's thread owns: libuv's handles, libwebsockets' contexts, and the connections.
///
/// Touched by the loop's thread only, but for `wake`. Connections are found by their own number,
/// carried in libwebsockets' opaque user data: its `wsi` pointers are reused.
///
/// `@safe`: each handle is freed in its close callback, each context after the loop has ended.
@safe final class LoopCore: @unchecked Sendable {
    unowned var loop: EventLoop?
    var signals: Set<EventLoop.Signal> = []
    var onSignal: (@Sendable (EventLoop.Signal) -> Void)?

    let uvLoop = UnsafeMutablePointer<uv_loop_t>.allocate(capacity: 1)
    private var async: UnsafeMutablePointer<uv_async_t>?
    private var handles: [UnsafeMutablePointer<uv_handle_t>] = unsafe []
    private var sweepTimer: EventLoopTimer?
    private var sweepPeriod = LoopCore.longestSweepPeriod
    private var lastSweep: UInt64 = 0
    private var hasSkippedSweep = false

    var timers: [ObjectIdentifier: EventLoopTimer] = [:]
    private var turnEndings: [() -> Void] = []
    private var waitingToWrite: [Connection] = []
    private var mustKick = false
    private(set) var isClosing = false

    private var slots: [Slot] = []
    private var freeSlots: [Int] = []
    private(set) var connectionCount = 0
    private(set) var listeners: [ObjectIdentifier: Listener] = [:]

    private var contexts: [ServiceContext] = []
    private var clientContexts: [WebSocketClient.Trust?: ServiceContext] = [:]
    private var serverTLS: OpaquePointer?
    /// Why OpenSSL refused the last certificate chain on this loop.
    let verificationError: UnsafeMutablePointer<Int32> = .allocate(capacity: 1)
    /// A client's attempt whose socket libwebsockets has closed, and will forget its poll handle.
    var forgetful: OpaquePointer?

    /// Where a message is laid out for libwebsockets, which writes the frame's header before it and,
    /// on the client, masks it in place.
    private var scratch: UnsafeMutablePointer<UInt8>
    private var scratchByteCount: Int
    private let headroom = Int(shim_headroom())

    static let longestSweepPeriod: UInt64 = 1000
    static let shortestSweepPeriod: UInt64 = 10

    private struct Slot {
        var generation: UInt32 = 0
        var connection: Connection?
    }

    init() {
        scratchByteCount = 64 << 10
        unsafe scratch = .allocate(capacity: scratchByteCount)
        unsafe verificationError.initialize(to: 0)
    }

    deinit {
        unsafe scratch.deallocate()
        unsafe verificationError.deallocate()
        unsafe uvLoop.deallocate()
    }

    // MARK: - Life

    /// Makes the handles; what went wrong, or nil.
    func open() -> String? {
        shim_silence()
        var error = unsafe uv_loop_init(uvLoop)
        guard error == 0 else { return "uv_loop_init failed (\(error))" }
        let data = unsafe Unmanaged.passUnretained(self).toOpaque()

        let async = UnsafeMutablePointer<uv_async_t>.allocate(capacity: 1)
        error = unsafe uv_async_init(uvLoop, async, loopCoreWoken)
        guard error == 0 else {
            unsafe async.deallocate()
            unsafe uv_loop_close(uvLoop)
            return "uv_async_init failed (\(error))"
        }
        unsafe async.pointee.data = data
        unsafe self.async = async
        unsafe handles.append(shim_handle(async))

        let prepare = UnsafeMutablePointer<uv_prepare_t>.allocate(capacity: 1)
        unsafe uv_prepare_init(uvLoop, prepare)
        unsafe prepare.pointee.data = data
        unsafe uv_prepare_start(prepare, loopCorePrepared)
        unsafe handles.append(shim_handle(prepare))

        let check = UnsafeMutablePointer<uv_check_t>.allocate(capacity: 1)
        unsafe uv_check_init(uvLoop, check)
        unsafe check.pointee.data = data
        unsafe uv_check_start(check, loopCoreChecked)
        unsafe handles.append(shim_handle(check))

        for signal in signals {
            let watcher = UnsafeMutablePointer<uv_signal_t>.allocate(capacity: 1)
            unsafe uv_signal_init(uvLoop, watcher)
            unsafe watcher.pointee.data = data
            unsafe uv_signal_start(watcher, loopCoreSignalled, signal.number)
            unsafe handles.append(shim_handle(watcher))
        }
        return nil
    }

    /// Wakes the loop. Any thread, but only while `EventLoop` knows that the handle is open.
    func wake() {
        if let async = unsafe async { unsafe uv_async_send(async) }
    }

    /// Begins the end; outside of libwebsockets' callbacks only. First every connection is closed,
    /// then our handles, after which `uv_run` returns by itself.
    func close() {
        isClosing = true
        turnEndings = []
        for listener in Array(listeners.values) { listener.stop() }
        for connection in connections { connection.cutNow() }
        for context in contexts { context.destroy() }
        for timer in Array(timers.values) { timer.cancel() }
        unsafe handles.forEach { unsafe uv_close($0, loopCoreHandleClosed) }
        unsafe handles = []
    }

    func runUntilClosed() {
        unsafe uv_run(uvLoop, UV_RUN_DEFAULT)
        for context in contexts { context.free() }
        contexts = []
        clientContexts = [:]
        for connection in connections { end(connection) }
        onSignal = nil
        let error = unsafe uv_loop_close(uvLoop)
        assert(error == 0, "a libuv handle outlived its loop")
    }

    // MARK: - Turns

    var now: UInt64 { unsafe uv_now(uvLoop) }

    func atEndOfTurn(_ work: @escaping () -> Void) {
        guard !isClosing else { return }
        turnEndings.append(work)
    }

    func schedule(
        after delay: Duration, every period: Duration?, _ work: @escaping () -> Void
    ) -> EventLoopTimer {
        unsafe uv_update_time(uvLoop)
        let period = period.map { max(1, $0.milliseconds) }
        let timer = unsafe EventLoopTimer(
            uvLoop, core: self, after: delay.milliseconds, every: period, work)
        if isClosing { timer.cancel() }
        return timer
    }

    /// Has the connection's queue written when this turn ends.
    func writeAtEndOfTurn(_ connection: Connection) {
        guard !connection.isWaitingToWrite, !isClosing else { return }
        connection.isWaitingToWrite = true
        waitingToWrite.append(connection)
    }

    /// Makes libwebsockets look at its own timers, which it does only after an event of its own.
    func kick() {
        mustKick = true
    }

    fileprivate func endTurn() {
        var rounds = 0
        while !turnEndings.isEmpty || !waitingToWrite.isEmpty {
            // Someone who sends more on each draining must not keep the loop from its sockets.
            rounds += 1
            guard rounds <= 16 else {
                wake()
                break
            }
            let endings = turnEndings
            turnEndings = []
            for ending in endings { ending() }
            let connections = waitingToWrite
            waitingToWrite = []
            for connection in connections {
                connection.isWaitingToWrite = false
                connection.write()
            }
        }
        if mustKick, !isClosing {
            mustKick = false
            for context in contexts { context.kick() }
        }
    }

    fileprivate func woken() {
        loop?.runInbox()
    }

    fileprivate func received(signal number: Int32) {
        for signal in signals where signal.number == number { onSignal?(signal) }
    }

    /// Lays `octets` out with room for a frame's header, and hands them to `body`.
    func withScratch<R>(_ octets: [UInt8], _ body: (UnsafeMutablePointer<UInt8>) -> R) -> R {
        if scratchByteCount < headroom + octets.count {
            unsafe scratch.deallocate()
            scratchByteCount = headroom + octets.count
            unsafe scratch = .allocate(capacity: scratchByteCount)
        }
        let payload = unsafe scratch + headroom
        unsafe octets.withUnsafeBufferPointer { octets in
            if let base = octets.baseAddress {
                unsafe payload.update(from: base, count: octets.count)
            }
        }
        return unsafe body(payload)
    }

    // MARK: - Contexts

    /// The context of one server, with a TLS identity if it has one.
    func makeServerContext(
        subprotocol: String, identity: WebSocketServer.TLSIdentity?
    ) -> ServiceContext? {
        guard
            let context = ServiceContext(
                core: self, subprotocol: subprotocol, identity: identity, trust: nil)
        else { return nil }
        contexts.append(context)
        return context.isUsable ? context : nil
    }

    /// Called while a server's context is made: OpenSSL's settings for it.
    func offered(serverTLS: OpaquePointer) {
        unsafe self.serverTLS = serverTLS
    }

    /// What `offered` brought, once.
    func takeServerTLS() -> OpaquePointer? {
        defer { unsafe serverTLS = nil }
        return unsafe serverTLS
    }

    /// The context of all clients with the same trust; nil for plain ones.
    func clientContext(
        trust: WebSocketClient.Trust?
    ) throws(ConnectError) -> ServiceContext {
        if let context = clientContexts[trust] { return context }
        var tls: TLSClientSettings?
        if let trust {
            tls = unsafe TLSClientSettings(trust, verificationError: verificationError)
            if tls == nil { throw .trust(trust.description) }
        }
        guard
            let context = ServiceContext(core: self, subprotocol: nil, identity: nil, trust: tls)
        else { throw .library }
        contexts.append(context)
        guard context.isUsable else { throw .library }
        clientContexts[trust] = context
        return context
    }

    // MARK: - Connections

    var connections: [Connection] { slots.compactMap(\.connection) }

    func connection(_ id: ConnectionID) -> Connection? {
        let index = Int(id.rawValue & 0xFFFF_FFFF)
        guard index < slots.count, slots[index].generation == UInt32(id.rawValue >> 32) else {
            return nil
        }
        return slots[index].connection
    }

    /// Gives the connection its number.
    func add(_ connection: Connection) {
        let index: Int
        if let free = freeSlots.popLast() {
            index = free
        } else {
            index = slots.count
            slots.append(Slot())
        }
        slots[index].generation &+= 1
        slots[index].connection = connection
        connection.id = ConnectionID(
            rawValue: UInt64(slots[index].generation) << 32 | UInt64(index))
        connectionCount += 1
        sweep(everyAtMost: connection.sweepPeriod)
    }

    /// Takes the connection out of the table, and tells its owner; the second time nothing happens.
    func end(_ connection: Connection) {
        let index = Int(connection.id.rawValue & 0xFFFF_FFFF)
        guard index < slots.count, slots[index].connection === connection else { return }
        slots[index].connection = nil
        // A slot whose generations are used up is given up, so that no number ever returns.
        if slots[index].generation != .max { freeSlots.append(index) }
        connectionCount -= 1
        connection.ended()
        if connectionCount == 0 {
            sweepTimer?.cancel()
            sweepTimer = nil
            sweepPeriod = LoopCore.longestSweepPeriod
        }
    }

    func add(_ listener: Listener) {
        listeners[ObjectIdentifier(listener)] = listener
    }

    func remove(_ listener: Listener) {
        listeners[ObjectIdentifier(listener)] = nil
    }

    private func sweep(everyAtMost period: UInt64) {
        let period = max(LoopCore.shortestSweepPeriod, period)
        guard sweepTimer == nil || period < sweepPeriod, !isClosing else { return }
        sweepPeriod = min(sweepPeriod, period)
        sweepTimer?.cancel()
        lastSweep = now
        let period_ = Duration.milliseconds(sweepPeriod)
        sweepTimer = schedule(after: period_, every: period_) { [unowned self] in
            let now = now
            defer { lastSweep = now }
            // After a stall of our own, answers may wait unread in the sockets: judge next time,
            // even if that is late as well.
            hasSkippedSweep = !hasSkippedSweep && now - lastSweep > 3 * sweepPeriod
            guard !hasSkippedSweep else { return }
            for slot in slots { slot.connection?.checkClock(now) }
        }
    }
}

extension EventLoop.Signal {
    fileprivate var number: Int32 {
        switch self {
        case .terminate: SIGTERM
        case .interrupt: SIGINT
        case .hangUp: SIGHUP
        }
    }
}

private func core(_ data: UnsafeMutableRawPointer?) -> LoopCore? {
    guard let data = unsafe data else { return nil }
    return unsafe Unmanaged<LoopCore>.fromOpaque(data).takeUnretainedValue()
}

private func loopCoreWoken(_ handle: UnsafeMutablePointer<uv_async_t>?) {
    unsafe core(handle?.pointee.data)?.woken()
}

private func loopCorePrepared(_ handle: UnsafeMutablePointer<uv_prepare_t>?) {
    unsafe core(handle?.pointee.data)?.endTurn()
}

private func loopCoreChecked(_ handle: UnsafeMutablePointer<uv_check_t>?) {
    unsafe core(handle?.pointee.data)?.endTurn()
}

private func loopCoreSignalled(_ handle: UnsafeMutablePointer<uv_signal_t>?, _ number: Int32) {
    unsafe core(handle?.pointee.data)?.received(signal: number)
}

private func loopCoreHandleClosed(_ handle: UnsafeMutablePointer<uv_handle_t>?) {
    if let handle = unsafe handle { unsafe UnsafeMutableRawPointer(handle).deallocate() }
}
