import Credentials
import RelayProtocol
import TestSupport
import Testing
import Vault

@testable import Consultations

/// Mailboxes of the shelf that are given up while somebody asks, and one that the vault lacks.
struct ShelfTests {
    @Test(arguments: [false, true])
    func `whoever asks while the shelf's mailboxes are given up is heard`(
        _ isRefusedFirst: Bool
    ) async throws {
        let world = try World()
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        try world.settle()
        // More than there are one-use KeyPackages: the last resort's mailbox serves two.
        let patients = try await world.ask(doctor, patients: 5)
        try doctor.perform { turn in
            for mailbox in turn.state.mailboxes.values where mailbox.isOnShelf {
                try turn.modifyMailbox(mailbox.id) { $0.record.kind = .retiring }
            }
        }
        var late = RelayFrame()
        if isRefusedFirst {
            world.alter(deliveriesTo: doctor) { delivery in
                late.deliveries.append(delivery)
                return nil
            }
        }
        try world.connect(doctor)
        try world.settle()
        world.tamper = nil
        if isRefusedFirst { try doctor.receive(late) }
        try world.settle()
        func names() -> Set<String> {
            Set(doctor.engine.state.consultations.values.map(\.record.other.name))
        }
        #expect(names() == Set(patients.map(\.name)))
        try doctor.crash()
        #expect(names() == Set(patients.map(\.name)))
        for patient in patients { try patient.say("ich bin \(patient.name)") }
        try world.calm()
        for patient in patients {
            #expect(try patient.messages().allSatisfy { !$0.isMine || $0.state == .delivered })
        }
    }

    @Test(arguments: [PersonRole.patient, .doctor])
    func `a vault that lacks a consultation's mailbox opens, and it goes on elsewhere`(
        _ role: PersonRole
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let struck = role == .patient ? patient : doctor
        let other = role == .patient ? doctor : patient
        try other.say("eins")
        try world.settle()
        try struck.say("zwei")
        world.disconnect(struck)
        try struck.perform { turn in
            let used = try #require(turn.state.consultations.values.first?.mailbox)
            guard case .consultation(let scope) = turn.state.mailboxes[used]?.scope else { return }
            try turn.transaction.eraseConsultation(scope)
        }
        try struck.crash()
        #expect(try struck.texts() == ["eins", "zwei"])
        try struck.say("drei")
        try world.calm()
        try struck.crash()
        try world.calm()
        #expect(try struck.reopenings() == [.lost])
        #expect(try other.texts() == ["eins", "zwei", "drei"])
        try other.say("vier")
        try world.settle()
        #expect(try struck.texts() == ["eins", "zwei", "drei", "vier"])
    }
}
