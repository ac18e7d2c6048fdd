import Clinic
import ClinicTestSupport
import Credentials
import Crypto
import Cryptography
import FoundationEssentials
import SwiftASN1
import Testing
@_spi(FixedExpiryValidationTime) import X509

/// Chains that hold, and every rule of the profile broken once.
struct `Doctors' certificates` {
    let date = Date(timeIntervalSince1970: 1_800_000_000)
    let clinic: TestClinic
    let key: SigningKey

    init() throws {
        clinic = try TestClinic(at: date)
        key = try SigningKey()
    }

    private func verify(
        _ chain: [[UInt8]], for use: DoctorCertificateUse = .identity, at moment: Date? = nil,
        revocations: Revocations? = nil
    ) throws(CredentialError) -> VerifiedDoctor {
        try DoctorCertificate.verify(
            chain: chain, for: use, root: clinic.root, at: moment ?? date,
            revocations: revocations)
    }

    private func expect(
        _ error: CredentialError, _ change: (inout CertificateForge) throws -> Void,
        location: SourceLocation = #_sourceLocation
    ) throws {
        var forge = CertificateForge(at: date)
        try change(&forge)
        let leaf = try clinic.authority.sign(forge, for: key.publicKey)
        #expect(throws: error, sourceLocation: location) { try verify([leaf]) }
    }

    @Test func `a doctor's certificates say what the clinic has verified`() throws {
        let doctor = try clinic.doctor(
            name: "Dr. Åsa Öst", licence: "DE-4711/B", specialty: "Kinderheilkunde")
        let identity = try verify(doctor.identityChain)
        #expect(identity.name == "Dr. Åsa Öst")
        #expect(identity.licence == "DE-4711/B")
        #expect(identity.specialty == "Kinderheilkunde")
        #expect(identity.clinic == "Test Clinic")
        #expect(identity.key == doctor.identityKey.publicKey)
        #expect(identity.serial == doctor.certificates.identitySerial)
        #expect(identity.chain == doctor.identityChain)
        let prescription = try verify(doctor.prescriptionChain, for: .prescription)
        #expect(prescription.key == doctor.prescriptionKey.publicKey)
        #expect(prescription.name == identity.name)
    }

    @Test func `an untouched forgery holds, so that the others fail for their one reason`() throws {
        let leaf = try clinic.authority.sign(CertificateForge(at: date), for: key.publicKey)
        #expect(try verify([leaf]).key == key.publicKey)
    }

    @Test func `another clinic's doctor is refused`() throws {
        let other = try TestClinic(name: "Elsewhere", at: date)
        let chain = try other.doctor().identityChain
        #expect(throws: CredentialError.certificate(.issuer)) { try verify(chain) }
    }

    @Test func `a root of the same name with another key is refused`() throws {
        let other = try TestClinic(name: "Test Clinic", at: date)
        let chain = try other.doctor().identityChain
        #expect(throws: CredentialError.certificate(.signature)) { try verify(chain) }
    }

