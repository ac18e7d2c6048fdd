import Credentials
import Cryptography
import FoundationEssentials
import MLS
import Prescriptions
import Vault

/// Prescriptions outlive their consultation: the patient's in the patient's record, and a copy in
/// the record of the doctor who signed (`protocol/erasure.md`).
extension Turn {
    /// Keeps a prescription that came, if it holds, is for this device's own person and by the
    /// doctor of the consultation; any other is only shown where it came.
    mutating func keepReceivedPrescription(
        _ jws: [UInt8], in consultation: ConsultationState
    ) throws {
        guard let document = try? Prescription(sent: jws).document,
            let own = try? Voucher(decoding: [UInt8](state.profile.voucher)),
            document.isMeant(for: own.content, byLicence: consultation.record.other.licence)
        else { return }
        try keepPrescription(jws, isIssuedByMe: false)
    }

    /// Keeps a prescription, if it holds.
    mutating func keepPrescription(_ jws: [UInt8], isIssuedByMe: Bool) throws {
        guard let prescription = try? Prescription(sent: jws),
            prescription.check(root: state.root, at: date).isPassed
        else { return }
        let key = Array(prescription.id.utf8)
        guard try transaction.value(for: key, of: .prescriptions, in: .person) == nil else {
            return
        }
        var record = StoredKeptPrescription()
        record.jws = Data(jws)
        record.issuedByMe = isIssuedByMe
        record.storedAt = seconds
        try transaction.put(record, for: key, of: .prescriptions, in: .person)
        if let kept = KeptPrescription(record) { emit(.prescription(kept)) }
    }
}

extension DeviceState {
    /// The name in a prescription's document; empty if it isn't one.
    func prescriptionID(of jws: [UInt8]) -> String {
        (try? Prescription(sent: jws))?.id ?? ""
    }

    /// The patient of a consultation, as the voucher in the group's tree says.
    func verifiedPatient(
        of consultation: ConsultationState, at date: Date
    ) throws -> VerifiedPerson {
        guard let group = consultation.group,
            let other = group.members.first(where: {
                $0.signatureKey == [UInt8](consultation.record.other.identityKey)
            })
        else { throw DeviceError.notInState(describe(consultation).state.word) }
        let member = try MemberCheck(root: root).check(
            other.credential.member, signatureKey: other.signatureKey,
            memberExtension: other.leafNode.memberExtension, at: date)
        guard case .person(let person) = member.standing, person.role == .patient else {
            throw CredentialError.wrongRole
        }
        return person
    }
}

extension PrescriptionDocument {
    /// Whether it names the person of this voucher and the doctor with this licence.
    func isMeant(for voucher: VoucherContent, byLicence licence: String) -> Bool {
        patient.name == voucher.name && patient.born.description == voucher.born
            && patient.reference == voucher.reference
            && prescriber.licence == licence
    }
}

extension KeptPrescription {
    init?(_ record: StoredKeptPrescription) {
        let jws = [UInt8](record.jws)
        guard let prescription = try? Prescription(sent: jws) else { return nil }
        self.init(
            id: prescription.id, jws: jws, isIssuedByMe: record.issuedByMe,
            storedAt: Date(seconds: record.storedAt), prescription: prescription)
    }
}
