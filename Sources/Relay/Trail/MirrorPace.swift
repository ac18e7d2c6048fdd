/// How far the trail's mirror is, and whether the writer waits for it. Knows no files and no threads.
struct MirrorPace {
    /// An end of the trail, on its own disk.
    struct Place: Equatable {
        /// The segment that is written; `nil` before the first.
        var segment: TrailFolder.Segment?
        /// How much of it there is.
        var byteCount = 0
    }

    /// Nanoseconds within which a mirror that was behind must have done its work to be waited for
    /// again.
    static let quick: UInt64 = 1_000_000_000

    private var goal: Place
    private var reached: Place?
    /// When the work at hand was given to it, in nanoseconds of the steady clock.
    private var begun: UInt64?
    /// It took too long, and nobody waits for it.
    private var isBehind = false
    private var hasEnded = false
    /// Why it couldn't be written last, in words.
    private var failure: String?

    init(goal: Place) { self.goal = goal }

    /// Whether it has something to do.
    var isBusy: Bool { begun != nil }
    /// Whether the writer waits until it has done it.
    var isAwaited: Bool { isBusy && !isBehind }
    /// Why the mirror hasn't all that the trail has, in words.
    var trouble: String? {
        failure
            ?? (isBehind && reached != goal
                ? "the mirror is behind the trail: its disk is slow, or doesn't answer" : nil)
    }

    /// The trail ends there now.
    mutating func advance(to place: Place) { goal = place }

    /// Gives it something to do, unless it has; the place that it is to reach.
    mutating func begin(at now: UInt64) -> Place? {
        guard !isBusy, !hasEnded else { return nil }
        begun = now
        return goal
    }

    /// It has reached a place, or failed to; the next one that it is to reach, if the trail has gone on.
    mutating func finish(_ place: Place, failure: String?, at now: UInt64) -> Place? {
        if isBehind, let begun { isBehind = now - min(now, begun) > Self.quick }
        self.failure = failure
        reached = failure == nil ? place : nil
        begun = nil
        return failure == nil && place != goal ? begin(at: now) : nil
    }

    /// Nobody waits for it any more until it was quick again.
    mutating func giveUp() { isBehind = true }

    /// It isn't to begin anything any more.
    mutating func end() { hasEnded = true }
}
