import Clinic
import ClinicTestSupport
import Credentials
import Cryptography
import Foundation
import TestSupport
import Testing

/// The authority's folder.
struct `The clinic's folder` {
    let date = Date(timeIntervalSince1970: 1_800_000_000)
    let temporary: TemporaryFolder
    let folder: String
    let passphrase = SecretBytes(Array("correct horse".utf8))

    init() throws {
        temporary = try TemporaryFolder()
        folder = temporary.file("clinic")
    }

    private func create() throws -> ClinicHome {
        try ClinicHome.create(
            at: folder, name: "Clinic on the Hill", passphrase: passphrase, at: date,
            cost: .minimal)
    }

    private func terms() throws -> InvitationTerms {
        try InvitationTerms(
            relayURL: "ws://127.0.0.1:1", relayKey: SigningKey().publicKey,
            joinBefore: date.addingTimeInterval(1000), vouchUntil: date.addingTimeInterval(2000))
    }

    @Test func `keeps root and keys from one opening to the next`() throws {
        let root = try create().root
        let clinic = try ClinicHome.open(at: folder)
        #expect(clinic.root == root)
        let keys = try clinic.unlock(passphrase: passphrase)
        #expect(keys.authority.key.publicKey == root.key)
        #expect(throws: ClinicError.wrongPassphrase) {
            try clinic.unlock(passphrase: SecretBytes(Array("wrong".utf8)))
        }
    }

    @Test func `holds the root key only sealed, and is its owner's alone`() throws {
        let keys = try create().unlock(passphrase: passphrase)
        let seed = keys.authority.key.seed.exposedCopy()
        let manager = FileManager.default
        for name in try manager.contentsOfDirectory(atPath: folder) {
            let path = folder + "/" + name
            let content = try Data(contentsOf: URL(fileURLWithPath: path))
            #expect(content.range(of: Data(seed)) == nil)
            let mode = try manager.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect((mode ?? 0o777) & 0o077 == 0)
        }
        let mode = try manager.attributesOfItem(atPath: folder)[.posixPermissions] as? Int
        #expect((mode ?? 0o777) & 0o077 == 0)
    }

    @Test func `is founded once`() throws {
        _ = try create()
        #expect(throws: ClinicError.alreadyExists) { _ = try create() }
        #expect(throws: ClinicError.notFound) { _ = try ClinicHome.open(at: folder + "-not") }
    }

    @Test func `changes its passphrase`() throws {
        let clinic = try create()
        let other = SecretBytes(Array("battery staple".utf8))
        try clinic.changePassphrase(
            of: clinic.unlock(passphrase: passphrase), to: other, cost: .minimal)
        _ = try clinic.unlock(passphrase: other)
        #expect(throws: ClinicError.wrongPassphrase) { try clinic.unlock(passphrase: passphrase) }
    }

    /// Opens the folder for a while, as one command does.
    private func session<Result>(_ body: (ClinicHome, ClinicKeys) throws -> Result) throws -> Result
    {
        let clinic = try ClinicHome.open(at: folder)
        return try body(clinic, clinic.unlock(passphrase: passphrase))
    }

    private func issue(
        _ clinic: ClinicHome, _ keys: ClinicKeys
    ) throws -> (issued: [(voucher: IssuedVoucher, invitation: Invitation)], DoctorCertificates) {
        let people = [
            try InvitationEntry(role: .patient, name: "Paul Patient", born: "1980-01-01"),
            try InvitationEntry(role: .guest, name: "Gerda Guest", reference: "G-1"),
        ]
        let issued = try clinic.invite(people, on: terms(), with: keys, at: date)
        let requests = try CertificateRequests(
            pem: CertificateRequests.make(
                name: "Dr. Somebody Else", identity: SigningKey(), prescription: SigningKey()))
        let certificates = try clinic.certify(
            DoctorEntry(name: "Dr. Ada Lind", licence: "DE-1", specialty: "Surgery"),
            requests: requests, days: 100, with: keys, at: date)
        // What the requests say doesn't count.
        let doctor = try DoctorCertificate.verify(
            chain: certificates.identity, for: .identity, root: clinic.root, at: date)
        #expect(doctor.name == "Dr. Ada Lind")
        #expect(doctor.key == requests.identityKey)
        return (issued, certificates)
    }

    @Test func `remembers what was issued and withdrawn`() throws {
        do { _ = try create() }
        let (issued, certificates) = try session(issue)
        let serial = try session { clinic, _ in
            #expect(clinic.vouchers == issued.map(\.voucher))
            #expect(clinic.certificates.map(\.use) == ["identity", "prescription"])
            let prefix = String(issued[0].voucher.serial.prefix(10))
            let voucher = try clinic.revokeVoucher(prefix, at: date)
            #expect(voucher.serial == issued[0].voucher.serial)
            let serial = try #require(clinic.certificates.first).serial
            _ = try clinic.revokeCertificate(serial, reason: .keyCompromise, at: date)
            return serial
        }
        try session { clinic, keys in
            let reason = clinic.withdrawal(of: serial)?.reason
            #expect(reason == RevocationReason.keyCompromise.rawValue)
            #expect(throws: ClinicError.alreadyRevoked) {
                try clinic.revokeCertificate(serial, reason: .superseded, at: date)
            }
            for unknown in ["zz", "", serial] {
                #expect(throws: ClinicError.unknownSerial) {
                    try clinic.revokeVoucher(unknown, at: date)
                }
            }
            let revocations = try clinic.revocationList(with: keys, at: date)
                .verified(by: clinic.root, at: date)
            #expect(revocations.number == 1)
            #expect(revocations.entries.count == 2)
            #expect(revocations.isRevoked(serial: certificates.identitySerial, at: date))
            #expect(!revocations.isRevoked(serial: certificates.prescriptionSerial, at: date))
            #expect(throws: CredentialError.revoked(.voucher)) {
                try issued[0].invitation.voucher.verify(
                    root: clinic.root, at: date, revocations: revocations)
            }
        }
        try session { clinic, keys in
            let next = try clinic.revocationList(with: keys, at: date)
            #expect(try next.verified(by: clinic.root, at: date).number == 2)
        }
    }

    @Test func `survives a torn last line and refuses a damaged one`() throws {
        do {
            let clinic = try create()
            let keys = try clinic.unlock(passphrase: passphrase)
            let person = try InvitationEntry(role: .patient, name: "Paul Patient")
            _ = try clinic.invite([person], on: terms(), with: keys, at: date)
        }
        let path = folder + "/ledger"
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        for count in stride(from: 1, to: whole.count, by: 17) {
            try (whole + whole.prefix(count)).write(to: URL(fileURLWithPath: path))
            #expect(try ClinicHome.open(at: folder).vouchers.count == 1)
        }
        do {
            let clinic = try ClinicHome.open(at: folder)
            let keys = try clinic.unlock(passphrase: passphrase)
            let person = try InvitationEntry(role: .patient, name: "Petra Patient")
            _ = try clinic.invite([person], on: terms(), with: keys, at: date)
        }
        #expect(
            try ClinicHome.open(at: folder).vouchers.map(\.name)
                == ["Paul Patient", "Petra Patient"])
        try (Data("{}\n".utf8) + whole).write(to: URL(fileURLWithPath: path))
        #expect(throws: ClinicError.damaged("ledger")) { _ = try ClinicHome.open(at: folder) }
    }

    @Test func `refuses keys that were cut off or belong to another root`() throws {
        _ = try create()
        let path = folder + "/keys"
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        for count in stride(from: 0, to: whole.count, by: 7) {
            try whole.prefix(count).write(to: URL(fileURLWithPath: path))
            #expect(throws: ClinicError.damaged("keys")) {
                try ClinicHome.open(at: folder).unlock(passphrase: passphrase)
            }
        }
        try whole.write(to: URL(fileURLWithPath: path))
        let other = try TestClinic(name: "Elsewhere", at: date).root
        try Data(other.pem.utf8).write(to: URL(fileURLWithPath: folder + "/root.pem"))
        #expect(throws: ClinicError.wrongPassphrase) {
            try ClinicHome.open(at: folder).unlock(passphrase: passphrase)
        }
    }
}

