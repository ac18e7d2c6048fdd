import FoundationEssentials
import RelayProtocol
import RelayTestSupport
import Testing
import Vault

@testable import Consultations

/// Clocks that are wrong: nothing is lost by them, and the person is told what to do
/// (`protocol/payloads.md`, "Reopening"; `protocol/erasure.md`, "Special ends").
struct ClockTests {
    private static let day: UInt64 = 86_400

    @Test(arguments: [true, false])
    func `an attempt from days ahead is turned away, both are told, and the next one holds`(
        _ byPatient: Bool
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let (ahead, other) = byPatient ? (patient, doctor) : (doctor, patient)
        try ahead.say("eins")
        try other.say("zwei")
        try world.settle()
        let number = try ahead.only().number
        let theirs = world.now + 2 * Self.day * 1_000
        try ahead.perform { turn in
            try turn.reopen(number, because: .byHand)
            try turn.modify(number) { consultation, _ in
                consultation.record.reopening.beganAt = theirs
            }
        }
        try ahead.say("drei")
        try world.settle()
        #expect(ahead.stateWords == ["locked"])
        #expect(try ahead.only().record.standing.lock == .clock)
        #expect(other.stateWords == ["open"])
        func clocks(_ device: TestDevice) throws -> [(theirs: Date, ours: Date)] {
            try device.messages().compactMap { message in
                guard case .notice(.clock(let theirs)) = message.body else { return nil }
                return (theirs, message.sentAt)
            }
        }
        let seen = try #require(try clocks(other).first)
        #expect(seen.theirs.timeIntervalSince(seen.ours) > 86_400)
        #expect(try clocks(ahead).count == 1)
        // What the other had is known to be there still.
        #expect(try ahead.messages().first { $0.body == .text("eins") }?.state == .delivered)
        // The clock is set right: by hand it goes on, though the first attempt was from later.
        try ahead.reopen()
        try world.settle()
        for _ in 0..<2 { try world.pass(seconds: 61) }
        for device in [patient, doctor] {
            #expect(device.stateWords == ["open"])
            #expect(try device.texts().sorted() == ["drei", "eins", "zwei"])
            #expect(try device.gaps().isEmpty)
            #expect(try device.receipts().isEmpty)
        }
        #expect(world.relay.store.groupCount == 1)
    }

    @Test func `words about the clock count only in a group that says nothing else yet`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let number = try patient.only().number
        try patient.perform { turn in
            try turn.modify(number) { _ = try $1.enqueue(.clock, in: &$0) }
        }
        try world.settle()
        #expect(try doctor.only().record.standing.lock == .none)
        #expect(try doctor.messages().last?.body == .needsNewerVersion)
    }

    /// A patient whose consultation is being reopened and gets no KeyPackage.
    private func stuck(_ world: World) async throws -> (patient: TestDevice, doctor: TestDevice) {
        let (patient, doctor) = try await world.open()
        try patient.say("eins")
        try world.settle()
        world.disconnect(doctor)
        world.alter(answersTo: patient) { outcome in
            guard case .keyPackage = outcome else { return outcome }
            return .refused(.shelfEmpty, retryAfterSeconds: 0)
        }
        try patient.reopen()
        try world.settle()
        #expect(try patient.only().record.phase == .reopening)
        return (patient, doctor)
    }

    @Test func `a clock past the last day locks what is being reopened and erases nothing`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await stuck(world)
        let before = world.now
        for _ in 0..<2 { try world.pass(seconds: 16 * Self.day) }
        #expect(patient.stateWords == ["locked"])
        #expect(try patient.only().record.standing.lock == .deadline)
        #expect(try patient.texts() == ["eins"])
        world.tamper = nil
        world.now = before
        for device in [patient, doctor] { try world.connect(device) }
        try patient.reopen()
        try patient.say("zwei")
        try world.settle()
        for _ in 0..<2 { try world.pass(seconds: 61) }
        #expect(patient.stateWords == ["open"])
        #expect(try doctor.texts() == ["eins", "zwei"])
    }

    @Test func `the receipt of the group that was left ends it on its last day`() async throws {
        let world = try World()
        let (patient, _) = try await stuck(world)
        let id = try patient.only().id
        world.disconnect(patient)
        world.deliver(world.relay.pass(days: 40))
        world.now += 40 * Self.day * 1_000
        try world.connect(patient)
        try world.settle()
        #expect(patient.engine.state.consultations.isEmpty)
        #expect(try patient.receipts().map(\.id) == [id])
        #expect(try patient.receipts().map(\.reason) == [.deadline])
        #expect(patient.engine.state.mailboxes.values.allSatisfy { $0.closings.isEmpty })
    }

    @Test func `keys that aren't good at this device's time are said to be the clock's fault`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(doctor)
        world.now -= 2 * 3_600_000
        try patient.reopen()
        try world.settle()
        #expect(patient.eventTroubles == [.clock])
        world.now += 2 * 3_600_000
        try world.connect(doctor)
        for _ in 0..<3 { try world.pass(seconds: 61) }
        #expect(patient.stateWords == ["open"])
        #expect(try patient.only().record.reopening.unconfirmed == false)
    }

    @Test func `tickets that are over when they are drawn are said to be the clock's fault`()
        async throws
    {
        let world = try World()
        let (patient, _) = try await world.open()
        world.now += 100 * Self.day * 1_000
        try patient.reopen()
        try world.settle()
        #expect(patient.eventTroubles == [.clock])
    }

    @Test(arguments: [UInt32(0), 5, .max])
    func `a deadline that a patient makes up neither erases nor keeps for ever`(
        _ said: UInt32
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.meet()
        world.disconnect(patient)
        let number = try patient.request(try doctor.card())
        try patient.perform { turn in
            let scope = Vault.Scope.consultation(number)
            for (place, var message) in try turn.transaction.allRecords(
                StoredMessage.self, of: .messages, in: scope)
            {
                var payload = try #require(Payload(decoding: [UInt8](message.payload)))
                guard case .request(let time, let minutes, let reason, _, let reach) = payload.body
                else { continue }
                payload.body = .request(
                    time: time, minutes: minutes, reason: reason, deadlineDay: said, reach: reach)
                message.payload = Data(try payload.encoded())
                try turn.transaction.put(message, at: place, of: .messages, in: scope)
            }
        }
        try world.connect(patient)
        try world.settle()
        let today = Day(unixSeconds: world.now / 1_000)
        let kept = try doctor.only().record.deadlineDay
        #expect((today.adding(days: 1).rawValue...today.adding(days: 400).rawValue).contains(kept))
    }

    @Test func `a mailbox that somebody else opens is left for a fresh group`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let mailbox = try patient.only().mailbox
        var isTold = false
        world.tamper = { frame, device in
            guard device === patient, !isTold else { return frame }
            isTold = true
            var frame = frame
            frame.notices.append(.displaced(mailbox))
            return frame
        }
        try doctor.say("eins")
        try world.settle()
        for _ in 0..<3 { try world.pass(seconds: 61) }
        #expect(try patient.reopenings() == [.olderVault])
        #expect(try patient.only().mailbox != mailbox)
        for device in [patient, doctor] {
            #expect(device.stateWords == ["open"])
            #expect(try device.texts() == ["eins"])
        }
        // What was left there is closed, and the mailbox gone.
        #expect(world.relay.store.groupCount == 1)
        #expect(patient.engine.state.mailboxes[mailbox] == nil)
    }
}
