import Cryptography
import Dispatch
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Relay

@Suite struct `How far the mirror is` {
    private static let milliseconds: UInt64 = 1_000_000
    private static func place(_ byteCount: Int) -> MirrorPace.Place {
        MirrorPace.Place(byteCount: byteCount)
    }

    @Test func `it does one thing at a time, and is waited for until it has all`() {
        var pace = MirrorPace(goal: Self.place(1))
        #expect(pace.begin(at: 0) == Self.place(1))
        #expect(pace.begin(at: 0) == nil)
        pace.advance(to: Self.place(2))
        #expect(pace.finish(Self.place(1), failure: nil, at: 5) == Self.place(2))
        #expect(pace.isAwaited)
        #expect(pace.trouble == nil)
        #expect(pace.finish(Self.place(2), failure: nil, at: 9) == nil)
        #expect(!pace.isBusy)
    }

    @Test func `given up, it is in trouble until it has all, and awaited once it was quick`() {
        var pace = MirrorPace(goal: Self.place(1))
        _ = pace.begin(at: 0)
        pace.giveUp()
        #expect(!pace.isAwaited)
        #expect(pace.trouble != nil)
        pace.advance(to: Self.place(2))
        #expect(
            pace.finish(Self.place(1), failure: nil, at: 9_000 * Self.milliseconds)
                == Self.place(2))
        #expect(!pace.isAwaited)
        #expect(pace.trouble != nil)
        // It has all, but it took long again.
        #expect(
            pace.finish(Self.place(2), failure: nil, at: 15_000 * Self.milliseconds) == nil)
        #expect(pace.trouble == nil)
        pace.advance(to: Self.place(3))
        #expect(pace.begin(at: 20_000 * Self.milliseconds) == Self.place(3))
        #expect(!pace.isAwaited)
        #expect(
            pace.finish(Self.place(3), failure: nil, at: 20_003 * Self.milliseconds) == nil)
        pace.advance(to: Self.place(4))
        _ = pace.begin(at: 21_000 * Self.milliseconds)
        #expect(pace.isAwaited)
    }

    @Test func `what failed is tried again with the next entries only, and none after the end`() {
        var pace = MirrorPace(goal: Self.place(1))
        _ = pace.begin(at: 0)
        pace.advance(to: Self.place(2))
        #expect(pace.finish(Self.place(1), failure: "full", at: 1) == nil)
        #expect(pace.trouble == "full")
        #expect(pace.begin(at: 2) == Self.place(2))
        #expect(pace.trouble == "full")
        pace.end()
        pace.advance(to: Self.place(3))
        #expect(pace.finish(Self.place(2), failure: nil, at: 3) == nil)
        #expect(pace.begin(at: 4) == nil)
    }
}

