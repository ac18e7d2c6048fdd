import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

/// Messages that are accepted because their recipients have them, one case at a time; many at random
/// are in `HeldModelTests`.
struct HeldTests {
    let memory = MemoryStore()
    let world: RelayWorld
    let talk: TestConsultation

    init() throws {
        var limits = RelayLimits()
        limits.holdMilliseconds = 15
        limits.mailboxMessages = 50
        world = try RelayWorld(memory: memory, limits: limits)
        talk = try TestConsultation(world)
        _ = try #require(talk.patient.line).drain()
        _ = try #require(talk.doctor.line).drain()
    }

    private func line(_ mailbox: TestMailbox) throws -> RelayLine { try #require(mailbox.line) }

    /// Sends without waiting for the answer.
    @discardableResult private func post(
        _ body: [UInt8], from mailbox: TestMailbox, epoch: UInt64 = 1
    ) throws -> Request {
        let line = try line(mailbox)
        line.replies = []
        let request = mailbox.request(
            .sending(body, to: talk.group, epoch: epoch),
            confirmed: mailbox.lastRequest)
        try line.send(ClientFrame(requests: [request]))
        return request
    }

    private func outcomes(_ mailbox: TestMailbox) throws -> [Outcome] {
        try line(mailbox).replies.map(\.outcome)
    }

    @Test(arguments: [false, true])
    func `a message whose recipient acknowledges in time is never stored`(short: Bool) throws {
        // The first look at what waits for the doctor needs the store.
        try post([1], from: talk.patient)
        _ = try line(talk.doctor).drain()
        world.takesShortWay = short
        let writes = memory.writeCount
        for number in 0..<20 {
            try post([2, UInt8(number)], from: talk.patient)
            #expect(try outcomes(talk.patient).isEmpty)
            let came = try line(talk.doctor).deliveries
            #expect(came.count == 1)
            #expect(memory.messageCount == 0)
            _ = try line(talk.doctor).drain()
            #expect(try outcomes(talk.patient) == [.done])
            #expect(memory.messageCount == 0)
        }
        #expect(memory.writeCount == writes)
        #expect(world.engine.counters.acceptedDelivered == 21)
        #expect(world.engine.heldMessages == (0, 0))
    }

    @Test func `nothing is answered before the last recipient has it`() throws {
        let guestLine = try world.connect()
        let guest = try talk.addGuest(of: guestLine.makeHome())
        for mailbox in [talk.patient, talk.doctor, guest] { _ = try line(mailbox).drain() }
        try post([1], from: talk.patient, epoch: 2)
        _ = try line(guest).drain()
        #expect(try outcomes(talk.patient).isEmpty)
        // Another's acknowledgement, and the same one again, count for nothing.
        try line(guest).acknowledge(try line(talk.doctor).deliveries)
        #expect(try outcomes(talk.patient).isEmpty)
        _ = try line(talk.doctor).drain()
        #expect(try outcomes(talk.patient) == [.done])
        #expect(memory.messageCount == 0)
    }

    @Test func `what isn't acknowledged in time is stored, and only for those who lack it`() throws
    {
        let guestLine = try world.connect()
        let guest = try talk.addGuest(of: guestLine.makeHome())
        for mailbox in [talk.patient, talk.doctor, guest] { _ = try line(mailbox).drain() }
        try post([1], from: talk.patient, epoch: 2)
        _ = try line(guest).drain()
        let late = try line(talk.doctor).deliveries
        world.advance(milliseconds: 14)
        try world.batch { _ in }
        #expect(memory.messageCount == 0)
        #expect(try outcomes(talk.patient).isEmpty)
        world.advance(milliseconds: 1)
        try world.batch { _ in }
        #expect(memory.messageCount == 1)
        #expect(try outcomes(talk.patient) == [.done])
        try world.restart()
        for (mailbox, expected) in [(talk.doctor, late), (guest, [])] {
            let again = try world.connect()
            try again.open(mailbox)
            #expect(again.deliveries == expected)
            _ = try again.drain()
        }
        #expect(memory.messageCount == 0)
    }

    @Test func `a recipient that is late delays the sender once, until it is fast again`() throws {
        var waits = 0
        func exchange(_ number: Int, delay: UInt64) throws {
            try post([UInt8(number)], from: talk.patient)
            if try outcomes(talk.patient).isEmpty, delay >= world.limits.holdMilliseconds {
                waits += 1
                try world.passHoldingTime()
            }
            world.advance(milliseconds: delay)
            _ = try line(talk.doctor).drain()
            #expect(try outcomes(talk.patient) == [.done])
        }
        for number in 0..<40 { try exchange(number, delay: 200) }
        #expect(waits == 1)
        // Acknowledgements of stored messages show that it is fast now.
        for number in 40..<42 { try exchange(number, delay: 14) }
        #expect(world.engine.counters.acceptedDelivered == 1)
        try exchange(42, delay: 15)
        #expect(waits == 2)
        // Even one that is fast in between isn't waited for again within a second.
        for number in 43..<50 { try exchange(number, delay: 14) }
        #expect(world.engine.counters.acceptedDelivered == 1)
        world.advance(milliseconds: 900)
        try exchange(50, delay: 14)
        #expect(world.engine.counters.acceptedDelivered == 2)
    }

    @Test func `one that is fast and late by turns is waited for ever less often`() throws {
        var waits = 0
        /// Late whenever it is waited for, or never.
        func exchange(_ number: Int, inTime: Bool) throws {
            try post([UInt8(number % 256)], from: talk.patient)
            if try outcomes(talk.patient).isEmpty, !inTime {
                waits += 1
                try world.passHoldingTime()
            }
            _ = try line(talk.doctor).drain()
            #expect(try outcomes(talk.patient) == [.done])
            world.advance(milliseconds: 100)
        }
        // Pauses of 1, 2, 4, 8, 16, 32 and 60 seconds.
        for number in 0..<1_240 { try exchange(number, inTime: false) }
        #expect(waits == 8)
        let delivered = world.engine.counters.acceptedDelivered
        // In time for longer than the last pause took.
        for number in 0..<1_300 { try exchange(number, inTime: true) }
        #expect(world.engine.counters.acceptedDelivered > delivered + 600)
        for number in 0..<15 { try exchange(number, inTime: false) }
        #expect(waits == 10)
    }

    @Test func `a recipient that was never late is stored for once its way gets long`() throws {
        // Something stored waits for the doctor, whose acknowledgement takes 15 milliseconds.
        let proposal = privateMessage(talk.group, epoch: 1, contentType: 2, body: [8])
        try talk.patient.ask(
            .send(MessageRequest(groupID: talk.group, epoch: 1, content: proposal)))
        world.advance(milliseconds: 15)
        _ = try line(talk.doctor).drain()
        try post([1], from: talk.patient)
        #expect(try outcomes(talk.patient) == [.done])
        #expect(memory.messageCount == 1)
        world.advance(milliseconds: 14)
        _ = try line(talk.doctor).drain()
        try post([2], from: talk.patient)
        #expect(try outcomes(talk.patient).isEmpty)
        #expect(memory.messageCount == 0)
    }

    @Test func `a recipient that goes away has it stored`() throws {
        try post([1], from: talk.patient)
        let came = try line(talk.doctor).deliveries
        try world.hangUp(try line(talk.doctor))
        #expect(try outcomes(talk.patient) == [.done])
        #expect(memory.messageCount == 1)
        let again = try world.connect()
        try again.open(talk.doctor)
        #expect(again.deliveries == came)
    }

    @Test func `a recipient whose mailbox is opened elsewhere gets it there`() throws {
        try post([1], from: talk.patient)
        let came = try line(talk.doctor).deliveries
        let elsewhere = try world.connect()
        guard case .opened(let opened) = try elsewhere.open(talk.doctor) else {
            Issue.record("not opened")
            return
        }
        #expect(opened.waiting == 1)
        #expect(try outcomes(talk.patient) == [.done])
        #expect(elsewhere.deliveries == came)
    }

    @Test(arguments: 0..<4)
    func `what is stored behind held messages is stored after them`(kind: Int) throws {
        for number in 0..<3 { try post([UInt8(number)], from: talk.patient) }
        #expect(memory.messageCount == 0)
        switch kind {
        case 0: try talk.doctor.ask(talk.commit(epoch: 1))
        case 1: try talk.doctor.ask(talk.closing())
        case 2:
            // A proposal is no application message.
            let proposal = privateMessage(talk.group, epoch: 1, contentType: 2, body: [8])
            try talk.doctor.ask(
                .send(MessageRequest(groupID: talk.group, epoch: 1, content: proposal)))
        default:
            // From the other side, to someone who isn't there.
            try world.hangUp(try line(talk.patient))
            try talk.send([9], from: talk.doctor)
        }
        #expect(memory.messageCount == 4)
        let bodies = memory.messageContents.map(\.last)
        #expect(Array(bodies.prefix(3)) == [0, 1, 2])
        #expect(world.engine.heldMessages == (0, 0))
        let came = try line(talk.doctor).drain()
        #expect(came.prefix(3).map(\.content.last) == [0, 1, 2])
    }

    @Test func `a repeated request is taken once, while it waits and afterwards`() throws {
        let request = try post([1], from: talk.patient)
        try line(talk.patient).send(ClientFrame(requests: [request]))
        #expect(try outcomes(talk.patient) == [.done, .done])
        #expect(try line(talk.doctor).drain().count == 1)
        #expect(try line(talk.patient).ask(request) == .done)
        #expect(try line(talk.doctor).drain().isEmpty)
    }

    @Test func `a sender that goes away finds its answer again`() throws {
        let request = try post([1], from: talk.patient)
        try world.hangUp(try line(talk.patient))
        _ = try line(talk.doctor).drain()
        try world.restart()
        let again = try world.connect()
        guard case .opened(let opened) = try again.open(talk.patient) else {
            Issue.record("not opened")
            return
        }
        #expect(opened.lastRequest == request.id)
        #expect(try again.ask(request) == .done)
        #expect(memory.messageCount == 0)
    }

    @Test func `after a crash the repeated request gets the same answer`() throws {
        let request = try post([1], from: talk.patient)
        let first = try line(talk.doctor).drain()
        #expect(try outcomes(talk.patient) == [.done])
        try world.restart()
        let patient = try world.connect()
        try patient.open(talk.patient)
        let doctor = try world.connect()
        try doctor.open(talk.doctor)
        try patient.send(ClientFrame(requests: [request]))
        // The doctor's device knows the octets again; the name is new.
        let second = try doctor.drain()
        #expect(second.map(\.content) == first.map(\.content))
        #expect(second.map(\.id) != first.map(\.id))
        #expect(patient.replies.last?.outcome == .done)
    }

    @Test(arguments: [false, true])
    func `an answer outlives a crash when what came next could change it`(closes: Bool) throws {
        let request = try post([1], from: talk.patient)
        _ = try line(talk.doctor).drain()
        #expect(try outcomes(talk.patient) == [.done])
        try talk.doctor.ask(closes ? talk.closing() : talk.commit(epoch: 1))
        try world.restart()
        let again = try world.connect()
        try again.open(talk.patient)
        #expect(try again.ask(request) == .done)
    }

    @Test func `answers are stored soon even if nothing else is`() throws {
        let request = try post([1], from: talk.patient)
        _ = try line(talk.doctor).drain()
        world.advance(seconds: 1)
        try world.batch { _ in }
        try world.restart()
        let again = try world.connect()
        guard case .opened(let opened) = try again.open(talk.patient) else {
            Issue.record("not opened")
            return
        }
        #expect(opened.lastRequest == request.id)
    }

    @Test func `a full disk loses nothing that was promised`() throws {
        let request = try post([1], from: talk.patient)
        memory.failure = .full
        world.advance(milliseconds: 15)
        #expect(throws: StoreError.full) { try world.batch { _ in } }
        #expect(try outcomes(talk.patient).isEmpty)
        try world.restart()
        let again = try world.connect()
        try again.open(talk.patient)
        #expect(try again.ask(request) == .done)
        #expect(memory.messageCount == 1)
    }

    @Test func `a stopping relay stores what waits and answers`() throws {
        try post([1], from: talk.patient)
        try world.batch { try $0.sayGoodbye() }
        #expect(try outcomes(talk.patient) == [.done])
        #expect(memory.messageCount == 1)
    }

    @Test func `a guest whose time is over is waited for no longer`() throws {
        let guestLine = try world.connect()
        let guest = try talk.addGuest(of: guestLine.makeHome(), expires: world.now.day)
        for mailbox in [talk.patient, talk.doctor, guest] { _ = try line(mailbox).drain() }
        try post([1], from: talk.patient, epoch: 2)
        _ = try line(talk.doctor).drain()
        #expect(try outcomes(talk.patient).isEmpty)
        world.advance(days: 1)
        try world.sweep()
        #expect(try outcomes(talk.patient) == [.done])
        #expect(memory.messageCount == 0)
        try guestLine.acknowledge(guestLine.deliveries)
        #expect(memory.messageCount == 0)
    }

    @Test func `a group erased while a message waits takes it along`() throws {
        try post([1], from: talk.patient)
        let late = try line(talk.doctor).deliveries
        // The sweep comes before the message's own time is looked at.
        world.advance(days: 60)
        try world.batch { engine in
            var cursor = try engine.sweepGroups(from: nil)
            while cursor != nil { cursor = try engine.sweepGroups(from: cursor) }
        }
        #expect(try outcomes(talk.patient) == [.refused(.notAllowed, retryAfterSeconds: 0)])
        #expect(memory.messageCount == 0)
        #expect(world.engine.heldMessages == (0, 0))
        let doctorLine = try line(talk.doctor)
        doctorLine.deliveries = []
        try doctorLine.acknowledge(late)
        let again = try world.connect()
        guard case .erased = try again.open(talk.doctor) else {
            Issue.record("not erased")
            return
        }
        #expect(again.deliveries.isEmpty)
        #expect(memory.messageContents.isEmpty)
    }

    @Test func `a message that waits in memory is a request of its connection like others`() throws
    {
        var limits = RelayLimits()
        limits.holdMilliseconds = 15
        limits.connectionRequestsPerSecond = 1
        limits.connectionRequestBurst = 20
        let world = try RelayWorld(limits: limits)
        let talk = try TestConsultation(world)
        _ = try #require(talk.doctor.line).drain()
        let patient = try #require(talk.patient.line)
        world.takesShortWay = true
        patient.replies = []
        for number in 0..<40 as Range<UInt8> {
            let content = privateMessage(talk.group, epoch: 1, body: [number])
            try patient.send(
                ClientFrame(requests: [
                    talk.patient.request(
                        .send(MessageRequest(groupID: talk.group, epoch: 1, content: content)))
                ]))
            _ = try #require(talk.doctor.line).drain()
        }
        let outcomes = patient.replies.map(\.outcome)
        #expect(outcomes.count == 40)
        #expect(outcomes.count { $0 == .done } <= 20)
        #expect(outcomes.allSatisfy { $0 == .done || $0 == .refused(.rate, retryAfterSeconds: 1) })
        #expect(world.engine.counters.acceptedDelivered > 5)
    }

    @Test func `waiting messages never take more memory than allowed`() throws {
        var limits = RelayLimits()
        limits.holdMilliseconds = 15
        limits.holdByteCount = 5_000
        let world = try RelayWorld(limits: limits)
        let talk = try TestConsultation(world)
        _ = try #require(talk.doctor.line).drain()
        let sender = try #require(talk.patient.line)
        for _ in 0..<40 {
            let content = privateMessage(talk.group, epoch: 1, body: Random.bytes(900))
            try sender.send(
                ClientFrame(requests: [
                    talk.patient.request(
                        .send(MessageRequest(groupID: talk.group, epoch: 1, content: content)))
                ]))
            #expect(world.engine.heldMessages.byteCount <= 5_000)
        }
    }

    @Test func `with holding switched off everything is stored at once`() throws {
        let memory = MemoryStore()
        var limits = RelayLimits()
        limits.holdMilliseconds = 0
        let world = try RelayWorld(memory: memory, limits: limits)
        let talk = try TestConsultation(world)
        _ = try #require(talk.doctor.line).drain()
        world.takesShortWay = true
        #expect(try talk.send([1], from: talk.patient) == .done)
        #expect(memory.messageCount == 1)
        #expect(world.engine.counters.acceptedDelivered == 0)
    }

    @Test func `the short way leaves an acknowledgement that comes twice to the store`() throws {
        try post([1], from: talk.patient)
        _ = try line(talk.doctor).drain()
        try post([2], from: talk.patient)
        let doctor = try line(talk.doctor)
        let came = try #require(doctor.deliveries.first)
        let once = Acknowledgement(mailbox: came.mailbox, deliveries: [came.id])
        for twice in [
            [once, once], [Acknowledgement(mailbox: came.mailbox, deliveries: [came.id, came.id])],
        ] {
            let frame = ClientFrame(acknowledgements: twice)
            world.engine.beginFromMemory(at: world.now)
            #expect(try world.engine.receivedFromMemory(frame, from: doctor.id) == frame)
            #expect(world.engine.finishFromMemory().connections.isEmpty)
        }
        world.engine.beginFromMemory(at: world.now)
        let frame = ClientFrame(acknowledgements: [once])
        #expect(try world.engine.receivedFromMemory(frame, from: doctor.id) == nil)
        _ = world.engine.finishFromMemory()
    }
}
