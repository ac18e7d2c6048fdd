import ClinicTestSupport
import Credentials
import Cryptography
import Foundation
import MLS
import Prescriptions
import RelayProtocol
import RelayTestSupport
import TLSSyntax
import TestSupport
import Testing
import Vault

@testable import Consultations

/// The client's side of the attack table: what a rogue relay, a rogue member and a thief get.
struct AttackTests {
    // MARK: The relay

    @Test func `a challenge that the pinned relay did not sign opens nothing`() async throws {
        let world = try World()
        let other = try TestRelay(clinicRoot: world.clinic.rootKey.publicKey)
        let patient = try await world.addPatient()
        // The rogue relay asks the other relay for a challenge to the patient's nonce.
        world.tamper = { _, device in
            let id = other.connect()
            let nonce = Random.bytes(32)
            let hello = ClientFrame(hello: Hello(nonce: nonce)).encoded()
            return other.receive(hello, from: id).first?.1
        }
        try world.connect(patient)
        try world.settle()
        #expect(patient.troubles == [.untrusted])
        #expect(!patient.engine.state.profile.registered)
        #expect(world.relay.store.mailboxCount == 0)
    }

    @Test func `a challenge of an earlier connection opens nothing`() async throws {
        let world = try World()
        let patient = try await world.addPatient()
        var recorded: RelayFrame?
        world.tamper = { frame, _ in
            if frame.challenge != nil { recorded = frame }
            return frame
        }
        try world.connect(patient)
        try world.settle()
        #expect(patient.engine.state.openedHome)
        world.tamper = { frame, _ in frame.challenge == nil ? frame : recorded }
        try world.connect(patient)
        try world.settle()
        #expect(patient.troubles == [.untrusted])
    }

    @Test func `frames that are none, or come in the wrong place, end the connection`() async throws
    {
        let world = try World()
        let patient = try await world.addPatient()
        try world.connect(patient)
        try patient.work { try $0.receive([0xff, 0x01, 0x02], at: world.now) }
        #expect(patient.troubles == [.protocolViolation])
        try world.settle()
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<500 {
            let octets = generator.bytes(Int.random(in: 0..<200, using: &generator))
            try patient.work { try $0.receive(octets, at: world.now) }
        }
    }

    // MARK: KeyPackages

    @Test(arguments: Swap.allCases)
    func `a swapped KeyPackage is not used`(_ swap: Swap) async throws {
        let world = try World()
        let doctor = try await world.addDoctor()
        let other = try await world.addDoctor("Dr. Eve Moss")
        try world.connect(doctor)
        try world.settle()
        let patient = try await world.addPatient()
        try world.connect(patient)
        try world.settle()
        let sealed = try swap.package(of: doctor, other: other)
        world.tamper = { frame, device in
            var frame = frame
            frame.replies = frame.replies.map { reply in
                guard device === patient, case .keyPackage = reply.outcome else { return reply }
                return Reply(
                    mailbox: reply.mailbox, id: reply.id,
                    outcome: .keyPackage(sealed: sealed, lastResort: false))
            }
            return frame
        }
        try patient.request(try doctor.card())
        try world.settle()
        #expect(patient.stateWords == ["failed"])
        #expect(try patient.only().trouble == .wrongKeyPackage)
        #expect(try patient.only().group == nil)
        #expect(world.relay.store.groupCount == 0)
        // The person may let it go.
        try patient.end()
        try world.settle()
        #expect(patient.engine.state.consultations.isEmpty)
    }

    enum Swap: CaseIterable, Sendable {
        case othersDoctor, weakerSuite, expired, otherMailbox, unfitCapabilities, noise

