/// What can happen in a world. Each is one line of the trace and one count of the summary.
enum Happening: UInt8, CaseIterable {
    case dialled, toRelay, toDevice, lost, relayClosed, halfOpen, cut, dropped, delayed, overtaken
    case batch, durable, crash, crashUnsynced, crashUnsaid, unsyncedLost, unsyncedKept, restart
    case batchLost, diskFull, slowDisk, nearlyFull, clockJump, night
    case deviceCrash, deviceUnstored, deviceUnsent, deviceRestart, deviceDiskFull, acted
    case opened, repeated, accepted, committed, stale, refused, paused
    case delivered, redelivered, acknowledged, welcomed, closed, confirmed, erased
    case attacked, attackRefused, calm, wake, tick, early
    case backedUp, restored, reopened, homeCopied, homeFellBack, recovered
    case littleRoom, fileAtRelay, fileFetched, fileRefused, fileSent, fileShown, fileUntold
}

/// What happened, in short: a digest of everything, counts, and the last lines.
///
/// Two runs of one seed have the same digest, or something in them isn't decided by the seed.
final class Trace {
    private struct Line {
        var time: Int
        var happening: Happening
        var who: Int
        var what: Int
        var more: Int
    }

    private static let capacity = 240
    private var lines: [Line] = []
    private var next = 0
    private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    private(set) var counts = [Int](repeating: 0, count: Happening.allCases.count)
    /// Prints every line at once.
    var isLoud = false

    func note(
        _ happening: Happening, at time: Int, _ who: Int = 0, _ what: Int = 0, _ more: Int = 0
    ) {
        let line = Line(time: time, happening: happening, who: who, what: what, more: more)
        mix(UInt64(happening.rawValue) << 56 ^ UInt64(bitPattern: Int64(time)))
        mix(UInt64(bitPattern: Int64(who)) << 32 ^ UInt64(bitPattern: Int64(what)))
        mix(UInt64(bitPattern: Int64(more)))
        counts[Int(happening.rawValue)] += 1
        if isLoud { print(Self.text(line)) }
        if lines.count < Self.capacity {
            lines.append(line)
        } else {
            lines[next] = line
            next = (next + 1) % Self.capacity
        }
    }

    /// Says more, to somebody who reads along.
    func say(_ words: @autoclosure () -> String) {
        if isLoud { print("    " + words()) }
    }

    func mix(_ word: UInt64) {
        digest = (digest ^ word) &* 0x100_0000_01b3
        digest ^= digest >> 29
    }

    /// The last lines, oldest first.
    var tail: [String] {
        (lines[next...] + lines[..<next]).map { Self.text($0) }
    }

    private static func text(_ line: Line) -> String {
        let seconds = line.time / 1_000_000
        let rest = String(line.time % 1_000_000 + 1_000_000).dropFirst()
        return "\(seconds).\(rest)s \(line.happening) \(line.who) \(line.what) \(line.more)"
    }
}
