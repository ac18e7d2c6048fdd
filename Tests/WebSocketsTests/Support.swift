import Glibc
import Synchronization
import Testing
import WebSockets

/// Events of one side, waited for one by one.
final class Events<Event: Sendable>: @unchecked Sendable {
    private let stream: AsyncStream<Event>
    private let continuation: AsyncStream<Event>.Continuation
    private var iterator: AsyncStream<Event>.Iterator

    init() {
        (stream, continuation) = AsyncStream.makeStream()
        iterator = stream.makeAsyncIterator()
    }

    func put(_ event: Event) { continuation.yield(event) }

    /// The next event; one test waits at a time.
    func next() async throws -> Event {
        try #require(await iterator.next(isolation: #isolation))
    }
}

let testSubprotocol = "curtain-test"

typealias ServerEvent = (id: ConnectionID, event: WebSocketServer.Event)

/// A server on a loop of its own, with its events.
final class TestServer: Sendable {
    let loop: EventLoop
    let server: WebSocketServer
    let events: Events<ServerEvent>

    /// - Parameter isEcho: answers each message with itself instead of reporting it.
    init(
        isEcho: Bool = false, name: String = "test-server",
        _ adjust: (inout WebSocketServer.Configuration) -> Void = { _ in },
        http: (@Sendable (String) -> WebSocketServer.HTTPResponse?)? = nil
    ) throws {
        let events = Events<ServerEvent>()
        let loop = try EventLoop(name: name)
        var configuration = WebSocketServer.Configuration(subprotocol: testSubprotocol)
        adjust(&configuration)
        let box = ServerBox()
        server = try WebSocketServer(configuration, on: loop, http: http) { id, event in
            if isEcho, case .message(let message) = event {
                box.server?.send(message, to: id)
            } else {
                events.put((id, event))
            }
        }
        let made = server
        try loop.executeAndWait { box.server = made }
        self.loop = loop
        self.events = events
    }

    var port: UInt16 { server.boundAddress.port }

    var url: WebSocketURL {
        get throws { try #require(WebSocketURL("ws://127.0.0.1:\(port)/")) }
    }

    func opened() async throws -> ConnectionID {
        let (id, event) = try await events.next()
        guard case .opened(let peer) = event else { throw Unexpected(event) }
        #expect(peer.isLoopback)
        return id
    }

    func message() async throws -> [UInt8] {
        let (_, event) = try await events.next()
        guard case .message(let message) = event else { throw Unexpected(event) }
        return message
    }

    func closed() async throws -> WebSocketClose {
        let (_, event) = try await events.next()
        guard case .closed(let close) = event else { throw Unexpected(event) }
        return close
    }
}

private final class ServerBox: @unchecked Sendable {
    weak var server: WebSocketServer?
}

struct Unexpected: Error, CustomStringConvertible {
    let description: String

    init<T>(_ value: T) { description = String(describing: value) }
}

/// A client with its events.
final class TestClient: Sendable {
    let loop: EventLoop
    let client: WebSocketClient
    let events: Events<WebSocketClient.Event>

    init(
        _ url: WebSocketURL, on loop: EventLoop,
        _ adjust: (inout WebSocketClient.Configuration) -> Void = { _ in }
    ) {
        let events = Events<WebSocketClient.Event>()
        var configuration = WebSocketClient.Configuration(
            url: url, subprotocol: testSubprotocol)
        adjust(&configuration)
        client = WebSocketClient(configuration, on: loop) { _, event in events.put(event) }
        self.loop = loop
        self.events = events
    }

    func opened() async throws {
        let event = try await events.next()
        guard case .opened = event else { throw Unexpected(event) }
    }

    func message() async throws -> [UInt8] {
        var event = try await events.next()
        while case .drained = event { event = try await events.next() }
        guard case .message(let message) = event else { throw Unexpected(event) }
        return message
    }

    func closed() async throws -> WebSocketClose {
        let event = try await events.next()
        guard case .closed(let close) = event else { throw Unexpected(event) }
        return close
    }

    func failed() async throws -> ConnectError {
        let event = try await events.next()
        guard case .failed(let error) = event else { throw Unexpected(event) }
        return error
    }

    func send(_ message: [UInt8]) throws {
        let client = client
        #expect(try loop.executeAndWait { client.send(message) } == .queued)
    }

    func close(_ code: CloseCode = .normalClosure, _ reason: String = "") throws {
        let client = client
        try loop.executeAndWait { client.close(code: code, reason: reason) }
    }
}

/// Octets that differ from place to place.
func pattern(_ count: Int, seed: UInt8 = 7) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) &+ seed }
}

/// A TCP connection that speaks no more WebSocket than a test makes it.
@safe final class RawPeer {
    let descriptor: Int32

    init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func write(_ octets: [UInt8]) {
        _ = unsafe octets.withUnsafeBytes {
            unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
    }

    func write(_ text: String) { write(Array(text.utf8)) }

    /// What comes next, at most `count` octets; empty when the peer has closed.
    func read(_ count: Int = 4096) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            var result = 0
            repeat {
                result = unsafe recv(descriptor, buffer.baseAddress, count, 0)
            } while result < 0 && errno == EINTR
            filled = max(0, result)
        }
    }

    func readExactly(_ count: Int) -> [UInt8] {
        var octets: [UInt8] = []
        while octets.count < count {
            let more = read(count - octets.count)
            if more.isEmpty { break }
            octets += more
        }
        return octets
    }

    func readToEnd() -> String {
        var octets: [UInt8] = []
        while true {
            let more = read()
            if more.isEmpty { return String(decoding: octets, as: UTF8.self) }
            octets += more
        }
    }

    /// The upgrade; the status line of the answer.
    func upgrade(subprotocol: String? = testSubprotocol) -> String {
        String(upgradeHead(subprotocol: subprotocol).prefix { $0 != "\r\n" })
    }

    /// The upgrade, said to be forwarded for somebody; the whole head of the answer.
    func upgradeHead(
        subprotocol: String? = testSubprotocol, forwardedFor: String? = nil
    ) -> String {
        let optional = [
            subprotocol.map { "Sec-WebSocket-Protocol: \($0)\r\n" },
            forwardedFor.map { "X-Forwarded-For: \($0)\r\n" },
        ]
        write(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                + optional.compactMap(\.self).joined() + "\r\n")
        var head: [UInt8] = []
        while !head.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            let more = read(1)
            if more.isEmpty { break }
            head += more
        }
        return String(decoding: head, as: UTF8.self)
    }

    /// A masked frame (RFC 6455 §5.2) of up to 125 octets.
    func frame(_ opcode: UInt8, isLast: Bool = true, _ payload: [UInt8]) {
        let mask: [UInt8] = [1, 2, 3, 4]
        let masked = payload.enumerated().map { $1 ^ mask[$0 % 4] }
        write([opcode | (isLast ? 0x80 : 0), 0x80 | UInt8(payload.count)] + mask + masked)
    }
}
