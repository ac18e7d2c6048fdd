import MLS
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Consultations

/// Whole consultations under everything that goes wrong between two devices: connections that
/// break, answers that are lost, processes that end before or after any commit, relays that
/// restart, keys that are refreshed by both at once. All of it from a seed.
struct FaultTests {
    @Test(arguments: Array(1...15) + [161])
    func `nothing is lost, doubled or out of order, and no key is used twice`(
        _ seed: UInt64
    ) async throws {
        let world = try World(seed: seed)
        world.options.refreshAfterMessages = 3
        let (patient, doctor) = try await world.open()
        let turmoil = Turmoil(world, patient, doctor)
        try turmoil.run(
            steps: 120,
            [
                .say: 20, .disconnect: 6, .connect: 8, .crash: 4, .crashBeforeCommit: 6,
                .crashAfterCommit: 6, .restartRelay: 2,
            ])
        try world.calm()

        try turmoil.expectWhole(inOrder: true)
        for device in [patient, doctor] {
            let origins = try device.messages().filter { !$0.isMine }.compactMap(\.mls)
            #expect(Set(origins).count == origins.count)
        }
        #expect(world.relay.store.messageCount == 0)
        #expect(try patient.only().group?.epoch == doctor.only().group?.epoch)
    }

    @Test(arguments: 1...8)
    func `a consultation ends with two receipts whatever breaks meanwhile`(
        _ seed: UInt64
    ) async throws {
        let world = try World(seed: seed)
        let (patient, doctor) = try await world.open()
        try patient.say("bye")
        try doctor.end()
        try Turmoil(world, patient, doctor).run(
            steps: 40, frames: 1,
            [
                .disconnect: 10, .connect: 15, .crashBeforeCommit: 10, .crashAfterCommit: 10,
                .restartRelay: 3,
            ])
        try world.calm()
        for device in [patient, doctor] {
            #expect(device.engine.state.consultations.isEmpty)
            #expect(try device.receipts().map(\.reason) == [.confirmed])
        }
        #expect(world.relay.store.groupCount == 0)
        #expect(world.relay.store.messageCount == 0)
    }

    @Test(arguments: 1...8)
    func `asking survives a stop before and after every commit`(_ seed: UInt64) async throws {
        let world = try World(seed: seed)
        let doctor = try await world.addDoctor()
        let patient = try await world.addPatient()
        try Turmoil(world, patient, doctor).run(
            steps: 80, frames: 1,
            [.connect: 12, .crashBeforeCommit: 8, .crashAfterCommit: 8, .restartRelay: 2]
        ) {
            if patient.engine.state.consultations.isEmpty,
                doctor.engine.state.profile.practice.shelfPackages > 0
            {
                try patient.request(try doctor.card())
            }
        }
        try world.calm()
        if patient.engine.state.consultations.isEmpty {
            try patient.request(try doctor.card())
            try world.settle()
        }
        #expect(patient.stateWords == ["requested"])
        #expect(doctor.stateWords == ["requested"])
        #expect(try doctor.messages().count == 1)
        #expect(doctor.engine.state.profile.practice.shelfPackages >= 2)
    }
}
