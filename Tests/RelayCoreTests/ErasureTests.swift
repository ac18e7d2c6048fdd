import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

private let notAllowed = Outcome.refused(.notAllowed, retryAfterSeconds: 0)

struct ErasureTests {
    let memory = MemoryStore()
    let world: RelayWorld
    let talk: TestConsultation

    init() throws {
        world = try RelayWorld(memory: memory)
        talk = try TestConsultation(world)
    }

    private func receipt(_ bytes: [UInt8]) throws -> ErasureReceipt {
        let receipt = try ErasureReceipt(decoding: bytes)
        try receipt.verify(relayKey: world.relay.identity.publicKey)
        #expect(receipt.groupHash == ErasureReceipt.groupHash(of: talk.group))
        return receipt
    }

    @Test func `after closing nobody writes`() throws {
        #expect(try talk.patient.ask(talk.closing()) == .done)
        let closed = Outcome.refused(.groupClosed, retryAfterSeconds: 0)
        #expect(try talk.send([1], from: talk.patient) == closed)
        #expect(try talk.send([1], from: talk.doctor) == closed)
        #expect(try talk.doctor.ask(talk.commit(epoch: 1)) == closed)
        #expect(try talk.doctor.ask(talk.closing()) == closed)
        #expect(try #require(talk.doctor.line).drain().map(\.kind) == [.welcome, .closing])
        #expect(try #require(talk.patient.line).drain().map(\.kind) == [.closing])
    }

