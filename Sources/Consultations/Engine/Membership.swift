import Credentials
import Cryptography
import FoundationEssentials
import MLS

/// What MLS asks about every new leaf (RFC 9420 §5.3.1): the credential must be the key's own, and
/// nobody changes identity within a group. Whether a patient is vouched for is decided after
/// joining, so that the doctor's device can close such a group.
struct MemberValidator: CredentialValidator {
    let root: ClinicCertificate

    func accepts(_ subject: CredentialSubject) -> Bool {
        if let previous = subject.previous {
            guard previous.signatureKey == subject.signatureKey,
                previous.credential == subject.credential,
                previous.memberExtension == subject.extensions.member
            else { return false }
        }
        switch subject.credential {
        case .basic(let identity):
            return identity == subject.signatureKey && subject.extensions.member != nil
        case .x509:
            let check = MemberCheck(root: root)
            let date = Date(timeIntervalSince1970: Double(subject.now))
            return
                (try? check.check(
                    subject.credential.member, signatureKey: subject.signatureKey,
                    memberExtension: subject.extensions.member, at: date)) != nil
        case .unknown:
            return false
        }
    }
}

extension Credential {
    /// The credential as the clinic's checks take it; one of an unknown type fits nobody.
    var member: MemberCredential {
        switch self {
        case .basic(let identity): .basic(identity: identity)
        case .x509(let certificates): .x509(chain: certificates)
        case .unknown: .basic(identity: [])
        }
    }
}

extension [Extension] {
    /// The octets of `curtain_member`.
    var member: [UInt8]? { first { $0.type == .curtainMember }?.data }
}

extension LeafNode {
    /// The octets of `curtain_member`.
    var memberExtension: [UInt8]? { extensions.member }
}

extension StoredPerson {
    /// A doctor, as the certificate says.
    init(doctor: VerifiedDoctor) {
        self.init()
        identityKey = Data(doctor.key.bytes)
        name = doctor.name
        role = UInt32(PersonRole.doctor.rawValue)
        vouched = true
        licence = doctor.licence
        specialty = doctor.specialty
    }

    /// A patient or guest, as the voucher says.
    init(person: VerifiedPerson) {
        self.init()
        identityKey = Data(person.identityKey.bytes)
        name = person.name
        role = UInt32(person.role.rawValue)
        vouched = true
        born = person.born
        reference = person.reference
    }
}
