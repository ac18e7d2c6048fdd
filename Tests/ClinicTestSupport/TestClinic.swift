public import Clinic
public import Credentials
public import Cryptography
public import FoundationEssentials

/// A clinic in memory for tests: a root, doctors with both certificates, invited persons.
public struct TestClinic: Sendable {
    /// The root with its key.
    public let authority: ClinicRoot
    /// The time at which everything is made.
    public let date: Date
    /// The key of the directory that invitations carry.
    public let directoryKey: SecretBytes

    /// Founds a clinic.
    public init(name: String = "Test Clinic", at date: Date = Date()) throws {
        authority = try ClinicRoot(name: name, at: date)
        self.date = date
        directoryKey = .random(count: 32)
    }

    /// The root certificate.
    public var root: ClinicCertificate { authority.certificate }
    /// The root key.
    public var rootKey: SigningKey { authority.key }

    /// Certifies a new doctor.
    public func doctor(
        name: String = "Dr. Ada Lind", licence: String = "DE-12345",
        specialty: String = "General practice", days: Int = 365
    ) throws -> TestDoctor {
        let identityKey = try SigningKey()
        let prescriptionKey = try SigningKey()
        let certificates = try authority.certify(
            DoctorEntry(name: name, licence: licence, specialty: specialty),
            identityKey: identityKey.publicKey, prescriptionKey: prescriptionKey.publicKey,
            at: date, days: days)
        return TestDoctor(
            name: name, identityKey: identityKey, prescriptionKey: prescriptionKey,
            certificates: certificates)
    }

    /// Invites somebody to a relay.
    public func invitation(
        role: PersonRole = .patient, name: String = "Paul Patient", born: String = "1980-02-29",
        reference: String = "P-1", relayURL: String = "ws://127.0.0.1:7443",
        relayKey: VerifyingKey? = nil, joinBefore: Date? = nil, vouchUntil: Date? = nil
    ) throws -> Invitation {
        let joinBefore = joinBefore ?? date.addingTimeInterval(30 * 86_400)
        return try authority.invite(
            InvitationEntry(role: role, name: name, born: born, reference: reference),
            on: InvitationTerms(
                relayURL: relayURL, relayKey: relayKey ?? SigningKey().publicKey,
                joinBefore: joinBefore,
                vouchUntil: vouchUntil ?? max(joinBefore, date.addingTimeInterval(365 * 86_400))),
            directoryKey: directoryKey)
    }

    /// A person who has joined: identity key, voucher and endorsement.
    public func person(
        role: PersonRole = .patient, name: String = "Paul Patient", vouchUntil: Date? = nil
    ) throws -> TestPerson {
        let invitation = try invitation(
            role: role, name: name, joinBefore: vouchUntil, vouchUntil: vouchUntil)
        let identityKey = try SigningKey()
        return TestPerson(
            identityKey: identityKey, voucher: invitation.voucher,
            endorsement: try invitation.endorse(identityKey.publicKey))
    }
}

/// A doctor of a `TestClinic`.
public struct TestDoctor: Sendable {
    /// The name in the certificates.
    public let name: String
    /// Signs in MLS.
    public let identityKey: SigningKey
    /// Signs prescriptions.
    public let prescriptionKey: SigningKey
    /// Both certificates.
    public let certificates: DoctorCertificates
    /// The identity certificate's chain: DER, leaf first.
    public var identityChain: [[UInt8]] { certificates.identity }
    /// The prescription certificate's chain: DER, leaf first.
    public var prescriptionChain: [[UInt8]] { certificates.prescription }
}

/// A person of a `TestClinic`.
public struct TestPerson: Sendable {
    /// The device's key.
    public let identityKey: SigningKey
    /// What the clinic says of the person.
    public let voucher: Voucher
    /// The voucher's tie to the device.
    public let endorsement: Endorsement
}
