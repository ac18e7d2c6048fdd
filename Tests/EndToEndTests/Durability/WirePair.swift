import Cryptography
import Foundation
import RelayProtocol
import RelayTestSupport
import WebSockets

/// A writer and a reader in a group at a real relay, who keep in memory what a device keeps on its
/// disk: what was asked and not answered, what was accepted, what was received.
actor WirePair {
    private let relay: RelayAlone
    private let loop: EventLoop
    private let writer: TestMailbox
    private let reader: TestMailbox
    private let group: GroupID

    private var nextNumber: UInt64 = 0
    /// Asked and not answered, by request.
    private var pending: [(request: Request, number: UInt64)] = []
    /// Numbers of messages that the relay said it took.
    private(set) var accepted: [UInt64] = []
    /// How many it refused.
    private(set) var refused = 0
    /// Numbers of messages as they came, each delivery once.
    private(set) var received: [UInt64] = []
    private var seen: Set<DeliveryID> = []
    private let dropsRepeats: Bool
    private var contents: Set<UInt64> = []
    private var stalled: WireLine?
    private let filling: [UInt8]

    /// Makes both mailboxes and the group.
    ///
    /// - Parameter dropsRepeats: the reader knows contents again as a device does. A relay that holds
    ///   messages may bring one a second time after a crash if it hadn't promised it.
    /// - Parameter bodyByteCount: how long messages are, but for what is around their bodies.
    init(
        at relay: RelayAlone, on loop: EventLoop, dropsRepeats: Bool = false,
        bodyByteCount: Int = 1_024
    ) async throws {
        self.relay = relay
        self.loop = loop
        filling = (8..<bodyByteCount).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        self.dropsRepeats = dropsRepeats
        writer = try TestMailbox()
        reader = try TestMailbox()
        guard let group = GroupID(Random.bytes(GroupID.byteCount)) else {
            throw RelayWorld.Problem.noReply
        }
        self.group = group
        try await prepare()
    }

    private func prepare() async throws {
        var line = try await WireLine(to: relay.url, on: loop)
        let home = try TestMailbox()
        let token = try relay.token(relayKey: line.relayKey)
        try await line.open(home, creation: .home(admissionToken: token))
        let drawn = try await line.ask(home.request(.drawTickets(count: 2)))
        guard case .tickets(let tickets) = drawn, tickets.count == 2 else {
            throw RelayWorld.Problem.unexpected(drawn)
        }
        try await line.open(
            writer, creation: .fresh(ticket: tickets[0], permitHash: nil, permitUses: 0))
        try await line.open(
            reader,
            creation: .fresh(ticket: tickets[1], permitHash: reader.permit.hash, permitUses: 1))
        let made = try await line.ask(
            writer.request(
                .createGroup(
                    GroupCreation(
                        groupID: group, epoch: 1, commitHash: Random.bytes(32),
                        members: [reader.member(.owner)],
                        welcomes: [WelcomeDelivery(mailbox: reader.id, content: [1, 2, 3])],
                        deadline: Self.deadline))))
        guard made == .done else { throw RelayWorld.Problem.unexpected(made) }
        line.close()
    }

    private static var deadline: Day {
        Day(unixSeconds: UInt64(Date().timeIntervalSince1970)).adding(days: 60)
    }

    // MARK: - Writing

    /// Writes until `count` messages are accepted, or `mayRefuse` of them were refused; connects
    /// again and asks again for whatever wasn't answered, as a device does.
    func write(
        _ count: Int, window: Int = 64, untilRefused mayRefuse: Int = 0,
        told: @Sendable (_ accepted: Int) -> Void = { _ in }
    ) async throws {
        while !isDone(count, mayRefuse) {
            try Task.checkCancellation()
            do {
                var line = try await WireLine(to: relay.url, on: loop)
                try await line.open(writer)
                line.send(ClientFrame(requests: pending.map(\.request)))
                fill(line, window, count)
                while let frame = await line.next() {
                    let before = accepted.count
                    try take(frame.replies, mayRefuse)
                    if accepted.count > before { told(accepted.count - before) }
                    if isDone(count, mayRefuse) { break }
                    fill(line, window, count)
                }
                line.close()
            } catch is WireLine.Ended {
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    private func isDone(_ count: Int, _ mayRefuse: Int) -> Bool {
        accepted.count >= count || (mayRefuse > 0 && refused >= mayRefuse)
    }

    private func take(_ replies: [Reply], _ mayRefuse: Int) throws {
        for reply in replies {
            guard let index = pending.firstIndex(where: { $0.request.id == reply.id }) else {
                continue
            }
            let number = pending.remove(at: index).number
            switch reply.outcome {
            case .done: accepted.append(number)
            case .refused where mayRefuse > 0: refused += 1
            default: throw RelayWorld.Problem.unexpected(reply.outcome)
            }
        }
    }

    private func fill(_ line: WireLine, _ window: Int, _ count: Int) {
        var requests: [Request] = []
        while pending.count < window, accepted.count + pending.count < count {
            let oldest = pending.first?.request.id.rawValue ?? writer.lastRequest + 1
            let request = writer.request(
                .send(
                    MessageRequest(
                        groupID: group, epoch: 1,
                        content: privateMessage(group, epoch: 1, body: body(nextNumber)))),
                confirmed: oldest - 1)
            pending.append((request, nextNumber))
            requests.append(request)
            nextNumber += 1
        }
        if !requests.isEmpty { line.send(ClientFrame(requests: requests)) }
    }

    // MARK: - Reading

    /// Takes what comes and acknowledges it, until everything accepted is there; connects again
    /// whenever the connection ends.
    func read(untilAccepted count: Int? = nil) async throws {
        while received.count < count ?? .max {
            try Task.checkCancellation()
            do {
                var line = try await WireLine(to: relay.url, on: loop)
                line.send(ClientFrame(requests: [try line.opening(reader)]))
                while received.count < count ?? .max, let frame = await line.next() {
                    try take(frame.deliveries, line)
                }
                line.close()
            } catch is WireLine.Ended {
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    /// Opens the reader's mailbox on a connection from which nothing is read.
    func stall() async throws {
        var line = try await WireLine(to: relay.url, on: loop)
        try await line.open(reader)
        line.pauseReading()
        stalled = line
    }

    /// Reads what still comes over that connection, until it ends; how many messages.
    func readStalled() async -> Int {
        guard var line = stalled else { return 0 }
        stalled = nil
        line.resumeReading()
        var count = 0
        while let frame = await line.next() { count += frame.deliveries.count }
        return count
    }

    private func take(_ deliveries: [Delivery], _ line: WireLine) throws {
        guard !deliveries.isEmpty else { return }
        for delivery in deliveries where seen.insert(delivery.id).inserted {
            guard delivery.kind == .message else { continue }
            guard let number = number(in: delivery.content, of: group) else {
                throw StageError.unexpectedOutput("a message", output: "another content")
            }
            if contents.insert(number).inserted || !dropsRepeats { received.append(number) }
        }
        line.send(
            ClientFrame(acknowledgements: [
                Acknowledgement(mailbox: reader.id, deliveries: deliveries.map(\.id))
            ]))
    }

    // MARK: - Comparing

    /// What went wrong, in words.
    func faults() -> [String] {
        var faults: [String] = []
        let lost = Set(accepted).subtracting(received)
        if !lost.isEmpty { faults.append("\(lost.count) accepted messages were lost") }
        if Set(received).count != received.count { faults.append("messages came twice") }
        if received != received.sorted() { faults.append("messages came out of order") }
        return faults
    }

    private func body(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) } + filling
    }

    private func number(in content: [UInt8], of group: GroupID) -> UInt64? {
        let head = privateMessage(group, epoch: 1, body: body(0)).count - filling.count - 8
        guard content.count == head + 8 + filling.count else { return nil }
        let number = content[head..<head + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        return content == privateMessage(group, epoch: 1, body: body(number)) ? number : nil
    }
}
