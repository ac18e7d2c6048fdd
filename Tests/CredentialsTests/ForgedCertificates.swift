import Clinic
import Credentials
import Crypto
import Cryptography
import FoundationEssentials
import SwiftASN1
import X509

/// Makes certificates that break exactly one rule of the profile, with the clinic's own key.
struct CertificateForge {
    var isVersion3 = true
    var notBefore: Date
    var notAfter: Date
    var issuerName: String?
    var subject: DistinguishedName?
    var basicConstraints: BasicConstraints? = .notCertificateAuthority
    var keyUsage: KeyUsage? = KeyUsage(digitalSignature: true)
    var usages: [ASN1ObjectIdentifier]? = [CertificateProfile.identityUsage]
    var professions: [ASN1ObjectIdentifier]? = [CertificateProfile.physician]
    var licence = "DE-1"
    var specialty = "Surgery"
    var extra: [Certificate.Extension] = []
    var serial = Certificate.SerialNumber()

    init(at date: Date) {
        notBefore = date.addingTimeInterval(-60)
        notAfter = date.addingTimeInterval(86_400)
    }

    /// An intermediate authority instead of a doctor.
    mutating func becomeAuthority(maximumPathLength: Int? = nil) {
        basicConstraints = .isCertificateAuthority(maxPathLength: maximumPathLength)
        keyUsage = KeyUsage(keyCertSign: true)
        usages = nil
        professions = nil
    }

    func make(
        key: Certificate.PublicKey, name: String = "Dr. Forged", issuer: DistinguishedName,
        issuerKey: Certificate.PrivateKey
    ) throws -> [UInt8] {
        var extensions = extra
        if let basicConstraints {
            extensions.append(try Certificate.Extension(basicConstraints, critical: true))
        }
        if let keyUsage {
            extensions.append(try Certificate.Extension(keyUsage, critical: true))
        }
        if let usages {
            extensions.append(
                try Certificate.Extension(
                    try ExtendedKeyUsage(usages.map(ExtendedKeyUsage.Usage.init(oid:))),
                    critical: false))
        }
        if let professions {
            var coder = DER.Serializer()
            try coder.serialize(
                AdmissionExtension(
                    professions: professions, specialty: specialty, licence: licence))
            extensions.append(
                Certificate.Extension(
                    oid: CertificateProfile.admission, critical: false,
                    value: coder.serializedBytes[...]))
        }
        let certificate = try Certificate(
            version: isVersion3 ? .v3 : .v1, serialNumber: serial, publicKey: key,
            notValidBefore: notBefore, notValidAfter: notAfter,
            issuer: try issuerName.map { name in try DistinguishedName { CommonName(name) } }
                ?? issuer,
            subject: try subject ?? DistinguishedName { CommonName(name) },
            extensions: try Certificate.Extensions(extensions), issuerPrivateKey: issuerKey)
        var coder = DER.Serializer()
        try coder.serialize(certificate)
        return coder.serializedBytes
    }
}

extension ClinicRoot {
    var privateKey: Certificate.PrivateKey {
        get throws { try Certificate.PrivateKey(Curve25519.Signing.PrivateKey(key)) }
    }

    var subject: DistinguishedName {
        get throws { try Certificate(derEncoded: certificate.der).subject }
    }

    /// A leaf made by the forge and signed by this root.
    func sign(_ forge: CertificateForge, for key: VerifyingKey) throws -> [UInt8] {
        try forge.make(
            key: Certificate.PublicKey(
                Curve25519.Signing.PublicKey(rawRepresentation: key.bytes)),
            issuer: subject, issuerKey: privateKey)
    }
}

extension Curve25519.Signing.PrivateKey {
    init(_ key: SigningKey) throws {
        try self.init(rawRepresentation: key.seed.exposedCopy())
    }
}
