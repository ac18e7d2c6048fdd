import Clinic
import ClinicTestSupport
import Credentials
import Cryptography
import FoundationEssentials
import Testing

/// The clinic's list of what was revoked.
struct `The revocation list` {
    let date = Date(timeIntervalSince1970: 1_800_000_000)
    let clinic: TestClinic

    init() throws { clinic = try TestClinic(at: date) }

    private func list(
        _ entries: [Revocation], from clinic: TestClinic? = nil, number: UInt64 = 1
    ) throws -> CertificateRevocationList {
        try (clinic ?? self.clinic).authority.revocationList(entries, number: number, at: date)
    }

    @Test(arguments: RevocationReason.allCases)
    func `a revoked certificate is refused from its date on, a compromised one always`(
        _ reason: RevocationReason
    ) throws {
        let doctor = try clinic.doctor()
        let entry = Revocation(
            serial: doctor.certificates.identitySerial, date: date, reason: reason)
        let revocations = try CertificateRevocationList(pem: list([entry]).pem)
            .verified(by: clinic.root, at: date)
        #expect(revocations.entries == [entry])
        func verify(_ offset: TimeInterval) throws {
            _ = try DoctorCertificate.verify(
                chain: doctor.identityChain, for: .identity, root: clinic.root,
                at: date.addingTimeInterval(offset), revocations: revocations)
        }
        #expect(throws: CredentialError.revoked(.certificate)) { try verify(0) }
        #expect(throws: CredentialError.revoked(.certificate)) { try verify(100) }
        if reason.sparesEarlierSignatures {
            try verify(-1)
        } else {
            #expect(throws: CredentialError.revoked(.certificate)) { try verify(-1) }
        }
        // The doctor's other certificate is another one.
        _ = try DoctorCertificate.verify(
            chain: doctor.prescriptionChain, for: .prescription, root: clinic.root, at: date,
            revocations: revocations)
    }

    @Test func `an empty list comes back`() throws {
        let revocations = try CertificateRevocationList(der: list([], number: 900).der)
            .verified(by: clinic.root, at: date)
        #expect(revocations.entries.isEmpty)
        #expect(revocations.number == 900)
        #expect(revocations.nextUpdate == date.addingTimeInterval(30 * 86_400))
    }

    @Test func `dates before 1950 and after 2049 come back`() throws {
        let entries = [-700_000_000, 2_524_608_000, 4_107_542_399, 951_782_400].map {
            Revocation(
                serial: [UInt8(truncatingIfNeeded: Int64($0) & 0x7f) | 1],
                date: Date(timeIntervalSince1970: $0), reason: .superseded)
        }
        let read = try CertificateRevocationList(der: list(entries).der)
        #expect(try read.verified(by: clinic.root, at: date).entries == entries)
    }

    @Test func `a serial with a high first bit stays positive`() throws {
        let entry = Revocation(serial: [0, 0xff, 1], date: date, reason: .unspecified)
        let revocations = try CertificateRevocationList(der: list([entry]).der)
            .verified(by: clinic.root, at: date)
        #expect(revocations.isRevoked(serial: [0xff, 1], at: date))
    }

    @Test func `another clinic's list is refused`() throws {
        let other = try TestClinic(name: "Elsewhere", at: date)
        let namesake = try TestClinic(at: date)
        for forger in [other, namesake] {
            let forged = try list([], from: forger)
            #expect(throws: CredentialError.wrongSignature(.revocationList)) {
                try forged.verified(by: clinic.root, at: date)
            }
        }
    }

    @Test func `a list of tomorrow and one that is overdue are refused`() throws {
        let list = try list([])
        #expect(throws: CredentialError.notYetValid(.revocationList)) {
            try list.verified(by: clinic.root, at: date.addingTimeInterval(-301))
        }
        #expect(throws: CredentialError.expired(.revocationList)) {
            try list.verified(by: clinic.root, at: date.addingTimeInterval(30 * 86_400 + 1))
        }
    }

    @Test func `no flipped bit and no other length of a list passes`() throws {
        let entry = Revocation(serial: [7, 7], date: date, reason: .keyCompromise)
        let der = try list([entry]).der
        for position in der.indices {
            var altered = der
            altered[position] ^= 1 << UInt8(position % 8)
            #expect(throws: CredentialError.self, "octet \(position)") {
                try CertificateRevocationList(der: altered).verified(by: clinic.root, at: date)
            }
            #expect(throws: CredentialError.malformed(.revocationList)) {
                try CertificateRevocationList(der: Array(der[..<position]))
            }
        }
        #expect(throws: CredentialError.malformed(.revocationList)) {
            try CertificateRevocationList(der: der + [0])
        }
    }

    @Test func `a withdrawn voucher is refused`() throws {
        let person = try clinic.person()
        let content = try person.voucher.verify(root: clinic.root, at: date)
        let entry = Revocation(serial: content.serial, date: date, reason: .privilegeWithdrawn)
        let revocations = try list([entry]).verified(by: clinic.root, at: date)
        #expect(throws: CredentialError.revoked(.voucher)) {
            try person.voucher.verify(root: clinic.root, at: date, revocations: revocations)
        }
    }
}
