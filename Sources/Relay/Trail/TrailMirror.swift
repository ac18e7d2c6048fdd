import Dispatch

/// The trail's mirror, written on a queue of its own: a disk that hangs, such as another machine's
/// that is gone, holds up whoever writes to it.
///
/// The writer waits until the mirror has what the trail has; but not for long, and then no more until
/// the mirror answers again. Meanwhile nothing is kept for it: it catches up from the trail's files.
///
/// Unchecked: the pace is used under the monitor, the copy on the queue.
final class TrailMirror: @unchecked Sendable {
    private let copy: TrailCopy
    private let queue: DispatchQueue
    /// Milliseconds.
    private let patience: Int
    private let monitor = Monitor()
    private var pace: MirrorPace

    /// Begins with comparing, and waits for that as for everything else.
    init(
        of trail: TrailFolder, at path: String, from place: MirrorPace.Place, patience: Int,
        queue: DispatchQueue
    ) {
        copy = TrailCopy(of: trail, in: TrailFolder(path: path, mayBeLink: true))
        self.queue = queue
        self.patience = patience
        pace = MirrorPace(goal: place)
        follow([], to: place)
    }

    deinit { queue.async { [copy] in copy.close() } }

    /// Why the mirror hasn't all that the trail has, in words.
    var trouble: String? { monitor.withLock { pace.trouble } }

    /// Tells it that octets were appended to the trail, which now ends at a place.
    func follow(_ octets: [UInt8], to place: MirrorPace.Place) {
        monitor.withLock {
            pace.advance(to: place)
            if let place = pace.begin(at: SystemClock.nanoseconds) {
                queue.async { self.work(octets, place) }
            }
            wait { $0.isAwaited }
            if pace.isAwaited { pace.giveUp() }
        }
    }

    /// Gives it a last while to catch up.
    func end() {
        monitor.withLock {
            wait(while: \.isBusy)
            pace.end()
        }
    }

    private func wait(while isWanted: (MirrorPace) -> Bool) {
        let begin = SystemClock.nanoseconds
        while isWanted(pace) {
            let waited = Int(clamping: (SystemClock.nanoseconds &- begin) / 1_000_000)
            guard waited < patience else { return }
            monitor.wait(atMost: patience - waited)
        }
    }

    /// On the queue.
    private func work(_ octets: [UInt8], _ place: MirrorPace.Place) {
        var failure = copy.follow(octets, to: place) ? nil : copy.catchUp(to: place)
        var done = place
        while let next = finish(done, failure) {
            failure = copy.catchUp(to: next)
            done = next
        }
    }

    private func finish(_ place: MirrorPace.Place, _ failure: String?) -> MirrorPace.Place? {
        monitor.withLock {
            let next = pace.finish(place, failure: failure, at: SystemClock.nanoseconds)
            if next == nil { monitor.signal() }
            return next
        }
    }
}
