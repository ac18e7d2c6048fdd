internal import Credentials
public import Cryptography
public import FoundationEssentials
internal import SwiftASN1
internal import X509

/// What the clinic has verified of a doctor.
public struct DoctorEntry: Hashable, Sendable {
    /// The name: 1...64 octets.
    public let name: String
    /// The number in the profession's register.
    public let licence: String
    /// The field of medicine: 1...128 octets.
    public let specialty: String

    /// Takes the fields.
    ///
    /// - Throws: `.invalid` with the field that cannot stand in a certificate.
    public init(name: String, licence: String, specialty: String) throws(ClinicError) {
        guard Text.isValid(name, maximumByteCount: CertificateProfile.maximumNameByteCount) else {
            throw .invalid(.name)
        }
        guard AdmissionExtension.isValid(licence: licence) else { throw .invalid(.licence) }
        guard Text.isValid(specialty, maximumByteCount: 128) else { throw .invalid(.specialty) }
        self.name = name
        self.licence = licence
        self.specialty = specialty
    }
}

/// A doctor's two certificates, as the clinic hands them out.
public struct DoctorCertificates: Hashable, Sendable {
    /// The chain of the identity certificate: DER, leaf first, without the root.
    public let identity: [[UInt8]]
    /// The chain of the prescription certificate.
    public let prescription: [[UInt8]]
    /// Serial number of the identity certificate.
    public let identitySerial: [UInt8]
    /// Serial number of the prescription certificate.
    public let prescriptionSerial: [UInt8]
    /// When both end.
    public let notAfter: Date

    /// Both as one PEM text.
    public var pem: String { DoctorCertificate.pem(identity + prescription) }
}

extension ClinicRoot {
    /// Certifies a doctor's two keys with what the clinic has verified; names in the requests don't
    /// count.
    ///
    /// - Parameter days: how long the certificates hold, never longer than the root.
    public func certify(
        _ doctor: DoctorEntry, identityKey: VerifyingKey, prescriptionKey: VerifyingKey,
        at date: Date, days: Int = 730
    ) throws(ClinicError) -> DoctorCertificates {
        guard (1...Self.maximumDays).contains(days) else { throw .invalid(.validity) }
        let wanted = date.whole.addingTimeInterval(TimeInterval(days) * 86_400)
        let notAfter = min(wanted, certificate.notAfter)
        guard date < notAfter else { throw .credential(.expired(.root)) }
        let notBefore = max(
            date.whole.addingTimeInterval(-Self.clockTolerance), certificate.notBefore)
        let validity = notBefore...notAfter
        let identity = try leaf(doctor, key: identityKey, use: .identity, validity: validity)
        let prescription = try leaf(
            doctor, key: prescriptionKey, use: .prescription, validity: validity)
        return DoctorCertificates(
            identity: [identity.der], prescription: [prescription.der],
            identitySerial: identity.serial, prescriptionSerial: prescription.serial,
            notAfter: notAfter)
    }

    private func leaf(
        _ doctor: DoctorEntry, key: VerifyingKey, use: DoctorCertificateUse,
        validity: ClosedRange<Date>
    ) throws(ClinicError) -> (der: [UInt8], serial: [UInt8]) {
        do {
            let root = try Certificate(derEncoded: certificate.der)
            let publicKey = try Certificate.PublicKey(key)
            let serial = Self.newSerial()
            let admission = AdmissionExtension(
                professions: [CertificateProfile.physician], specialty: doctor.specialty,
                licence: doctor.licence)
            var coder = DER.Serializer()
            try coder.serialize(admission)
            let admissionValue = coder.serializedBytes
            let leaf = try Certificate(
                version: .v3, serialNumber: serial, publicKey: publicKey,
                notValidBefore: validity.lowerBound, notValidAfter: validity.upperBound,
                issuer: root.subject,
                subject: try DistinguishedName {
                    OrganizationName(certificate.name)
                    CommonName(doctor.name)
                },
                signatureAlgorithm: .ed25519,
                extensions: try Certificate.Extensions {
                    Critical(BasicConstraints.notCertificateAuthority)
                    Critical(
                        KeyUsage(digitalSignature: true, nonRepudiation: use == .prescription))
                    try ExtendedKeyUsage([ExtendedKeyUsage.Usage(oid: use.usage)])
                    Certificate.Extension(
                        oid: CertificateProfile.admission, critical: false,
                        value: admissionValue[...])
                    SubjectKeyIdentifier(hash: publicKey)
                    AuthorityKeyIdentifier(
                        keyIdentifier: try root.extensions.subjectKeyIdentifier?.keyIdentifier)
                },
                issuerPrivateKey: Certificate.PrivateKey(self.key))
            return (try leaf.der(), Array(serial.bytes))
        } catch {
            throw ClinicError(wrapping: error)
        }
    }
}
