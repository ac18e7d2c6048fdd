import Cryptography
import Foundation
import RelayProtocol
import WebSockets

/// A connection of the load generator: speaks the real protocol, packs what one turn of the loop
/// has into one frame, and checks every payload that it gets.
///
/// Its recipients keep nothing on disk: they acknowledge from memory.
actor LoadConnection {
    /// A key for answers that are awaited.
    private struct Awaited: Hashable {
        let mailbox: MailboxID
        let id: RequestID
    }

    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe loop.asUnownedSerialExecutor()
    }

    private let clientNonce = Random.bytes(ProtocolConstants.nonceByteCount)
    private var client: WebSocketClient?
    private var challenge: Challenge?
    private var connecting: CheckedContinuation<Challenge, any Error>?
    private var answers: [Awaited: CheckedContinuation<Outcome, any Error>] = [:]
    private var lastID: [MailboxID: UInt64] = [:]
    private var frame = ClientFrame()
    private var willFlush = false
    private(set) var failure: BenchmarkError?

    private var writing: Writing?
    private var reading: Reading?

    init(on loop: EventLoop) { self.loop = loop }

    // MARK: - Connecting and asking

    /// Connects and answers with the relay's challenge.
    func connect(to url: WebSocketURL) async throws -> Challenge {
        try await withCheckedThrowingContinuation { continuation in
            connecting = continuation
            client = WebSocketClient(
                WebSocketClient.Configuration(url: url, subprotocol: ProtocolConstants.subprotocol),
                on: loop
            ) { [weak self] _, event in
                self?.assumeIsolated { $0.handle(event) }
            }
        }
    }

    func close() { client?.close() }

    /// Opens a mailbox on this connection.
    func open(_ key: SigningKey, creation: Opening.Creation) async throws {
        guard let challenge, let mailbox = MailboxID(key.publicKey.bytes) else {
            throw BenchmarkError.unexpected("no challenge")
        }
        let proof = OpeningProof(
            relayKey: try VerifyingKey(challenge.relayKey), clientNonce: clientNonce,
            relayNonce: challenge.nonce)
        let signature = try proof.sign(with: key, counter: 1, creation: creation)
        let opening = Opening(counter: 1, signature: signature, creation: creation)
        let outcome = try await answer(
            to: Request(mailbox: mailbox, id: .opening, operation: .open(opening)))
        guard case .opened = outcome else { throw BenchmarkError.unexpected("open: \(outcome)") }
    }

    /// Sends a request and waits for its answer.
    func ask(_ operation: RelayProtocol.Operation, as mailbox: MailboxID) async throws -> Outcome {
        try await answer(
            to: Request(mailbox: mailbox, id: nextID(of: mailbox), operation: operation))
    }

    private func answer(to request: Request) async throws -> Outcome {
        try await withCheckedThrowingContinuation { continuation in
            answers[Awaited(mailbox: request.mailbox, id: request.id)] = continuation
            frame.requests.append(request)
            flushAtEndOfTurn()
        }
    }

    private func nextID(of mailbox: MailboxID) -> RequestID {
        let next = lastID[mailbox, default: 0] + 1
        lastID[mailbox] = next
        return RequestID(rawValue: next)
    }

    // MARK: - Load

    /// Sends messages with `window` of them unanswered until `deadline`; answers when all are.
    func write(
        to group: GroupID, as mailbox: MailboxID, window: Int,
        until deadline: ContinuousClock.Instant
    ) async throws -> Writing.Result {
        try await withCheckedThrowingContinuation { continuation in
            writing = Writing(
                group: group, mailbox: mailbox, next: writing?.next ?? 0, deadline: deadline,
                continuation: continuation)
            for _ in 0..<window { sendOne() }
            flushAtEndOfTurn()
        }
    }

    private func sendOne() {
        guard let writing else { return }
        let id = nextID(of: writing.mailbox)
        let content = LoadMessage.content(number: writing.next, group: writing.group)
        writing.next += 1
        writing.sentAt[id] = .now
        frame.requests.append(
            Request(
                mailbox: writing.mailbox, id: id, confirmed: writing.confirmed,
                operation: .send(
                    MessageRequest(
                        groupID: writing.group, epoch: LoadMessage.epoch, content: content))))
    }

    /// Takes messages of a group in their order from now on, and acknowledges them.
    func read(from group: GroupID, as mailbox: MailboxID) {
        reading = Reading(group: group, mailbox: mailbox)
    }

    /// Messages that came within the time that ends at the writer's deadline.
    func received() -> Int { reading?.count ?? 0 }

    // MARK: - Frames

    private func flushAtEndOfTurn() {
        guard !willFlush else { return }
        willFlush = true
        loop.atEndOfTurn { [weak self] in self?.assumeIsolated { $0.flush() } }
    }

    private func flush() {
        willFlush = false
        guard frame.hello != nil || !frame.requests.isEmpty || !frame.acknowledgements.isEmpty
        else { return }
        let octets = frame.encoded()
        frame = ClientFrame()
        if client?.send(octets) != .queued { fail(.unexpected("the connection doesn't take more")) }
    }

    private func handle(_ event: WebSocketClient.Event) {
        switch event {
        case .opened:
            frame.hello = Hello(nonce: clientNonce)
            flushAtEndOfTurn()
        case .message(let octets): take(octets)
        case .drained: break
        case .closed(let close): fail(.unexpected("closed: \(close)"))
        case .failed(let error): fail(.unexpected("failed: \(error)"))
        }
    }

    private func take(_ octets: [UInt8]) {
        guard let incoming = try? RelayFrame(decoding: octets) else {
            return fail(.unexpected("not a RelayFrame"))
        }
        if let challenge = incoming.challenge {
            self.challenge = challenge
            connecting?.resume(returning: challenge)
            connecting = nil
        }
        for reply in incoming.replies {
            if let answer = answers.removeValue(
                forKey: Awaited(mailbox: reply.mailbox, id: reply.id))
            {
                answer.resume(returning: reply.outcome)
            } else {
                finishOne(reply)
            }
        }
        for delivery in incoming.deliveries { take(delivery) }
        if !frame.requests.isEmpty || !frame.acknowledgements.isEmpty { flushAtEndOfTurn() }
    }

    private func finishOne(_ reply: Reply) {
        guard let writing, let sentAt = writing.sentAt.removeValue(forKey: reply.id) else { return }
        guard case .done = reply.outcome else {
            return fail(.unexpected("send: \(reply.outcome)"))
        }
        let now = ContinuousClock.now
        writing.confirm(reply.id)
        if now < writing.deadline {
            writing.latencies.append((now - sentAt).milliseconds)
            sendOne()
        } else if writing.sentAt.isEmpty {
            writing.finish()
        }
    }

    private func take(_ delivery: Delivery) {
        if delivery.kind == .message {
            guard let reading, delivery.groupID == reading.group,
                delivery.content
                    == LoadMessage.content(number: reading.next, group: reading.group)
            else { return fail(.unexpected("not the message that comes next")) }
            reading.next += 1
            reading.count += 1
        }
        if frame.acknowledgements.last?.mailbox == delivery.mailbox {
            frame.acknowledgements[frame.acknowledgements.count - 1].deliveries.append(delivery.id)
        } else {
            frame.acknowledgements.append(
                Acknowledgement(mailbox: delivery.mailbox, deliveries: [delivery.id]))
        }
    }

    private func fail(_ error: BenchmarkError) {
        if failure == nil { failure = error }
        connecting?.resume(throwing: error)
        connecting = nil
        for answer in answers.values { answer.resume(throwing: error) }
        answers = [:]
        writing?.fail(error)
    }
}

