public import RelayProtocol

/// A moment as both clocks see it.
public struct RelayTime: Equatable, Sendable {
    /// Seconds since 1970-01-01 UTC, by the wall clock.
    public var unixSeconds: UInt64
    /// Milliseconds since some moment, by a clock that nobody sets.
    public var monotonicMilliseconds: UInt64

    /// Makes a moment.
    public init(unixSeconds: UInt64, monotonicMilliseconds: UInt64) {
        self.unixSeconds = unixSeconds
        self.monotonicMilliseconds = monotonicMilliseconds
    }

    /// The wall clock's day.
    public var day: Day { Day(unixSeconds: unixSeconds) }
    /// The wall clock's hour since 1970-01-01 UTC.
    public var hour: UInt64 { unixSeconds / 3_600 }
}

/// Decides whether the wall clock may be believed when it says that something's day has come.
///
/// A clock that jumps ahead must not erase consultations. Erasure by deadline pauses while the wall
/// clock has run ahead of the monotonic one by more than an hour, and when, at start, it is over a
/// day past the last hour at which the relay is known to have run. The operator ends the pause.
///
/// Nor must it end anybody's membership: that goes by a day of its own.
public struct ClockGuard: Equatable, Sendable {
    /// Why erasure by deadline is paused.
    public enum Doubt: Equatable, Sendable {
        /// At start the wall clock was over a day past the relay's last sign of life.
        case longAbsence
        /// While running the wall clock went ahead of the monotonic one.
        case jumpedAhead
    }

    /// Why erasure is paused; `nil` if it isn't.
    public private(set) var doubt: Doubt?
    /// The day by which memberships end: the last one on which the clock was believed. It never goes
    /// back, or who had been passed over would be a member again that lacks what the others have.
    public private(set) var trustedDay: Day
    private let start: RelayTime

    /// Begins at a start of the relay.
    ///
    /// - Parameter lastHour: the last hour at which the relay ran; `nil` at its first start.
    /// - Parameter isConfirmed: the operator has compared the clock with another.
    public init(at start: RelayTime, lastHour: UInt64?, isConfirmed: Bool) {
        self.start = start
        let lastDay = Day(rawValue: UInt32(clamping: (lastHour ?? 0) / 24))
        if let lastHour, !isConfirmed, start.hour > lastHour, start.hour - lastHour > 24 {
            doubt = .longAbsence
            trustedDay = lastDay
        } else {
            trustedDay = max(lastDay, start.day)
        }
    }

    /// Compares both clocks; true if a deadline may be acted upon.
    public mutating func allowsErasure(at now: RelayTime) -> Bool {
        let byWall = now.unixSeconds.subtractingReportingOverflow(start.unixSeconds)
        let elapsed = now.monotonicMilliseconds.subtractingReportingOverflow(
            start.monotonicMilliseconds)
        if !byWall.overflow, !elapsed.overflow,
            byWall.partialValue > elapsed.partialValue / 1_000 + 3_600
        {
            doubt = .jumpedAhead
        }
        if doubt == nil { trustedDay = max(trustedDay, now.day) }
        return doubt == nil
    }
}
