import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing
import WebSockets

@testable import Relay

/// A relay with its sockets, in this process.
private struct Served {
    let folder: TemporaryFolder
    let clinic: SigningKey

    init() throws {
        folder = try TemporaryFolder()
        clinic = try SigningKey()
    }

    func start(_ change: (inout RelaySettings) -> Void = { _ in }) throws -> RelayServer {
        try RelayServer.serving(folder.file("data"), clinicRoot: clinic.publicKey) {
            change(&$0.settings)
        }
    }
}

/// A device's connection: frames out, frames in, in turns that wait for each other.
private final class Device: Sendable {
    enum Event: Sendable { case frame(RelayFrame), closed(WebSocketClose), failed(ConnectError) }

    let loop: EventLoop
    let client: WebSocketClient
    let events: AsyncStream<Event>

    init(_ server: RelayServer, subprotocol: String = ProtocolConstants.subprotocol) throws {
        let url = try #require(WebSocketURL("ws://\(server.boundAddress)"))
        loop = try EventLoop(name: "device")
        let (stream, continuation) = AsyncStream<Event>.makeStream()
        events = stream
        var configuration = WebSocketClient.Configuration(url: url, subprotocol: subprotocol)
        configuration.connectTimeout = .seconds(300)
        client = WebSocketClient(configuration, on: loop) { client, event in
            switch event {
            case .opened, .drained: break
            case .message(let bytes):
                if let frame = try? RelayFrame(decoding: bytes) {
                    continuation.yield(.frame(frame))
                }
            case .closed(let close):
                continuation.yield(.closed(close))
                continuation.finish()
            case .failed(let error):
                continuation.yield(.failed(error))
                continuation.finish()
            }
        }
    }

    func send(_ bytes: [UInt8]) { loop.execute { [client] in _ = client.send(bytes) } }
    func send(_ frame: ClientFrame) { send(frame.encoded()) }

    func stop() async { await loop.shutdownAndWait() }
}

struct ServerTests {
    private func handshake(
        _ device: Device, _ events: inout AsyncStream<Device.Event>.Iterator, _ server: RelayServer
    ) async throws -> OpeningProof {
        let nonce = Random.bytes(32)
        // The client queues nothing before it is open, so it is asked until it takes the frame.
        while try device.loop.executeAndWait({
            device.client.send(ClientFrame(hello: Hello(nonce: nonce)).encoded()) != .queued
        }) { try await Task.sleep(for: .milliseconds(5)) }
        guard case .frame(let frame)? = await events.next() else {
            throw RelayWorld.Problem.noChallenge
        }
        let challenge = try #require(frame.challenge)
        try RelayIntroduction.verify(challenge, clientNonce: nonce, pinned: server.identityKey)
        return OpeningProof(
            relayKey: server.identityKey, clientNonce: nonce, relayNonce: challenge.nonce)
    }

