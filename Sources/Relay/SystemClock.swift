private import CoreFoundation
private import Foundation
import RelayCore

/// The machine's clocks.
struct SystemClock: Sendable {
    /// Added to the wall clock; for tests of deadlines.
    var secondsAhead: UInt64 = 0

    var now: RelayTime {
        var wall = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &wall)
        // Goes on while the machine sleeps, so that sleeping isn't taken for a clock running ahead.
        var steady = timespec()
        unsafe clock_gettime(CLOCK_BOOTTIME, &steady)
        return RelayTime(
            unixSeconds: UInt64(max(0, wall.tv_sec)) + secondsAhead,
            monotonicMilliseconds: UInt64(max(0, steady.tv_sec)) * 1_000
                + UInt64(max(0, steady.tv_nsec)) / 1_000_000)
    }

    /// For measuring how long something takes.
    static var nanoseconds: UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(max(0, time.tv_sec)) * 1_000_000_000 + UInt64(max(0, time.tv_nsec))
    }

    /// Seconds since a moment of `nanoseconds`.
    static func seconds(since start: UInt64) -> Double {
        Double(nanoseconds &- start) / 1_000_000_000
    }
}
