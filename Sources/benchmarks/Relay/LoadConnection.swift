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

    nonisolated let loop: LoadLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe loop.asUnownedSerialExecutor()
    }

    private let clientNonce = Random.bytes(ProtocolConstants.nonceByteCount)
    private var socket: LoadSocket?
    private(set) var challenge: Challenge?
    private var connecting: CheckedContinuation<Challenge, any Error>?
    private var answers: [Awaited: CheckedContinuation<Outcome, any Error>] = [:]
    private var lastID: [MailboxID: UInt64] = [:]
    private var frame = ClientFrame()
    private var willFlush = false
    private var isClosed = false
    private(set) var failure: BenchmarkError?

    private var writings: [MailboxID: Writing] = [:]
    private var readings: [GroupID: Reading] = [:]
    /// Messages taken so far.
    private(set) var receivedCount = 0

    init(on loop: LoadLoop) { self.loop = loop }

    // MARK: - Connecting and asking

    /// Connects and answers with the relay's challenge.
    func connect(to url: WebSocketURL) async throws -> Challenge {
        try await withCheckedThrowingContinuation { continuation in
            connecting = continuation
            do {
                socket = try LoadSocket(
                    connectingTo: url, subprotocol: ProtocolConstants.subprotocol, on: loop
                ) { [weak self] event in
                    self?.assumeIsolated { $0.handle(event) }
                }
                frame.hello = Hello(nonce: clientNonce)
                flushAtEndOfTurn()
            } catch {
                connecting = nil
                continuation.resume(throwing: error)
            }
        }
    }

    func close() {
        isClosed = true
        socket?.close()
    }

    /// Opens a mailbox on this connection; says how many deliveries wait for it.
    @discardableResult
    func open(
        _ key: SigningKey, counter: UInt64 = 1, creation: Opening.Creation? = nil
    ) async throws -> UInt32 {
        guard let challenge, let mailbox = MailboxID(key.publicKey.bytes) else {
            throw BenchmarkError.unexpected("no challenge")
        }
        let proof = OpeningProof(
            relayKey: try VerifyingKey(challenge.relayKey), clientNonce: clientNonce,
            relayNonce: challenge.nonce)
        let signature = try proof.sign(with: key, counter: counter, creation: creation)
        let opening = Opening(counter: counter, signature: signature, creation: creation)
        let outcome = try await answer(
            to: Request(mailbox: mailbox, id: .opening, operation: .open(opening)))
        guard case .opened(let opened) = outcome else {
            throw BenchmarkError.unexpected("open: \(outcome)")
        }
        return opened.waiting
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

    /// Asks something that changes nothing, again and again; milliseconds of each answer.
    func ping(_ group: GroupID, as mailbox: MailboxID, count: Int) async throws -> [Double] {
        // An answer that the relay reads anew leaves its request's id free.
        let id = nextID(of: mailbox)
        defer { lastID[mailbox] = id.rawValue - 1 }
        var times: [Double] = []
        for _ in 0..<count {
            let start = ContinuousClock.now
            let outcome = try await answer(
                to: Request(mailbox: mailbox, id: id, operation: .inspectGroup(group)))
            guard case .groupState = outcome else {
                throw BenchmarkError.unexpected("ping: \(outcome)")
            }
            times.append((.now - start).milliseconds)
        }
        return times
    }

    // MARK: - Load

    /// Sends messages with `window` of them unanswered; the time to each answer, in milliseconds,
    /// once all have come.
    func write(
        to group: GroupID, as mailbox: MailboxID, window: Int, _ extent: Writing.Extent
    ) async throws -> [Double] {
        try await withCheckedThrowingContinuation { continuation in
            let writing = writings[mailbox] ?? Writing(group: group)
            writings[mailbox] = writing
            writing.begin(extent, continuation)
            let now = ContinuousClock.now
            for _ in 0..<window where writing.goesOn(at: now) {
                sendOne(writing, as: mailbox, at: now)
            }
            flushAtEndOfTurn()
        }
    }

    private func sendOne(_ writing: Writing, as mailbox: MailboxID, at now: ContinuousClock.Instant)
    {
        let id = nextID(of: mailbox)
        let confirmed = writing.confirmed
        let content = writing.message.content(number: writing.next)
        writing.next += 1
        writing.sending(id, at: now)
        frame.requests.append(
            Request(
                mailbox: mailbox, id: id, confirmed: confirmed,
                operation: .send(
                    MessageRequest(
                        groupID: writing.group, epoch: LoadMessage.epoch, content: content))))
    }

    /// Takes messages of a group in their order from now on, and acknowledges them.
    func read(from group: GroupID, after count: UInt64 = 0) {
        let reading = Reading(group: group)
        reading.next = count
        readings[group] = reading
    }

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
        socket?.send(octets)
    }

    private func handle(_ event: LoadSocket.Event) {
        switch event {
        case .message(let octets): take(octets)
        case .closed:
            if !isClosed { fail(.unexpected("the relay has closed a connection")) }
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
        guard let writing = writings[reply.mailbox] else { return }
        guard case .done = reply.outcome else {
            return fail(.unexpected("send: \(reply.outcome)"))
        }
        let now = ContinuousClock.now
        guard writing.answered(reply.id, at: now) else {
            return fail(.unexpected("an answer to nothing"))
        }
        if writing.goesOn(at: now) {
            sendOne(writing, as: reply.mailbox, at: now)
        } else if writing.unanswered == 0 {
            writing.finish()
        }
    }

    private func take(_ delivery: Delivery) {
        if delivery.kind == .message {
            guard let group = delivery.groupID, let reading = readings[group],
                reading.message.matches(delivery.content, number: reading.next)
            else { return fail(.unexpected("not the message that comes next")) }
            reading.next += 1
            receivedCount += 1
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
        for writing in writings.values { writing.fail(error) }
    }
}