/// A queue that is suspended stands for a disk that doesn't answer.
@Suite(.timeLimit(.minutes(5))) struct `A mirror that hangs` {
    private let sample: TrailSample
    private let queue = DispatchQueue(label: "a mirror that hangs")
    private let patience = 4_000

    private var mirror: TrailFolder { TrailFolder(path: sample.folder.file("mirror")) }

    init() throws {
        sample = try TrailSample(count: 20)
    }

    private func open(confirmed first: UInt64 = 0) throws -> TrailLog {
        try TrailLog(
            path: sample.path, mirrorPath: mirror.path, confirmed: first, patience: patience,
            queue: queue)
    }

    private func isSame() throws -> Bool {
        let (own, copies) = (try sample.trail.segments(), try mirror.segments())
        return try own.map(\.first) == copies.map(\.first)
            && zip(own, copies).allSatisfy { try sample.trail.read($0) == mirror.read($1) }
    }

    /// Whether it becomes so, within a while.
    private func becomes(_ isSo: () throws -> Bool) async throws -> Bool {
        for _ in 0..<6_000 {
            if try isSo() { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    @Test func `holds the writer up once, and catches up from the trail's files`() async throws {
        let log = try open()
        try log.append([sample.entries[0]])
        #expect(try isSame())
        queue.suspend()
        let times = try sample.entries[1..<12].map { entry in
            try ContinuousClock().measure { try log.append([entry]) }
        }
        queue.resume()
        #expect(try #require(times.first) >= .milliseconds(patience))
        // The machine may stall once or twice.
        #expect(times.dropFirst().count { $0 < .milliseconds(patience) } >= 8)
        #expect(try await becomes { log.mirrorTrouble == nil })
        #expect(try isSame())
        #expect(log.end == sample.entries[11].end)
        // It is waited for again.
        for entry in sample.entries[12...] {
            try log.append([entry])
            #expect(try isSame())
        }
        #expect(log.mirrorTrouble == nil)
    }

    @Test func `is told while it hangs, and keeps neither a start nor a stop from ending`()
        async throws
    {
        try sample.write(Array(sample.entries[..<10]), perSegment: 4)
        queue.suspend()
        let begin = ContinuousClock.now
        let log = try open(confirmed: 10)
        #expect(log.mirrorTrouble?.contains("behind") == true)
        #expect(log.end == sample.entries[9].end)
        try log.append([sample.entries[10]])
        log.endMirror()
        #expect(ContinuousClock.now - begin < .milliseconds(6 * patience))
        #expect(log.mirrorTrouble?.contains("behind") == true)
        #expect(try mirror.segments().isEmpty)
        queue.resume()

        let next = try open(confirmed: 11)
        #expect(try await becomes { next.mirrorTrouble == nil })
        #expect(try isSame())
    }
}

@Suite struct `What the mirror's disk has lost` {
    private let sample: TrailSample
    private let isFailing = Lock(false)
    private let copy: TrailCopy

    private var mirror: TrailFolder { TrailFolder(path: sample.folder.file("mirror")) }

    init() throws {
        sample = try TrailSample(count: 20)
        copy = TrailCopy(
            of: sample.trail, in: TrailFolder(path: sample.folder.file("mirror"))
        ) { [isFailing] file in
            guard isFailing.withLock({ $0 }) else { return fdatasync(file) == 0 }
            `What the mirror's disk has lost`.lose(file)
            return false
        }
    }

    /// What couldn't be written to a disk may read as nothing afterwards, at its full length.
    private static func lose(_ file: Int32) {
        let position = Int(lseek(file, 0, SEEK_END)) - 50
        _ = OwnFile.write([UInt8](repeating: 0, count: 50), to: file, at: position)
    }

    /// Has so many entries in the trail; where it ends then.
    private func write(_ count: Int) throws -> MirrorPace.Place {
        try sample.write(Array(sample.entries[..<count]), perSegment: count)
        let segment = sample.trail.segment(first: 0)
        return MirrorPace.Place(
            segment: segment, byteCount: OwnFile.byteCount(of: segment.path))
    }

    private func isSame() throws -> Bool {
        let own = OwnFile.contents(sample.trail.segment(first: 0).path)
        return own != nil && own == OwnFile.contents(mirror.segment(first: 0).path)
    }

    @Test func `is written again after a sync that failed, before it counts`() throws {
        #expect(copy.catchUp(to: try write(10)) == nil)
        let end = try write(12)
        isFailing.withLock { $0 = true }
        #expect(!copy.follow(sample.entries[10..<12].flatMap(\.frame), to: end))
        #expect(copy.catchUp(to: end) != nil)
        isFailing.withLock { $0 = false }
        #expect(copy.catchUp(to: end) == nil)
        #expect(try isSame())
        let next = try write(13)
        #expect(copy.follow(sample.entries[12].frame, to: next))
        #expect(try isSame())
    }

    @Test func `before the relay was started is written again, too`() throws {
        let end = try write(10)
        #expect(copy.catchUp(to: end) == nil)
        let path = mirror.segment(first: 0).path
        let file = OwnFile.open(path, O_RDWR)
        Self.lose(file)
        close(file)
        #expect(TrailCopy(of: sample.trail, in: mirror).catchUp(to: end) == nil)
        #expect(try isSame())
    }
}
