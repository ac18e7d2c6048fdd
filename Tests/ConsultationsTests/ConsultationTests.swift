import Cryptography
import RelayProtocol
import RelayTestSupport
import Testing

@testable import Consultations

/// Whole consultations, in memory.
struct ConsultationTests {
    @Test func `patient and doctor talk, and nothing remains but the receipts`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        try patient.say("Seit gestern.")
        try world.settle()
        try doctor.say("Fieber?")
        try world.settle()
        #expect(try patient.texts() == ["Seit gestern.", "Fieber?"])
        #expect(try doctor.texts() == ["Seit gestern.", "Fieber?"])
        #expect(try patient.messages().filter(\.isMine).allSatisfy { $0.state == .delivered })
        #expect(patient.stateWords == ["open"])
        #expect(doctor.stateWords == ["open"])

        try doctor.end()
        try world.settle()
        #expect(patient.engine.state.consultations.isEmpty)
        #expect(doctor.engine.state.consultations.isEmpty)
        #expect(try patient.receipts().count == 1)
        #expect(try doctor.receipts().count == 1)
        #expect(try doctor.receipts().first?.reason == .confirmed)
        #expect(world.relay.store.groupCount == 0)
        #expect(world.relay.store.messageCount == 0)
    }

    @Test func `when the shelf is empty the last resort serves several patients`() async throws {
        let world = try World()
        world.options.shelfTarget = 1
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        try world.settle()
        let patients = try await world.ask(doctor, patients: 3)
        for patient in patients { #expect(patient.stateWords == ["requested"]) }
        try world.connect(doctor)
        try world.settle()
        let consultations = doctor.engine.state.consultations
        #expect(Set(consultations.values.map(\.record.other.name)).count == 3)
        #expect(Set(consultations.values.map(\.mailbox)).count == 2)
        // Two that share a mailbox end on their own.
        try patients[1].end()
        try world.settle()
        #expect(try patients[1].receipts().count == 1)
        #expect(doctor.engine.state.consultations.count == 2)
        try patients[2].say("still here")
        try world.settle()
        #expect(try patients[2].messages().filter(\.isMine).allSatisfy { $0.state == .delivered })
        try doctor.crash()
        try world.connect(doctor)
        try world.settle()
        try patients[2].end()
        try patients[0].end()
        try world.settle()
        #expect(doctor.engine.state.consultations.isEmpty)
        #expect(try doctor.receipts().count == 3)
        #expect(doctor.engine.state.profile.practice.shelfPackages == 1)
    }

    @Test func `a doctor who declines leaves nothing but a receipt`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.meet()
        try patient.request(try doctor.card())
        try world.settle()
        let number = try doctor.only().number
        try doctor.perform { turn in
            try turn.modify(number) { consultation, turn in
                consultation.record.standing.declined = true
                consultation.record.standing.ending = true
                try turn.enqueue(.decline(reason: "full"), in: &consultation)
            }
        }
        try world.settle()
        for device in [doctor, patient] {
            #expect(device.engine.state.consultations.isEmpty)
            #expect(try device.receipts().count == 1)
        }
        let words = patient.events.compactMap { event -> Message.Body? in
            if case .message(_, let message) = event { message.body } else { nil }
        }
        #expect(words.contains(.decline(reason: "full")))
    }

    @Test func `a changed identity key of a verified person is said, and is not verified`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let known = try doctor.only().record.other
        try doctor.perform { turn in
            var verified = known
            verified.verifiedAt = 1
            let key = try VerifyingKey([UInt8](known.identityKey))
            turn.state.verified[PersonID(identityKey: key)] = verified
        }
        world.disconnect(patient)
        // The same person of the clinic's books, on a new device.
        let second = try await world.addPatient()
        try world.connect(second)
        try world.settle()
        try second.request(try doctor.card())
        try world.settle()
        let changed = doctor.events.contains {
            if case .identityChanged(_, let person) = $0 { !person.isVerified } else { false }
        }
        #expect(changed)
        #expect(doctor.engine.state.verified.isEmpty)
    }
}
