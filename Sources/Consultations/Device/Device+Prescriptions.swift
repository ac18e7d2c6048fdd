import Credentials
public import Cryptography
import Foundation
public import Prescriptions
import SwiftProtobuf
import Vault

extension Device {
    /// Doctor: the exact document that would be signed, to be shown in full beside the act of
    /// signing. Patient fields come from the clinic's voucher. Nothing is kept or sent.
    public func preparePrescription(
        _ draft: PrescriptionDraft, in id: ConsultationID
    ) throws(DeviceError) -> PreparedPrescription {
        try inspect { state in
            guard state.role == .doctor else { throw DeviceError.notPermitted(.doctorsOnly) }
            let chain = state.profile.practice.prescriptionChain.map { [UInt8]($0) }
            guard !chain.isEmpty else { throw DeviceError.noCertificate }
            guard let consultation = state.consultations.values.first(where: { $0.id == id }) else {
                throw DeviceError.unknownConsultation
            }
            let now = Date.now
            return try PreparedPrescription(
                draft, patient: try state.verifiedPatient(of: consultation, at: now), chain: chain,
                root: state.root, at: now,
                dayOffsetSeconds: TimeZone.current.secondsFromGMT(for: now))
        }
    }

    /// Doctor: signs what was shown, keeps a copy and sends it. The passphrase opens the
    /// prescription key for this one signature.
    public func prescribe(
        _ prepared: PreparedPrescription, in id: ConsultationID, passphrase: SecretBytes
    ) throws(DeviceError) -> Message {
        let key = try prescriptionKey(passphrase)
        return try perform { turn in
            let number = try turn.writable(id)
            let prescription = try prepared.sign(with: key, at: turn.date)
            try turn.keepPrescription(prescription.bytes, isIssuedByMe: true)
            return try turn.post(.prescription(jws: prescription.bytes), to: number)
        }
    }

    /// Prescriptions that were received or issued, oldest first.
    public func prescriptions() throws(DeviceError) -> [KeptPrescription] {
        try read { _, transaction in
            try transaction.namedRecords(of: .prescriptions, in: .person).compactMap {
                KeptPrescription(try StoredKeptPrescription(serializedBytes: $0.value))
            }.sorted { ($0.storedAt, $0.id) < ($1.storedAt, $1.id) }
        }
    }

    /// The one whose id begins so.
    ///
    /// - Throws: `.unknownPrescription`, or `.ambiguous` with the ids that fit.
    public func prescription(matching prefix: String) throws(DeviceError) -> KeptPrescription {
        let prefix = prefix.lowercased()
        let found = try prescriptions().filter { $0.id.lowercased().hasPrefix(prefix) }
        guard let first = found.first, !prefix.isEmpty else { throw .unknownPrescription }
        guard found.count == 1 else { throw .ambiguous(found.map(\.id)) }
        return first
    }

    /// Doctor: the requests for both certificates, as one PEM text. The passphrase opens the
    /// prescription key, which signs its own request.
    public func certificateRequest(passphrase: SecretBytes) throws(DeviceError) -> String {
        let prescription = try prescriptionKey(passphrase)
        return try inspect { state in
            try CertificateRequests.make(
                name: state.name, identity: state.identity, prescription: prescription)
        }
    }

    /// The prescription key, which nothing but the passphrase opens.
    private func prescriptionKey(_ passphrase: SecretBytes) throws(DeviceError) -> SigningKey {
        let sealed = try read { state, transaction in
            guard state.role == .doctor else { throw DeviceError.notPermitted(.doctorsOnly) }
            return try transaction.value(for: KeyName.prescription, of: .keys, in: .person)
        }
        guard let sealed else { throw .vault(.damaged(.record)) }
        return try inspect { _ in
            let key = try vault.passphraseKey(passphrase)
            do {
                return try SigningKey(
                    seed: try Sealing.openSecret(
                        sealed, key: key, associatedData: KeyName.prescription))
            } catch {
                throw VaultError.wrongPassphrase
            }
        }
    }
}