/// What a writer has under way.
final class Writing {
    struct Result: Sendable {
        let latencies: [Double]
    }

    let group: GroupID
    let mailbox: MailboxID
    let deadline: ContinuousClock.Instant
    var next: UInt64
    var sentAt: [RequestID: ContinuousClock.Instant] = [:]
    var latencies: [Double] = []
    private(set) var confirmed = RequestID.opening
    private var continuation: CheckedContinuation<Result, any Error>?

    init(
        group: GroupID, mailbox: MailboxID, next: UInt64, deadline: ContinuousClock.Instant,
        continuation: CheckedContinuation<Result, any Error>
    ) {
        self.group = group
        self.mailbox = mailbox
        self.next = next
        self.deadline = deadline
        self.continuation = continuation
    }

    /// Notes an answer: everything below the oldest unanswered request is confirmed.
    func confirm(_ id: RequestID) {
        let oldest = sentAt.keys.min()?.rawValue ?? id.rawValue + 1
        confirmed = RequestID(rawValue: oldest - 1)
    }

    func finish() {
        continuation?.resume(returning: Result(latencies: latencies))
        continuation = nil
    }

    func fail(_ error: BenchmarkError) {
        continuation?.resume(throwing: error)
        continuation = nil
    }
}

/// What a reader has got.
final class Reading {
    let group: GroupID
    let mailbox: MailboxID
    var next: UInt64 = 0
    var count = 0

    init(group: GroupID, mailbox: MailboxID) {
        self.group = group
        self.mailbox = mailbox
    }
}

/// The messages of the load: an MLS PrivateMessage as the relay sees one, with 1 KiB inside.
enum LoadMessage {
    static let epoch: UInt64 = 1

    static func content(number: UInt64, group: GroupID) -> [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(1024 + 96)
        octets += [0, 1, 0, 2]  // mls10, mls_private_message (RFC 9420 §6)
        octets += [UInt8(GroupID.byteCount)] + group.bytes
        octets += bigEndian(epoch)
        octets += [1, 0]  // application, no authenticated data
        octets += [28] + [UInt8](repeating: 0x53, count: 28)  // sender data
        octets += [0x44, 0x00]  // 1,024 octets of ciphertext
        octets += bigEndian(number)
        octets += filling
        return octets
    }

    private static let filling = (0..<1016).map { UInt8(truncatingIfNeeded: $0 &* 31) }

    private static func bigEndian(_ number: UInt64) -> [UInt8] {
        stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: number >> UInt64($0)) }
    }
}
