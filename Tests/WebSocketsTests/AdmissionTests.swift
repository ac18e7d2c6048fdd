import Glibc
import TestSupport
import Testing

@testable import WebSockets

@Suite struct `Addresses` {
    @Test(arguments: [
        ("127.0.0.0/8", "127.3.2.1", "128.0.0.1"), ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
        ("10.0.0.0/9", "10.127.0.1", "10.128.0.1"), ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:1::7", "2001:db9::"), ("::1", "::1", "::2"),
        ("fe80::/10", "fe80::1%eth0", "fec0::1"),
        ("2001:db8::/66", "2001:db8::1", "2001:db8::4000:0:0:1"),
    ])
    func `lie inside or outside of a block`(block: String, inside: String, outside: String) throws {
        let block = try #require(AddressBlock(block))
        #expect(block.contains(try #require(AddressOctets(inside))))
        #expect(!block.contains(try #require(AddressOctets(outside))))
    }

    @Test(arguments: [
        "", "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/", "host", "10.0.0/8", "1.2.3.4/8/8",
    ])
    func `that are no block are refused`(text: String) {
        #expect(AddressBlock(text) == nil)
    }

    @Test func `of IPv4 in the clothes of IPv6 are IPv4`() throws {
        #expect(AddressOctets("::ffff:192.0.2.1") == AddressOctets("192.0.2.1"))
    }