        func package(of doctor: TestDevice, other: TestDevice) throws -> [UInt8] {
            let state = doctor.engine.state
            let mailbox = try SigningKey().publicKey.bytes
            guard let id = MailboxID(mailbox) else { return [] }
            let now = doctor.world.now / 1_000
            var signer = state
            var suite = CipherSuite.consultations
            var lifetime = Lifetime(notBefore: now - 10, notAfter: now + 1_000)
            var named = mailbox
            var credentials = [CredentialType.basic, .x509]
            switch self {
            case .othersDoctor: signer = other.engine.state
            case .weakerSuite: suite = .x25519AES128
            case .expired: lifetime = Lifetime(notBefore: now - 1_000, notAfter: now - 10)
            case .otherMailbox: named = try SigningKey().publicKey.bytes
            case .unfitCapabilities: credentials = [.x509]
            case .noise: return Random.bytes(500)
            }
            var leaf = try signer.leaf(mailbox: id)
            leaf.capabilities.credentials = credentials
            let bundle = try KeyPackageBundle(
                suite: suite, leaf: leaf, signingKey: signer.identity, lifetime: lifetime)
            let entry = try ShelfEntry(
                keyPackage: bundle.keyPackage.encoded(), mailbox: named,
                permit: JoinPermit().secret)
            return try entry.sealed(shelfKey: state.shelfKey, shelf: state.home.bytes)
        }
    }

    @Test func `a KeyPackage that was used is not used again`() async throws {
        let world = try World()
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        try world.settle()
        let patient = try await world.addPatient()
        try world.connect(patient)
        try world.settle()
        var first: Outcome?
        world.tamper = { frame, device in
            var frame = frame
            frame.replies = frame.replies.map { reply in
                guard case .keyPackage = reply.outcome else { return reply }
                first = first ?? reply.outcome
                return Reply(
                    mailbox: reply.mailbox, id: reply.id, outcome: first ?? reply.outcome)
            }
            return frame
        }
        try patient.request(try doctor.card())
        try world.settle()
        try patient.request(try doctor.card())
        try world.settle()
        #expect(patient.stateWords.sorted() == ["failed", "requested"])
    }

    @Test func `a card of another clinic's doctor, or of another relay, is refused`() async throws {
        let world = try World()
        let elsewhere = try World()
        let foreign = try await elsewhere.addDoctor()
        let patient = try await world.addPatient()
        #expect(throws: DeviceError.self) { try patient.request(try foreign.card()) }
        #expect(patient.engine.state.consultations.isEmpty)

        let doctor = try await world.addDoctor()
        let state = doctor.engine.state
        let now = Date(milliseconds: world.now)
        let card = try Card(
            signing: try CardContent(
                relayURL: "ws://127.0.0.1:1", relayKey: SigningKey().publicKey,
                shelf: state.home.bytes, shelfKey: state.shelfKey,
                chain: state.profile.practice.identityChain.map { [UInt8]($0) },
                cipherSuite: CardSuite.required, issued: now,
                expires: now.addingTimeInterval(1_000)), with: state.identity)
        #expect(throws: DeviceError.foreignCard) { try patient.request(card) }
    }

    // MARK: Who asks

    @Test(arguments: [true, false])
    func `a patient without a voucher, or with another's, is closed and not shown`(
        _ hasAnothers: Bool
    ) async throws {
        let world = try World()
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        try world.settle()
        let patient = try await world.addPatient()
        let other = try world.clinic.person(name: "Olga Other")
        try patient.perform { turn in
            turn.state.profile.voucher = hasAnothers ? Data(other.voucher.bytes) : Data()
            turn.state.profile.endorsement = hasAnothers ? Data(other.endorsement.bytes) : Data()
        }
        try world.connect(patient)
        try world.settle()
        try patient.request(try doctor.card())
        try world.settle()
        let refused = doctor.events.contains {
            if case .trouble(_, .patientNotVouched) = $0 { true } else { false }
        }
        #expect(refused)
        #expect(doctor.engine.state.consultations.isEmpty)
        #expect(patient.engine.state.consultations.isEmpty)
        #expect(world.relay.store.groupCount == 0)
    }

