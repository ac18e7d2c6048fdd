import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing
import Vault

@testable import Consultations

/// A consultation whose group can't go on gets a fresh one: nothing is lost, nothing shown twice,
/// and both people see that it happened and why (`protocol/payloads.md`, "Reopening").
struct ReopeningTests {
    /// Both go on with each other: same id, same words in order, no gap, no wait.
    private func expectWhole(
        _ world: World, _ devices: [TestDevice], texts: [String], reopened count: Int? = 1,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        for device in devices {
            #expect(device.stateWords == ["open"], sourceLocation: sourceLocation)
            let messages = try device.messages()
            let shown = try device.texts()
            #expect(shown.sorted() == texts.sorted(), sourceLocation: sourceLocation)
            #expect(try device.gaps().isEmpty, sourceLocation: sourceLocation)
            let mine = messages.filter(\.isMine).map(\.state)
            #expect(mine.allSatisfy { $0 >= .delivered }, sourceLocation: sourceLocation)
            if let count {
                #expect(try device.reopenings().count == count, sourceLocation: sourceLocation)
            }
            #expect(try !device.only().record.reopening.unconfirmed, sourceLocation: sourceLocation)
        }
        let ids = Set(try devices.map { try $0.only().id })
        #expect(ids.count == 1, sourceLocation: sourceLocation)
        let secrets = Set(try devices.map { try $0.only().group?.epochAuthenticator ?? [] })
        #expect(secrets.count == 1, sourceLocation: sourceLocation)
        #expect(world.repeatedKeys == 0, sourceLocation: sourceLocation)
        #expect(world.relay.store.messageCount == 0, sourceLocation: sourceLocation)
        #expect(world.relay.store.groupCount == 1, sourceLocation: sourceLocation)
    }

    @Test(arguments: [true, false])
    func `a commit that can't be processed leads to a fresh group`(
        _ byPatient: Bool
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        try patient.say("eins")
        try doctor.say("zwei")
        try world.settle()
        let id = try patient.only().id
        let old = try patient.only().groupID
        let (struck, other) = byPatient ? (patient, doctor) : (doctor, patient)
        world.spoil(deliveriesTo: struck) {
            $0.kind == .commit && $0.groupID?.bytes == old
        }
        try other.refresh()
        try other.say("drei")
        try world.settle()
        world.tamper = nil
        try struck.say("vier")
        try world.settle()
        try expectWhole(
            world, [patient, doctor], texts: ["eins", "zwei", "drei", "vier"])
        #expect(try struck.reopenings() == [.keyChange])
        #expect(try patient.only().id == id)
        #expect(try patient.only().groupID != old)
        #expect(try patient.only().record.deadlineDay == doctor.only().record.deadlineDay)
        // It ends as ever, with a receipt under its own id.
        try doctor.end()
        try world.settle()
        for device in [patient, doctor] {
            #expect(device.engine.state.consultations.isEmpty)
            #expect(try device.receipts().map(\.id) == [id])
        }
        #expect(world.relay.store.groupCount == 0)
    }

