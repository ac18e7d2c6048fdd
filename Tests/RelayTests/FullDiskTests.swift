import Cryptography
import Dispatch
import Foundation
import GRDB
import Logging
import RelayProtocol
import TestSupport
import Testing

@testable import Relay
@testable import RelayCore

/// The writer's thread alone, with what it lets go.
final class LoneWriter: Sendable {
    let folder: TemporaryFolder
    let clinic: SigningKey
    let identity: VerifyingKey
    let writer: RelayWriter
    let path: String
    private let ended = DispatchSemaphore(value: 0)
    private let released: Lock<[RelayRelease]>
    /// What it tells whoever watches.
    let health = Lock(RelayHealth())

    /// - Parameter watch: sees on the writer's thread what is let go.
    init(watch: @escaping @Sendable (RelayRelease) -> Void = { _ in }) throws {
        folder = try TemporaryFolder()
        path = folder.file("data")
        let data = try DataFolder(path: path)
        let keys = try data.keys()
        let database = try RelayDatabase(path: data.databasePath)
        clinic = try SigningKey()
        identity = keys.identity.publicKey
        let clinic = clinic.publicKey
        let (identity, trail) = try database.queue.writeWithoutTransaction { database in
            let store = try SQLiteStore(database)
            return (
                try store.identity(keys, clinicRoot: clinic),
                try TrailKeeper(
                    path: data.trailPath, mirrorPath: nil, store: store, identity: keys.identity)
            )
        }
        let released = Lock<[RelayRelease]>([])
        self.released = released
        writer = RelayWriter(
            database: database, trail: trail, identity: identity,
            settings: RelaySettings(), folder: data,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, health: health
        ) { release in
            watch(release)
            released.withLock { $0.append(release) }
        }
        let (writer, ended) = (writer, ended)
        Thread {
            try? writer.run()
            ended.signal()
        }.start()
        writer.hasBegun.wait()
    }

    /// Has the writer take all of them as one batch.
    func takeTogether(_ events: [RelayEvent]) {
        let isHeld = DispatchSemaphore(value: 0)
        let mayGoOn = DispatchSemaphore(value: 0)
        writer.events.add(
            .task { _ in
                isHeld.signal()
                mayGoOn.wait()
            })
        isHeld.wait()
        for event in events { writer.events.add(event) }
        mayGoOn.signal()
    }

    /// Has this thread make a batch of an event, as the loop's would.
    func writeInstead(_ event: RelayEvent) -> RelayRelease? {
        while writer.gate.tryEnter() == nil { usleep(1_000) }
        defer { writer.gate.leave() }
        writer.events.add(event, canWait: true)
        return writer.writeInstead(ifSyncedWithin: .infinity)
    }

    /// Whether it ended in order, within a time.
    func hasEnded() -> Bool { ended.wait(timeout: .now() + 60) == .success }

    /// Octets that were said to be dealt with.
    var handledByteCount: Int {
        released.withLock { releases in
            releases.flatMap(\.handled.values).reduce(0) { $0 + $1.byteCount }
        }
    }
}

