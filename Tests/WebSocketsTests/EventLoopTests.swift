import Glibc
import Testing
import WebSockets

@Suite(.timeLimit(.minutes(5))) struct `An event loop` {
    @Test func `runs work from other threads in order`() async throws {
        let loop = try EventLoop()
        let events = Events<Int>()
        for number in 0..<1000 {
            #expect(loop.execute { events.put(loop.isCurrent ? number : -1) })
        }
        for number in 0..<1000 { #expect(try await events.next() == number) }
        #expect(!loop.isCurrent)
        await loop.shutdownAndWait()
    }

    @Test func `fires timers in their order, again and again, or never`() async throws {
        let loop = try EventLoop()
        let events = Events<String>()
        loop.execute {
            let count = Count()
            func schedule() -> [EventLoopTimer] {
                let timers = [
                    loop.schedule(after: .milliseconds(30)) { events.put("third") },
                    loop.schedule(after: .zero) { events.put("first") },
                    loop.schedule(after: .milliseconds(10)) { events.put("second") },
                    loop.schedule(after: .milliseconds(5)) { events.put("never") },
                    loop.schedule(after: .milliseconds(50), every: .milliseconds(5)) {
                        count.value += 1
                        events.put("\(count.value)")
                        if count.value == 3 { count.timer?.cancel() }
                    },
                ]
                count.timer = timers.last
                timers[3].cancel()
                return timers
            }
            // Their order is another one if the machine stops amid that.
            var (start, timers) = (ContinuousClock.now, schedule())
            while ContinuousClock.now - start > .milliseconds(10) {
                for timer in timers { timer.cancel() }
                (start, timers) = (ContinuousClock.now, schedule())
            }
        }
        for expected in ["first", "second", "third", "1", "2", "3"] {
            #expect(try await events.next() == expected)
        }
        loop.execute { loop.schedule(after: .milliseconds(20)) { events.put("last") } }
        #expect(try await events.next() == "last")
        await loop.shutdownAndWait()
    }

    @Test func `ends a turn once, after what was asked in it`() async throws {
        let loop = try EventLoop()
        let events = Events<String>()
        loop.execute {
            loop.atEndOfTurn { events.put("end") }
            events.put("work")
        }
        #expect(try await events.next() == "work")
        #expect(try await events.next() == "end")
        await loop.shutdownAndWait()
    }

    @Test func `refuses work after its end`() async throws {
        let loop = try EventLoop()
        await loop.shutdownAndWait()
        #expect(!loop.execute {})
        #expect(throws: EventLoopError.stopped) { try loop.executeAndWait { 1 } }
        loop.shutdown()
        loop.wait()
        let events = Events<WebSocketClient.Event>()
        let url = try #require(WebSocketURL("ws://127.0.0.1:9"))
        _ = WebSocketClient(.init(url: url, subprotocol: "x"), on: loop) { events.put($1) }
        guard case .failed(.cancelled) = try await events.next() else { throw Unexpected("event") }
        #expect(throws: ListenError.stopped) {
            try WebSocketServer(.init(subprotocol: "x"), on: loop) { _, _ in }
        }
    }

    @Test func `runs everything that it had accepted`() async throws {
        for _ in 0..<20 {
            let loop = try EventLoop()
            let events = Events<Int>()
            var accepted = 0
            for number in 0..<100 {
                if number == 50 { loop.shutdown() }
                if loop.execute({ events.put(number) }) { accepted += 1 }
            }
            #expect(accepted == 50)
            loop.wait()
            for number in 0..<50 { #expect(try await events.next() == number) }
        }
    }

    @Test func `is the executor of an actor, also after its end`() async throws {
        let loop = try EventLoop()
        let tally = Tally(loop)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<100 { group.addTask { await tally.add(1) } }
        }
        #expect(await tally.total == 100)
        try loop.executeAndWait { tally.assumeIsolated { $0.add(5) } }
        #expect(await tally.total == 105)
        #expect(await tally.isOnLoop)
        await loop.shutdownAndWait()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<100 { group.addTask { await tally.add(1) } }
        }
        #expect(await tally.total == 205)
    }

    @Test func `takes signals`() async throws {
        let events = Events<EventLoop.Signal>()
        let loop = try EventLoop(signals: [.hangUp, .terminate]) { events.put($0) }
        kill(getpid(), SIGHUP)
        #expect(try await events.next() == .hangUp)
        kill(getpid(), SIGTERM)
        #expect(try await events.next() == .terminate)
        await loop.shutdownAndWait()
    }

    private final class Count {
        var value = 0
        var timer: EventLoopTimer?
    }

    private actor Tally {
        private let loop: EventLoop
        private(set) var total = 0

        init(_ loop: EventLoop) { self.loop = loop }

        nonisolated var unownedExecutor: UnownedSerialExecutor {
            unsafe loop.asUnownedSerialExecutor()
        }

        var isOnLoop: Bool { loop.isCurrent }

        func add(_ count: Int) { total += count }
    }
}

@Suite struct `A WebSocket URL` {
    @Test(arguments: [
        ("ws://127.0.0.1:7443", false, "127.0.0.1", 7443, "/"),
        ("wss://relay.example", true, "relay.example", 443, "/"),
        ("WS://[::1]:80/a/b", false, "::1", 80, "/a/b"),
        ("wss://[fe80::1]", true, "fe80::1", 443, "/"),
    ])
    func `is read`(text: String, isSecure: Bool, host: String, port: Int, path: String) throws {
        let url = try #require(WebSocketURL(text))
        #expect(url.isSecure == isSecure)
        #expect(url.host == host)
        #expect(Int(url.port) == port)
        #expect(url.path == path)
        #expect(WebSocketURL(url.description) == url)
    }

    @Test(arguments: [
        "", "ws://", "http://x", "ws://x:0", "ws://x:70000", "ws://x:+1", "ws://x:", "ws://a b",
        "ws://u@x", "ws://x?q", "ws://x#f", "ws://[::1", "ws://[::1]x", "ws://[x]", "ws://::1",
        "ws://x\r\nHost: y", "ws://ä",
    ])
    func `that is none is refused`(text: String) {
        #expect(WebSocketURL(text) == nil)
    }
}
