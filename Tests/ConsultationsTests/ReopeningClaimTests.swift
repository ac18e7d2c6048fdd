import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import RelayTestSupport
import TLSSyntax
import TestSupport
import Testing
import Vault

@testable import Consultations

/// Whose consultation goes on by a reopening and whose doesn't: nobody else's, none that is over,
/// and none for ever.
struct ReopeningClaimTests {
    @Test func `another person can't go on with a consultation, and both sides stay as they were`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let id = try patient.only().id
        let mallory = try await world.addPatient("Mallory Moss", reference: "P-666")
        try world.connect(mallory)
        try world.settle()
        try mallory.request(try doctor.card())
        try world.settle()
        // Mallory's device names the patient's consultation as the one that it goes on with.
        let number = try mallory.only().number
        try mallory.perform { turn in
            try turn.modify(number) { consultation, _ in
                consultation.record.consultation = Data(id.bytes)
            }
            try turn.reopen(number, because: .byHand)
        }
        try world.settle()
        let held = doctor.engine.state.consultations.values.first { $0.id == id }
        let name = held?.record.other.name
        #expect(name == "Paul Patient")
        let told = doctor.events.contains {
            if case .message(id, let message) = $0 {
                message.body == .notice(.otherKey)
            } else {
                false
            }
        }
        #expect(told)
        try patient.say("nur für Sie")
        try world.settle()
        #expect(try patient.messages().last?.state == .delivered)
    }

    @Test func `a KeyPackage that can't be added doesn't stop the device`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let state = patient.engine.state
        let key = try SigningKey().publicKey.bytes
        var leaf = try state.leaf(mailbox: try #require(MailboxID(key)))
        // The doctor shows a certificate, and the patient's leaf says that it can't read those.
        leaf.capabilities.credentials = [.basic]
        let now = world.now / 1_000
        let bundle = try KeyPackageBundle(
            suite: .consultations, leaf: leaf, signingKey: state.identity,
            lifetime: Lifetime(notBefore: now - 10, notAfter: now + 1_000))
        let entry = try ShelfEntry(
            keyPackage: bundle.keyPackage.encoded(), mailbox: key, permit: JoinPermit().secret)
        let sealed = try entry.sealed(shelfKey: state.shelfKey, shelf: state.home.bytes)
        var claims = 0
        world.alter(answersTo: doctor) { outcome in
            guard case .keyPackage = outcome else { return outcome }
            claims += 1
            return .keyPackage(sealed: sealed, lastResort: false)
        }
        try doctor.reopen()
        try world.settle()
        #expect(claims == 1)
        #expect(doctor.troubles.isEmpty)
        #expect(try doctor.only().record.phase == .reopening)
        world.tamper = nil
        try world.pass(seconds: 61)
        try doctor.say("jetzt")
        try world.settle()
        #expect(try patient.texts() == ["jetzt"])
    }

    @Test func `nobody makes a second consultation under the name of another`() async throws {
        let world = try World()
        let (_, doctor) = try await world.open()
        let id = try doctor.only().id
        let mallory = try await world.addPatient("Mallory Moss", reference: "P-666")
        try world.connect(mallory)
        try world.settle()
        let card = try doctor.card()
        func request() throws {
            try mallory.perform { turn in
                let number = try turn.request(
                    card, time: world.now / 1_000 + 3_600, minutes: 20, reason: "")
                try turn.modify(number) { consultation, _ in
                    let rest = Random.bytes(GroupID.byteCount - id.bytes.count)
                    consultation.record.groupID = Data(id.bytes + rest)
                }
            }
            try world.settle()
        }
        try request()
        #expect(doctor.engine.state.consultations.count == 1)
        #expect(try doctor.only().record.other.name == "Paul Patient")
        // Nor does it come back when it has ended here.
        try doctor.perform { turn in
            let number = try #require(turn.state.consultations.keys.first)
            try turn.lock(number, .removed)
            try turn.end(number)
        }
        try request()
        #expect(doctor.engine.state.consultations.isEmpty)
    }

    @Test func `ending one consultation leaves the mailbox that others have to them`()
        async throws
    {
        let world = try World()
        world.options.shelfTarget = 1
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        try world.settle()
        _ = try await world.ask(doctor, patients: 3)
        try world.connect(doctor)
        try world.settle()
        let shared = Dictionary(
            grouping: doctor.engine.state.consultations.values, by: \.mailbox
        ).first { $0.value.count == 2 }
        let (id, served) = try #require(shared)
        try doctor.perform { turn in
            for consultation in served { try turn.lock(consultation.number, .removed) }
            try turn.takeOffShelf(try #require(turn.state.mailboxes[id]))
            try turn.end(served[0].number)
        }
        try doctor.crash()
        #expect(doctor.engine.state.mailboxes[id] != nil)
        #expect(doctor.engine.state.consultations[served[1].number]?.mailbox == id)
        try doctor.perform { try $0.end(served[1].number) }
        try doctor.crash()
        #expect(doctor.engine.state.mailboxes[id] == nil)
    }

    @Test(arguments: [true, false])
    func `a consultation that can't be reopened ends, by hand or on its last day`(
        _ isByHand: Bool
    ) async throws {
        let world = try World()
        let (patient, _) = try await world.open()
        world.alter(answersTo: patient) { outcome in
            guard case .keyPackage = outcome else { return outcome }
            return .refused(.shelfEmpty, retryAfterSeconds: 0)
        }
        try patient.reopen()
        try world.settle()
        try patient.end()
        try world.settle()
        // It is tried for a while: the other is to know that it is over.
        #expect(try patient.only().record.phase == .reopening)
        if isByHand {
            try patient.end(givingUp: true)
            try world.settle()
        } else {
            for _ in 0..<2 { try world.pass(seconds: 32 * 86_400) }
        }
        #expect(patient.engine.state.consultations.isEmpty)
        let erased = patient.events.contains { if case .erased = $0 { true } else { false } }
        #expect(erased)
        for _ in 0..<2 { try world.pass(seconds: 61) }
        try patient.crash()
        try world.connect(patient)
        try world.settle()
        // Only the old group's mailbox is left, for the receipt.
        let left = patient.engine.state.mailboxes.values.filter { $0.record.kind == .consultation }
        #expect(left.allSatisfy { !$0.closings.isEmpty })
    }

    @Test func `an attempt from tomorrow's tomorrow is turned away`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let group = try doctor.only().groupID
        let number = try patient.only().number
        for ahead in [UInt64.max, world.now + 3 * 86_400_000] {
            try patient.perform { turn in
                try turn.reopen(number, because: .byHand)
                try turn.modify(number) { consultation, _ in
                    consultation.record.reopening.beganAt = ahead
                }
            }
            try world.settle()
            #expect(try doctor.only().groupID == group)
            try patient.perform { turn in
                try turn.modify(number) { consultation, _ in
                    consultation.record.reopening.beganAt = world.now
                }
            }
        }
        try patient.reopen()
        try world.settle()
        try patient.say("nun")
        try world.settle()
        #expect(try doctor.texts() == ["nun"])
    }

    @Test func `what one side has ended isn't brought back by the other's reopening`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let id = try patient.only().id
        world.disconnect(patient)
        try patient.reopen()
        try doctor.end()
        try world.settle()
        try world.connect(patient)
        try world.settle()
        for _ in 0..<3 { try world.pass(seconds: 61) }
        for device in [patient, doctor] {
            #expect(device.engine.state.consultations.isEmpty)
        }
        #expect(try patient.receipts().map(\.id) == [id])
        #expect(try doctor.receipts().map(\.id).contains(id))
        #expect(world.relay.store.groupCount == 0)
    }

    @Test(arguments: [PersonRole.patient, .doctor])
    func `whoever reopens what a restored relay has lost hears that the other ended it`(
        _ role: PersonRole
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.meet()
        let backup = world.relay.store.committed
        try world.agree(patient, doctor)
        let id = try patient.only().id
        let (ended, late) = role == .patient ? (patient, doctor) : (doctor, patient)
        world.disconnect(late)
        try ended.end()
        try world.settle()
        #expect(ended.engine.state.consultations.isEmpty)
        try world.restoreRelay(backup)
        try world.connect(ended)
        try world.settle()
        try late.say("noch etwas")
        try world.connect(late)
        try world.settle()
        for _ in 0..<5 { try world.pass(seconds: 61) }
        for device in [ended, late] { #expect(device.engine.state.consultations.isEmpty) }
        #expect(try late.receipts().map(\.id) == [id])
        #expect(world.relay.store.groupCount == 0)
        // The receipt of the group that the relay has lost can't come: it isn't waited for much
        // longer than the relay would have kept it.
        #expect(ended.engine.state.isClosing(id))
        try world.pass(seconds: 38 * 86_400)
        try world.connect(ended)
        try world.settle()
        #expect(!ended.engine.state.isClosing(id))
        let hasEnded = try ended.engine.read { try $0.hasEnded(id) }
        #expect(hasEnded)
    }

    @Test(arguments: [PersonRole.patient, .doctor])
    func `a relay that has lost a Close and kept the group ends it all the same`(
        _ role: PersonRole
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        try patient.say("eins")
        try world.settle()
        let id = try patient.only().id
        let (ended, late) = role == .patient ? (patient, doctor) : (doctor, patient)
        world.disconnect(late)
        let backup = world.relay.store.committed
        try ended.end()
        try world.settle()
        #expect(ended.engine.state.consultations.isEmpty)
        try world.restoreRelay(backup)
        try late.say("noch etwas")
        for device in [late, ended] { try world.connect(device) }
        try world.settle()
        for _ in 0..<5 { try world.pass(seconds: 61) }
        for device in [ended, late] {
            #expect(device.engine.state.consultations.isEmpty)
            #expect(try device.receipts().map(\.id) == [id])
        }
        #expect(world.relay.store.groupCount == 0)
    }
}
