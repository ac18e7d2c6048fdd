import Credentials
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing
import Vault

@testable import Consultations

/// Mailboxes of the shelf that are given up while somebody asks, that the relay lacks for a while, and one
/// that the vault lacks.
struct ShelfTests {
    /// A doctor whose shelf is stocked, and what the relay had before that.
    private func stockedLater(
        in world: World
    ) async throws -> (doctor: TestDevice, before: MemoryState) {
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        while !doctor.engine.state.profile.registered { _ = try world.step() }
        let before = world.relay.store.state
        try world.settle()
        return (doctor, before)
    }

    private func setAside(by device: TestDevice) -> [MailboxState] {
        device.engine.state.mailboxes.values.filter(\.isSetAside)
    }

    @Test func `requests that come back with a newer backup reach the doctor`() async throws {
        let world = try World()
        let (doctor, before) = try await stockedLater(in: world)
        // One more than there are one-use KeyPackages: the last resort's mailbox, too.
        let patients = try await world.ask(doctor, patients: 4)
        let after = world.relay.store.state

        for count in [4, 8] {
            try world.restoreRelay(before)
            try world.connect(doctor)
            try world.settle()
            #expect(setAside(by: doctor).count == count)
        }
        // They are no part of the shelf, which is stocked as ever.
        #expect(doctor.engine.state.profile.practice.shelfPackages == 3)
        // They are kept over a restart, and this relay isn't asked for them again.
        try doctor.crash()
        var opened: Set<MailboxID> = []
        world.tamper = { frame, _ in
            for reply in frame.replies where reply.id == .opening { opened.insert(reply.mailbox) }
            return frame
        }
        try world.connect(doctor)
        try world.settle()
        world.tamper = nil
        #expect(opened.count == 5)
        #expect(opened.isDisjoint(with: setAside(by: doctor).map(\.id)))
        try world.restoreRelay(after)
        try world.calm()
        let names = doctor.engine.state.consultations.values.map(\.record.other.name)
        #expect(names.sorted() == patients.map(\.name))
        for patient in patients { try patient.say("ich bin \(patient.name)") }
        try world.calm()
        for patient in patients {
            #expect(try patient.messages().allSatisfy { !$0.isMine || $0.state == .delivered })
            #expect(try patient.reopenings().isEmpty)
        }
    }

    @Test func `what a newer backup brings back and nobody has used is given up`() async throws {
        let world = try World()
        let (doctor, before) = try await stockedLater(in: world)
        let after = world.relay.store.state
        try world.restoreRelay(before)
        try world.calm()
        let old = setAside(by: doctor)
        try #require(old.count == 4)
        try world.restoreRelay(after)
        try world.calm()
        for mailbox in old {
            #expect(doctor.engine.state.mailboxes[mailbox.id] == nil)
            #expect(world.relay.store.state.mailboxNumbers[mailbox.id] == nil)
        }
    }

    @Test func `a mailbox that doesn't come back is kept as long as its KeyPackage`() async throws {
        let world = try World()
        let (doctor, before) = try await stockedLater(in: world)
        try world.restoreRelay(before)
        try world.calm()
        // The last resort's is the shortest.
        for (days, count): (UInt64, _) in [(13, 4), (2, 3), (44, 3), (2, 0)] {
            try world.pass(seconds: days * 86_400)
            try world.calm()
            #expect(setAside(by: doctor).count == count)
        }
    }

    @Test func `a relay that disowns every mailbox doesn't fill the vault`() async throws {
        let world = try World()
        world.options.shelfTarget = 40
        let (doctor, before) = try await stockedLater(in: world)
        for count in [41, 82, 96, 96] {
            try world.restoreRelay(before)
            try world.calm()
            #expect(setAside(by: doctor).count == count)
        }
    }

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
