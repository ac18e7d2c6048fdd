import Clinic
import ClinicTestSupport
import Credentials
import Crypto
import Cryptography
import FoundationEssentials
import Testing
import X509

/// What can be a clinic's root.
struct `The clinic's root certificate` {
    let date = Date(timeIntervalSince1970: 1_800_000_000)

    private func root(_ change: (inout CertificateForge) -> Void) throws -> [UInt8] {
        let key = Curve25519.Signing.PrivateKey()
        var forge = CertificateForge(at: date)
        forge.becomeAuthority()
        forge.keyUsage = KeyUsage(keyCertSign: true, cRLSign: true)
        change(&forge)
        return try forge.make(
            key: Certificate.PublicKey(key.publicKey), name: "Root",
            issuer: DistinguishedName { CommonName("Root") },
            issuerKey: Certificate.PrivateKey(key))
    }

    @Test func `comes back from DER and PEM with its fingerprint`() throws {
        let clinic = try TestClinic(at: date)
        let again = try ClinicCertificate(pem: clinic.root.pem)
        #expect(again == clinic.root)
        #expect(again.fingerprint == Hash.sha256(clinic.root.der))
        #expect(again.name == "Test Clinic")
        #expect(throws: CredentialError.malformed(.root)) {
            try ClinicCertificate(pem: clinic.root.pem + clinic.root.pem)
        }
        #expect(throws: CredentialError.malformed(.root)) { try ClinicCertificate(pem: "hello") }
    }

    @Test func `must be an authority for certificates and lists`() throws {
        _ = try ClinicCertificate(der: root { _ in })
        #expect(throws: CredentialError.certificate(.basicConstraints)) {
            try ClinicCertificate(der: root { $0.basicConstraints = .notCertificateAuthority })
        }
        #expect(throws: CredentialError.certificate(.keyUsage)) {
            try ClinicCertificate(der: root { $0.keyUsage = KeyUsage(keyCertSign: true) })
        }
        #expect(throws: CredentialError.certificate(.keyUsage)) {
            try ClinicCertificate(der: root { $0.keyUsage = nil })
        }
    }

    @Test func `must be signed by itself`() throws {
        let clinic = try TestClinic(at: date)
        #expect(throws: CredentialError.certificate(.issuer)) {
            try ClinicCertificate(der: clinic.doctor().identityChain[0])
        }
        #expect(throws: CredentialError.certificate(.issuer)) {
            try ClinicCertificate(der: root { $0.issuerName = "Somebody" })
        }
        var altered = clinic.root.der
        altered[altered.count - 1] ^= 1
        #expect(throws: CredentialError.wrongSignature(.root)) {
            try ClinicCertificate(der: altered)
        }
    }
}
