import Cryptography
import RelayProtocol
import RelayTestSupport
import WebSockets

/// One connection to a real relay after the handshake: frames out, frames in.
struct WireLine {
    /// The relay was away, or ended the connection.
    struct Ended: Error {}

    let relayKey: VerifyingKey
    private let proof: OpeningProof
    private let client: WebSocketClient
    private let loop: EventLoop
    private var frames: AsyncStream<RelayFrame>.Iterator

    init(to url: WebSocketURL?, on loop: EventLoop) async throws {
        guard let url else { throw Ended() }
        let nonce = Random.bytes(ProtocolConstants.nonceByteCount)
        let (stream, continuation) = AsyncStream<RelayFrame>.makeStream()
        client = WebSocketClient(
            .init(url: url, subprotocol: ProtocolConstants.subprotocol), on: loop
        ) { client, event in
            switch event {
            case .opened:
                _ = client.send(ClientFrame(hello: Hello(nonce: nonce)).encoded())
            case .message(let octets):
                guard let frame = try? RelayFrame(decoding: octets) else { return client.close() }
                continuation.yield(frame)
            case .drained: break
            case .closed, .failed: continuation.finish()
            }
        }
        self.loop = loop
        var frames = stream.makeAsyncIterator()
        guard let challenge = await frames.next()?.challenge else { throw Ended() }
        self.frames = frames
        relayKey = try VerifyingKey(challenge.relayKey)
        proof = OpeningProof(
            relayKey: relayKey, clientNonce: nonce, relayNonce: challenge.nonce)
    }

    /// What comes next; nil once the connection has ended.
    mutating func next(isolation: isolated (any Actor)? = #isolation) async -> RelayFrame? {
        await frames.next(isolation: isolation)
    }

    func send(_ frame: ClientFrame) {
        let octets = frame.encoded()
        loop.execute { [client] in _ = client.send(octets) }
    }

    /// Takes nothing more from the socket.
    func pauseReading() { loop.execute { [client] in client.pauseReading() } }

    func resumeReading() { loop.execute { [client] in client.resumeReading() } }

    func close() { loop.execute { [client] in client.close() } }

    /// Asks and waits for the answer; what else comes meanwhile is not looked at.
    mutating func ask(
        _ request: Request, isolation: isolated (any Actor)? = #isolation
    ) async throws -> Outcome {
        send(ClientFrame(requests: [request]))
        while let frame = await next() {
            if let reply = frame.replies.first(where: { $0.id == request.id }) {
                return reply.outcome
            }
        }
        throw Ended()
    }

    /// Opens a mailbox under its next counter.
    mutating func open(
        _ mailbox: TestMailbox, creation: Opening.Creation? = nil,
        isolation: isolated (any Actor)? = #isolation
    ) async throws {
        let outcome = try await ask(try opening(mailbox, creation: creation))
        guard case .opened = outcome else { throw RelayWorld.Problem.unexpected(outcome) }
    }

    /// The request that opens a mailbox.
    func opening(
        _ mailbox: TestMailbox, creation: Opening.Creation? = nil
    ) throws -> Request {
        mailbox.counter += 1
        return Request(
            mailbox: mailbox.id, id: .opening,
            operation: .open(
                Opening(
                    counter: mailbox.counter,
                    signature: try proof.sign(
                        with: mailbox.key, counter: mailbox.counter, creation: creation),
                    creation: creation)))
    }
}