    @Test func `a relay restored to before the last commits and messages loses nothing`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        try patient.say("eins")
        try world.settle()
        let backup = world.relay.store.committed
        try doctor.refresh()
        try doctor.say("zwei")
        try world.settle()
        try patient.say("drei")
        try world.settle()
        world.disconnect(doctor)
        try patient.say("vier")
        try world.settle()
        try world.restoreRelay(backup)
        try patient.say("fünf")
        for device in [patient, doctor] { try world.connect(device) }
        try world.settle()
        for _ in 0..<10 { try world.pass(seconds: 2) }
        try expectWhole(
            world, [patient, doctor], texts: ["eins", "zwei", "drei", "vier", "fünf"],
            reopened: nil)
        #expect(try patient.reopenings().contains(.history))
        #expect(doctor.engine.state.profile.practice.shelfPackages > 0)
    }

    @Test func `a relay restored in the same epoch gets what it lost again, in the same group`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let backup = world.relay.store.committed
        world.disconnect(doctor)
        try patient.say("eins")
        try patient.say("zwei")
        try world.settle()
        #expect(try patient.messages().suffix(2).map(\.state) == [.relayed, .relayed])
        try world.restoreRelay(backup)
        for device in [patient, doctor] { try world.connect(device) }
        try world.settle()
        try expectWhole(world, [patient, doctor], texts: ["eins", "zwei"], reopened: 0)
    }

    @Test(arguments: [true, false])
    func `what begins a fresh group is said again at a relay that has lost it`(
        _ byMaker: Bool
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        if byMaker { world.disconnect(doctor) }
        try patient.reopen()
        while try patient.only().record.phase == .reopening, try world.step() {}
        let groupID = try patient.only().groupID
        while try !byMaker && doctor.only().groupID != groupID, try world.step() {}
        let backup = world.relay.store.committed
        if byMaker {
            try world.settle()
            #expect(try !patient.only().record.reopening.due)
        } else {
            // Its marks have been taken and not delivered, its commit hasn't been taken.
            world.disconnect(patient)
            while try doctor.only().commit == nil, try world.step() {}
        }
        try world.restoreRelay(backup)
        for device in [patient, doctor] { try world.connect(device) }
        try world.settle()
        for _ in 0..<5 { try world.pass(seconds: 61) }
        for device in [patient, doctor] {
            #expect(device.stateWords == ["open"])
            #expect(try device.only().groupID == groupID)
            #expect(try !device.only().record.reopening.unconfirmed)
            #expect(try device.reopenings() == [.byHand])
        }
    }

    @Test func `a relay restored to before the consultation gets it anew`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.meet()
        let backup = world.relay.store.committed
        try patient.request(try doctor.card())
        try world.settle()
        try doctor.accept()
        try doctor.say("eins")
        try world.settle()
        try world.restoreRelay(backup)
        try patient.say("zwei")
        for device in [patient, doctor] { try world.connect(device) }
        try world.settle()
        for _ in 0..<70 { try world.pass(seconds: 30) }
        try expectWhole(world, [patient, doctor], texts: ["eins", "zwei"], reopened: nil)
        #expect(try patient.reopenings().contains(.lost))
    }

    @Test func `a request that a restored relay lost reaches the doctor under its id`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.meet()
        let backup = world.relay.store.committed
        world.disconnect(doctor)
        try patient.request(try doctor.card(), reason: "Rücken")
        try patient.say("seit Montag")
        try world.settle()
        try world.restoreRelay(backup)
        for device in [doctor, patient] { try world.connect(device) }
        try world.settle()
        for _ in 0..<5 { try world.pass(seconds: 61) }
        #expect(doctor.stateWords == ["requested"])
        #expect(try doctor.only().id == patient.only().id)
        #expect(try doctor.only().record.appointment.reason == "Rücken")
        #expect(try doctor.texts() == ["seit Montag"])
        try doctor.accept()
        try world.settle()
        try expectWhole(world, [patient, doctor], texts: ["seit Montag"])
    }

    @Test func `a request that failed stays so when a restored relay forgets its mailbox`()
        async throws
    {
        let world = try World()
        world.options.shelfTarget = 0
        let (patient, doctor) = try await world.meet()
        let backup = world.relay.store.committed
        try patient.request(try doctor.card())
        try world.settle()
        let failed = patient.stateWords
        #expect(try patient.only().record.phase == .failed)
        try world.restoreRelay(backup)
        try world.connect(patient)
        try world.settle()
        #expect(patient.stateWords == failed)
        #expect(try patient.only().record.standing.lock == .none)
    }

    @Test func `a mailbox in the relay's list that the tree doesn't know leads to a fresh group`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(doctor)
        world.disconnect(patient)
        try world.relay.store.addSpy(#require(MailboxID(SigningKey().publicKey.bytes)))
        try world.relay.restart()
        try world.connect(patient)
        try world.settle()
        for _ in 0..<6 { try world.pass(seconds: 2) }
        #expect(try patient.reopenings() == [.members])
        try world.connect(doctor)
        try patient.say("unter uns")
        try world.settle()
        for _ in 0..<6 { try world.pass(seconds: 2) }
        #expect(try doctor.texts() == ["unter uns"])
        #expect(try patient.only().group?.members.count == 2)
        #expect(patient.stateWords == ["open"])
    }

    @Test func `a relay with another history leads to a fresh group`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        try patient.refresh()
        try world.settle()
        world.disconnect(doctor)
        world.disconnect(patient)
        try world.relay.store.forgeHistory()
        try world.relay.restart()
        for device in [patient, doctor] { try world.connect(device) }
        try patient.say("eins")
        try world.settle()
        for _ in 0..<10 { try world.pass(seconds: 2) }
        try doctor.say("zwei")
        try world.settle()
        try expectWhole(world, [patient, doctor], texts: ["eins", "zwei"], reopened: nil)
        #expect(try patient.reopenings().contains(.history))
    }

    @Test func `a commit that takes its time is no other history`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        var late: [Delivery] = []
        world.alter(deliveriesTo: patient) {
            late.append($0)
            return nil
        }
        try doctor.refresh()
        try doctor.say("eins")
        try world.settle()
        try patient.say("zwei")
        try world.settle()
        for _ in 0..<10 { try world.pass(seconds: 6) }
        #expect(late.map(\.kind).contains(.commit))
        #expect(try patient.reopenings().isEmpty)

        world.tamper = nil
        try patient.receive(RelayFrame(deliveries: late))
        try world.settle()
        for _ in 0..<4 { try world.pass(seconds: 6) }
        try expectWhole(world, [patient, doctor], texts: ["eins", "zwei"], reopened: 0)
    }

    @Test(arguments: [PersonRole.patient, .doctor])
    func `what couldn't be read and had no counter is no gap in the fresh group`(
        _ role: PersonRole
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.spoil(deliveriesTo: patient) { $0.kind == .message }
        // The doctor's device says that it has it.
        try patient.say("eins")
        try world.settle()
        #expect(try patient.gaps() == [.undecryptable])
        world.tamper = nil
        try (role == .patient ? patient : doctor).reopen()
        try world.settle()
        #expect(try patient.gaps().isEmpty)
        try doctor.say("zwei")
        try world.settle()
        #expect(try patient.texts() == ["eins", "zwei"])
        #expect(try patient.gaps().isEmpty)
    }

    @Test func `messages that can't be read, three in a row, lead to a fresh group`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let old = try patient.only().groupID
        world.spoil(deliveriesTo: patient) {
            $0.kind == .message && $0.groupID?.bytes == old
        }
        for number in 1...3 {
            try doctor.say("\(number)")
            try world.settle()
        }
        world.tamper = nil
        for _ in 0..<3 { try world.pass(seconds: 61) }
        #expect(try patient.texts() == ["1", "2", "3"])
        #expect(try patient.reopenings() == [.unreadable])
        #expect(try doctor.reopenings() == [.unreadable])
    }

    // MARK: Two at once

    @Test(arguments: 1...8)
    func `when both reopen at once, one attempt holds and nothing is lost`(
        _ seed: UInt64
    ) async throws {
        let world = try World(seed: seed)
        let (patient, doctor) = try await world.open()
        try patient.say("eins")
        try doctor.say("zwei")
        if seed.isMultiple(of: 2) { try world.settle() }
        try patient.reopen()
        for _ in 0..<Int.random(in: 0...12, using: &world.random) { _ = try world.step() }
        try doctor.reopen()
        try patient.say("drei")
        try doctor.say("vier")
        try world.settle()
        for _ in 0..<3 { try world.pass(seconds: 61) }
        try expectWhole(
            world, [patient, doctor], texts: ["eins", "zwei", "drei", "vier"], reopened: nil)
    }

    @Test(arguments: 1...4)
    func `of two attempts of the same moment both sides choose the same`(
        _ seed: UInt64
    ) async throws {
        let world = try World(seed: seed)
        let (patient, doctor) = try await world.open()
        let moment = world.now + 1_000
        for device in [patient, doctor] {
            let number = try device.only().number
            try device.perform { turn in
                try turn.reopen(number, because: .byHand)
                try turn.modify(number) { consultation, _ in
                    consultation.record.reopening.beganAt = moment
                }
            }
            try device.say(device.name)
        }
        try world.settle()
        for _ in 0..<3 { try world.pass(seconds: 61) }
        try expectWhole(
            world, [patient, doctor], texts: [patient.name, doctor.name], reopened: nil)
    }

    @Test(arguments: 1...12)
    func `a consultation that one ends while the other reopens it is over for both`(
        _ seed: UInt64
    ) async throws {
        let world = try World(seed: seed)
        let (patient, doctor) = try await world.open()
        let (ending, other) = seed.isMultiple(of: 2) ? (patient, doctor) : (doctor, patient)
        let id = try patient.only().id
        try other.say("noch etwas")
        try other.reopen()
        for _ in 0..<Int.random(in: 0...16, using: &world.random) { _ = try world.step() }
        try ending.end()
        for _ in 0..<Int.random(in: 0...6, using: &world.random) { _ = try world.step() }
        if seed.isMultiple(of: 3) { try ending.crash() }
        if !other.engine.state.consultations.isEmpty { try? other.reopen() }
        try world.calm()
        for _ in 0..<4 { try world.pass(seconds: 61) }
        for device in [patient, doctor] {
            #expect(device.engine.state.consultations.isEmpty)
            #expect(try device.receipts().map(\.id) == [id])
        }
        #expect(world.relay.store.groupCount == 0)
        #expect(world.repeatedKeys == 0)
    }

    @Test func `a long outbox goes over to the fresh group, whole and in order`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(doctor)
        var texts: [String] = []
        for number in 0..<120 {
            texts.append("\(number)")
            try patient.say("\(number)")
            // Half of them reach the relay, the rest waits here.
            if number == 60 {
                try world.settle()
                world.disconnect(patient)
            }
        }
        try patient.reopen()
        try patient.crash()
        try world.calm()
        #expect(try doctor.texts() == texts)
        try expectWhole(world, [patient, doctor], texts: texts)
    }

    @Test(arguments: 1...10)
    func `reopening survives a stop before and after every commit`(_ seed: UInt64) async throws {
        let world = try World(seed: seed)
        world.options.refreshAfterMessages = 3
        world.options.reopeningsPerHour = 1_000
        let (patient, doctor) = try await world.open()
        let turmoil = Turmoil(world, patient, doctor)
        try turmoil.run(
            steps: 150,
            [
                .say: 14, .disconnect: 6, .connect: 10, .crash: 3, .crashBeforeCommit: 7,
                .crashAfterCommit: 7, .restartRelay: 2, .reopen: 3, .backUpRelay: 1,
                .restoreRelay: 2, .wait: 3,
            ])
        try world.calm()
        for _ in 0..<20 { try world.pass(seconds: 61) }
        for _ in 0..<4 { try world.pass(seconds: 3_600) }
        try turmoil.expectWhole(inOrder: false)
    }
}
