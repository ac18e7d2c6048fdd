public import Cryptography
public import FoundationEssentials
internal import SwiftASN1
internal import X509

/// A doctor whose certificate has been verified; there is no other way to make one.
public struct VerifiedDoctor: Hashable, Sendable {
    /// What the certificate is for.
    public let use: DoctorCertificateUse
    /// The name as the clinic verified it.
    public let name: String
    /// The number in the profession's register.
    public let licence: String
    /// The field of medicine.
    public let specialty: String
    /// The clinic's name in the certificate; may be empty.
    public let clinic: String
    /// The certified key: for `.identity` the one that signs in MLS.
    public let key: VerifyingKey
    /// The certificate's serial number, most significant octet first.
    public let serial: [UInt8]
    /// When the chain begins to hold.
    public let notBefore: Date
    /// When the chain ceases to hold: its earliest end.
    public let notAfter: Date
    /// The chain as DER, leaf first, without the root.
    public let chain: [[UInt8]]
}

/// Checks on doctors' certificates.
///
/// The chain is short and ordered, so it is checked here directly and synchronously, as MLS
/// validation needs it; a test holds the result against swift-certificates' own `Verifier`.
public enum DoctorCertificate {
    /// Verifies a chain up to the clinic's root (RFC 5280 §6, `protocol/credentials.md`).
    ///
    /// - Parameters:
    ///   - chain: DER, leaf first, each issued by the next and the last by `root`; one to three.
    ///   - use: what the leaf must be for; the other use is refused.
    ///   - date: when the chain must hold.
    ///   - revocations: the clinic's verified list, if there is one.
    /// - Throws: `.malformed`, `.certificate`, `.notYetValid`, `.expired` or `.revoked`.
    public static func verify(
        chain: [[UInt8]], for use: DoctorCertificateUse, root: ClinicCertificate, at date: Date,
        revocations: Revocations? = nil
    ) throws(CredentialError) -> VerifiedDoctor {
        guard chain.count <= CertificateProfile.maximumChainCount else {
            throw .certificate(.tooLong)
        }
        var certificates: [Certificate] = []
        var leafKey: VerifyingKey?
        for der in chain {
            let certificate = try CertificateChecks.decode(der, as: .certificate)
            let key = try CertificateChecks.checkForm(of: certificate)
            if leafKey == nil { leafKey = key }
            certificates.append(certificate)
        }
        guard let leaf = certificates.first, let leafKey else { throw .certificate(.emptyChain) }
        try checkIssuers(of: certificates, root: root)
        let details = try CertificateChecks.checkLeaf(leaf, use: use)

        try root.checkValidity(at: date)
        for certificate in certificates {
            guard date >= certificate.notValidBefore else { throw .notYetValid(.certificate) }
            guard date <= certificate.notValidAfter else { throw .expired(.certificate) }
            let serial = SerialNumber.octets(certificate.serialNumber)
            if let revocations, revocations.isRevoked(serial: serial, at: date) {
                throw .revoked(.certificate)
            }
        }
        let begins = certificates.map(\.notValidBefore) + [root.notBefore]
        let ends = certificates.map(\.notValidAfter) + [root.notAfter]
        return VerifiedDoctor(
            use: use, name: details.name, licence: details.admission.licence,
            specialty: details.admission.specialty, clinic: details.clinic, key: leafKey,
            serial: SerialNumber.octets(leaf.serialNumber),
            notBefore: begins.max() ?? root.notBefore,
            notAfter: ends.min() ?? root.notAfter, chain: chain)
    }

    private static func checkIssuers(
        of certificates: [Certificate], root: ClinicCertificate
    ) throws(CredentialError) {
        for (position, certificate) in certificates.enumerated() {
            let isLast = position + 1 == certificates.count
            let issuer = isLast ? root.certificate : certificates[position + 1]
            // A self-issued certificate would be the root, which is never part of a chain.
            guard certificate.issuer == issuer.subject, certificate.subject != certificate.issuer
            else { throw .certificate(.issuer) }
            guard issuer.publicKey.isValidSignature(certificate.signature, for: certificate) else {
                throw .certificate(.signature)
            }
            if !isLast { _ = try CertificateChecks.authorityUsage(of: issuer) }
            try CertificateChecks.checkPathLength(of: issuer, intermediatesBelow: position)
        }
    }

    /// Splits the PEM text that the clinic hands out for a doctor into chains, each leaf first.
    ///
    /// Nothing is verified but that every certificate has its place.
    ///
    /// - Throws: `.malformed(.certificate)` for anything else in the text, or two leaves of a kind.
    public static func chains(
        pem: String
    ) throws(CredentialError) -> (identity: [[UInt8]]?, prescription: [[UInt8]]?) {
        var leaves: [DoctorCertificateUse: (der: [UInt8], certificate: Certificate)] = [:]
        var intermediates: [(der: [UInt8], certificate: Certificate)] = []
        for der in try PEM.certificates(in: pem, as: .certificate) {
            let certificate = try CertificateChecks.decode(der, as: .certificate)
            if let use = use(of: certificate) {
                guard leaves.updateValue((der, certificate), forKey: use) == nil else {
                    throw .malformed(.certificate)
                }
            } else {
                // A root that somebody put in belongs in no chain.
                guard certificate.issuer != certificate.subject else { continue }
                intermediates.append((der, certificate))
            }
        }
        func chain(_ use: DoctorCertificateUse) -> [[UInt8]]? {
            guard let leaf = leaves[use] else { return nil }
            var chain = [leaf.der]
            var tip = leaf.certificate
            while chain.count < CertificateProfile.maximumChainCount,
                let next = intermediates.first(where: { $0.certificate.subject == tip.issuer })
            {
                chain.append(next.der)
                tip = next.certificate
            }
            return chain
        }
        return (chain(.identity), chain(.prescription))
    }

    /// Certificates as PEM text, one after the other.
    public static func pem(_ certificates: [[UInt8]]) -> String {
        certificates.map { PEM.encode($0, type: PEM.certificateType) }.joined()
    }

    private static func use(of certificate: Certificate) -> DoctorCertificateUse? {
        guard let usages = try? certificate.extensions.extendedKeyUsage else { return nil }
        return DoctorCertificateUse.allCases.first {
            usages.contains(ExtendedKeyUsage.Usage(oid: $0.usage))
        }
    }
}
