import Clinic
import ClinicTestSupport
import Credentials
import Cryptography
import FoundationEssentials
import Logging
import Prescriptions
import Relay
import RelayProtocol
import TestSupport
import Testing
import Vault
import WebSockets

@testable import Consultations

/// Devices over real sockets, with a relay in this process.
struct DeviceTests {
    @Test(.timeLimit(.minutes(4)))
    func `a whole consultation over real sockets`() async throws {
        let place = try Place()
        let doctor = try await place.doctor()
        let patient = try await place.patient()
        try await doctor.sync()
        let card = try await doctor.card()
        let asked = try await patient.request(card, at: Date.now, minutes: 15, reason: "Husten")
        try await patient.sync()
        #expect(try await patient.consultation(asked.id).state == .requested)

        // The doctor was offline all the while.
        try await doctor.sync()
        let request = try #require(try await doctor.consultations().first)
        #expect(request.id == asked.id)
        #expect(request.other?.name == "Paul Patient")
        #expect(request.reason == "Husten")
        #expect(request.minutes == 15)
        try await doctor.accept(request.id)
        let message = try await doctor.send("Guten Tag", to: request.id)
        #expect(message.state == .waiting)
        let relayed = try await doctor.relayed(
            message.id, in: request.id, timeout: .seconds(120))
        #expect(relayed.state >= .relayed)

        let code = try await patient.safetyCode(
            with: PersonID(identityKey: doctor.me().identityKey))
        let same = try await doctor.safetyCode(
            with: PersonID(identityKey: patient.me().identityKey))
        #expect(code == same)

        try await patient.sync()
        #expect(try await patient.consultation(asked.id).state == .open)
        #expect(try await patient.consultation(asked.id).unread == 2)
        try await patient.markRead(asked.id)
        #expect(try await patient.consultation(asked.id).unread == 0)
        try await patient.sync()
        try await doctor.sync()
        #expect(
            try await doctor.messages(of: request.id).filter(\.isMine).allSatisfy {
                $0.state == .read
            })

        let prepared = try await doctor.preparePrescription(
            try PrescriptionDraft(json: Array(PrescriptionDraft.exampleJSON.utf8)), in: request.id)
        await #expect(throws: DeviceError.vault(.wrongPassphrase)) {
            try await doctor.prescribe(
                prepared, in: request.id, passphrase: SecretBytes(Array("wrong".utf8)))
        }
        _ = try await doctor.prescribe(prepared, in: request.id, passphrase: place.passphrase)
        try await doctor.sync()
        try await patient.sync()

        #expect(try await doctor.end(request.id, wait: .milliseconds(300)) == nil)
        guard case .closing = try await doctor.consultation(request.id).state else {
            Issue.record("not closing")
            return
        }
        try await patient.sync()
        let receipt = try #require(try await patient.receipts().first)
        #expect(receipt.id == asked.id)
        _ = try patient.verifyReceipt(receipt.bytes)
        #expect(try await doctor.end(request.id, wait: .seconds(120))?.id == request.id)
        #expect(try await patient.prescriptions().map(\.isIssuedByMe) == [false])
        #expect(try await doctor.prescriptions().map(\.isIssuedByMe) == [true])
        #expect(try await patient.consultations().map(\.state.word) == ["erased"])
        await doctor.close()
        await patient.close()
    }

    @Test(.timeLimit(.minutes(4)))
    func `a relay that goes and comes back is found again, and nothing is lost`() async throws {
        let place = try Place()
        let doctor = try await place.doctor()
        let patient = try await place.patient()
        try await doctor.sync()
        let asked = try await patient.request(try await doctor.card(), at: Date.now)
        try await patient.sync()
        try await doctor.sync()
        try await doctor.accept(asked.id)
        await patient.connect()
        await doctor.connect()
        place.stopRelay()
        for number in 1...5 { _ = try await patient.send("\(number)", to: asked.id) }
        try place.startRelay()
        #expect(try await patient.flush(timeout: .seconds(120)))
        let arrived = await eventually {
            try await doctor.messages(of: asked.id).filter { !$0.isMine }.count == 6
        }
        #expect(arrived)
        let texts = try await doctor.messages(of: asked.id).compactMap {
            if case .text(let text) = $0.body { text } else { nil }
        }
        #expect(texts == ["1", "2", "3", "4", "5"])
        await doctor.close()
        await patient.close()
    }

    @Test(.timeLimit(.minutes(4)))
    func `everything that happens is told to everyone who listens`() async throws {
        let place = try Place()
        let doctor = try await place.doctor()
        let patient = try await place.patient()
        try await doctor.sync()
        let events = await patient.events()
        let second = await patient.events()
        await patient.connect()
        await doctor.connect()
        let asked = try await patient.request(try await doctor.card(), at: Date.now)
        for await event in await doctor.events() {
            if case .message(let id, let message) = event, case .request = message.body {
                try await doctor.accept(id)
                _ = try await doctor.send("Guten Tag", to: id)
                break
            }
        }
        var words: [String] = []
        for await event in events {
            if case .consultation(let consultation) = event {
                words.append(consultation.state.word)
            }
            if case .message(let id, let message) = event, message.body == .text("Guten Tag") {
                #expect(id == asked.id)
                #expect(!message.isMine)
                break
            }
        }
        #expect(words.first == "requesting")
        #expect(words.contains("requested"))
        #expect(words.last == "open")
        await patient.close()
        var seen = 0
        for await _ in second { seen += 1 }
        #expect(seen > 4)
        await doctor.close()
    }

    @Test(.timeLimit(.minutes(4)))
    func `an interrupted join can be repeated, a finished one not`() async throws {
        let place = try Place()
        let home = place.folder.file("interrupted")
        try Vault.create(at: home, passphrase: place.passphrase, cost: .minimal).close()
        let invitation = try place.invitation(.patient, "Paul Patient")
        let device = try await Device.join(
            invitation, home: home, passphrase: place.passphrase, options: place.options)
        #expect(try await device.me().name == "Paul Patient")
        await device.close()
        await #expect(throws: DeviceError.vault(.alreadyExists)) {
            try await Device.join(
                invitation, home: home, passphrase: place.passphrase, options: place.options)
        }
        let wrong = SecretBytes(Array("wrong".utf8))
        await #expect(throws: DeviceError.vault(.wrongPassphrase)) {
            try await Device.open(home: home, passphrase: wrong, options: place.options)
        }
    }

    @Test(.timeLimit(.minutes(4)))
    func `without a relay everything waits, and that is said`() async throws {
        let place = try Place()
        let patient = try await place.patient()
        place.stopRelay()
        await #expect(throws: DeviceError.self) {
            try await patient.sync(timeout: .seconds(1))
        }
        #expect(try await patient.me().isRegistered == false)
        await patient.close()
        await #expect(throws: DeviceError.closed) { try await patient.me() }
    }
}

