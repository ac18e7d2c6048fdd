import Credentials
import Cryptography
import Foundation
import RelayProtocol
import RelayTestSupport
import Testing
import Vault

@testable import Consultations

/// The client's side of the attack table: what is done to messages, receipts and homes of a
/// consultation that is under way.
struct TheftTests {
    @Test func `a replayed message is not shown again`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        var recorded: [Delivery] = []
        world.tamper = { frame, device in
            if device === patient { recorded += frame.deliveries }
            return frame
        }
        try doctor.say("once")
        try world.settle()
        world.tamper = nil
        #expect(try patient.texts() == ["once"])
        for var delivery in recorded {
            // The same name, and then under a new one.
            try patient.receive(RelayFrame(deliveries: [delivery]))
            delivery.id = try #require(DeliveryID(Random.bytes(16)))
            try patient.receive(RelayFrame(deliveries: [delivery]))
        }
        try patient.crash()
        try world.connect(patient)
        try world.settle()
        #expect(try patient.texts() == ["once"])
        #expect(try patient.messages().count == 3)
    }

    @Test(arguments: [DeliveryKind.message, .commit, .closing])
    func `a tampered or forged ciphertext is a gap or a lock, never a message`(
        _ kind: DeliveryKind
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.alter(deliveriesTo: patient) { delivery in
            var delivery = delivery
            delivery.kind = kind
            delivery.content[delivery.content.count - 1] ^= 1
            return delivery
        }
        try doctor.say("true words")
        try world.settle()
        world.tamper = nil
        #expect(try patient.texts().isEmpty)
        if kind == .commit {
            #expect(patient.stateWords == ["locked"])
            return
        }
        #expect(patient.stateWords == ["open"])
        #expect(try patient.gaps() == [.undecryptable])
        // The queue goes on, and the sender learns that the message is missing.
        try doctor.say("more words")
        try world.settle()
        #expect(try patient.texts() == ["more words"])
        #expect(try patient.gaps().count == 1)
        let states = try doctor.messages().filter(\.isMine).map(\.state)
        #expect(states == [.delivered, .relayed, .delivered])
    }

    @Test func `what stands for a message that the relay's disk has damaged is a gap`() async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.alter(deliveriesTo: patient) { delivery in
            var delivery = delivery
            let id = delivery.id.bytes
            delivery.content = delivery.content.indices.map { id[$0 % id.count] }
            return delivery
        }
        try doctor.say("one")
        try doctor.say("two")
        try world.settle()
        world.tamper = nil
        #expect(try patient.gaps() == [.undecryptable, .undecryptable])
        try doctor.say("three")
        try world.settle()
        #expect(try patient.texts() == ["three"])
        #expect(try patient.gaps().isEmpty == false)
        #expect(patient.stateWords == ["open"])
    }

    @Test func `a message that the relay swallows is shown as a gap`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.alter(deliveriesTo: patient) { _ in nil }
        try doctor.say("swallowed")
        try world.settle()
        world.tamper = nil
        try doctor.say("seen")
        try world.settle()
        #expect(try patient.texts() == ["seen"])
        #expect(try patient.gaps() == [.missing(counter: 2)])
    }

    // MARK: Receipts

    @Test func `a receipt without a Close locks and does not wipe`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(patient)
        try doctor.say("hidden from the patient")
        try doctor.end()
        try world.settle()
        world.deliver(world.relay.pass(days: 31))
        try world.settle()
        #expect(try doctor.receipts().map(\.reason) == [.deadline])
        try world.connect(patient)
        try world.settle()
        #expect(patient.stateWords == ["locked"])
        #expect(try patient.only().record.standing.lock == .receiptWithoutClose)
        #expect(try !patient.messages().isEmpty)
        #expect(throws: DeviceError.notInState("locked")) { try patient.say("hello?") }
        // The person decides.
        try patient.end()
        #expect(patient.engine.state.consultations.isEmpty)
        #expect(try patient.receipts().map(\.reason) == [.deadline])
    }

    @Test func `when the day that both knew of has come, a late device erases by itself`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        try doctor.say("nie gelesen")
        try world.settle()
        world.disconnect(patient)
        world.disconnect(doctor)
        _ = world.relay.pass(days: 60)
        world.now += 60 * 86_400_000
        for device in [patient, doctor] { try world.connect(device) }
        try world.settle()
        for device in [patient, doctor] {
            #expect(device.engine.state.consultations.isEmpty)
            #expect(try device.receipts().map(\.reason) == [.deadline])
        }
        #expect(patient.lastWords.contains(.text("nie gelesen")))
    }

    @Test func `a receipt that the relay did not sign is nothing`() async throws {
        let world = try World()
        let (patient, _) = try await world.open()
        let consultation = try patient.only()
        let group = try #require(GroupID(consultation.groupID))
        let forged = try ErasureReceipt(
            group: group, erasedAt: world.now / 1_000, reason: .confirmed, messageCount: 0,
            mailboxCount: 2, identity: SigningKey())
        let frame = RelayFrame(deliveries: [
            Delivery(
                mailbox: consultation.mailbox, id: try #require(DeliveryID(Random.bytes(16))),
                kind: .receipt, groupID: nil, content: forged.encoded())
        ])
        try patient.receive(frame)
        #expect(patient.stateWords == ["open"])
        #expect(try patient.receipts().isEmpty)
    }

    // MARK: The home

    @Test func `a copied home sends nothing, and its shelf is emptied`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(doctor)
        let copy = doctor.home + " copy"
        doctor.engine.vault.close()
        try FileManager.default.copyItem(atPath: doctor.home, toPath: copy)
        try doctor.crash()
        try world.connect(doctor)
        try world.settle()
        try doctor.say("from the true one")
        try world.settle()
        world.disconnect(doctor)

        let thief = try world.addOpened("copy", home: copy)
        try thief.say("from the copy")
        try world.connect(thief)
        try world.settle()
        #expect(thief.troubles.last == .copied)
        #expect(thief.engine.state.profile.copied)
        #expect(thief.stateWords == ["locked"])
        #expect(try patient.texts() == ["from the true one"])
        #expect(throws: DeviceError.copied) { try thief.say("again") }
        // Withdrawn: nobody can write to keys that two devices hold.
        try patient.request(try doctor.card())
        try world.settle()
        #expect(patient.stateWords.sorted() == ["failed", "open"])
        // It stays so after a restart.
        try thief.crash()
        #expect(thief.engine.state.profile.copied)
    }

    @Test func `a stolen home without its passphrase gives nothing`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let marker = "Herzrasen seit Dienstag"
        try patient.say(marker)
        try world.settle()
        for device in [patient, doctor] {
            device.engine.vault.close()
            #expect(throws: VaultError.wrongPassphrase) {
                try Vault.open(at: device.home, passphrase: SecretBytes(Array("guess".utf8)))
            }
        }
        let names = ["Paul Patient", "Dr. Ada Lind", "Husten", marker].map { Data($0.utf8) }
        let keys = [patient, doctor].map { Data($0.engine.state.identity.seed.exposedCopy()) }
        for device in [patient, doctor] {
            for name in try FileManager.default.contentsOfDirectory(atPath: device.home) {
                let content = FileManager.default.contents(atPath: "\(device.home)/\(name)")
                for secret in names + keys {
                    #expect(content?.range(of: secret) == nil, "\(name)")
                }
            }
        }
        #expect(!world.relay.store.everything.contains { Data($0).range(of: names[3]) != nil })
    }
}