    @Test(.timeLimit(.minutes(5)))
    func `a device opens a mailbox, and finds it again after a restart`() async throws {
        let served = try Served()
        let key = try SigningKey()
        let mailbox = try #require(MailboxID(key.publicKey.bytes))
        for round in 1...2 {
            let server = try served.start()
            let device = try Device(server)
            var events = device.events.makeAsyncIterator()
            let proof = try await handshake(device, &events, server)
            let token = try AdmissionToken(
                relayKey: server.identityKey, serial: Random.bytes(16), expires: .max,
                clinicRoot: served.clinic)
            let creation =
                round == 1 ? Opening.Creation.home(admissionToken: token.encoded()) : nil
            let opening = Opening(
                counter: UInt64(round),
                signature: try proof.sign(
                    with: key, counter: UInt64(round), creation: creation),
                creation: creation)
            device.send(
                ClientFrame(requests: [
                    Request(mailbox: mailbox, id: .opening, operation: .open(opening)),
                    Request(
                        mailbox: mailbox, id: RequestID(rawValue: UInt64(round)),
                        confirmed: RequestID(rawValue: UInt64(round - 1)),
                        operation: .drawTickets(count: 2)),
                ]))
            guard case .frame(let frame)? = await events.next() else {
                Issue.record("no answer")
                return
            }
            guard case .opened(let opened)? = frame.replies.first?.outcome,
                case .tickets(let tickets)? = frame.replies.last?.outcome
            else {
                Issue.record("\(frame.replies)")
                return
            }
            #expect(opened.lastCounter == UInt64(round - 1))
            #expect(tickets.count == 2)
            server.stop()
            guard case .frame(let goodbye)? = await events.next() else {
                Issue.record("no goodbye")
                return
            }
            #expect(goodbye.notices == [.goodbye("the relay stops")])
            guard case .closed(let close)? = await events.next() else {
                Issue.record("not closed")
                return
            }
            #expect(close.code == .goingAway)
            server.wait()
            await device.stop()
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `random octets and frames out of turn end the connection`() async throws {
        let served = try Served()
        let server = try served.start()
        for bytes in [Random.bytes(100), [], ClientFrame(requests: []).encoded()] {
            let device = try Device(server)
            var events = device.events.makeAsyncIterator()
            while try device.loop.executeAndWait({ device.client.send(bytes) != .queued }) {
                try await Task.sleep(for: .milliseconds(5))
            }
            guard case .frame(let frame)? = await events.next(),
                case .goodbye? = frame.notices.first,
                case .closed(let close)? = await events.next()
            else {
                Issue.record("not ended")
                return
            }
            #expect(close.code == .protocolError)
            await device.stop()
        }
        server.stop()
        server.wait()
    }

    @Test(.timeLimit(.minutes(5)))
    func `an oversized frame ends the connection, others go on`() async throws {
        let served = try Served()
        let server = try served.start()
        let good = try Device(server)
        var goodEvents = good.events.makeAsyncIterator()
        _ = try await handshake(good, &goodEvents, server)
        let bad = try Device(server)
        var events = bad.events.makeAsyncIterator()
        _ = try await handshake(bad, &events, server)
        bad.send([UInt8](repeating: 10, count: (1 << 20) + 1))
        guard case .closed(let close)? = await events.next() else {
            Issue.record("not ended")
            return
        }
        #expect([.messageTooBig, .abnormalClosure].contains(close.code))
        await bad.stop()
        good.send(ClientFrame(requests: []))
        server.stop()
        guard case .frame(let goodbye)? = await goodEvents.next() else {
            Issue.record("the others were cut off")
            return
        }
        #expect(goodbye.notices == [.goodbye("the relay stops")])
        server.wait()
        await good.stop()
    }

    @Test(.timeLimit(.minutes(5)))
    func `whoever has opened no mailbox sends little at once, whoever has sends more`() async throws
    {
        let served = try Served()
        let server = try served.start()
        let long = ClientFrame(requests: [
            Request(
                mailbox: try #require(MailboxID(Random.bytes(32))), id: .opening,
                operation: .stockShelf(ShelfStock(packages: [Random.bytes(65 << 10)])))
        ])
        let stranger = try Device(server)
        var events = stranger.events.makeAsyncIterator()
        _ = try await handshake(stranger, &events, server)
        stranger.send(long)
        guard case .closed(let close)? = await events.next() else {
            Issue.record("not ended")
            return
        }
        #expect([.messageTooBig, .abnormalClosure].contains(close.code))
        await stranger.stop()

        let device = try Device(server)
        var ownEvents = device.events.makeAsyncIterator()
        let proof = try await handshake(device, &ownEvents, server)
        let key = try SigningKey()
        let mailbox = try #require(MailboxID(key.publicKey.bytes))
        let token = try AdmissionToken(
            relayKey: server.identityKey, serial: Random.bytes(16),
            expires: UInt64(Date().timeIntervalSince1970) + 600, clinicRoot: served.clinic
        ).encoded()
        let creation = Opening.Creation.home(admissionToken: token)
        device.send(
            ClientFrame(requests: [
                Request(
                    mailbox: mailbox, id: .opening,
                    operation: .open(
                        Opening(
                            counter: 1,
                            signature: try proof.sign(with: key, counter: 1, creation: creation),
                            creation: creation)))
            ]))
        guard case .frame(let opened)? = await ownEvents.next(), !opened.replies.isEmpty else {
            Issue.record("not opened")
            return
        }
        device.send(long)
        guard case .frame(let answer)? = await ownEvents.next() else {
            Issue.record("no answer")
            return
        }
        #expect(answer.replies.map(\.outcome) == [.refused(.notAllowed, retryAfterSeconds: 0)])
        await device.stop()
        server.stop()
        server.wait()
    }

    @Test(.timeLimit(.minutes(5)))
    func `healthz answers while the writer works`() async throws {
        let served = try Served()
        let server = try served.start()
        while server.currentHealth.lastBatchMilliseconds == 0 {
            try await Task.sleep(for: .milliseconds(10))
        }
        let answer = try await fetch("/healthz", from: server.boundAddress)
        #expect(answer.hasPrefix("HTTP/1.") && answer.contains(" 200 "))
        #expect(answer.hasSuffix("ok\n"))
        #expect(try await fetch("/nothing", from: server.boundAddress).contains(" 404 "))
        server.stop()
        server.wait()
    }

    private func fetch(_ path: String, from address: SocketAddress) async throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = [
            "-c",
            """
            exec 3<>/dev/tcp/\(address.host)/\(address.port)
            printf 'GET \(path) HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' >&3
            timeout 60 cat <&3
            """,
        ]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self)
    }

    @Test func `plain ws is refused on any address but loopback`() throws {
        let served = try Served()
        #expect(throws: RelayError.needsTLS) {
            try served.start { $0.listen = SocketAddress(host: "0.0.0.0", port: 0) }
        }
        // Nothing is left behind that would keep the next start away.
        let server = try served.start()
        #expect(throws: RelayError.self) { try served.start() }
        server.stop()
        server.wait()
    }

    @Test(.timeLimit(.minutes(5)))
    func `a port that is taken is said to be, and the next start succeeds`() throws {
        let served = try Served()
        let other = try Served()
        let occupant = try other.start()
        for _ in 1...3 {
            let words = "\(occupant.boundAddress): another program listens there"
            #expect(throws: RelayError.listen("metrics: \(words)")) {
                try served.start { $0.metrics = .address(occupant.boundAddress) }
            }
            #expect(throws: RelayError.listen(words)) {
                try served.start { $0.listen = occupant.boundAddress }
            }
        }
        let server = try served.start()
        for server in [server, occupant] {
            server.stop()
            server.wait()
        }
    }
}