/// What the clinic accepts to say.
struct `What the clinic signs` {
    let date = Date(timeIntervalSince1970: 1_800_000_000)

    @Test func `needs a proper name, licence, specialty and time`() throws {
        #expect(throws: ClinicError.invalid(.name)) { try ClinicRoot(name: "", at: date) }
        #expect(throws: ClinicError.invalid(.name)) {
            try ClinicRoot(name: String(repeating: "x", count: 65), at: date)
        }
        #expect(throws: ClinicError.invalid(.name)) {
            try DoctorEntry(name: "a\u{7}b", licence: "1", specialty: "x")
        }
        #expect(throws: ClinicError.invalid(.licence)) {
            try DoctorEntry(name: "Dr. A", licence: "ä", specialty: "x")
        }
        #expect(throws: ClinicError.invalid(.licence)) {
            try DoctorEntry(name: "Dr. A", licence: "", specialty: "x")
        }
        #expect(throws: ClinicError.invalid(.specialty)) {
            try DoctorEntry(name: "Dr. A", licence: "1", specialty: "")
        }
        #expect(throws: ClinicError.invalid(.born)) {
            try InvitationEntry(role: .patient, name: "P", born: "1.1.1980")
        }
        let clinic = try TestClinic(at: date)
        #expect(throws: ClinicError.invalid(.validity)) { try clinic.doctor(days: 0) }
        #expect(throws: ClinicError.invalid(.validity)) { try clinic.doctor(days: .max) }
        #expect(throws: ClinicError.invalid(.validity)) {
            try clinic.invitation(
                joinBefore: date.addingTimeInterval(2), vouchUntil: date.addingTimeInterval(1))
        }
    }

    @Test func `a key that is not the certificate's makes no root`() throws {
        let clinic = try TestClinic(at: date)
        #expect(throws: ClinicError.credential(.wrongKey(.root))) {
            try ClinicRoot(certificate: clinic.root, key: SigningKey())
        }
    }
}