    @Test func `of one IPv6 network of 64 bits count as one`() throws {
        func key(_ text: String) throws -> AddressKey {
            AddressKey(try #require(AddressOctets(text)))
        }
        #expect(try key("2001:db8::1") == key("2001:db8::ffff:0:1"))
        #expect(try key("2001:db8::1") != key("2001:db8:0:1::1"))
        #expect(try key("192.0.2.1") != key("192.0.2.2"))
    }

    @Test func `behind proxies are read from the end of the list`() throws {
        let trusted = ["10.0.0.0/8", "fd00::/8"].compactMap(AddressBlock.init)
        func client(_ header: String) -> ForwardedFor.Finding {
            ForwardedFor.read(header, trusting: trusted)
        }
        func found(_ text: String) throws -> ForwardedFor.Finding {
            .client(try #require(AddressOctets(text)))
        }
        #expect(try client("203.0.113.9") == found("203.0.113.9"))
        #expect(try client("1.1.1.1, 203.0.113.9 ,10.0.0.7") == found("203.0.113.9"))
        #expect(try client("forged, 203.0.113.9:5000") == found("203.0.113.9"))
        #expect(try client("[2001:db8::1]:5000, fd00::2") == found("2001:db8::1"))
        #expect(try client("2001:db8::1") == found("2001:db8::1"))
        #expect(try client("10.0.0.2, 10.0.0.1") == found("10.0.0.2"))
        #expect(client("") == .absent)
        #expect(client("unknown") == .unreadable)
        #expect(client("203.0.113.9, unknown, 10.0.0.1") == .unreadable)
    }
}

@Suite struct `The gate` {
    private static func gate(_ change: (inout AdmissionLimits) -> Void) -> Gate {
        var limits = AdmissionLimits()
        change(&limits)
        return Gate(limits)
    }

    private static func address(_ text: String) throws -> AddressOctets {
        try #require(AddressOctets(text))
    }

    @Test func `lets ten seconds' worth in at once and then keeps the pace`() throws {
        var gate = Self.gate { $0.handshakesPerSecond = 2 }
        for _ in 0..<20 { #expect(gate.admitAny(at: 5_000) == nil) }
        #expect(gate.admitAny(at: 5_000)?.reason == .handshakes)
        #expect(gate.admitAny(at: 5_499) != nil)
        #expect(gate.admitAny(at: 5_500) == nil)
        #expect(gate.admitAny(at: 5_500)?.retryAfterSeconds == 1)
    }

    @Test func `says how long to wait at a slow pace`() {
        var gate = Self.gate { $0.handshakesPerSecond = 0.02 }
        #expect(gate.admitAny(at: 0) == nil)
        #expect(gate.admitAny(at: 1_000)?.retryAfterSeconds == 49)
        #expect(gate.admitAny(at: 50_000) == nil)
    }

    @Test func `counts the connections of each address until they leave`() throws {
        var gate = Self.gate { $0.connectionsPerAddress = 2 }
        let (one, other) = (try Self.address("192.0.2.1"), try Self.address("192.0.2.2"))
        let key = try gate.admit(one, at: 0).get()
        _ = try gate.admit(one, at: 0).get()
        #expect(throws: Gate.Refusal(reason: .connectionsPerAddress, retryAfterSeconds: 30)) {
            try gate.admit(one, at: 0).get()
        }
        _ = try gate.admit(other, at: 0).get()
        gate.leave(try #require(key))
        _ = try gate.admit(one, at: 0).get()
    }

    @Test func `keeps each address to its pace`() throws {
        var gate = Self.gate { $0.handshakesPerSecondPerAddress = 1 }
        let (one, other) = (try Self.address("2001:db8::1"), try Self.address("2001:db8:0:1::1"))
        for _ in 0..<10 { _ = try gate.admit(one, at: 0).get() }
        #expect(throws: Gate.Refusal(reason: .handshakesPerAddress, retryAfterSeconds: 1)) {
            try gate.admit(one, at: 0).get()
        }
        _ = try gate.admit(other, at: 0).get()
    }

    @Test func `does not count whom it exempts`() throws {
        var gate = Self.gate { $0.connectionsPerAddress = 1 }
        for _ in 0..<10 { #expect(try gate.admit(Self.address("127.0.0.1"), at: 0).get() == nil) }
        #expect(gate.addressCount == 0)
    }

    @Test func `forgets addresses that left and have rested`() throws {
        var gate = Self.gate { $0.handshakesPerSecondPerAddress = 10 }
        for number in 0..<200 {
            let key = try gate.admit(Self.address("192.0.2.\(number)"), at: 0).get()
            gate.leave(try #require(key))
        }
        #expect(gate.addressCount == 200)
        _ = try gate.admit(Self.address("192.0.2.255"), at: 11_000).get()
        #expect(gate.addressCount == 1)
    }
}

@Suite(.timeLimit(.minutes(5))) struct `A server under its limits` {
    @Test func `answers an address that has enough with 429 and when to try again`() async throws {
        let server = try TestServer {
            $0.admission.exemptAddresses = []
            $0.admission.connectionsPerAddress = 2
        }
        let first = TestClient(try server.url, on: server.loop)
        let second = TestClient(try server.url, on: server.loop)
        try await first.opened()
        try await second.opened()
        let peer = try RawPeer(port: server.port)
        let head = peer.upgradeHead()
        #expect(head.contains(" 429 "))
        #expect(head.lowercased().contains("retry-after: 30\r\n"))
        #expect(peer.readToEnd() == "too many from your address; try again in 30 s\n")
        let made = server.server
        #expect(
            try server.loop.executeAndWait { made.counters.refused[.connectionsPerAddress] } == 1)
        await server.loop.shutdownAndWait()
    }

    @Test func `counts clients, not their trusted proxy`() async throws {
        let server = try TestServer {
            $0.admission.trustedProxies = AddressBlock.loopback
            $0.admission.connectionsPerAddress = 1
        }
        let one = try RawPeer(port: server.port)
        #expect(one.upgradeHead(forwardedFor: "203.0.113.1").contains(" 101 "))
        let same = try RawPeer(port: server.port)
        #expect(same.upgradeHead(forwardedFor: "8.8.8.8, 203.0.113.1").contains(" 429 "))
        let other = try RawPeer(port: server.port)
        #expect(other.upgradeHead(forwardedFor: "203.0.113.2").contains(" 101 "))
        // Some proxies add a line of their own behind whatever the client sent.
        let hidden = try RawPeer(port: server.port)
        #expect(
            hidden.upgradeHead(forwardedFor: "203.0.113.8\r\nX-Forwarded-For: 203.0.113.1")
                .contains(" 429 "))
        let proxy = try RawPeer(port: server.port)
        #expect(proxy.upgradeHead().contains(" 101 "))
        let garbled = try RawPeer(port: server.port)
        #expect(garbled.upgradeHead(forwardedFor: "nobody").contains(" 400 "))
        let long = String(repeating: "1.2.3.4, ", count: 200) + "203.0.113.3"
        let verbose = try RawPeer(port: server.port)
        #expect(!verbose.upgradeHead(forwardedFor: long).contains(" 101 "))
        await server.loop.shutdownAndWait()
    }

    @Test func `does not believe who is no trusted proxy`() async throws {
        let server = try TestServer {
            $0.admission.exemptAddresses = []
            $0.admission.connectionsPerAddress = 1
        }
        let one = try RawPeer(port: server.port)
        #expect(one.upgradeHead(forwardedFor: "203.0.113.1").contains(" 101 "))
        let two = try RawPeer(port: server.port)
        #expect(two.upgradeHead(forwardedFor: "203.0.113.2").contains(" 429 "))
        await server.loop.shutdownAndWait()
    }

    @Test func `keeps the pace of handshakes, and explains few of the refusals`() async throws {
        let server = try TestServer { $0.admission.handshakesPerSecond = 0.001 }
        let first = try RawPeer(port: server.port)
        #expect(first.upgradeHead().contains(" 101 "))
        let second = try RawPeer(port: server.port)
        let head = second.upgradeHead()
        #expect(head.contains(" 503 "))
        #expect(head.lowercased().contains("retry-after: "))
        // 200 may be explained at once, and 20 more each second.
        var answers: [String] = []
        while answers.count < 3_000, !answers.contains("") {
            let peers = try (0..<300).map { _ in try RawPeer(port: server.port) }
            answers += peers.map { $0.upgradeHead() }
        }
        #expect(answers.contains(""))
        #expect(!answers.contains { $0.contains(" 101 ") })
        let (made, count) = (server.server, UInt64(answers.count))
        #expect(
            try server.loop.executeAndWait { made.counters.refused[.handshakes] } == count + 1)
        await server.loop.shutdownAndWait()
    }

    @Test func `one address that comes too fast takes nothing of the others' pace`() async throws {
        let server = try TestServer {
            $0.admission.exemptAddresses = []
            // Hardly more than six in all at once, and one of each address.
            $0.admission.handshakesPerSecond = 0.7
            $0.admission.handshakesPerSecondPerAddress = 0.001
        }
        for _ in 0..<100 { _ = try RawPeer(port: server.port, fromHost: 2).upgradeHead() }
        for host in UInt8(3)...7 {
            let peer = try RawPeer(port: server.port, fromHost: host)
            #expect(peer.upgradeHead().contains(" 101 "))
        }
        let made = server.server
        let refused = try server.loop.executeAndWait { made.counters.refused }
        #expect(refused[.handshakes] == 0)
        #expect(refused[.handshakesPerAddress] == 99)
        await server.loop.shutdownAndWait()
    }

    @Test func `nor does one that comes too fast through a proxy`() async throws {
        let server = try TestServer {
            $0.admission.trustedProxies = AddressBlock.loopback
            $0.admission.handshakesPerSecond = 0.7
            $0.admission.handshakesPerSecondPerAddress = 0.001
        }
        for _ in 0..<100 {
            _ = try RawPeer(port: server.port).upgradeHead(forwardedFor: "203.0.113.1")
        }
        for host in 2...6 {
            let head = try RawPeer(port: server.port)
                .upgradeHead(forwardedFor: "203.0.113.\(host)")
            #expect(head.contains(" 101 "))
        }
        await server.loop.shutdownAndWait()
    }

    @Test func `a request that asks for no upgrade counts as much, through a proxy or not`()
        async throws
    {
        for proxies in [[], AddressBlock.loopback] {
            let server = try TestServer {
                $0.admission.trustedProxies = proxies
                $0.admission.exemptAddresses = []
                // Two at once, and one in five seconds.
                $0.admission.handshakesPerSecondPerAddress = 0.2
            } http: { _ in
                .init(body: Array("ok\n".utf8))
            }
            func ask(_ method: String) throws -> String {
                let peer = try RawPeer(port: server.port)
                peer.write(
                    "\(method) /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n"
                )
                return peer.readToEnd()
            }
            #expect(try ask("GET").contains(" 200 "))
            #expect(try ask("POST").contains(" 405 "))
            var refusedHere: [String: UInt64] = [:]
            for method in Array(repeating: ["GET", "POST"], count: 40).joined() {
                if try ask(method).contains(" 429 ") { refusedHere[method, default: 0] += 1 }
            }
            let made = server.server
            let refused = try server.loop.executeAndWait { made.counters.refused }
            #expect(refused[.handshakesPerAddress] == refusedHere.values.reduce(0, +))
            #expect(refusedHere.count == 2 && refusedHere.values.allSatisfy { $0 > 10 })
            await server.loop.shutdownAndWait()
        }
    }

    @Test func `takes new limits while it runs`() async throws {
        let server = try TestServer()
        let made = server.server
        try server.loop.executeAndWait {
            var admission = AdmissionLimits()
            admission.connections = 0
            made.apply(ConnectionLimits(), admission)
        }
        #expect(try RawPeer(port: server.port).upgrade().contains("503"))
        await server.loop.shutdownAndWait()
    }

    @Test func `counts frames, octets and ends`() async throws {
        let server = try TestServer(isEcho: true)
        let client = TestClient(try server.url, on: server.loop)
        try await client.opened()
        try client.send(pattern(1_000))
        _ = try await client.message()
        try client.close()
        _ = try await client.closed()
        let made = server.server
        while try server.loop.executeAndWait({ made.connectionCount }) > 0 {
            try await Task.sleep(for: .milliseconds(5))
        }
        let counters = try server.loop.executeAndWait { made.counters }
        #expect(counters.opened == 1)
        #expect((counters.framesReceived, counters.bytesReceived) == (1, 1_000))
        #expect((counters.framesSent, counters.bytesSent) == (1, 1_000))
        #expect(counters.closed[.peer] == 1)
        await server.loop.shutdownAndWait()
    }

    @Test func `takes over a socket that listens already, and no other`() async throws {
        let listening = try Listener.bind(address: "127.0.0.1", port: 0)
        let server = try TestServer { $0.listeningSocket = listening.descriptor }
        #expect(server.server.boundAddress == listening.bound)
        #expect(try RawPeer(port: server.port).upgrade().contains("101"))
        await server.loop.shutdownAndWait()
        let connected = try RawPeer(
            port: try Listener.bind(address: "127.0.0.1", port: 0).bound.port)
        #expect(throws: ListenError.self) { try Listener.adopt(dup(connected.descriptor)) }
    }

    @Test func `that only answers GET takes no WebSocket`() async throws {
        let body = [UInt8](repeating: 0x61, count: 300_000)
        let loop = try EventLoop(name: "http")
        let server = try WebSocketServer(
            .httpOnly, on: loop,
            http: { $0 == "/long" ? .init(body: body) : nil }, handler: { _, _ in })
        let port = server.boundAddress.port
        #expect(try RawPeer(port: port).upgrade().contains("400"))
        let peer = try RawPeer(port: port)
        peer.write("GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(peer.readToEnd().hasSuffix("\r\n\r\n" + String(decoding: body, as: UTF8.self)))
        await loop.shutdownAndWait()
    }
}
