import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import Testing
import Vault

@testable import Consultations

/// What a relay that lies, and a member that breaks the rules, can do to a device: nothing that
/// ends it, and nothing that erases what a person wants to keep.
struct HostileTests {
    /// Asks as a member with other software would: straight from the group's keys.
    private func start(
        from device: TestDevice,
        _ body: (inout Group, GroupID, SigningKey, MemberValidator, UInt64) throws
            -> RelayProtocol.Operation
    ) throws {
        let number = try device.only().number
        try device.perform { turn in
            let identity = turn.state.identity
            let validator = MemberValidator(root: turn.state.root)
            let seconds = turn.seconds
            try turn.modify(number) { consultation, turn in
                guard var group = consultation.group, let id = GroupID(consultation.groupID) else {
                    return
                }
                let operation = try body(&group, id, identity, validator, seconds)
                consultation.group = group
                try turn.start(operation, for: consultation.mailbox, consultation: number)
            }
        }
    }

    /// Sends in the same way.
    private func send(
        from device: TestDevice,
        _ body: (inout Group, SigningKey, MemberValidator, UInt64) throws -> EncryptedMessage
    ) throws {
        try start(from: device) { group, id, identity, validator, seconds in
            let message = try body(&group, identity, validator, seconds)
            return .send(MessageRequest(groupID: id, epoch: message.epoch, content: message.bytes))
        }
    }

