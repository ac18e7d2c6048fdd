import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

@Suite struct ConnectionLimitTests {
    @Test func `all mailboxes of a connection share its requests`() throws {
        var limits = RelayLimits()
        limits.connectionRequestsPerSecond = 1
        limits.connectionRequestBurst = 3
        let world = try RelayWorld(limits: limits)
        let line = try world.connect()
        let homes = try (0..<4).map { _ in try line.makeHome() }
        for home in homes.prefix(3) {
            guard case .tickets = try line.ask(home.request(.drawTickets(count: 1))) else {
                Issue.record("refused within the limit")
                return
            }
        }
        let last = homes[3].request(.drawTickets(count: 1))
        #expect(try line.ask(last) == .refused(.rate, retryAfterSeconds: 1))
        let other = try world.connect()
        guard case .tickets = try other.ask(other.makeHome().request(.drawTickets(count: 1)))
        else {
            Issue.record("another connection is refused")
            return
        }
        world.advance(seconds: 1)
        guard case .tickets = try line.ask(last) else {
            Issue.record("refused after the wait that was asked for")
            return
        }
    }

    @Test func `a changed limit is in force for connections that are there`() throws {
        let world = try RelayWorld()
        let line = try world.connect()
        let home = try line.makeHome()
        var limits = RelayLimits()
        limits.published.ticketsPerDay = 1
        world.engine.limits = limits
        #expect(
            try line.ask(home.request(.drawTickets(count: 2)))
                == .refused(.limit, retryAfterSeconds: 0))
    }

    @Test func `a batch repeats no more than a MiB of answers on a connection`() throws {
        let world = try RelayWorld()
        let line = try world.connect()
        let home = try line.makeHome()
        let request = home.request(.drawTickets(count: 64))
        let answer = try line.ask(request)
        line.replies = []
        try line.send(ClientFrame(requests: [Request](repeating: request, count: 3_000)))
        let repeats = line.replies.count { $0.outcome == answer }
        #expect(line.replies.count == 3_000)
        #expect((1...(1 << 20) / answer.encoded().count + 1).contains(repeats))
        #expect(
            line.replies.count { $0.outcome == .refused(.rate, retryAfterSeconds: 1) }
                == 3_000 - repeats)
        world.advance(seconds: 1)
        #expect(try line.ask(request) == answer)
    }

    @Test func `acknowledging what isn't on its way is bounded`() throws {
        var limits = RelayLimits()
        limits.connectionRequestsPerSecond = 1
        limits.connectionRequestBurst = 20
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory, limits: limits)
        let talk = try TestConsultation(world)
        let doctor = try #require(talk.doctor.line)
        _ = try doctor.drain()
        try talk.patient.ask(
            .send(
                MessageRequest(
                    groupID: talk.group, epoch: 1,
                    content: privateMessage(talk.group, epoch: 1, body: [1]))))
        let came = try #require(doctor.deliveries.first)
        #expect(memory.messageCount == 1)
        let unknown = DeliveryID(high: 1, low: 2)
        try doctor.send(
            ClientFrame(acknowledgements: [
                Acknowledgement(
                    mailbox: came.mailbox,
                    deliveries: [DeliveryID](repeating: unknown, count: 1_000) + [came.id])
            ]))
        // What is on its way is taken all the same, and only that.
        #expect(memory.messageCount == 0)
    }
}
