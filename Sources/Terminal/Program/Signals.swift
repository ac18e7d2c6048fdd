internal import Cryptography
private import Foundation

// The handler may do almost nothing, so it only writes the signal's number into a pipe. A thread
// reads the pipe and does the rest. Nothing of it concerns commands that `TakesSignals`.

/// What a signal means to the program.
enum Signals {
    private struct State {
        var isInstalled = false
        /// The signal that asked the program to end, once one did.
        var interruption: Int32?
        var onInterruption: (@Sendable () -> Void)?
        var beforeEnd: (@Sendable () -> Void)?
        var observers: [Int: @Sendable (Int32) -> Void] = [:]
        var nextObserver = 0
        var wakeRead: Int32 = -1
        var wakeWrite: Int32 = -1
    }

    private static let state = Lock(State())
    /// How long a command has for ending by itself after it was asked to.
    private static let graceMilliseconds: Int32 = 3000

    /// Takes over SIGINT, SIGTERM and SIGHUP. Comes before any work.
    static func install() {
        let isFirst = state.withLock { state in
            defer { state.isInstalled = true }
            return !state.isInstalled
        }
        guard isFirst, let signals = WakePipe(), let wake = WakePipe() else { return }
        state.withLock { state in
            state.wakeRead = wake.read
            state.wakeWrite = wake.write
        }
        unsafe signalPipe = signals.write
        for number in [SIGINT, SIGTERM, SIGHUP] { _ = signal(number, noteSignal) }
        Thread.detachNewThread { listen(to: signals.read) }
    }

    /// Calls `body` once, possibly on another thread, when the program shall end; at once if it was
    /// asked to already.
    static func onInterruption(_ body: @escaping @Sendable () -> Void) {
        let isInterrupted = state.withLock { state in
            state.onInterruption = body
            return state.interruption != nil
        }
        if isInterrupted { body() }
    }

    /// Calls `body`, on any thread, before a signal ends the process.
    static func beforeEnd(_ body: @escaping @Sendable () -> Void) {
        state.withLock { $0.beforeEnd = body }
    }

    /// Readable from the moment on at which the program was asked to end; -1 before `install`.
    static var wakeDescriptor: Int32 { state.withLock { $0.wakeRead } }

    /// The signal that asked the program to end.
    static var interruption: Int32? { state.withLock { $0.interruption } }

    /// Calls `body`, on another thread, for each SIGWINCH and SIGCONT until `ignore` is called.
    static func observe(_ body: @escaping @Sendable (Int32) -> Void) -> Int {
        for number in [SIGWINCH, SIGCONT] { _ = signal(number, noteSignal) }
        return state.withLock { state in
            state.nextObserver += 1
            state.observers[state.nextObserver] = body
            return state.nextObserver
        }
    }

    /// Ends an observation.
    static func ignore(_ observer: Int) {
        state.withLock { state in state.observers[observer] = nil }
    }

    /// Ends the process as if nobody had handled `number`, so that the shell sees what it expects.
    static func end(by number: Int32) -> Never {
        TerminalMode.restoreAll()
        state.withLock { $0.beforeEnd }?()
        _ = signal(number, SIG_DFL)
        kill(getpid(), number)
        usleep(100_000)
        exit(128 + number)
    }

    private static func listen(to pipe: Int32) {
        while true {
            let timeout = interruption == nil ? -1 : graceMilliseconds
            var waiting = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
            let ready = unsafe poll(&waiting, 1, timeout)
            if ready == 0, let number = interruption { end(by: number) }
            var byte: UInt8 = 0
            guard ready > 0, unsafe read(pipe, &byte, 1) == 1 else { continue }
            take(Int32(byte))
        }
    }

    private static func take(_ number: Int32) {
        guard [SIGINT, SIGTERM, SIGHUP].contains(number) else {
            let observers = state.withLock { Array($0.observers.values) }
            for observer in observers { observer(number) }
            return
        }
        let action: (isSecond: Bool, call: (@Sendable () -> Void)?) = state.withLock { state in
            if state.interruption != nil { return (true, nil) }
            state.interruption = number
            close(state.wakeWrite)
            state.wakeWrite = -1
            return (false, state.onInterruption)
        }
        if action.isSecond { end(by: number) }
        action.call?()
    }
}

/// Where the signal handler writes; set before the handler is installed, never changed after.
nonisolated(unsafe) private var signalPipe: Int32 = -1

private func noteSignal(_ number: Int32) {
    let saved = errno
    var byte = UInt8(truncatingIfNeeded: number)
    _ = unsafe write(signalPipe, &byte, 1)
    errno = saved
}