@Suite(.timeLimit(.minutes(5))) struct `A full disk` {
    @Test(arguments: [(failures: 1, stopsAtOnce: true), (failures: 2, stopsAtOnce: false)])
    func `loses nothing that was asked for, nor the end`(
        failures: Int, stopsAtOnce: Bool
    ) throws {
        let lone = try LoneWriter()
        let left = Lock(failures)
        let doneCount = Lock(0)
        let isDone = DispatchSemaphore(value: 0)
        lone.takeTogether(
            [
                .frame(ConnectionID(rawValue: 7), ClientFrame(), byteCount: 1_000),
                .task { desk throws(StoreError) in
                    desk.trail.note(TrailEvent(.command, [("name", "first")]))
                    let isFull = left.withLock { count in
                        count -= 1
                        return count >= 0
                    }
                    if isFull { throw .full }
                },
                .garbage(ConnectionID(rawValue: 7), byteCount: 500),
                .task { desk in
                    desk.trail.note(TrailEvent(.command, [("name", "second")]))
                    desk.afterCommit { _ in
                        doneCount.withLock { $0 += 1 }
                        isDone.signal()
                    }
                },
            ] + (stopsAtOnce ? [.stop] : []))
        #expect(isDone.wait(timeout: .now() + 60) == .success)
        if !stopsAtOnce { lone.writer.events.add(.stop) }
        #expect(lone.hasEnded())
        #expect(doneCount.withLock { $0 } == 1)
        #expect(lone.handledByteCount == 1_500)
        let entries = try TrailAudit(folder: lone.path, last: 100).entries
        let names = entries.compactMap { TrailEvent($0)?["name"] }
        #expect(names == ["first", "second"])
        #expect(entries.contains { $0.kind == .stopped })
    }

    @Test func `loses nothing of a batch that the loop made in the writer's place`() throws {
        let lone = try LoneWriter()
        let isDone = DispatchSemaphore(value: 0)
        let left = Lock(1)
        let threads = Lock<[pthread_t]>([])
        // Until the writer has come back from its first look.
        while lone.writeInstead(.due) == nil { usleep(1_000) }
        let noting: WriterTask = { desk throws(StoreError) in
            threads.withLock { $0.append(pthread_self()) }
            desk.trail.note(TrailEvent(.command, [("name", "noted")]))
            let isFull = left.withLock { count in
                count -= 1
                return count >= 0
            }
            if isFull { throw .full }
            desk.afterCommit { _ in isDone.signal() }
        }
        #expect(lone.writeInstead(.task(noting)) == nil)
        // Nobody may use that engine any more, and the writer is told of it by the loop.
        #expect(lone.writer.gate.tryEnter() == nil)
        lone.writer.events.add(.due)
        #expect(isDone.wait(timeout: .now() + 60) == .success)
        lone.writer.events.add(.stop)
        #expect(lone.hasEnded())
        let ran = threads.withLock { $0 }
        #expect(ran.count == 2 && ran.first == pthread_self() && ran.last != pthread_self())
        let names = try TrailAudit(folder: lone.path, last: 100).entries
            .compactMap { TrailEvent($0)?["name"] }
        #expect(names == ["noted"])
    }

    /// Copies of the database in the folder.
    private static func copies(_ lone: LoneWriter) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: lone.path)
            .filter { $0.hasPrefix("relay.sqlite.copy") }
    }

    private static func handler(_ lone: LoneWriter) throws -> ControlHandler {
        ControlHandler(
            writer: lone.writer, address: "",
            copyPath: try DataFolder(existing: lone.path).copyPath,
            inForce: Lock(InForce(RelaySettings())))
    }

    @Test func `makes no second copy for a backup that was asked for once`() throws {
        let lone = try LoneWriter()
        let handler = try Self.handler(lone)
        let reply = Lock<ControlReply?>(nil)
        let isThere = DispatchSemaphore(value: 0)
        let isHeld = DispatchSemaphore(value: 0)
        let mayGoOn = DispatchSemaphore(value: 0)
        lone.writer.events.add(
            .task { _ in
                isHeld.signal()
                mayGoOn.wait()
            })
        isHeld.wait()
        Thread.detachNewThread {
            let answer = handler.answer(.backup, from: Peer(user: getuid()))
            reply.withLock { $0 = answer }
            isThere.signal()
        }
        usleep(200_000)  // Until it has asked.
        let hasFailed = Lock(false)
        lone.writer.events.add(
            .task { _ throws(StoreError) in
                let isFirst = hasFailed.withLock { hasFailed in
                    defer { hasFailed = true }
                    return !hasFailed
                }
                if isFirst { throw .full }
            })
        mayGoOn.signal()
        #expect(isThere.wait(timeout: .now() + 60) == .success)
        let copy = try #require(reply.withLock { $0 }?.copy)
        #expect(reply.withLock { $0 }?.problem == nil)
        #expect(try Self.copies(lone).map { lone.path + "/" + $0 } == [copy])
        lone.writer.events.add(.stop)
        #expect(lone.hasEnded())
        let names = try TrailAudit(folder: lone.path, last: 100).entries
            .compactMap { TrailEvent($0)?["name"] }
        #expect(names == ["backup"])
    }

    @Test func `leaves no copy that nobody waits for`() throws {
        let lone = try LoneWriter()
        var handler = try Self.handler(lone)
        handler.copyPatience = 0.05
        let mayGoOn = DispatchSemaphore(value: 0)
        lone.writer.events.add(.task { _ in mayGoOn.wait() })
        #expect(handler.answer(.backup, from: Peer(user: getuid())).problem != nil)
        let isBegun = DispatchSemaphore(value: 0)
        lone.writer.events.add(
            .task { desk in desk.afterCommit { _ in isBegun.signal() } })
        mayGoOn.signal()
        isBegun.wait()
        for _ in 0..<1_200 {
            if try Self.copies(lone).isEmpty { break }
            usleep(50_000)
        }
        #expect(try Self.copies(lone) == [])
        lone.writer.events.add(.stop)
        #expect(lone.hasEnded())
    }

    @Test func `doesn't keep the relay from stopping, even if nothing can be written`() throws {
        let lone = try LoneWriter()
        lone.takeTogether([
            .task { _ throws(StoreError) in throw .full }, .stop,
            .garbage(ConnectionID(rawValue: 7), byteCount: 500),
        ])
        #expect(lone.hasEnded())
        #expect(lone.handledByteCount == 500)
    }

    @Test func `leaves a doubt of the clock as it is, and refuses growth for a while`() throws {
        let lone = try LoneWriter()
        let health = lone.health
        let seen = Lock<[(ClockGuard.Doubt?, isRefusing: Bool, saysSo: Bool)]>([])
        let isDone = DispatchSemaphore(value: 0)
        let hasFailed = Lock(false)
        let look: WriterTask = { desk in
            let saysSo = health.withLock { $0.isFull }
            seen.withLock {
                $0.append((desk.engine.clockDoubt, desk.engine.refusesGrowth, saysSo))
            }
            desk.afterCommit { _ in isDone.signal() }
        }
        lone.writer.events.add(
            .task { desk in
                var jumped = desk.engine.time
                jumped.unixSeconds += 400 * 86_400
                _ = desk.engine.clock.allowsErasure(at: jumped)
            })
        lone.writer.events.add(.task(look))
        #expect(isDone.wait(timeout: .now() + 60) == .success)
        lone.writer.events.add(
            .task { _ throws(StoreError) in
                if hasFailed.withLock({ hasFailed in
                    defer { hasFailed = true }
                    return !hasFailed
                }) {
                    throw .full
                }
            })
        lone.writer.events.add(.task(look))
        #expect(isDone.wait(timeout: .now() + 60) == .success)
        lone.writer.events.add(.stop)
        #expect(lone.hasEnded())
        let (first, last) = seen.withLock { ($0.first, $0.last) }
        #expect(first?.0 == .jumpedAhead && first?.isRefusing == false)
        #expect(last?.0 == .jumpedAhead && last?.isRefusing == true)
        // From the moment that it serves again.
        #expect(first?.saysSo == false && last?.saysSo == true)
    }
}
