import ClinicTestSupport
import Credentials
import Cryptography
import Foundation
import TestSupport
import X509

@testable import Prescriptions

/// A clinic with a doctor and a patient at a fixed time, and what goes out of their hands.
struct Practice {
    let clinic: TestClinic
    let doctor: TestDoctor
    let patient: VerifiedPerson
    let now: Date

    init(at now: Date = Date(timeIntervalSince1970: 1_795_000_000), days: Int = 365) throws {
        self.now = now
        clinic = try TestClinic(name: "Test Clinic", at: now)
        doctor = try clinic.doctor(days: days)
        let person = try clinic.person()
        patient = try VerifiedPerson.verify(
            voucher: person.voucher, endorsement: person.endorsement,
            identityKey: person.identityKey.publicKey, root: clinic.root, at: now)
    }

    func prepare(_ change: (inout PrescriptionDraft) -> Void = { _ in }) throws
        -> PreparedPrescription
    {
        var draft = try PrescriptionDraft(json: Array(PrescriptionDraft.exampleJSON.utf8))
        change(&draft)
        return try PreparedPrescription(
            draft, patient: patient, chain: doctor.prescriptionChain, root: clinic.root, at: now)
    }

    func prescription(_ change: (inout PrescriptionDraft) -> Void = { _ in }) throws
        -> Prescription
    {
        try prepare(change).sign(with: doctor.prescriptionKey, at: now)
    }

    /// Signs any header and payload with the doctor's key, as a modified program would.
    func forge(header: [UInt8]? = nil, payload: [UInt8]? = nil) throws -> [UInt8] {
        let honest = try prescription()
        return try CompactJWS(
            header: header ?? honest.jws.header, payload: payload ?? honest.jws.payload,
            key: doctor.prescriptionKey
        ).bytes
    }

    func verify(
        _ file: [UInt8], root: ClinicCertificate? = nil,
        revocations: CertificateRevocationList? = nil, at date: Date? = nil
    ) -> VerificationReport {
        Prescription.verify(
            file, root: root ?? clinic.root, revocations: revocations, at: date ?? now)
    }
}

extension VerificationReport {
    /// The checks that failed.
    var failed: [Check] {
        lines.compactMap { line in
            if case .fail = line.outcome { line.check } else { nil }
        }
    }

    func outcome(_ check: Check) -> Outcome? { lines.first { $0.check == check }?.outcome }
}

/// What `body` throws.
func refusal(_ body: () throws -> Void) -> PrescriptionError? {
    do {
        try body()
        return nil
    } catch {
        return error as? PrescriptionError
    }
}

extension [UInt8] {
    /// The octets with the first occurrence of one text replaced by another.
    func replacing(_ old: String, _ new: String) -> [UInt8] {
        let text = String(decoding: self, as: UTF8.self)
        guard let range = text.range(of: old) else { return self }
        return Array(text.replacingCharacters(in: range, with: new).utf8)
    }
}
