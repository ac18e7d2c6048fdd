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
        var said: [String: [String]] = [patient.name: [], doctor.name: []]

        for step in 0..<120 {
            let device = Bool.random(using: &world.random) ? patient : doctor
            do {
                switch UInt32.random(in: 0..<100, using: &world.random) {
                case 0..<20:
                    // What was said is what the call returned for: it is durable then.
                    try device.say("\(device.name) \(step)")
                    said[device.name]?.append("\(device.name) \(step)")
                case 20..<26: world.disconnect(device)
                case 26..<34: try world.connect(device)
                case 34..<38: try device.crash()
                case 38..<44: device.crashAtNextCommit(.beforeCommit)
                case 44..<50: device.crashAtNextCommit(.afterCommit)
                case 50..<52: try world.restartRelay()
                default:
                    for _ in 0..<3 { _ = try world.step() }
                }
            } catch is TestDevice.Killed {
                // Durable or not: what lies in the vault was said.
                let mine = try device.messages().filter(\.isMine).compactMap {
                    if case .text(let text) = $0.body { text } else { nil }
                }
                #expect(mine.starts(with: said[device.name] ?? []), "what was said is gone")
                said[device.name] = mine
            }
        }
        try world.calm()

        for device in [patient, doctor] {
            let messages = try device.messages()
            #expect(try device.gaps().isEmpty)
            #expect(messages.filter(\.isMine).allSatisfy { $0.state >= .delivered })
            for (name, texts) in said {
                #expect(try device.texts().filter { $0.hasPrefix(name) } == texts)
            }
            let origins = messages.filter { !$0.isMine }.compactMap(\.mls)
            #expect(Set(origins).count == origins.count)
            #expect(device.stateWords == ["open"])
        }
        #expect(world.repeatedKeys == 0)
        #expect(world.relay.store.messageCount == 0)
        #expect(try patient.only().group?.epoch == doctor.only().group?.epoch)
        #expect(
            try patient.only().group?.epochAuthenticator
                == doctor.only().group?.epochAuthenticator)
    }

    @Test(arguments: 1...8)
    func `a consultation ends with two receipts whatever breaks meanwhile`(
        _ seed: UInt64
    ) async throws {
        let world = try World(seed: seed)
        let (patient, doctor) = try await world.open()
        try patient.say("bye")
        try doctor.end()
        for _ in 0..<40 {
            let device = Bool.random(using: &world.random) ? patient : doctor
            do {
                switch UInt32.random(in: 0..<100, using: &world.random) {
                case 0..<10: world.disconnect(device)
                case 10..<25: try world.connect(device)
                case 25..<35: device.crashAtNextCommit(.beforeCommit)
                case 35..<45: device.crashAtNextCommit(.afterCommit)
                case 45..<48: try world.restartRelay()
                default: _ = try world.step()
                }
            } catch is TestDevice.Killed {}
        }
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
        for _ in 0..<80 {
            let device = Bool.random(using: &world.random) ? patient : doctor
            do {
                switch UInt32.random(in: 0..<100, using: &world.random) {
                case 0..<12: try world.connect(device)
                case 12..<20: device.crashAtNextCommit(.beforeCommit)
                case 20..<28: device.crashAtNextCommit(.afterCommit)
                case 28..<30: try world.restartRelay()
                default: _ = try world.step()
                }
                if patient.engine.state.consultations.isEmpty,
                    doctor.engine.state.profile.practice.shelfPackages > 0
                {
                    try patient.request(try doctor.card())
                }
            } catch is TestDevice.Killed {}
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
