import TestSupport
import Testing

@testable import WebSockets

/// A server that pauses whoever has sent something, until it is told to read on.
private final class PausingServer: @unchecked Sendable {
    private final class Box: @unchecked Sendable {
        weak var owner: PausingServer?
    }

    let loop: EventLoop
    let server: WebSocketServer
    // Loop only.
    private var ids: [ConnectionID] = []
    private var came: [ConnectionID: [[UInt8]]] = [:]
    private var closings: [ConnectionID: WebSocketClose] = [:]
    var isPausing = true

    init(_ adjust: (inout WebSocketServer.Configuration) -> Void = { _ in }) throws {
        loop = try EventLoop(name: "pausing")
        var configuration = WebSocketServer.Configuration.patient
        adjust(&configuration)
        let box = Box()
        server = try WebSocketServer(configuration, on: loop) { box.owner?.handle($0, $1) }
        box.owner = self
    }

    private func handle(_ id: ConnectionID, _ event: WebSocketServer.Event) {
        switch event {
        case .opened: ids.append(id)
        case .message(let message):
            came[id, default: []].append(message)
            if isPausing { server.pauseReading(id) }
        case .closed(let close): closings[id] = close
        case .drained: break
        }
    }

    func connect() throws -> (peer: RawPeer, id: ConnectionID) {
        let peer = try RawPeer(port: server.boundAddress.port)
        #expect(peer.upgrade().contains(" 101 "))
        return (peer, try #require(try on { $0.ids.last }))
    }

    func on<Result: Sendable>(
        _ body: @escaping @Sendable (PausingServer) -> Result
    ) throws -> Result {
        try loop.executeAndWait { body(self) }
    }

    func messages(_ id: ConnectionID) throws -> [[UInt8]] { try on { $0.came[id] ?? [] } }

    func closing(_ id: ConnectionID) throws -> WebSocketClose? { try on { $0.closings[id] } }

    /// Whether something of a connection isn't handed on.
    func waits(_ id: ConnectionID) throws -> Bool {
        try on { $0.loop.core.connection(id)?.takesRoomSince != nil }
    }
}

/// So many frames of two octets in one write, which one read takes.
private func burst(_ count: Int, ending: [UInt8] = []) -> [UInt8] {
    (0..<count).flatMap { RawPeer.octets(ofFrame: 2, [UInt8($0 / 256), UInt8($0 % 256)]) } + ending
}

@Suite(.timeLimit(.minutes(5))) struct `What came before a pause` {
    @Test func `waits with it, in its order, and is counted`() async throws {
        let server = try PausingServer()
        let (peer, id) = try server.connect()
        peer.write(burst(1_000))
        while try !server.waits(id) { try await Task.sleep(for: .milliseconds(5)) }
        #expect(try server.messages(id) == [[0, 0]])
        let counted = try server.on { $0.server.incompleteByteCount }
        #expect(counted >= 2_000)
        // One at a time, though it is paused anew each time.
        for expected in 2...10 {
            try server.on { $0.server.resumeReading(id) }
            #expect(try server.messages(id).count == expected)
        }
        try server.on {
            $0.isPausing = false
            $0.server.resumeReading(id)
        }
        peer.write(burst(1))
        let all = (0..<1_000).map { [UInt8($0 / 256), UInt8($0 % 256)] } + [[0, 0]]
        while try server.messages(id).count < all.count {
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(try server.messages(id) == all)
        #expect(try server.on { $0.server.incompleteByteCount } == 0)
        await server.loop.shutdownAndWait()
    }

    @Test func `takes bounded room together, and who waited longest is cut`() async throws {
        let server = try PausingServer { $0.limits.maxIncompleteByteCount = 20_000 }
        let quiet = try server.connect()
        quiet.peer.frame(2, [7])
        var senders: [(peer: RawPeer, id: ConnectionID)] = []
        for _ in 0..<8 {
            let sender = try server.connect()
            sender.peer.write(burst(1_000))
            while try !server.waits(sender.id), try server.closing(sender.id) == nil {
                try await Task.sleep(for: .milliseconds(5))
            }
            #expect(try server.on { $0.server.incompleteByteCount } <= 20_000)
            senders.append(sender)
        }
        while try server.closing(senders[0].id) == nil {
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(try server.closing(senders[0].id)?.cause == .slowMessage)
        #expect(try server.closing(senders[7].id) == nil)
        // Who sent no more than one at a time has nothing that waits.
        #expect(try server.closing(quiet.id) == nil)
        await server.loop.shutdownAndWait()
    }

    @Test func `comes before the peer's Close`() async throws {
        let server = try PausingServer()
        let (peer, id) = try server.connect()
        peer.write(burst(5, ending: RawPeer.octets(ofFrame: 8, [0x03, 0xE8])))
        while try server.closing(id) == nil { try await Task.sleep(for: .milliseconds(5)) }
        #expect(try server.messages(id).count == 5)
        #expect(try server.closing(id)?.cause == .peer)
        await server.loop.shutdownAndWait()
    }
}
