import RelayProtocol
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
}

extension World {
    /// A doctor with a stocked shelf and a patient whose request was accepted.
    func open() async throws -> (patient: TestDevice, doctor: TestDevice) {
        let doctor = try await addDoctor()
        try connect(doctor)
        try settle()
        let patient = try await addPatient()
        try connect(patient)
        try settle()
        try patient.request(try doctor.card())
        try settle()
        try doctor.accept()
        try settle()
        return (patient, doctor)
    }
}
