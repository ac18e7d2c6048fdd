private import Crypto
internal import Cryptography
internal import FoundationEssentials
internal import SwiftASN1
internal import X509

/// The rules that every certificate of the profile is held against, each with its own error.
enum CertificateChecks {
    /// Reads one certificate strictly.
    static func decode(
        _ der: [UInt8], as part: CredentialPart
    ) throws(CredentialError) -> Certificate {
        guard der.count <= CertificateProfile.maximumCertificateByteCount,
            let certificate = try? Certificate(derEncoded: der)
        else { throw .malformed(part) }
        return certificate
    }

    /// What holds for root, intermediate and leaf alike: version, algorithms, critical extensions.
    ///
    /// - Returns: the certificate's key.
    static func checkForm(of certificate: Certificate) throws(CredentialError) -> VerifyingKey {
        guard certificate.version == .v3 else { throw .certificate(.version) }
        guard let key = Curve25519.Signing.PublicKey(certificate.publicKey),
            let verifyingKey = try? VerifyingKey(Array(key.rawRepresentation))
        else { throw .certificate(.keyAlgorithm) }
        guard certificate.signatureAlgorithm == .ed25519 else {
            throw .certificate(.signatureAlgorithm)
        }
        for certificateExtension in certificate.extensions where certificateExtension.critical {
            guard understood.contains(certificateExtension.oid) else {
                throw .certificate(.criticalExtension)
            }
        }
        return verifyingKey
    }

    /// Critical extensions that these checks act upon; name constraints are not among them.
    private static let understood: Set<ASN1ObjectIdentifier> = [
        .X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage,
        .X509ExtensionID.extendedKeyUsage, CertificateProfile.admission,
    ]

    /// Checks that a certificate may issue others (RFC 5280 §4.2.1.3, §4.2.1.9).
    static func authorityUsage(of certificate: Certificate) throws(CredentialError) -> KeyUsage {
        guard let constraints = try? certificate.extensions.basicConstraints,
            case .isCertificateAuthority = constraints
        else { throw .certificate(.basicConstraints) }
        guard let usage = try? certificate.extensions.keyUsage, usage.keyCertSign else {
            throw .certificate(.keyUsage)
        }
        return usage
    }

    /// Checks that at most `count` intermediates follow below this issuer.
    static func checkPathLength(
        of certificate: Certificate, intermediatesBelow count: Int
    ) throws(CredentialError) {
        guard let constraints = try? certificate.extensions.basicConstraints,
            case .isCertificateAuthority(let maximum) = constraints
        else { throw .certificate(.basicConstraints) }
        if let maximum, count > maximum { throw .certificate(.pathLength) }
    }

    /// Checks that a leaf is none that issues, and signs for exactly this use.
    static func checkLeaf(
        _ certificate: Certificate, use: DoctorCertificateUse
    ) throws(CredentialError) -> (name: String, clinic: String, admission: AdmissionExtension) {
        let extensions = certificate.extensions
        if extensions[oid: .X509ExtensionID.basicConstraints] != nil {
            guard let constraints = try? extensions.basicConstraints,
                case .notCertificateAuthority = constraints
            else { throw .certificate(.basicConstraints) }
        }
        guard let usage = try? extensions.keyUsage, usage == self.usage(for: use) else {
            throw .certificate(.keyUsage)
        }
        guard let extended = try? extensions.extendedKeyUsage, extended.count == 1,
            extended.contains(ExtendedKeyUsage.Usage(oid: use.usage))
        else { throw .certificate(.extendedKeyUsage) }
        let admission = try admission(of: certificate)
        guard let name = commonName(of: certificate.subject) else { throw .certificate(.subject) }
        return (name, organisation(of: certificate.subject) ?? "", admission)
    }

    /// The key usage of a leaf: signing; of the prescription key also `contentCommitment`, for what
    /// it signs stands for years.
    static func usage(for use: DoctorCertificateUse) -> KeyUsage {
        KeyUsage(digitalSignature: true, nonRepudiation: use == .prescription)
    }

    private static func admission(
        of certificate: Certificate
    ) throws(CredentialError) -> AdmissionExtension {
        guard let value = certificate.extensions[oid: CertificateProfile.admission]?.value else {
            throw .certificate(.profession)
        }
        guard let admission = try? AdmissionExtension(derEncoded: value) else {
            throw .certificate(.licence)
        }
        guard admission.professions.contains(CertificateProfile.physician) else {
            throw .certificate(.profession)
        }
        return admission
    }

    /// The only common name of a subject, if it is a proper text.
    static func commonName(of subject: DistinguishedName) -> String? {
        attribute(.RDNAttributeType.commonName, of: subject)
    }

    private static func organisation(of subject: DistinguishedName) -> String? {
        attribute(.RDNAttributeType.organizationName, of: subject)
    }

    private static func attribute(
        _ type: ASN1ObjectIdentifier, of subject: DistinguishedName
    ) -> String? {
        let values = subject.flatMap { $0 }.filter { $0.type == type }
        guard values.count == 1, let value = values.first, let text = String(value.value),
            Text.isValid(text, maximumByteCount: CertificateProfile.maximumNameByteCount)
        else { return nil }
        return text
    }
}