    @Test func `an erasure needs a closing and every owner`() throws {
        #expect(try talk.patient.ask(.confirm(talk.group)) == notAllowed)
        try talk.patient.ask(talk.closing())
        #expect(try talk.patient.ask(.confirm(talk.group)) == .done)
        #expect(try talk.patient.ask(.confirm(talk.group)) == .done)
        #expect(memory.groupCount == 1)
        #expect(try #require(talk.doctor.line).drain().count == 2)
        guard case .erased(let receipts) = try talk.doctor.ask(.confirm(talk.group)) else {
            Issue.record("not erased")
            return
        }
        let said = try receipt(try #require(receipts.first))
        #expect(said.reason == .confirmed)
        #expect(said.mailboxCount == 2)
        #expect(memory.groupCount == 0)
        #expect(memory.messageCount == 0)
        #expect(memory.mailboxCount == 2, "only the homes are left")
        #expect(world.lastBatch?.hasErased == true)
    }

    @Test func `who is connected gets the receipt, who comes late gets it too`() throws {
        try talk.patient.ask(talk.closing())
        try talk.patient.ask(.confirm(talk.group))
        let patientLine = try #require(talk.patient.line)
        patientLine.deliveries = []
        try talk.doctor.ask(.confirm(talk.group))
        #expect(patientLine.deliveries.map(\.kind) == [.receipt])
        _ = try receipt(try #require(patientLine.deliveries.first).content)

        let late = try world.connect()
        guard case .erased(let receipts) = try late.open(talk.doctor) else {
            Issue.record("no receipt for a late device")
            return
        }
        _ = try receipt(try #require(receipts.first))
        // Not for who only knows the mailbox's name.
        let thief = try world.connect()
        let signature = try thief.proof().sign(with: SigningKey(), counter: 99_999, creation: nil)
        let request = Request(
            mailbox: talk.doctor.id, id: .opening,
            operation: .open(Opening(counter: 99_999, signature: signature)))
        #expect(try thief.ask(request) == notAllowed)
        world.advance(days: 401)
        try world.sweep()
        let tooLate = try world.connect()
        #expect(try tooLate.open(talk.doctor) == notAllowed)
    }

    @Test func `of very many receipts the newest are told`() throws {
        let mailbox = talk.doctor.id
        memory.begin()
        var contents: [[UInt8]] = []
        for number in 0..<300 {
            contents.append([UInt8(number / 256), UInt8(number % 256)])
            _ = try memory.addReceipt(
                contents[number], for: mailbox, until: world.now.day.adding(days: 9))
        }
        memory.commit()
        guard case .opened(let opened) = try world.connect().open(talk.doctor) else {
            Issue.record("not opened")
            return
        }
        let line = try #require(talk.doctor.line)
        #expect(opened.waiting == 1 + 256)
        let first = line.deliveries.filter { $0.kind == .receipt }.map(\.content)
        #expect(first == Array(contents.suffix(256)))
        // The others come when these are acknowledged.
        _ = try line.drain()
        let again = try world.connect()
        try again.open(talk.doctor)
        #expect(again.deliveries.map(\.content) == Array(contents.prefix(44)))
    }

    @Test func `an owner that confirmed gets nothing more but the receipt`() throws {
        try talk.doctor.ask(talk.closing())
        let line = try #require(talk.patient.line)
        #expect(line.deliveries.map(\.kind) == [.closing])
        try talk.patient.ask(.confirm(talk.group))
        try world.restart()
        let again = try world.connect()
        guard case .opened(let opened) = try again.open(talk.patient) else {
            Issue.record("not opened")
            return
        }
        #expect(opened.waiting == 0)
        #expect(again.deliveries.isEmpty)
    }

    @Test func `a deadline erases with nobody there`() throws {
        try talk.send([1], from: talk.patient)
        world.advance(days: 59)
        try world.sweep()
        #expect(memory.groupCount == 1)
        world.advance(days: 1)
        try world.sweep()
        #expect(memory.groupCount == 0)
        try world.restart()
        let late = try world.connect()
        guard case .erased(let receipts) = try late.open(talk.doctor) else {
            Issue.record("no receipt")
            return
        }
        let said = try receipt(try #require(receipts.first))
        #expect(said.reason == .deadline)
        #expect(said.messageCount == 2)
    }

    @Test func `closing brings the deadline to thirty days`() throws {
        try talk.patient.ask(talk.closing())
        try talk.patient.ask(.confirm(talk.group))
        world.advance(days: 29)
        try world.sweep()
        #expect(memory.groupCount == 1)
        world.advance(days: 1)
        try world.sweep()
        #expect(memory.groupCount == 0)
    }

    @Test func `a clock that jumps ahead erases nothing`() throws {
        world.now.unixSeconds += 100 * 86_400
        try world.sweep()
        #expect(memory.groupCount == 1)
        #expect(world.engine.clockDoubt == .jumpedAhead)
    }

    @Test func `after a long absence the operator confirms the clock first`() throws {
        world.advance(days: 100)
        let hour = world.now.hour - 48
        try world.restart(clock: ClockGuard(at: world.now, lastHour: hour, isConfirmed: false))
        try world.sweep()
        #expect(memory.groupCount == 1)
        #expect(world.engine.clockDoubt == .longAbsence)
        try world.restart(clock: ClockGuard(at: world.now, lastHour: hour, isConfirmed: true))
        try world.sweep()
        #expect(memory.groupCount == 0)
    }

    @Test func `the mailbox of a last-resort package outlives its consultations`() throws {
        let world = try RelayWorld()
        let line = try world.connect()
        let home = try line.makeHome()
        let shared = try line.makeFresh(from: home, permitUses: 3)
        let patient = try line.makeFresh(from: home, permitUses: 0)
        _ = try patient.makeGroup(
            of: [shared.member(.owner)], until: world.now.day.adding(days: 2))
        world.advance(days: 2)
        try world.sweep()
        let receipts = line.deliveries.filter { $0.kind == .receipt }
        #expect(Set(receipts.map(\.mailbox)) == [shared.id, patient.id])
        guard case .opened(let opened) = try line.open(shared) else {
            Issue.record("the shared mailbox is gone")
            return
        }
        #expect(opened.waiting == 1)
        line.deliveries.removeAll { $0.mailbox != shared.id }
        _ = try line.drain()
        guard case .opened(let after) = try line.open(shared) else {
            Issue.record("not opened")
            return
        }
        #expect(after.waiting == 0)
    }

    @Test func `a removed guest doesn't hold an erasure up`() throws {
        let line = try world.connect()
        let guest = try talk.addGuest(of: line.makeHome())
        try talk.patient.ask(talk.commit(epoch: 2, removes: [guest.id]))
        try talk.end(epoch: 3)
        #expect(memory.messageCount == 0)
    }
}
