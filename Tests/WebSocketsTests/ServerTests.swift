import Glibc
import TestSupport
import Testing

@testable import WebSockets

@Suite(.timeLimit(.minutes(5))) struct `A server` {
    @Test func `answers HTTP on the same port`() async throws {
        let server = try TestServer(http: { path in
            path == "/healthz" ? .init(body: Array("ok\n".utf8)) : nil
        })
        func ask(_ request: String, _ fields: String = "") throws -> String {
            let peer = try RawPeer(port: server.port)
            peer.write("\(request) HTTP/1.1\r\nHost: x\r\n\(fields)\r\n")
            return peer.readToEnd()
        }
        let answer = try ask("GET /healthz")
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(answer.contains("content-type: text/plain; charset=utf-8\r\n"))
        #expect(answer.contains("content-length: 3\r\n"))
        #expect(answer.hasSuffix("\r\n\r\nok\n"))
        let same = try ask("HEAD /healthz")
        #expect(same.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(same.contains("content-length: 3\r\n"))
        #expect(same.hasSuffix("\r\n\r\n"))
        #expect(try ask("GET /other").hasPrefix("HTTP/1.1 404"))
        #expect(try ask("POST /healthz", "Content-Length: 0\r\n").hasPrefix("HTTP/1.1 405"))
        await server.loop.shutdownAndWait()
    }

    @Test func `answers HTTP with a large body`() async throws {
        let server = try TestServer(http: { _ in .init(body: pattern(3 << 20)) })
        let peer = try RawPeer(port: server.port)
        peer.write("GET /metrics HTTP/1.0\r\n\r\n")
        var count = 0
        while case let more = peer.read(1 << 16), !more.isEmpty { count += more.count }
        #expect(count > 3 << 20)
        await server.loop.shutdownAndWait()
    }

    @Test func `binds the asked address and no other`() async throws {
        let server = try TestServer()
        #expect(server.server.boundAddress.description == "127.0.0.1:\(server.port)")
        let listening = try listeners(port: server.port)
        #expect(Array(listening.values) == ["0100007F"])
        #expect(throws: ListenError.inUse) {
            try TestServer { $0.port = server.port }
        }
        #expect(throws: ListenError.address("localhost")) {
            try TestServer { $0.address = "localhost" }
        }
        #expect(throws: ListenError.address("192.0.2.1")) {
            try TestServer { $0.address = "192.0.2.1" }
        }
        await server.loop.shutdownAndWait()
        #expect(try listeners(port: server.port).keys.allSatisfy { listening[$0] == nil })
    }

    @Test func `stands beside another on the same loop`() async throws {
        let first = try TestServer(isEcho: true)
        let events = Events<ServerEvent>()
        var configuration = WebSocketServer.Configuration(subprotocol: "second")
        configuration.address = "127.0.0.2"
        let second = try WebSocketServer(configuration, on: first.loop) { events.put(($0, $1)) }
        let url = try #require(WebSocketURL("ws://\(second.boundAddress)"))
        let client = TestClient(url, on: first.loop) { $0.subprotocol = "second" }
        try await client.opened()
        try client.send([9])
        guard case .opened = try await events.next().event,
            case .message([9]) = try await events.next().event
        else { throw Unexpected("no message") }
        let other = TestClient(try first.url, on: first.loop)
        try await other.opened()
        await first.loop.shutdownAndWait()
    }

    @Test func `closes politely, and then its loop`() async throws {
        let server = try TestServer()
        let loop = try EventLoop()
        var clients: [TestClient] = []
        for _ in 0..<20 { clients.append(TestClient(try server.url, on: loop)) }
        for client in clients { try await client.opened() }
        let stubborn = try RawPeer(port: server.port)
        _ = stubborn.upgrade()
        let made = server.server
        // The stubborn one doesn't answer the Close frame, for which it has ten minutes.
        await withCheckedContinuation { continuation in
            server.loop.execute {
                made.closeAll(grace: .milliseconds(300)) { continuation.resume() }
            }
        }
        for client in clients {
            let close = try await client.closed()
            #expect(close.cause == .peer)
            #expect(close.code == .goingAway)
        }
        #expect(try server.loop.executeAndWait { made.connectionCount } == 0)
        await server.loop.shutdownAndWait()
        await loop.shutdownAndWait()
    }

    @Test func `ends with its loop, and leaves no thread and no descriptor`() async throws {
        let server = try TestServer(name: "ends-with-loop")
        #expect(try threadNames().contains("ends-with-loop"))
        let loop = try EventLoop(name: "ends-clients")
        var clients: [TestClient] = []
        for _ in 0..<50 { clients.append(TestClient(try server.url, on: loop)) }
        for client in clients { try await client.opened() }
        let halfway = try RawPeer(port: server.port)
        halfway.write("GET ")
        let listening = try listeners(port: server.port)
        #expect(listening.count == 1)
        await server.loop.shutdownAndWait()
        try await threadIsGone("ends-with-loop")
        #expect(try listeners(port: server.port).keys.allSatisfy { listening[$0] == nil })
        for client in clients { #expect(try await client.closed().cause == .lost) }
        #expect(halfway.read().isEmpty)
        var closed = 0
        for _ in 0..<100 {
            let (_, event) = try await server.events.next()
            if case .closed(let close) = event {
                #expect(close.cause == .shutdown)
                closed += 1
            }
        }
        #expect(closed == 50)
        await loop.shutdownAndWait()
        try await threadIsGone("ends-clients")
    }

    /// Waits: the system lists a thread that has been joined for a moment more.
    private func threadIsGone(_ name: String) async throws {
        while try threadNames().contains(name) { try await Task.sleep(for: .milliseconds(5)) }
    }

    private func threadNames() throws -> [String] {
        let directory = try unsafe #require(opendir("/proc/self/task"))
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let id = unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
                unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let name = contents("/proc/self/task/\(id)/comm") { names.append(name) }
        }
        return names.map { String($0.dropLast()) }
    }

    /// Sockets that listen on the port, by inode, with their local addresses as the kernel prints
    /// them.
    private func listeners(port: UInt16) throws -> [String: String] {
        let suffix = String(port, radix: 16, uppercase: true)
        let wanted = String(repeating: "0", count: 4 - suffix.count) + suffix
        var found: [String: String] = [:]
        for line in ["/proc/net/tcp", "/proc/net/tcp6"].compactMap(contents).joined()
            .split(separator: "\n")
        {
            let fields = line.split(separator: " ")
            guard fields.count > 9, fields[3] == "0A" else { continue }
            let parts = fields[1].split(separator: ":")
            if parts.last == Substring(wanted) { found[String(fields[9])] = String(parts[0]) }
        }
        return found
    }
}

/// A small file's text, or nil.
func contents(_ path: String) -> String? {
    let descriptor = unsafe open(path, O_RDONLY)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var octets: [UInt8] = []
    while true {
        let more = unsafe [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, filled in
            filled = unsafe max(0, read(descriptor, buffer.baseAddress, buffer.count))
        }
        if more.isEmpty { return String(decoding: octets, as: UTF8.self) }
        octets += more
    }
}