/// Tables of people to invite.
struct `Tables of people` {
    @Test func `are read with quotes, blanks, any line ends and headings in any order`() throws {
        let text =
            "\u{FEFF}Born, NAME ,reference,role\r\n"
            + "1980-02-29,\"Feld, \"\"Joe\"\" Jonas\", P-7 ,\r\n\r\n,Åsa Öst,,guest\n"
        let people = try PersonTable.read(text, role: .patient)
        #expect(people.map(\.name) == ["Feld, \"Joe\" Jonas", "Åsa Öst"])
        #expect(people.map(\.born) == ["1980-02-29", ""])
        #expect(people.map(\.reference) == ["P-7", ""])
        #expect(people.map(\.role) == [.patient, .guest])
    }

    @Test(arguments: [
        ("", 1), ("born\n1980-01-01\n", 1), ("name,phone\nA,1\n", 1), ("name,name\nA,B\n", 1),
        ("name\n", 2), ("name\nA\nB,C\n", 3), ("name,born\nA,1.1.80\n", 2),
        ("name\nA\n\"B\n", 4), ("name\n\"A\"x\n", 2), ("name,role\nA,king\n", 2),
        ("name\n\"\"\n", 2),
    ])
    func `with a bad line name the line`(_ text: String, _ line: Int) throws {
        #expect(throws: ClinicError.invalid(.table(line: line))) {
            try PersonTable.read(text, role: .patient)
        }
    }

    @Test func `without roles need one from outside`() throws {
        #expect(throws: ClinicError.invalid(.table(line: 2))) {
            try PersonTable.read("name\nA\n", role: nil)
        }
    }
}
