import Glibc
import TestSupport
import Testing
import WebSockets

@Suite(.timeLimit(.minutes(5))) struct `Connections` {
    @Test func `carry the code and reason of a close`() async throws {
        let server = try TestServer()
        let client = TestClient(try server.url, on: server.loop)
        try await client.opened()
        _ = try await server.opened()
        try client.close(CloseCode(rawValue: 4001), "enough")
        let seen = try await server.closed()
        #expect(seen == WebSocketClose.peer(4001, "enough"))
        #expect(try await client.closed().cause == .local)
        await server.loop.shutdownAndWait()
    }

    @Test func `send what is queued before they close`() async throws {
        let server = try TestServer()
        let client = TestClient(try server.url, on: server.loop)
        try await client.opened()
        let id = try await server.opened()
        let writer = server.server
        try server.loop.executeAndWait {
            for _ in 0..<100 { _ = writer.send(pattern(10_000), to: id) }
            writer.close(id, code: .goingAway, reason: "later")
            #expect(writer.send([1], to: id) == .notOpen)
        }
        for _ in 0..<100 { #expect(try await client.message().count == 10_000) }
        #expect(try await client.closed() == WebSocketClose.peer(1001, "later"))
        await server.loop.shutdownAndWait()
    }

    @Test func `whose peer has fallen silent are found by pings`() async throws {
        let server = try TestServer {
            $0.limits.pingInterval = .milliseconds(200)
            $0.limits.pongTimeout = .milliseconds(200)
        }
        let peer = try RawPeer(port: server.port)
        _ = peer.upgrade()
        _ = try await server.opened()
        #expect(try await server.closed().cause == .unresponsive)
        #expect(peer.readExactly(2) == [0x89, 8])
        await server.loop.shutdownAndWait()
    }

    @Test func `whose peer answers pings stay`() async throws {
        let server = try TestServer {
            $0.limits.pingInterval = .milliseconds(100)
            $0.limits.pongTimeout = .seconds(600)
        }
        let peer = try RawPeer(port: server.port)
        _ = peer.upgrade()
        _ = try await server.opened()
        // There is a second ping only if the first was found answered.
        for _ in 0..<3 {
            let ping = peer.readExactly(10)
            #expect(ping.prefix(2) == [0x89, 8])
            peer.frame(10, Array(ping.dropFirst(2)))
        }
        peer.frame(2, [1])
        #expect(try await server.message() == [1])
        await server.loop.shutdownAndWait()
    }

    @Test func `whose server has fallen silent are given up by the client`() async throws {
        let server = try TestServer()
        let client = TestClient(try server.url, on: server.loop) {
            $0.limits.pingInterval = .milliseconds(200)
            $0.limits.pongTimeout = .milliseconds(200)
        }
        try await client.opened()
        let id = try await server.opened()
        let made = server.server
        try server.loop.executeAndWait { made.pauseReading(id) }
        #expect(try await client.closed().cause == .unresponsive)
        await server.loop.shutdownAndWait()
    }

    @Test func `that are paused are cut off if their peer takes nothing either`() async throws {
        let server = try TestServer {
            $0.limits.pingInterval = .milliseconds(300)
            $0.limits.pongTimeout = .milliseconds(300)
        }
        let deaf = TestClient(try server.url, on: server.loop)
        try await deaf.opened()
        let deafID = try await server.opened()
        let still = TestClient(try server.url, on: server.loop)
        try await still.opened()
        let stillID = try await server.opened()
        let (made, reader) = (server.server, deaf.client)
        try server.loop.executeAndWait {
            reader.pauseReading()
            made.pauseReading(deafID)
            made.pauseReading(stillID)
        }
        let message = pattern(50_000)
        func fill() throws -> SendOutcome {
            try server.loop.executeAndWait {
                while true {
                    let outcome = made.send(message, to: deafID)
                    guard outcome == .queued else { return outcome }
                }
            }
        }
        #expect(try fill() == .full)
        // The system's buffers take some megabytes, and then nothing.
        while try fill() == .full { try await Task.sleep(for: .milliseconds(20)) }
        var end: (ConnectionID, WebSocketClose)?
        while end == nil {
            let (id, event) = try await server.events.next()
            if case .closed(let close) = event { end = (id, close) }
        }
        #expect(end?.0 == deafID)
        #expect(end?.1.cause == .unresponsive)
        try server.loop.executeAndWait { made.resumeReading(stillID) }
        try still.send([7])
        #expect(try await server.message() == [7])
        await server.loop.shutdownAndWait()
    }

    @Test func `that do not finish the upgrade in time are cut off`() async throws {
        let server = try TestServer { $0.admission.handshakeTimeout = .milliseconds(300) }
        let silent = try RawPeer(port: server.port)
        let slow = try RawPeer(port: server.port)
        slow.write("GET / HTTP/1.1\r\nHost: x\r\nX-")
        #expect(silent.read().isEmpty)
        #expect(slow.read().isEmpty)
        let made = server.server
        #expect(try server.loop.executeAndWait { made.handshakeCount } == 0)
        await server.loop.shutdownAndWait()
    }

    @Test func `have as long for the upgrade as is set, also beyond libwebsockets' ten seconds`()
        async throws
    {
        let server = try TestServer(http: { _ in .init(body: Array("ok\n".utf8)) })
        let slow = try RawPeer(port: server.port)
        slow.write("GET / HTTP/1.1\r\n")
        try await Task.sleep(for: .seconds(13))
        slow.write("Host: x\r\n\r\n")
        #expect(slow.readToEnd().hasSuffix("ok\n"))
        await server.loop.shutdownAndWait()
    }

    @Test func `without the subprotocol are refused`() async throws {
        let server = try TestServer()
        let answer = try RawPeer(port: server.port).upgrade(subprotocol: nil)
        #expect(answer.hasPrefix("HTTP/1.0 400"))
        let client = TestClient(try server.url, on: server.loop) { $0.subprotocol = "other" }
        #expect(try await client.failed() == .upgradeRefused(status: 400))
        await server.loop.shutdownAndWait()
    }

    @Test func `over the limit are refused with 503`() async throws {
        let server = try TestServer { $0.admission.connections = 2 }
        // For whom nobody vouches there is less room.
        let (first, _) = try await server.provenClient()
        _ = try await server.provenClient()
        let made = server.server
        let third = TestClient(try server.url, on: server.loop)
        #expect(try await third.failed() == .upgradeRefused(status: 503))
        try first.close()
        _ = try await first.closed()
        while true {
            if case .closed = try await server.events.next().event { break }
        }
        while try server.loop.executeAndWait({ made.handshakeCount }) > 0 {
            try await Task.sleep(for: .milliseconds(5))
        }
        let fourth = TestClient(try server.url, on: server.loop)
        try await fourth.opened()
        await server.loop.shutdownAndWait()
    }

    @Test func `to where nobody listens fail`() async throws {
        let nobody = try HeldPort()
        let url = try #require(WebSocketURL("ws://127.0.0.1:\(nobody.port)"))
        let loop = try EventLoop()
        let client = TestClient(url, on: loop)
        guard case .unreachable = try await client.failed() else {
            throw Unexpected("another error")
        }
        await loop.shutdownAndWait()
        withExtendedLifetime(nobody) {}
    }

    @Test func `by name are resolved`() async throws {
        let server = try TestServer(isEcho: true)
        let url = try #require(WebSocketURL("ws://localhost:\(server.port)"))
        let client = TestClient(url, on: server.loop)
        try await client.opened()
        try client.send([5])
        #expect(try await client.message() == [5])
        let nowhere = try #require(WebSocketURL("ws://nowhere.invalid"))
        guard case .unreachable = try await TestClient(nowhere, on: server.loop).failed() else {
            throw Unexpected("another error")
        }
        await server.loop.shutdownAndWait()
    }

    @Test func `to a server that never answers time out`() async throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        listen(listener, 8)
        let port = try boundPort(listener)
        let loop = try EventLoop()
        let url = try #require(WebSocketURL("ws://127.0.0.1:\(port)"))
        let client = TestClient(url, on: loop) { $0.connectTimeout = .milliseconds(300) }
        #expect(try await client.failed() == .timedOut)
        let cancelled = TestClient(url, on: loop)
        try cancelled.close()
        #expect(try await cancelled.failed() == .cancelled)
        await loop.shutdownAndWait()
    }

    @Test func `that bring random octets end, and disturb nobody`() async throws {
        let server = try TestServer(isEcho: true)
        let client = TestClient(try server.url, on: server.loop)
        try await client.opened()
        var generator = SystemRandomNumberGenerator()
        for round in 0..<60 {
            let peer = try RawPeer(port: server.port)
            if round % 2 == 0 { _ = peer.upgrade() }
            peer.write((0..<2000).map { _ in UInt8.random(in: 0...255, using: &generator) })
        }
        // An unmasked frame that claims a length of zero in the long form.
        let peer = try RawPeer(port: server.port)
        _ = peer.upgrade()
        peer.write([0x82, 126, 0, 0] + pattern(100))
        try client.send([1, 2])
        #expect(try await client.message() == [1, 2])
        await server.loop.shutdownAndWait()
    }

    private func boundPort(_ descriptor: Int32) throws -> UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = unsafe withUnsafeMutablePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getsockname(descriptor, $0, &length)
            }
        }
        try #require(result == 0)
        return UInt16(bigEndian: address.sin_port)
    }
}

extension WebSocketClose {
    static func peer(_ code: UInt16, _ reason: String) -> Expected {
        Expected(code: code, reason: reason)
    }

    struct Expected {
        let code: UInt16
        let reason: String
    }

    static func == (close: WebSocketClose, expected: Expected) -> Bool {
        close.cause == .peer && close.code.rawValue == expected.code
            && close.reason == expected.reason
    }
}
