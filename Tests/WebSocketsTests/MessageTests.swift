import TestSupport
import Testing
import WebSockets

@Suite(.timeLimit(.minutes(5))) struct `Messages` {
    @Test func `of every size come back as they were, and in order`() async throws {
        let server = try TestServer(isEcho: true)
        let client = TestClient(try server.url, on: server.loop)
        try await client.opened()
        let sizes = [0, 1, 125, 126, 127, 1024, 16_383, 16_384, 16_385, 65_535, 65_536, 1 << 20]
        for size in sizes { try client.send(pattern(size)) }
        for size in sizes { #expect(try await client.message() == pattern(size)) }
        await server.loop.shutdownAndWait()
    }

    @Test func `in fragments, with a ping between, come whole`() async throws {
        let server = try TestServer()
        let peer = try RawPeer(port: server.port)
        #expect(peer.upgrade() == "HTTP/1.1 101 Switching Protocols")
        let id = try await server.opened()
        peer.frame(2, isLast: false, Array("one ".utf8))
        peer.frame(9, Array("ping".utf8))
        peer.frame(0, isLast: false, Array("two ".utf8))
        peer.frame(0, isLast: true, Array("three".utf8))
        #expect(try await server.message() == Array("one two three".utf8))
        #expect(peer.readExactly(6) == [0x8A, 4] + Array("ping".utf8))
        let made = server.server
        try server.loop.executeAndWait { _ = made.send([1, 2, 3], to: id) }
        #expect(peer.readExactly(5) == [0x82, 3, 1, 2, 3])
        await server.loop.shutdownAndWait()
    }

    @Test func `over the limit end the connection with 1009`() async throws {
        let server = try TestServer { $0.limits.maxMessageByteCount = 1000 }
        let client = TestClient(try server.url, on: server.loop)
        try await client.opened()
        _ = try await server.opened()
        try client.send(pattern(1000))
        #expect(try await server.message().count == 1000)
        try client.send(pattern(1001))
        let closed = try await server.closed()
        #expect(closed.cause == .messageTooBig)
        #expect(closed.code == .messageTooBig)
        let seen = try await client.closed()
        #expect(seen.cause == .peer)
        #expect(seen.code == .messageTooBig)
        await server.loop.shutdownAndWait()
    }

    @Test func `are to be shorter while nobody vouches for their sender`() async throws {
        let server = try TestServer {
            $0.limits.maxMessageByteCount = 1000
            $0.limits.maxUnprovenMessageByteCount = 100
        }
        let made = server.server
        for isProven in [true, false] {
            let client = TestClient(try server.url, on: server.loop)
            try await client.opened()
            let id = try await server.opened()
            try server.loop.executeAndWait {
                made.setProven(id, true)
                if !isProven { made.setProven(id, false) }
            }
            try client.send(pattern(101))
            if isProven {
                #expect(try await server.message().count == 101)
            } else {
                #expect(try await server.closed().cause == .messageTooBig)
            }
        }
        await server.loop.shutdownAndWait()
    }

    @Test func `over the limit in small fragments are refused too`() async throws {
        let server = try TestServer { $0.limits.maxMessageByteCount = 300 }
        let peer = try RawPeer(port: server.port)
        _ = peer.upgrade()
        _ = try await server.opened()
        peer.frame(2, isLast: false, pattern(100))
        for _ in 0..<3 { peer.frame(0, isLast: false, pattern(100)) }
        #expect(peer.readExactly(4) == [0x88, 2, 0x03, 0xF1])
        peer.frame(8, [0x03, 0xF1])
        #expect(try await server.closed().cause == .messageTooBig)
        await server.loop.shutdownAndWait()
    }

    @Test func `of text end the connection with 1003`() async throws {
        let server = try TestServer()
        let peer = try RawPeer(port: server.port)
        _ = peer.upgrade()
        _ = try await server.opened()
        peer.frame(1, Array("hello".utf8))
        #expect(peer.readExactly(4) == [0x88, 2, 0x03, 0xEB])
        peer.frame(8, [0x03, 0xEB])
        #expect(try await server.closed().cause == .textFrame)
        await server.loop.shutdownAndWait()
    }

    @Test func `wait for a slow reader up to the limit, and it is told when they have gone`()
        async throws
    {
        let server = try TestServer {
            $0.limits.maxPendingByteCount = 4 << 20
            $0.limits.lowWaterMark = 100_000
        }
        let client = TestClient(try server.url, on: server.loop)
        try await client.opened()
        let id = try await server.opened()
        let reader = client.client
        try server.loop.executeAndWait { reader.pauseReading() }
        let writer = server.server
        let message = pattern(50_000)
        var sent = 0
        // The system's buffers take some megabytes first.
        while sent < 1000 {
            let (outcome, pending) = try server.loop.executeAndWait {
                (writer.send(message, to: id), writer.pendingByteCount(of: id))
            }
            if outcome == .full {
                #expect(pending > (4 << 20) - message.count && pending <= 4 << 20)
                break
            }
            #expect(outcome == .queued)
            sent += 1
        }
        #expect(sent < 1000)
        try server.loop.executeAndWait { reader.resumeReading() }
        for _ in 0..<sent { #expect(try await client.message() == message) }
        guard case (id, .drained) = try await server.events.next() else {
            throw Unexpected("no .drained")
        }
        while try server.loop.executeAndWait({ writer.pendingByteCount(of: id) }) > 0 {
            try await Task.sleep(for: .milliseconds(5))
        }
        await server.loop.shutdownAndWait()
    }

    @Test func `of many connections keep their order`() async throws {
        let server = try TestServer(isEcho: true)
        let loop = try EventLoop(name: "test-clients")
        let url = try server.url
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask {
                    let client = TestClient(url, on: loop)
                    try await client.opened()
                    for round in 0..<20 {
                        try client.send(pattern(100 + round, seed: UInt8(number)))
                    }
                    for round in 0..<20 {
                        let message = try await client.message()
                        #expect(message == pattern(100 + round, seed: UInt8(number)))
                    }
                    try client.close()
                    #expect(try await client.closed().cause == .local)
                }
            }
            try await group.waitForAll()
        }
        await loop.shutdownAndWait()
        await server.loop.shutdownAndWait()
    }
}