/// A clinic, and a relay on a free port of this machine.
final class Place {
    let clinic: TestClinic
    let folder: TemporaryFolder
    let passphrase = SecretBytes(Array("a passphrase".utf8))
    private(set) var relay: RelayServer
    /// Nobody else gets it while the relay is away.
    private let held: HeldPort
    private var isRunning = true
    var options = DeviceOptions()

    init() throws {
        clinic = try TestClinic()
        folder = try TemporaryFolder()
        options.passphraseCost = .minimal
        options.shelfTarget = 2
        options.backoff = .milliseconds(20) ... .milliseconds(200)
        held = try HeldPort()
        relay = try Self.start(folder.file("relay"), clinic, port: held.port)
    }

    deinit {
        // The folder goes with this object, and a relay that ends still writes to it.
        stopRelay()
    }

    private static func start(
        _ path: String, _ clinic: TestClinic, port: UInt16
    ) throws -> RelayServer {
        var configuration = RelayConfiguration(
            dataFolder: path, clinicRoot: clinic.rootKey.publicKey)
        configuration.settings.listen = SocketAddress(host: "127.0.0.1", port: port)
        var logger = Logger(label: "relay")
        logger.logLevel = .critical
        return try RelayServer(configuration, log: logger) { fatalError("relay: \($0)") }
    }

    func stopRelay() {
        guard isRunning else { return }
        isRunning = false
        relay.stop()
        relay.wait()
    }

    func startRelay() throws {
        relay = try Self.start(folder.file("relay"), clinic, port: held.port)
        isRunning = true
    }

    func invitation(_ role: PersonRole, _ name: String) throws -> Invitation {
        try clinic.invitation(
            role: role, name: name, reference: name, relayURL: "ws://127.0.0.1:\(held.port)",
            relayKey: relay.identityKey)
    }

    func patient(_ name: String = "Paul Patient") async throws -> Device {
        try await Device.join(
            invitation(.patient, name), home: folder.file(name), passphrase: passphrase,
            options: options)
    }

    func doctor(_ name: String = "Dr. Ada Lind") async throws -> Device {
        let device = try await Device.join(
            invitation(.doctor, name), home: folder.file(name), passphrase: passphrase,
            options: options)
        let requests = try CertificateRequests(
            pem: try await device.certificateRequest(passphrase: passphrase))
        let certificates = try clinic.authority.certify(
            DoctorEntry(name: name, licence: "DE-1", specialty: "General practice"),
            identityKey: requests.identityKey, prescriptionKey: requests.prescriptionKey,
            at: clinic.date, days: 365)
        try await device.importCertificates(pem: certificates.pem)
        return device
    }
}

/// Whether something becomes true within a while.
func eventually(
    within seconds: Int = 120, _ condition: () async throws -> Bool
) async -> Bool {
    for _ in 0..<(seconds * 50) {
        if (try? await condition()) == true { return true }
        try? await Task.sleep(for: .milliseconds(20))
    }
    return false
}
