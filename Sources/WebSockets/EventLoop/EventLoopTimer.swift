internal import CWebSockets

/// A pending call of a loop's `schedule`.
///
/// `@safe`: the uv timer is freed in its close callback only, after which the object forgets it.
@safe public final class EventLoopTimer {
    private var timer: UnsafeMutablePointer<uv_timer_t>?
    private var work: (() -> Void)?
    private let isRepeating: Bool
    private unowned let core: LoopCore

    init(
        _ loop: UnsafeMutablePointer<uv_loop_t>, core: LoopCore, after delay: UInt64,
        every period: UInt64?, _ work: @escaping () -> Void
    ) {
        self.core = core
        self.work = work
        isRepeating = period != nil
        let timer = UnsafeMutablePointer<uv_timer_t>.allocate(capacity: 1)
        unsafe uv_timer_init(loop, timer)
        unsafe timer.pointee.data = Unmanaged.passRetained(self).toOpaque()
        unsafe self.timer = timer
        unsafe uv_timer_start(timer, eventLoopTimerFired, delay, period ?? 0)
        core.timers[ObjectIdentifier(self)] = self
    }

    /// Stops it; nothing happens if it has fired for the last time. Loop only.
    public func cancel() {
        guard let timer = unsafe timer else { return }
        unsafe self.timer = nil
        work = nil
        core.timers[ObjectIdentifier(self)] = nil
        unsafe uv_timer_stop(timer)
        unsafe uv_close(shim_handle(timer), eventLoopTimerClosed)
    }

    fileprivate func fire() {
        let work = work
        if !isRepeating { cancel() }
        work?()
    }
}

private func eventLoopTimerFired(_ timer: UnsafeMutablePointer<uv_timer_t>?) {
    guard let data = unsafe timer?.pointee.data else { return }
    unsafe Unmanaged<EventLoopTimer>.fromOpaque(data).takeUnretainedValue().fire()
}

private func eventLoopTimerClosed(_ handle: UnsafeMutablePointer<uv_handle_t>?) {
    guard let handle = unsafe handle, let data = unsafe handle.pointee.data else { return }
    unsafe Unmanaged<EventLoopTimer>.fromOpaque(data).release()
    unsafe UnsafeMutableRawPointer(handle).deallocate()
}

extension Duration {
    /// Whole milliseconds, rounded up, never negative: what libuv counts in.
    var milliseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let fraction = UInt64((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
        let (whole, hasOverflowed) = UInt64(seconds).multipliedReportingOverflow(by: 1000)
        return hasOverflowed ? UInt64.max / 2 : min(whole + fraction, UInt64.max / 2)
    }
}
