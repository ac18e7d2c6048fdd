public import SwiftASN1
internal import X509

/// The identifiers of the certificate profile (`protocol/credentials.md`).
///
/// Curtain's own lie under an arc that Microsoft sets aside for identifiers made from a GUID; the
/// GUID's 128 bits stand in seven arcs, because a single arc of that size is beyond many decoders.
public enum CertificateProfile {
    /// Extended key usage: the certificate names a doctor's identity key.
    public static let identityUsage: ASN1ObjectIdentifier = [
        1, 2, 840, 113_556, 1, 8000, 2554, 49318, 32585, 62342, 3086, 21619, 5_476_089, 5_375_318,
        1,
        1,
    ]
    /// Extended key usage: the certificate names a doctor's prescription key.
    public static let prescriptionUsage: ASN1ObjectIdentifier = [
        1, 2, 840, 113_556, 1, 8000, 2554, 49318, 32585, 62342, 3086, 21619, 5_476_089, 5_375_318,
        1,
        2,
    ]
    /// Profession: physician.
    public static let physician: ASN1ObjectIdentifier = [
        1, 2, 840, 113_556, 1, 8000, 2554, 49318, 32585, 62342, 3086, 21619, 5_476_089, 5_375_318,
        2,
        1,
    ]
    /// Attribute of a certificate request: the signature of the other key over both keys.
    public static let requestBinding: ASN1ObjectIdentifier = [
        1, 2, 840, 113_556, 1, 8000, 2554, 49318, 32585, 62342, 3086, 21619, 5_476_089, 5_375_318,
        3,
        1,
    ]
    /// The extension `admission` (Common PKI): profession, specialty and licence.
    public static let admission: ASN1ObjectIdentifier = [1, 3, 36, 8, 3, 3]
    /// The extension `cRLNumber` (RFC 5280 §5.2.3).
    public static let revocationListNumber: ASN1ObjectIdentifier = [2, 5, 29, 20]
    /// The entry extension `reasonCode` (RFC 5280 §5.3.1).
    public static let reasonCode: ASN1ObjectIdentifier = [2, 5, 29, 21]
    /// The signature algorithm Ed25519 (RFC 8410 §3).
    static let ed25519: ASN1ObjectIdentifier = [1, 3, 101, 112]

    /// The most certificates below the root.
    public static let maximumChainCount = 3
    /// The most octets of one certificate.
    public static let maximumCertificateByteCount = 8192
    /// The most octets of a person's or clinic's name in a certificate.
    public static let maximumNameByteCount = 64
}

/// What one of a doctor's two certificates is for.
public enum DoctorCertificateUse: Hashable, Sendable, CaseIterable {
    /// The identity key, which signs in MLS and cards.
    case identity
    /// The prescription key, which signs prescriptions and nothing else.
    case prescription

    /// The extended key usage that says so.
    public var usage: ASN1ObjectIdentifier {
        switch self {
        case .identity: CertificateProfile.identityUsage
        case .prescription: CertificateProfile.prescriptionUsage
        }
    }
}
