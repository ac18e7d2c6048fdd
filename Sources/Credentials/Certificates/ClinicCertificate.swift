public import Cryptography
public import FoundationEssentials
internal import SwiftASN1
internal import X509

/// The clinic's root certificate: the anchor of every check, without its private key.
///
/// An invitation brings it; its fingerprint is what people compare.
public struct ClinicCertificate: Hashable, Sendable {
    /// The certificate as it was signed.
    public let der: [UInt8]
    /// The clinic's name.
    public let name: String
    /// The key that signs doctors' certificates, vouchers, revocations and admission tokens.
    public let key: VerifyingKey
    /// SHA-256 of the certificate: 32 octets.
    public let fingerprint: [UInt8]
    /// When it begins to hold.
    public let notBefore: Date
    /// When it ceases to hold.
    public let notAfter: Date
    let certificate: Certificate

    /// Takes a root certificate and checks that it is a sound one: self-signed with Ed25519, a
    /// certificate authority with the usages `keyCertSign` and `cRLSign`.
    ///
    /// - Throws: `.malformed(.root)`, `.wrongSignature(.root)` or `.certificate`.
    public init(der: [UInt8]) throws(CredentialError) {
        let certificate = try CertificateChecks.decode(der, as: .root)
        key = try CertificateChecks.checkForm(of: certificate)
        guard certificate.issuer == certificate.subject else { throw .certificate(.issuer) }
        guard certificate.publicKey.isValidSignature(certificate.signature, for: certificate) else {
            throw .wrongSignature(.root)
        }
        let usage = try CertificateChecks.authorityUsage(of: certificate)
        guard usage.cRLSign else { throw .certificate(.keyUsage) }
        guard let name = CertificateChecks.commonName(of: certificate.subject) else {
            throw .certificate(.subject)
        }
        self.der = der
        self.name = name
        self.certificate = certificate
        fingerprint = Hash.sha256(der)
        notBefore = certificate.notValidBefore
        notAfter = certificate.notValidAfter
    }

    /// Takes a root certificate from PEM text with exactly one certificate in it.
    public init(pem: String) throws(CredentialError) {
        let certificates = try PEM.certificates(in: pem, as: .root)
        guard certificates.count == 1 else { throw .malformed(.root) }
        try self.init(der: certificates[0])
    }

    /// The certificate as PEM text.
    public var pem: String { PEM.encode(der, type: PEM.certificateType) }

    /// Checks that the root holds at `date`.
    func checkValidity(at date: Date) throws(CredentialError) {
        guard date >= notBefore else { throw .notYetValid(.root) }
        guard date <= notAfter else { throw .expired(.root) }
    }
}
