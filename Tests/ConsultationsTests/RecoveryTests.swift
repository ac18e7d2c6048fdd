import Cryptography
import FoundationEssentials
import RelayProtocol
import RelayTestSupport
import Testing
import Vault

@testable import Consultations

/// Copies and old backups of a vault, and going on with one of them (`protocol/vault.md`, "Copies").
struct RecoveryTests {
    /// The doctor's or patient's home as it was, in another folder.
    private func copy(_ device: TestDevice, in world: World) throws -> String {
        let copy = device.home + " copy"
        world.disconnect(device)
        device.engine.vault.close()
        try FileManager.default.copyItem(atPath: device.home, toPath: copy)
        try device.crash()
        return copy
    }

    /// A device on a copied home, after it has said `text` and connected.
    private func begin(
        on home: String, saying text: String? = nil, in world: World
    ) throws -> TestDevice {
        let device = try world.addOpened("old", home: home)
        if let text { try device.say(text) }
        try world.connect(device)
        try world.settle()
        return device
    }

    /// The person says that this device goes on, and it connects.
    private func recover(_ device: TestDevice, in world: World) throws {
        try device.perform { try $0.recover() }
        try world.connect(device)
        try world.settle()
    }

    @Test(arguments: [true, false])
    func `an old backup goes on when the person says so, and gets what it had lost`(
        _ isPatient: Bool
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        try patient.say("eins")
        try world.settle()
        let (lost, other) = isPatient ? (patient, doctor) : (doctor, patient)
        let home = try copy(lost, in: world)
        try world.connect(lost)
        try lost.say("zwei")
        try other.say("drei")
        try world.settle()
        world.disconnect(lost)
        try other.say("vier")
        try world.settle()

        let old = try begin(on: home, saying: "fünf", in: world)
        #expect(old.troubles.last == .copied)
        #expect(old.stateWords == ["locked"])
        #expect(throws: DeviceError.copied) { try old.say("no") }

        // The lost one, or what is left of it, connects once more before the person decides.
        try world.connect(lost)
        try world.settle()
        world.disconnect(lost)
        try recover(old, in: world)
        for _ in 0..<3 { try world.pass(seconds: 61) }
        #expect(old.stateWords == ["open"])
        #expect(try old.reopenings() == [.olderVault])
        #expect(try other.reopenings() == [.olderVault])
        // What the other said is all here again; what the lost one said the other still has.
        #expect(try old.texts().sorted() == ["drei", "eins", "fünf", "vier"])
        #expect(
            try other.texts().sorted() == ["drei", "eins", "fünf", "vier", "zwei"])
        for device in [old, other] {
            #expect(try device.messages().filter(\.isMine).allSatisfy { $0.state >= .delivered })
            #expect(try device.gaps().isEmpty)
        }
        // The other copy is now the one that sends nothing, and it has the same way out.
        try world.connect(lost)
        try world.settle()
        #expect(lost.troubles.last == .copied)
        #expect(world.repeatedKeys == 0)
    }

    /// The connection that was open then went on, and no opening counter tells.
    @Test(arguments: [true, false])
    func `a snapshot of a home that was connected is a copy like any other`(
        _ isPatient: Bool
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let (lost, other) = isPatient ? (patient, doctor) : (doctor, patient)
        let home = lost.home + " copy"
        try FileManager.default.copyItem(atPath: lost.home, toPath: home)
        try lost.say("eins")
        try other.say("zwei")
        try world.settle()
        world.disconnect(lost)

        let old = try begin(on: home, saying: "drei", in: world)
        #expect(old.troubles.last == .copied)
        #expect(try other.texts().sorted() == ["eins", "zwei"])
        try recover(old, in: world)
        for _ in 0..<3 { try world.pass(seconds: 61) }
        #expect(try old.texts().sorted() == ["drei", "zwei"])
        #expect(try other.texts().sorted() == ["drei", "eins", "zwei"])
        for device in [old, other] {
            #expect(device.stateWords == ["open"])
            #expect(try device.reopenings() == [.olderVault])
            #expect(try device.messages().filter(\.isMine).allSatisfy { $0.state >= .delivered })
            #expect(try device.gaps().isEmpty)
        }
        #expect(world.repeatedKeys == 0)
    }

    @Test func `the true device, overtaken by its copy, goes on when the person says so`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let home = try copy(doctor, in: world)
        try world.connect(doctor)
        try world.settle()
        world.disconnect(doctor)
        // The copy is behind and empties the shelf; that raises the counter that the relay has.
        let thief = try begin(on: home, in: world)
        #expect(thief.engine.state.profile.copied)
        try world.connect(doctor)
        try world.settle()
        #expect(doctor.engine.state.profile.copied)
        try recover(doctor, in: world)
        #expect(doctor.stateWords == ["open"])
        #expect(doctor.engine.state.profile.practice.shelfPackages > 0)
        try doctor.say("wieder da")
        try world.settle()
        #expect(try patient.texts() == ["wieder da"])
        try world.connect(thief)
        try world.settle()
        #expect(thief.troubles.last == .copied)
    }

    @Test(arguments: [5, 1 << 33, 1 << 61, UInt64.max])
    func `a relay that lies about the counter doesn't end a device for good`(
        _ ahead: UInt64
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(patient)
        let home = Vault.Scope.person
        let own = try patient.engine.read { try $0.counter(named: KeyName.opening, in: home) } ?? 0
        let last = ahead == .max ? ahead : own + ahead
        world.alter(answersTo: patient) { outcome in
            if case .opened = outcome { .refusedCounter(last: last) } else { outcome }
        }
        try world.connect(patient)
        try world.settle()
        world.tamper = nil
        #expect(patient.engine.state.profile.copied == (ahead == 5))
        try recover(patient, in: world)
        try patient.say("ich bin es")
        try world.settle()
        #expect(try doctor.texts() == ["ich bin es"])
    }

    @Test func `what an older vault has to say waits until the other has said what it has`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let home = try copy(patient, in: world)
        try world.connect(patient)
        try patient.say("vergessen")
        try world.settle()
        for device in [patient, doctor] { world.disconnect(device) }

        let old = try begin(on: home, in: world)
        try old.perform { try $0.recover() }
        try world.connect(old)
        try old.say("neu")
        try world.settle()
        // Which numbers are taken, only the doctor's device knows.
        let state = old.engine.state
        #expect(state.describe(try old.only()).awaitsOther)
        #expect(try old.messages().last?.state == .waiting)
        #expect(state.hasNothingToDo(at: world.now))
        try old.crash()
        try world.calm()
        #expect(try doctor.texts() == ["vergessen", "neu"])
        #expect(try doctor.gaps().isEmpty)
        #expect(try old.messages().last?.state == .delivered)
        #expect(try !old.engine.state.describe(old.only()).awaitsOther)
        // Ending doesn't wait: there is nothing left to count.
        #expect(world.repeatedKeys == 0)
    }

    @Test func `a vault that knows of a closing only goes on, and keeps the receipt`() async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let id = try patient.only().id
        world.disconnect(doctor)
        try patient.end()
        try world.settle()
        try #require(patient.engine.state.consultations.isEmpty)
        try #require(try patient.receipts().isEmpty)
        let home = try copy(patient, in: world)
        try world.connect(patient)
        try world.settle()
        world.disconnect(patient)

        let old = try begin(on: home, in: world)
        try #require(old.engine.state.profile.copied)
        try old.perform { try $0.recover() }
        try world.connect(old)
        try world.connect(doctor)
        try world.settle()
        for device in [old, doctor] {
            #expect(try device.receipts().map(\.id) == [id])
            #expect(device.engine.state.consultations.isEmpty)
        }
        #expect(!old.engine.state.mailboxes.values.contains { !$0.closings.isEmpty })
        // It is as good as any other.
        try old.request(try doctor.card())
        try world.settle()
        #expect(doctor.stateWords == ["requested"])
    }

    @Test(arguments: [true, false])
    func `an older vault doesn't bring back what was erased since`(
        _ isPatient: Bool
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let id = try patient.only().id
        let (lost, other) = isPatient ? (patient, doctor) : (doctor, patient)
        let home = try copy(lost, in: world)
        try world.connect(lost)
        try lost.end()
        try world.settle()
        try #require(other.engine.state.consultations.isEmpty)
        world.disconnect(lost)

        let old = try begin(on: home, in: world)
        try recover(old, in: world)
        for _ in 0..<3 { try world.pass(seconds: 61) }
        for device in [old, other] {
            #expect(device.engine.state.consultations.isEmpty)
            #expect(try device.receipts().map(\.id) == [id])
        }
        #expect(world.relay.store.groupCount == 0)
    }

    /// The backup was made while a fresh group was on its way to the relay; the true device then
    /// went on in it.
    @Test func `a fresh group that a copy has used isn't used again`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.alter(answersTo: patient) { outcome in
            if case .done = outcome { world.disconnect(patient) }
            return outcome
        }
        let before = try patient.only().groupID
        try patient.reopen()
        for _ in 0..<200 where try patient.only().group == nil || patient.only().groupID == before {
            _ = try world.step()
        }
        try #require(try patient.only().record.phase == .reopening)
        try #require(try patient.only().group != nil)
        world.tamper = nil
        let home = try copy(patient, in: world)
        try world.connect(patient)
        try patient.say("eins")
        try world.settle()
        try #require(try doctor.texts() == ["eins"])
        world.disconnect(patient)

        let old = try begin(on: home, saying: "zwei", in: world)
        try recover(old, in: world)
        for _ in 0..<3 { try world.pass(seconds: 61) }
        #expect(world.repeatedKeys == 0)
        #expect(try doctor.texts() == ["eins", "zwei"])
        #expect(old.stateWords == ["open"])
        #expect(try old.messages().filter(\.isMine).allSatisfy { $0.state >= .delivered })
    }
}
