import Synchronization
import TestSupport
import Testing

@testable import WebSockets

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

extension ConnectionLimits {
    /// Nothing ends because a machine is slow; a test that is about time sets its own.
    static var patient: ConnectionLimits {
        var limits = ConnectionLimits()
        limits.pingInterval = .seconds(600)
        limits.pongTimeout = .seconds(600)
        limits.closeTimeout = .seconds(600)
        return limits
    }
}

extension WebSocketServer.Configuration {
    /// For the tests' subprotocol, with patient limits.
    static var patient: WebSocketServer.Configuration {
        var configuration = WebSocketServer.Configuration(subprotocol: testSubprotocol)
        configuration.limits = .patient
        configuration.admission.handshakeTimeout = .seconds(600)
        return configuration
    }
}

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
        var configuration = WebSocketServer.Configuration.patient
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

    /// A client that has connected, for whom somebody vouches.
    func provenClient() async throws -> (client: TestClient, id: ConnectionID) {
        let client = TestClient(try url, on: loop)
        try await client.opened()
        let (id, made) = (try await opened(), server)
        try loop.executeAndWait { made.setProven(id, true) }
        return (client, id)
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
        configuration.limits = .patient
        configuration.connectTimeout = .seconds(600)
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

extension RawPeer {
    /// The upgrade with the tests' subprotocol; the status line of the answer.
    func upgrade() -> String { upgrade(subprotocol: testSubprotocol) }

    /// The same, said to be forwarded for somebody; the whole head of the answer.
    func upgradeHead(forwardedFor: String? = nil) -> String {
        upgradeHead(subprotocol: testSubprotocol, forwardedFor: forwardedFor)
    }
}