    @Test func `a certificate holds from its first to its last second`() throws {
        let chain = try clinic.doctor(days: 10).identityChain
        let doctor = try verify(chain)
        _ = try verify(chain, at: doctor.notAfter)
        #expect(throws: CredentialError.expired(.certificate)) {
            try verify(chain, at: doctor.notAfter.addingTimeInterval(1))
        }
        _ = try verify(chain, at: doctor.notBefore)
        #expect(throws: CredentialError.notYetValid(.root)) {
            try verify(chain, at: doctor.notBefore.addingTimeInterval(-1))
        }
    }

    @Test func `a certificate of tomorrow is refused today`() throws {
        try expect(.notYetValid(.certificate)) { $0.notBefore = date.addingTimeInterval(60) }
    }

    @Test func `a certificate outlasts no root`() throws {
        let chain = try clinic.doctor(days: 36_500).identityChain
        #expect(try verify(chain).notAfter == clinic.root.notAfter)
    }

    @Test func `an identity certificate signs no prescription, and the other way round`() throws {
        let doctor = try clinic.doctor()
        #expect(throws: CredentialError.certificate(.keyUsage)) {
            try verify(doctor.identityChain, for: .prescription)
        }
        #expect(throws: CredentialError.certificate(.keyUsage)) {
            try verify(doctor.prescriptionChain)
        }
    }

    @Test func `the extended key usage decides even where the key usage fits`() throws {
        try expect(.certificate(.extendedKeyUsage)) {
            $0.usages = [CertificateProfile.prescriptionUsage]
        }
        try expect(.certificate(.extendedKeyUsage)) { $0.usages = nil }
        try expect(.certificate(.extendedKeyUsage)) {
            $0.usages = [CertificateProfile.identityUsage, CertificateProfile.prescriptionUsage]
        }
        try expect(.certificate(.extendedKeyUsage)) {
            $0.usages = [[2, 5, 29, 37, 0]]
        }
    }

    @Test func `a missing or wider key usage is refused`() throws {
        try expect(.certificate(.keyUsage)) { $0.keyUsage = nil }
        try expect(.certificate(.keyUsage)) {
            $0.keyUsage = KeyUsage(digitalSignature: true, keyCertSign: true)
        }
        try expect(.certificate(.keyUsage)) { $0.keyUsage = KeyUsage(keyEncipherment: true) }
    }

    @Test func `a leaf that is an authority is refused`() throws {
        try expect(.certificate(.basicConstraints)) {
            $0.basicConstraints = .isCertificateAuthority(maxPathLength: 0)
        }
    }

    @Test func `a certificate without the profession is refused`() throws {
        try expect(.certificate(.profession)) { $0.professions = nil }
        try expect(.certificate(.profession)) { $0.professions = [] }
        try expect(.certificate(.profession)) { $0.professions = [[1, 2, 276, 0, 76, 4, 32]] }
    }

    @Test func `an admission extension outside the profile is refused`() throws {
        try expect(.certificate(.licence)) { $0.specialty = "" }
        try expect(.certificate(.licence)) { $0.specialty = "a\u{202E}b" }
        try expect(.certificate(.licence)) { forge in
            forge.professions = nil
            forge.extra = [
                Certificate.Extension(
                    oid: CertificateProfile.admission, critical: false, value: [0x30, 0])
            ]
        }
    }

    @Test func `an unknown critical extension is refused and an uncritical one is not`() throws {
        let unknown = Certificate.Extension(oid: [1, 2, 3, 4], critical: true, value: [5, 0])
        try expect(.certificate(.criticalExtension)) { $0.extra = [unknown] }
        var forge = CertificateForge(at: date)
        forge.extra = [Certificate.Extension(oid: [1, 2, 3, 4], critical: false, value: [5, 0])]
        _ = try verify([clinic.authority.sign(forge, for: key.publicKey)])
    }

    @Test func `name constraints are not understood, so critical ones are refused`() throws {
        try expect(.certificate(.criticalExtension)) {
            $0.extra = [
                try Certificate.Extension(
                    NameConstraints(permittedDNSDomains: ["example.com"]), critical: true)
            ]
        }
    }

    @Test func `version 1 is refused`() throws {
        try expect(.certificate(.version)) {
            $0.isVersion3 = false
        }
    }

    @Test func `a subject without a proper name is refused`() throws {
        try expect(.certificate(.subject)) { $0.subject = DistinguishedName() }
        try expect(.certificate(.subject)) {
            $0.subject = try DistinguishedName { CommonName("Dr.\u{1B}[2J") }
        }
        try expect(.certificate(.subject)) {
            $0.subject = try DistinguishedName {
                CommonName("Dr. One")
                CommonName("Dr. Two")
            }
        }
    }

    @Test func `another key type is refused`() throws {
        let other = P256.Signing.PrivateKey()
        let leaf = try CertificateForge(at: date).make(
            key: Certificate.PublicKey(other.publicKey), issuer: clinic.authority.subject,
            issuerKey: clinic.authority.privateKey)
        #expect(throws: CredentialError.certificate(.keyAlgorithm)) { try verify([leaf]) }
        let signedByOther = try CertificateForge(at: date).make(
            key: Certificate.PublicKey(
                Curve25519.Signing.PublicKey(
                    rawRepresentation: key.publicKey.bytes)),
            issuer: clinic.authority.subject, issuerKey: Certificate.PrivateKey(other))
        #expect(throws: CredentialError.certificate(.signatureAlgorithm)) {
            try verify([signedByOther])
        }
    }

    @Test func `an empty chain and one that is too long are refused`() throws {
        let leaf = try clinic.doctor().identityChain[0]
        #expect(throws: CredentialError.certificate(.emptyChain)) { try verify([]) }
        #expect(throws: CredentialError.certificate(.tooLong)) {
            try verify([leaf, leaf, leaf, leaf])
        }
        #expect(throws: CredentialError.certificate(.issuer)) { try verify([leaf, leaf]) }
        #expect(throws: CredentialError.certificate(.issuer)) {
            try verify([leaf, clinic.root.der, clinic.root.der])
        }
    }

    @Test func `a chain with intermediates holds only where each may issue`() throws {
        let middle = try SigningKey()
        let middleName = try DistinguishedName { CommonName("Department") }
        func chain(_ change: (inout CertificateForge) -> Void) throws -> [[UInt8]] {
            var authority = CertificateForge(at: date)
            authority.becomeAuthority()
            change(&authority)
            authority.subject = middleName
            let leaf = try CertificateForge(at: date).make(
                key: Certificate.PublicKey(
                    Curve25519.Signing.PublicKey(
                        rawRepresentation: key.publicKey.bytes)),
                issuer: middleName,
                issuerKey: Certificate.PrivateKey(Curve25519.Signing.PrivateKey(middle)))
            return [leaf, try clinic.authority.sign(authority, for: middle.publicKey)]
        }
        #expect(try verify(chain { _ in }).chain.count == 2)
        #expect(throws: CredentialError.certificate(.basicConstraints)) {
            try verify(chain { $0.basicConstraints = .notCertificateAuthority })
        }
        #expect(throws: CredentialError.certificate(.basicConstraints)) {
            try verify(chain { $0.basicConstraints = nil })
        }
        #expect(throws: CredentialError.certificate(.keyUsage)) {
            try verify(chain { $0.keyUsage = KeyUsage(digitalSignature: true) })
        }
        #expect(throws: CredentialError.expired(.certificate)) {
            try verify(chain { $0.notAfter = date.addingTimeInterval(-1) })
        }
        // A doctor's certificate issues none for somebody else.
        let doctor = try clinic.doctor()
        let subject = try Certificate(derEncoded: doctor.identityChain[0]).subject
        let forged = try CertificateForge(at: date).make(
            key: Certificate.PublicKey(
                Curve25519.Signing.PublicKey(
                    rawRepresentation: key.publicKey.bytes)),
            issuer: subject,
            issuerKey: Certificate.PrivateKey(Curve25519.Signing.PrivateKey(doctor.identityKey)))
        #expect(throws: CredentialError.certificate(.basicConstraints)) {
            try verify([forged] + doctor.identityChain)
        }
    }

    @Test func `a path length of zero allows no second authority`() throws {
        let keys = [try SigningKey(), try SigningKey()]
        let names = try ["One", "Two"].map { name in try DistinguishedName { CommonName(name) } }
        func chain(maximum: Int?) throws -> [[UInt8]] {
            var first = CertificateForge(at: date)
            first.becomeAuthority(maximumPathLength: maximum)
            first.subject = names[0]
            var second = CertificateForge(at: date)
            second.becomeAuthority()
            second.subject = names[1]
            let top = try clinic.authority.sign(first, for: keys[0].publicKey)
            let next = try second.make(
                key: Certificate.PublicKey(
                    Curve25519.Signing.PublicKey(
                        rawRepresentation: keys[1].publicKey.bytes)),
                issuer: names[0],
                issuerKey: Certificate.PrivateKey(Curve25519.Signing.PrivateKey(keys[0])))
            let leaf = try CertificateForge(at: date).make(
                key: Certificate.PublicKey(
                    Curve25519.Signing.PublicKey(
                        rawRepresentation: key.publicKey.bytes)),
                issuer: names[1],
                issuerKey: Certificate.PrivateKey(Curve25519.Signing.PrivateKey(keys[1])))
            return [leaf, next, top]
        }
        #expect(try verify(chain(maximum: 1)).key == key.publicKey)
        #expect(throws: CredentialError.certificate(.pathLength)) {
            try verify(chain(maximum: 0))
        }
    }

    @Test func `no flipped bit of a certificate passes`() throws {
        let doctor = try clinic.doctor()
        let leaf = doctor.identityChain[0]
        for position in leaf.indices {
            var altered = leaf
            altered[position] ^= 1 << UInt8(position % 8)
            #expect(throws: CredentialError.self, "octet \(position)") { try verify([altered]) }
        }
    }

    @Test func `truncated and longer certificates are refused`() throws {
        let leaf = try clinic.doctor().identityChain[0]
        for count in leaf.indices {
            #expect(throws: CredentialError.malformed(.certificate)) {
                try verify([Array(leaf[..<count])])
            }
        }
        #expect(throws: CredentialError.malformed(.certificate)) { try verify([leaf + [0]]) }
    }

    @Test func `swift-certificates' own verifier agrees`() async throws {
        let doctor = try clinic.doctor()
        let leaf = try Certificate(derEncoded: doctor.identityChain[0])
        let root = try Certificate(derEncoded: clinic.root.der)
        let foreign = try Certificate(derEncoded: TestClinic(at: date).root.der)
        let moment = date
        for (anchor, moment, holds) in [
            (root, moment, true), (foreign, moment, false),
            (root, moment.addingTimeInterval(400 * 86_400), false),
        ] {
            var verifier = Verifier(rootCertificates: CertificateStore([anchor])) {
                RFC5280Policy(fixedExpiryValidationTime: moment)
            }
            let result = await verifier.validate(
                leaf: leaf, intermediates: CertificateStore([]))
            var isValid = false
            if case .validCertificate = result { isValid = true }
            #expect(isValid == holds)
            let ours = try? DoctorCertificate.verify(
                chain: doctor.identityChain, for: .identity,
                root: ClinicCertificate(der: anchor.der()), at: moment)
            #expect((ours != nil) == holds)
        }
    }
}

extension Certificate {
    func der() throws -> [UInt8] {
        var coder = DER.Serializer()
        try coder.serialize(self)
        return coder.serializedBytes
    }
}
