import Cryptography
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

    @Test(arguments: [true, false])
    func `all mailboxes of a connection share what is on its way`(areOpen: Bool) throws {
        var limits = RelayLimits()
        limits.connectionByteCount = 4_096
        let world = try RelayWorld(limits: limits)
        let talks = try (0..<6).map { _ in try TestConsultation(world) }
        let line = try world.connect()
        for talk in talks { _ = try talk.doctor.line?.drain() }
        if areOpen { for talk in talks { try line.open(talk.doctor) } }
        for number in 0..<3 as Range<UInt8> {
            for talk in talks {
                let body = [UInt8](repeating: number, count: 1_000)
                #expect(try talk.send(body, from: talk.patient) == .done)
            }
        }
        if !areOpen { for talk in talks { try line.open(talk.doctor) } }
        #expect(line.deliveries.reduce(0) { $0 + $1.content.count } <= 4_096)
        #expect(!line.deliveries.isEmpty)
        // One mailbox's room is everybody's, also when it isn't acknowledged but opened elsewhere.
        let first = try #require(line.deliveries.first?.mailbox)
        let moved = try #require(talks.first { $0.doctor.id == first })
        let other = try world.connect()
        try other.open(moved.doctor)
        #expect(Set(line.deliveries.map(\.mailbox)).count > 1)
        line.deliveries.removeAll { $0.mailbox == first }
        let all = try line.drain() + other.drain()
        for talk in talks {
            let came = all.filter { $0.mailbox == talk.doctor.id }.compactMap(\.content.last)
            #expect(came == [0, 1, 2])
        }
    }

    @Test func `one message is always on its way, however large`() throws {
        var limits = RelayLimits()
        limits.connectionByteCount = 100
        let world = try RelayWorld(limits: limits)
        let talk = try TestConsultation(world)
        let line = try world.connect()
        try line.open(talk.doctor)
        for _ in 0..<3 {
            #expect(try talk.send(Random.bytes(1_000), from: talk.patient) == .done)
        }
        #expect(line.deliveries.count == 1)
        #expect(try line.drain().filter { $0.kind == .message }.count == 3)
    }

    @Test func `receipts come once on a connection without room`() throws {
        var limits = RelayLimits()
        limits.connectionByteCount = 2_000
        let world = try RelayWorld(limits: limits)
        // A mailbox whose permit had a use left outlives its group, and is in another one.
        let ended = try TestConsultation(world, permitUses: 2)
        let sender = try world.connect()
        let second = try sender.makeFresh(from: sender.makeHome(), permitUses: 0)
        _ = try second.makeGroup(
            of: [ended.doctor.member(.owner)],
            welcomes: [WelcomeDelivery(mailbox: ended.doctor.id, content: Random.bytes(500))],
            until: world.now.day.adding(days: 60))
        #expect(try ended.doctor.ask(ended.closing()) == .done)
        #expect(try ended.doctor.ask(.confirm(ended.group)) == .done)
        try ended.patient.ask(.confirm(ended.group))

        let busy = try TestConsultation(world)
        let line = try world.connect()
        try line.open(busy.doctor)
        _ = try line.drain()
        #expect(try busy.send(Random.bytes(1_900), from: busy.patient) == .done)
        try line.open(ended.doctor)
        try line.acknowledge(line.deliveries.filter { $0.mailbox == busy.doctor.id })
        let came = line.deliveries.filter { $0.mailbox == ended.doctor.id }.map(\.kind)
        #expect(came == [.receipt, .welcome])
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
        try talk.patient.ask(.sending([1], to: talk.group))
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

    @Test func `acknowledgements from before a reconnect count, but not without end`() throws {
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory)
        let talk = try TestConsultation(world)
        let first = try #require(talk.doctor.line)
        _ = try first.drain()
        for number in 0..<30 as Range<UInt8> {
            #expect(try talk.send([number], from: talk.patient) == .done)
        }
        let ids = first.deliveries.map(\.id)
        #expect(ids.count == 30)
        try world.hangUp(first)
        var limits = RelayLimits()
        limits.connectionRequestsPerSecond = 1
        limits.connectionRequestBurst = 20
        limits.windowMessages = 1
        world.engine.limits = limits
        let line = try world.connect()
        try line.open(talk.doctor)
        #expect(line.deliveries.map(\.id) == [ids[0]])
        line.deliveries = []
        try line.send(
            ClientFrame(acknowledgements: [
                Acknowledgement(mailbox: talk.doctor.id, deliveries: ids)
            ]))
        // The one on its way, and twenty of the others; the rest comes again.
        #expect(memory.messageCount == 9)
        #expect(try line.drain().map(\.id) == Array(ids[21...]))
    }
}
