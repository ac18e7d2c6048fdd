public import Cryptography
public import FoundationEssentials

/// The credential of an MLS leaf, without MLS's own types.
public enum MemberCredential: Hashable, Sendable {
    /// A `basic` credential.
    case basic(identity: [UInt8])
    /// An `x509` credential: DER, leaf first, without the root.
    case x509(chain: [[UInt8]])
}

/// A member of a consultation whose leaf has been checked.
public struct VerifiedMember: Hashable, Sendable {
    /// Who stands behind the key.
    public enum Standing: Hashable, Sendable {
        /// A doctor, by certificate.
        case doctor(VerifiedDoctor)
        /// A person, by the clinic's voucher.
        case person(VerifiedPerson)
        /// Nobody says; a guest shown as "not vouched for", never a patient.
        case notVouched
    }

    /// The key that signs in MLS.
    public let identityKey: VerifyingKey
    /// The mailbox to which the relay delivers for the member.
    public let mailbox: [UInt8]
    /// Who stands behind the key.
    public let standing: Standing
}

/// Tells who a leaf of a consultation's tree is (RFC 9420 §5.3.1).
public struct MemberCheck: Sendable {
    private let root: ClinicCertificate
    private let revocations: Revocations?

    /// Checks against one clinic.
    ///
    /// - Parameter revocations: the clinic's verified list, if there is one.
    public init(root: ClinicCertificate, revocations: Revocations? = nil) {
        self.root = root
        self.revocations = revocations
    }

    /// Checks one leaf.
    ///
    /// - Parameters:
    ///   - signatureKey: the leaf's.
    ///   - memberExtension: the data of the leaf's extension 0xF0C0; every leaf must have one.
    /// - Throws: whatever doesn't hold. A voucher that is there but wrong is refused; `.notVouched`
    ///   is only a leaf that claims nothing.
    public func check(
        _ credential: MemberCredential, signatureKey: [UInt8], memberExtension: [UInt8]?,
        at date: Date
    ) throws(CredentialError) -> VerifiedMember {
        guard let memberExtension, let key = try? VerifyingKey(signatureKey) else {
            throw .malformed(.memberExtension)
        }
        let member = try MemberExtension(decoding: memberExtension)
        let standing: VerifiedMember.Standing
        switch credential {
        case .x509(let chain):
            let doctor = try DoctorCertificate.verify(
                chain: chain, for: .identity, root: root, at: date, revocations: revocations)
            guard doctor.key == key else { throw .wrongKey(.certificate) }
            guard member.voucher == nil else { throw .malformed(.memberExtension) }
            standing = .doctor(doctor)
        case .basic(let identity):
            guard identity == signatureKey else { throw .wrongKey(.memberExtension) }
            if let voucher = member.voucher, let endorsement = member.endorsement {
                let person = try VerifiedPerson.verify(
                    voucher: voucher, endorsement: endorsement, identityKey: key, root: root,
                    at: date, revocations: revocations)
                // A doctor shows a certificate; a voucher alone makes none.
                guard person.role != .doctor else { throw .wrongRole }
                standing = .person(person)
            } else {
                standing = .notVouched
            }
        }
        return VerifiedMember(identityKey: key, mailbox: member.mailbox, standing: standing)
    }
}
