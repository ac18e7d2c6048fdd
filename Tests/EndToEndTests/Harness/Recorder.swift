import Cryptography
import Foundation
import RelayProtocol
import WebSockets

/// A proxy in front of the relay, as one that ends TLS would be: passes every frame on and keeps
/// what the relay delivers.
final class Recorder: Sendable {
    /// What one delivery put on the wire.
    struct Delivered: Sendable {
        let mailbox: MailboxID
        let group: GroupID?
        let content: [UInt8]
    }

    private let loop: EventLoop
    private let passing: Passing
    let url: String

    init(inFrontOf relay: String) throws {
        loop = try EventLoop(name: "recorder")
        guard let target = WebSocketURL("ws://\(relay)") else {
            throw StageError.unexpectedOutput("the relay's address", output: relay)
        }
        let passing = Passing(target: target, loop: loop)
        self.passing = passing
        let server = try WebSocketServer(
            WebSocketServer.Configuration(subprotocol: ProtocolConstants.subprotocol), on: loop
        ) { id, event in passing.take(event, from: id) }
        loop.execute { passing.server = server }
        url = "ws://\(server.boundAddress)"
    }

    var delivered: [Delivered] { passing.delivered.withLock { $0 } }

    func close() async { await loop.shutdownAndWait() }

    /// Octets that the relay must not have on its disk after the erasure: names and ciphertext.
    func needles(of group: GroupID) -> [(name: String, octets: [UInt8])] {
        var needles = [(name: "the group's id", octets: group.bytes)]
        for (number, delivery) in delivered.enumerated() where delivery.group == group {
            needles.append(("a mailbox of the group", delivery.mailbox.bytes))
            let last = max(0, delivery.content.count - 24)
            for start in [last / 2, last] {
                needles.append(
                    (
                        "delivery \(number) from \(start)",
                        Array(delivery.content[start...].prefix(24))
                    )
                )
            }
        }
        return needles
    }
}

/// Touched on the recorder's loop only, but for what has been delivered.
private final class Passing: @unchecked Sendable {
    private struct Line {
        let client: WebSocketClient
        var isOpen = false
        var early: [[UInt8]] = []
    }

    let delivered = Lock<[Recorder.Delivered]>([])
    var server: WebSocketServer?
    private let target: WebSocketURL
    private let loop: EventLoop
    private var lines: [ConnectionID: Line] = [:]

    init(target: WebSocketURL, loop: EventLoop) {
        self.target = target
        self.loop = loop
    }

    func take(_ event: WebSocketServer.Event, from id: ConnectionID) {
        switch event {
        case .opened:
            let configuration = WebSocketClient.Configuration(
                url: target, subprotocol: ProtocolConstants.subprotocol)
            let client = WebSocketClient(configuration, on: loop) { [weak self] _, event in
                self?.take(event, for: id)
            }
            lines[id] = Line(client: client)
        case .message(let message):
            if lines[id]?.isOpen == true {
                _ = lines[id]?.client.send(message)
            } else {
                lines[id]?.early.append(message)
            }
        case .drained: break
        case .closed: lines.removeValue(forKey: id)?.client.close()
        }
    }

    private func take(_ event: WebSocketClient.Event, for id: ConnectionID) {
        switch event {
        case .opened:
            lines[id]?.isOpen = true
            for message in lines[id]?.early ?? [] { _ = lines[id]?.client.send(message) }
            lines[id]?.early = []
        case .message(let message):
            if let frame = try? RelayFrame(decoding: message) {
                delivered.withLock { delivered in
                    delivered += frame.deliveries.map {
                        Recorder.Delivered(
                            mailbox: $0.mailbox, group: $0.groupID, content: $0.content)
                    }
                }
            }
            _ = server?.send(message, to: id)
        case .drained: break
        case .closed, .failed:
            lines.removeValue(forKey: id)
            server?.close(id)
        }
    }
}
