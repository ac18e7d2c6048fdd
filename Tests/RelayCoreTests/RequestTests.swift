import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

struct RequestTests {
    @Test func `the same send again is taken once, also after a crash`() throws {
        let world = try RelayWorld()
        let talk = try TestConsultation(world)
        let message = RelayProtocol.Operation.sending([5], to: talk.group)
        let request = talk.patient.request(message)
        let line = try #require(talk.patient.line)
        #expect(try line.ask(request) == .done)
        #expect(try line.ask(request) == .done)
        try world.restart()
        let again = try world.connect()
        guard case .opened(let opened) = try again.open(talk.patient) else {
            Issue.record("not opened")
            return
        }
        #expect(opened.lastRequest == request.id)
        #expect(try again.ask(request) == .done)
        let doctor = try world.connect()
        try doctor.open(talk.doctor)
        #expect(try doctor.drain().map(\.kind) == [.welcome, .message])
    }

    @Test func `confirmed answers are forgotten, here and in the store`() throws {
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory)
        let line = try world.connect()
        let home = try line.makeHome()
        let first = home.request(.drawTickets(count: 1))
        let outcome = try line.ask(first)
        #expect(try line.ask(first) == outcome)
        #expect(memory.answerCount == 1)
        try line.ask(home.request(.drawTickets(count: 1), confirmed: 1))
        #expect(memory.answerCount == 1)
        #expect(try line.ask(first) == .refused(.forgotten, retryAfterSeconds: 0))
    }

    @Test func `ids outside the window are refused, whatever they are`() throws {
        let world = try RelayWorld()
        let line = try world.connect()
        let home = try line.makeHome()
        func ask(_ id: UInt64, confirmed: UInt64) throws -> Outcome {
            try line.ask(
                Request(
                    mailbox: home.id, id: RequestID(rawValue: id),
                    confirmed: RequestID(rawValue: confirmed),
                    operation: .drawTickets(count: 1)))
        }
        let malformed = Outcome.refused(.malformed, retryAfterSeconds: 0)
        #expect(try ask(0, confirmed: 0) == malformed)
        #expect(try ask(5, confirmed: 5) == malformed)
        #expect(try ask(5, confirmed: .max) == malformed)
        #expect(try ask(257, confirmed: 0) == .refused(.limit, retryAfterSeconds: 0))
        #expect(try ask(.max, confirmed: 0) == malformed)
        #expect(try ask(.max, confirmed: .max - 1) == malformed)
        let last = RequestID.last.rawValue
        #expect(try ask(last, confirmed: 0) == .refused(.limit, retryAfterSeconds: 0))
        guard case .tickets = try ask(256, confirmed: 0),
            case .tickets = try ask(last, confirmed: last - 1)
        else {
            Issue.record("ids at the edge were refused")
            return
        }
        #expect(try ask(1, confirmed: 0) == .refused(.forgotten, retryAfterSeconds: 0))
    }

    @Test func `a refusal for the time being holds later requests back`() throws {
        var limits = RelayLimits()
        limits.requestsPerSecond = 1
        limits.requestBurst = 3
        let world = try RelayWorld(limits: limits)
        let talk = try TestConsultation(world)
        let line = try #require(talk.doctor.line)
        _ = try line.drain()
        let patient = try #require(talk.patient.line)
        let requests = (0..<5).map { number in
            talk.patient.request(.sending([UInt8(number)], to: talk.group))
        }
        patient.replies = []
        try patient.send(ClientFrame(requests: requests))
        let refused = Outcome.refused(.rate, retryAfterSeconds: 1)
        // What is taken waits for the recipient; what is refused doesn't.
        try world.passHoldingTime()
        let replies = patient.replies.sorted { $0.id < $1.id }
        #expect(replies.map(\.outcome) == [.done, .done, refused, refused, refused])
        world.advance(seconds: 60)
        // The later one doesn't overtake the one that was refused first.
        #expect(try patient.ask(requests[3]) == refused)
        #expect(try patient.ask(requests[2]) == .done)
        #expect(try patient.ask(requests[3]) == .done)
        world.advance(seconds: 60)
        #expect(try patient.ask(requests[4]) == .done)
        #expect(try line.drain().map { $0.content.last } == [0, 1, 2, 3, 4])
    }

    @Test func `asking again and again for a long answer is bounded like any request`() throws {
        var limits = RelayLimits()
        limits.requestsPerSecond = 1
        limits.requestBurst = 10
        let world = try RelayWorld(limits: limits)
        let line = try world.connect()
        let home = try line.makeHome()
        let request = home.request(.drawTickets(count: 64))
        let answer = try line.ask(request)
        line.replies = []
        try line.send(ClientFrame(requests: [Request](repeating: request, count: 100)))
        #expect(line.replies.count { $0.outcome == answer } == 9)
        #expect(
            line.replies.count { $0.outcome == .refused(.rate, retryAfterSeconds: 1) } == 91)
        world.advance(seconds: 2)
        #expect(try line.ask(request) == answer)
    }

    @Test func `guessing and reopening are bounded for a connection`() throws {
        var limits = RelayLimits()
        limits.openingBurst = 20
        limits.openingsPerSecond = 1
        let world = try RelayWorld(limits: limits)
        let line = try world.connect()
        let home = try line.makeHome()
        var last = Outcome.done
        for _ in 0..<20 { last = try line.open(home) }
        #expect(last == .refused(.rate, retryAfterSeconds: 1))
        let closed = try TestMailbox()
        closed.line = line
        #expect(
            try closed.ask(.drawTickets(count: 1)) == .refused(.rate, retryAfterSeconds: 1))
        world.advance(seconds: 5)
        guard case .opened = try line.open(home) else {
            Issue.record("not opened after the wait")
            return
        }
    }

    @Test func `giving up a refused request frees the next one`() throws {
        var limits = RelayLimits()
        limits.requestsPerSecond = 1
        limits.requestBurst = 1
        let world = try RelayWorld(limits: limits)
        let line = try world.connect()
        let home = try line.makeHome()
        _ = try line.ask(home.request(.drawTickets(count: 1)))
        #expect(
            try line.ask(home.request(.drawTickets(count: 1)))
                == .refused(.rate, retryAfterSeconds: 1))
        world.advance(seconds: 5)
        #expect(
            try line.ask(home.request(.drawTickets(count: 1)))
                == .refused(.rate, retryAfterSeconds: 1))
        world.advance(seconds: 5)
        guard case .tickets = try line.ask(home.request(.drawTickets(count: 1), confirmed: 3))
        else {
            Issue.record("still held back")
            return
        }
    }

    @Test func `a batch that fails leaves nothing behind, and no answer`() throws {
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory)
        let talk = try TestConsultation(world)
        let line = try #require(talk.patient.line)
        let request = talk.patient.request(talk.commit(epoch: 1))
        memory.failure = .full
        line.replies = []
        #expect(throws: StoreError.full) { try line.ask(request) }
        #expect(line.replies.isEmpty)
        try world.restart()
        let again = try world.connect()
        try again.open(talk.patient)
        #expect(try again.ask(request).isCommitted(epoch: 2))
    }

    @Test func `a full disk refuses what grows and lets erasure go on`() throws {
        let world = try RelayWorld()
        let talk = try TestConsultation(world)
        world.engine.refusesGrowth = true
        let storage = Outcome.refused(.storage, retryAfterSeconds: 60)
        #expect(try talk.send([1], from: talk.patient) == storage)
        talk.patient.lastRequest -= 1
        try talk.end()
    }
}