    @Test func `a relay that sends one's own words back as a closing erases nothing`() async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        var seen: [Delivery] = []
        world.tamper = { frame, device in
            if device === doctor { seen += frame.deliveries.filter { $0.kind == .message } }
            return frame
        }
        try patient.say("Guten Tag")
        try world.settle()
        #expect(try doctor.texts() == ["Guten Tag"])
        let mailbox = try patient.only().mailbox
        for (number, message) in seen.enumerated() {
            try patient.receive(
                RelayFrame(deliveries: [
                    Delivery(
                        mailbox: mailbox, id: DeliveryID(high: 1, low: UInt64(number)),
                        kind: .closing, groupID: message.groupID, content: message.content)
                ]))
        }
        #expect(!seen.isEmpty)
        #expect(try patient.texts() == ["Guten Tag"])
        // The true one still ends it.
        try patient.end()
        try world.settle()
        #expect(patient.engine.state.consultations.isEmpty)
        #expect(doctor.engine.state.consultations.isEmpty)
    }

    @Test func `a patient who declines ends it, and nobody reads that the doctor did`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let number = try patient.only().number
        try patient.perform { turn in
            try turn.modify(number) { consultation, turn in
                consultation.record.standing.ending = true
                try turn.enqueue(.decline(reason: "no"), in: &consultation)
            }
        }
        try world.settle()
        #expect(doctor.engine.state.consultations.isEmpty)
        let shown = try doctor.engine.read { try $0.receipts().map(\.declined) }
        #expect(shown == [false])
    }

    @Test func `a request that the relay keeps back is a gap, and comes with the next reopening`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.meet()
        var kept = 0
        world.alter(deliveriesTo: doctor) { delivery in
            guard delivery.kind == .message, kept == 0 else { return delivery }
            kept += 1
            return nil
        }
        try patient.request(try doctor.card(), reason: "Rücken")
        try patient.say("seit Montag")
        try world.settle()
        try #require(kept == 1)
        #expect(doctor.stateWords == ["requested"])
        #expect(try doctor.only().id == patient.only().id)
        #expect(try doctor.gaps() == [.missing(counter: 1)])
        #expect(try doctor.texts() == ["seit Montag"])
        try doctor.accept()
        try world.settle()
        // The patient's device knows what came and what didn't, and nothing else happened.
        #expect(patient.stateWords == ["open"])
        #expect(try patient.messages().filter(\.isMine).map(\.state) == [.relayed, .delivered])
        #expect(try patient.reopenings().isEmpty)
        try patient.reopen()
        try world.settle()
        #expect(try doctor.gaps().isEmpty)
        #expect(try doctor.only().record.appointment.reason == "Rücken")
        #expect(doctor.stateWords == ["open"])
    }

    @Test(arguments: [true, false])
    func `a relay that has erased a mailbox without a receipt of it leads to a fresh group`(
        _ isAsked: Bool
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let group = try patient.only().groupID
        var count = 0
        if isAsked {
            world.alter(answersTo: patient) { outcome in
                count += 1
                return count == 1 ? .erased(receipts: []) : outcome
            }
        } else {
            world.disconnect(patient)
            world.alter(answersTo: patient, at: try patient.only().mailbox) { _ in
                count += 1
                return .erased(receipts: [])
            }
            try world.connect(patient)
        }
        try patient.say("ist jemand da?")
        try world.settle()
        #expect(count > 0)
        #expect(try patient.only().groupID != group)
        #expect(try patient.reopenings() == [.lost])
        #expect(try doctor.texts() == ["ist jemand da?"])
        #expect(patient.stateWords == ["open"])
    }

    @Test func `a relay that refuses every change of keys isn't asked without end`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        var count = 0
        world.tamper = { frame, device in
            guard device === patient else { return frame }
            var frame = frame
            frame.deliveries.removeAll { $0.kind == .commit }
            frame.replies = frame.replies.map { reply in
                switch reply.outcome {
                case .committed, .staleEpoch: count += 1
                default: return reply
                }
                return Reply(
                    mailbox: reply.mailbox, id: reply.id,
                    outcome: .refused(.tooLarge, retryAfterSeconds: 0))
            }
            return frame
        }
        try patient.refresh()
        try world.settle()
        #expect(count == 1)
        world.tamper = nil
        try patient.say("und doch")
        try world.settle()
        for _ in 0..<6 { try world.pass(seconds: 61) }
        #expect(try doctor.texts() == ["und doch"])
    }

    @Test func `a relay that names an impossible request number doesn't end the device`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(patient)
        world.alter(answersTo: patient) { outcome in
            guard case .opened(var opened) = outcome else { return outcome }
            opened.lastRequest = RequestID(rawValue: .max)
            return .opened(opened)
        }
        try world.connect(patient)
        try patient.say("eins")
        try world.settle()
        #expect(patient.troubles.contains(.protocolViolation))
        world.tamper = nil
        try world.connect(patient)
        try world.settle()
        #expect(try doctor.texts() == ["eins"])
    }

    @Test func `a member's proposals don't get into the others' commits`() async throws {
        let world = try World()
        world.options.refreshAfterMessages = 1
        let (patient, doctor) = try await world.open()
        try send(from: patient) { group, identity, validator, seconds in
            try group.propose(
                .preSharedKey(.external(id: [1])), signingKey: identity, validator: validator,
                at: seconds)
        }
        try world.settle()
        for text in ["eins", "zwei", "drei"] {
            try doctor.say(text)
            try world.settle()
        }
        #expect(try patient.texts() == ["eins", "zwei", "drei"])
        #expect(try doctor.only().group?.pendingProposals.isEmpty == true)
    }

    @Test func `a member that ends the group by a commit ends nothing else`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let second = try await world.addPatient("Petra Patient", reference: "P-2")
        try world.connect(second)
        try world.settle()
        try second.request(doctor.card())
        try world.settle()
        try start(from: patient) { group, id, identity, validator, seconds in
            var content = CommitContent()
            content.reInit = ReInit(
                groupID: Random.bytes(32), cipherSuite: group.suite, extensions: [])
            let commit = try group.commit(
                content, signingKey: identity, validator: validator, at: seconds)
            return .commit(
                CommitRequest(groupID: id, epoch: commit.epoch, content: commit.message))
        }
        try world.settle()
        let ids = doctor.engine.state.consultations.values.map(\.id).sorted()
        #expect(ids.count == 2)
        let bad = try patient.only().id
        let states = doctor.engine.state.consultations.values.filter { $0.id == bad }.map {
            doctor.engine.state.describe($0).state
        }
        // It goes on in a fresh group, and says so.
        #expect(states == [.open])
        #expect(try patient.reopenings() == [.keyChange])
        // The doctor's device goes on with the other one.
        let good = try second.only().id
        try doctor.perform { turn in
            guard let found = turn.state.consultations.values.first(where: { $0.id == good }) else {
                return
            }
            _ = try turn.post(.text("weiter"), to: found.number)
        }
        try world.settle()
        #expect(try second.texts() == ["weiter"])
    }

    @Test func `many missing messages are one gap, which shrinks as they come`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let sender = try patient.only().record.other.identityKey
        var counters: [UInt64] = []
        // Marks of a member that counts far ahead: one entry, whatever it claims.
        try send(from: doctor) { group, identity, _, _ in
            let payload = Payload(
                id: Random.bytes(MessageID.byteCount), sentAt: 1, counter: 1 << 40, body: .marks)
            return try group.encrypt(
                try payload.encoded(), paddedTo: 256, signingKey: identity)
        }
        try world.settle()
        let last: UInt64 = 1 << 40
        #expect(try patient.gaps() == [.missingSeveral(counters: (last - 63)...last)])
        counters = try patient.only().ledgers[[UInt8](sender)]?.missing ?? []
        #expect(counters.count == 64)
        for counter in [last - 10, last - 63, last] {
            try send(from: doctor) { group, identity, _, _ in
                let payload = Payload(
                    id: Random.bytes(MessageID.byteCount), sentAt: 1, counter: counter,
                    body: .text("\(counter)"))
                return try group.encrypt(
                    try payload.encoded(), paddedTo: 256, signingKey: identity)
            }
            try world.settle()
        }
        #expect(
            try patient.gaps() == [
                .missingSeveral(counters: (last - 62)...(last - 11)),
                .missingSeveral(counters: (last - 9)...(last - 1)),
            ])
    }

    @Test func `what was never read is shown once more when the other's end erases it`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        try doctor.say("Gute Besserung")
        try world.settle()
        try doctor.end()
        try world.settle()
        #expect(patient.engine.state.consultations.isEmpty)
        #expect(patient.lastWords == [.accept, .text("Gute Besserung")])
    }

    @Test func `a relay takes no request number that its store can't order`() async throws {
        let world = try World()
        let (patient, _) = try await world.open()
        let request = Request(
            mailbox: patient.engine.state.home,
            id: RequestID(rawValue: RequestID.last.rawValue + 1), confirmed: .last,
            operation: .drawTickets(count: 1))
        let answers = world.relay.receive(
            ClientFrame(requests: [request]).encoded(), from: patient.connection)
        #expect(
            answers.flatMap(\.1.replies).map(\.outcome)
                == [.refused(.malformed, retryAfterSeconds: 0)])
    }

    @Test func `an old Welcome to the last resort doesn't bring back what was erased`()
        async throws
    {
        let world = try World()
        world.options.shelfTarget = 1
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        try world.settle()
        var welcomes: [Delivery] = []
        world.tamper = { frame, device in
            if device === doctor { welcomes += frame.deliveries.filter { $0.kind == .welcome } }
            return frame
        }
        _ = try await world.ask(doctor, patients: 2)
        try world.connect(doctor)
        try world.settle()
        #expect(doctor.engine.state.consultations.count == 2)
        for patient in world.devices.dropFirst() { try patient.end() }
        try world.settle()
        #expect(doctor.engine.state.consultations.isEmpty)
        #expect(welcomes.count == 2)
        for (number, welcome) in welcomes.enumerated() {
            try doctor.receive(
                RelayFrame(deliveries: [
                    Delivery(
                        mailbox: welcome.mailbox, id: DeliveryID(high: 2, low: UInt64(number)),
                        kind: .welcome, groupID: welcome.groupID, content: welcome.content)
                ]))
        }
        #expect(doctor.engine.state.consultations.isEmpty)
    }
}
