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

/// The client's side of the attack table: what a rogue relay and a rogue patient get before there is
/// a consultation.
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
        world.alter(answersTo: patient) { outcome in
            guard case .keyPackage = outcome else { return outcome }
            return .keyPackage(sealed: sealed, lastResort: false)
        }
        try patient.request(try doctor.card())
        try world.settle()
        #expect(patient.stateWords == ["failed"])
        // One that is over may be good for whoever has the right time.
        #expect(try patient.only().trouble == (swap == .expired ? .clock : .wrongKeyPackage))
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
        let (patient, doctor) = try await world.meet()
        var first: Outcome?
        world.alter(answersTo: patient) { outcome in
            guard case .keyPackage = outcome else { return outcome }
            first = first ?? outcome
            return first ?? outcome
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
}
