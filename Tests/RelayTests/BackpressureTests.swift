import Logging
import RelayProtocol
import TestSupport
import Testing

@testable import Relay
@testable import RelayCore
@testable import WebSockets

/// A switchboard with its sockets, behind which nobody decides.
private final class Board: @unchecked Sendable {
    let loop: EventLoop
    let switchboard: Switchboard
    let server: WebSocketServer

    init(_ limits: RelayLimits) throws {
        var log = Logger(label: "test") { StreamLogHandler.standardError(label: $0) }
        log.logLevel = .critical
        let switchboard = Switchboard(log: log, limits: limits)
        self.switchboard = switchboard
        loop = try EventLoop(name: "board")
        var configuration = WebSocketServer.Configuration(
            subprotocol: ProtocolConstants.subprotocol)
        // Raw peers answer no pings.
        configuration.limits.pingInterval = .seconds(600)
        configuration.admission.handshakeTimeout = .seconds(600)
        server = try WebSocketServer(configuration, on: loop) { [weak switchboard] in
            switchboard?.handle($0, $1)
        }
        let (server, loop) = (server, loop)
        try loop.executeAndWait { switchboard.start(server, loop) }
    }

    /// An open connection and its number.
    func connect() throws -> (peer: RawPeer, number: RelayCore.ConnectionID) {
        let before = Set(try numbers)
        let peer = try RawPeer(port: server.boundAddress.port)
        #expect(peer.upgrade(subprotocol: ProtocolConstants.subprotocol).contains(" 101 "))
        let number = try #require(Set(try numbers).subtracting(before).first)
        return (peer, RelayCore.ConnectionID(rawValue: number.rawValue))
    }

    private var numbers: [WebSockets.ConnectionID] {
        get throws { try loop.executeAndWait { [loop] in loop.core.connections.map(\.id) } }
    }

    func release(_ release: RelayRelease) throws {
        try loop.executeAndWait { [switchboard] in switchboard.release(release) }
    }

    var total: Int {
        get throws { try loop.executeAndWait { [switchboard] in switchboard.totalByteCount } }
    }
}

@Suite(.timeLimit(.minutes(5))) struct `What waits of a connection` {
    @Test func `pauses it, and lets it go on again`() {
        var traffic = Switchboard.Traffic(socket: ConnectionID(rawValue: 1))
        #expect(!traffic.needsPause(pending: 0))
        #expect(traffic.needsPause(pending: 4 << 20))
        #expect(!traffic.canResume(pending: 4 << 20))
        traffic.waiting = 64
        #expect(traffic.needsPause(pending: 0))
        traffic.waiting = 16
        #expect(traffic.canResume(pending: 0))
    }

    /// A frame of no octets counts 256: it takes memory none the less.
    @Test func `makes others wait who send, and nobody for ever`() async throws {
        var limits = RelayLimits()
        limits.unreadByteCount = 1_000
        let board = try Board(limits)
        let (one, number) = try board.connect()
        let (other, _) = try board.connect()
        for _ in 0..<4 { one.frame(2, []) }
        while try board.total < 1_024 { try await Task.sleep(for: .milliseconds(5)) }
        for _ in 0..<3 {
            one.frame(2, [])
            other.frame(2, [])
            try await Task.sleep(for: .milliseconds(30))
        }
        // Each that sends hands in what it sent at once, and no more.
        #expect(try board.total <= 1_024 + 2 * 256)
        var received: UInt64 = 0
        while received < 10 {
            var release = RelayRelease()
            let total = try board.total
            release.handled[number] = (total / 256, total)
            try board.release(release)
            try await Task.sleep(for: .milliseconds(5))
            received = try board.loop.executeAndWait { board.server.counters.framesReceived }
        }
        await board.loop.shutdownAndWait()
    }

    @Test func `counts as what it is once it has been read`() async throws {
        let board = try Board(RelayLimits())
        let (peer, _) = try board.connect()
        let mailbox = try #require(MailboxID([UInt8](repeating: 1, count: 32)))
        let request = Request(mailbox: mailbox, id: RequestID(rawValue: 1), operation: .retire)
        let octets = ClientFrame(requests: [request, request]).encoded()
        peer.frame(2, octets)
        while try board.total == 0 { try await Task.sleep(for: .milliseconds(5)) }
        #expect(try board.total >= octets.count + 256 + 2 * MemoryLayout<Request>.stride)
        await board.loop.shutdownAndWait()
    }

    @Test func `counts to what waits to be sent to all, however little it is`() async throws {
        var limits = RelayLimits()
        limits.unsentByteCount = 1 << 30
        let board = try Board(limits)
        let readers = try (0..<4).map { _ in try board.connect() }
        let (last, lastNumber) = try board.connect()
        // The system takes some megabytes for each that doesn't read.
        for (_, number) in readers {
            while try pending(board, number) == 0 {
                try board.release(goodbye(of: 20_000, to: number))
            }
            #expect(try pending(board, number) < 64 << 10)
        }
        try board.loop.executeAndWait { board.switchboard.limits.unsentByteCount = 50_000 }
        let little = goodbye(of: 1, to: lastNumber)
        try board.release(little)
        while try board.loop.executeAndWait({ board.switchboard.cuts.slowReader }) == 0 {
            try await Task.sleep(for: .milliseconds(5))
        }
        #expect(try board.loop.executeAndWait { board.switchboard.unsentByteCount } <= 50_000)
        let octets = try #require(little.outputs.first).frame.encoded()
        #expect(last.readExactly(2 + octets.count) == [0x82, UInt8(octets.count)] + octets)
        await board.loop.shutdownAndWait()
    }

    private func pending(
        _ board: Board, _ number: RelayCore.ConnectionID
    ) throws -> Int {
        // Once the turn that wrote is over.
        try board.loop.executeAndWait {
            board.server.pendingByteCount(of: ConnectionID(rawValue: number.rawValue))
        }
    }

    private func goodbye(
        of count: Int, to connection: RelayCore.ConnectionID
    ) -> RelayRelease {
        let frame = RelayFrame(notices: [.goodbye(String(repeating: "x", count: count))])
        return RelayRelease(outputs: [
            ConnectionOutput(connection: connection, frame: frame, hasMailbox: false)
        ])
    }
}