    @Test func `a voucher that comes with a second identity key is refused`() async throws {
        let world = try World()
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        try world.settle()
        let invitation = try world.clinic.invitation()
        for isFirst in [true, false] {
            let patient = try await world.addPatient()
            try patient.perform { turn in
                let key = turn.state.identity.publicKey
                turn.state.profile.voucher = Data(invitation.voucher.bytes)
                turn.state.profile.endorsement = Data(try invitation.endorse(key).bytes)
            }
            try world.connect(patient)
            try world.settle()
            for _ in 1...2 {
                try patient.request(try doctor.card())
                try world.settle()
            }
            #expect(patient.engine.state.consultations.isEmpty == !isFirst)
            #expect(doctor.engine.state.consultations.count == 2)
        }
    }

    @Test func `a prescription of another doctor, or for another person, is not kept`() throws {
        let clinic = try TestClinic()
        let doctor = try clinic.doctor()
        let person = try clinic.person()
        let prepared = try PreparedPrescription(
            try PrescriptionDraft(json: Array(PrescriptionDraft.exampleJSON.utf8)),
            patient: try VerifiedPerson.verify(
                voucher: person.voucher, endorsement: person.endorsement,
                identityKey: person.identityKey.publicKey, root: clinic.root, at: clinic.date),
            chain: doctor.prescriptionChain, root: clinic.root, at: clinic.date)
        let other = try clinic.person(name: "Olga Other")
        #expect(prepared.document.isMeant(for: person.voucher.content, byLicence: "DE-12345"))
        #expect(!prepared.document.isMeant(for: other.voucher.content, byLicence: "DE-12345"))
        #expect(!prepared.document.isMeant(for: person.voucher.content, byLicence: "DE-99999"))
    }

    @Test func `a forged Welcome is dropped and blocks nothing`() async throws {
        let world = try World()
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        try world.settle()
        let shelf = try #require(
            doctor.engine.state.mailboxes.values.first { $0.record.kind == .shelf })
        for count in [0, 1, 40, 3_000] {
            let frame = RelayFrame(deliveries: [
                Delivery(
                    mailbox: shelf.id, id: try #require(DeliveryID(Random.bytes(16))),
                    kind: .welcome, groupID: GroupID(Random.bytes(32)),
                    content: Random.bytes(count))
            ])
            try doctor.receive(frame)
        }
        #expect(doctor.engine.state.consultations.isEmpty)
        // The KeyPackage is still good.
        let patient = try await world.addPatient()
        try world.connect(patient)
        try world.settle()
        try patient.request(try doctor.card())
        try world.settle()
        #expect(doctor.stateWords == ["requested"])
    }

    // MARK: Messages

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
        world.tamper = { frame, device in
            var frame = frame
            guard device === patient else { return frame }
            frame.deliveries = frame.deliveries.map { delivery in
                var delivery = delivery
                delivery.kind = kind
                delivery.content[delivery.content.count - 1] ^= 1
                return delivery
            }
            return frame
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
        let gaps = try patient.messages().filter { $0.body == .gap(.undecryptable) }
        #expect(gaps.count == 1)
        // The queue goes on, and the sender learns that the message is missing.
        try doctor.say("more words")
        try world.settle()
        #expect(try patient.texts() == ["more words"])
        #expect(
            try patient.messages().filter { if case .gap = $0.body { true } else { false } }.count
                == 1)
        let states = try doctor.messages().filter(\.isMine).map(\.state)
        #expect(states == [.delivered, .relayed, .delivered])
    }

    @Test func `a message that the relay swallows is shown as a gap`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.tamper = { frame, device in
            var frame = frame
            if device === patient { frame.deliveries = [] }
            return frame
        }
        try doctor.say("swallowed")
        try world.settle()
        world.tamper = nil
        try doctor.say("seen")
        try world.settle()
        #expect(try patient.texts() == ["seen"])
        #expect(try patient.messages().contains { $0.body == .gap(.missing(counter: 2)) })
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
