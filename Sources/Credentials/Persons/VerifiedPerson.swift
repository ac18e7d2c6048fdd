public import Cryptography
public import FoundationEssentials

/// The invitation key's signature over a device's identity key: made once, before the invitation
/// key is destroyed. 64 octets, label "endorse device", fields: the voucher's serial, identity key.
public struct Endorsement: Hashable, Sendable {
    private static let label = "endorse device"

    /// The signature.
    public let bytes: [UInt8]

    /// Signs a device's identity key for the voucher with this serial.
    public init(
        of identityKey: VerifyingKey, serial: [UInt8], with invitationKey: SigningKey
    ) throws(CredentialError) {
        do {
            bytes = try invitationKey.sign(label: Self.label, serial, identityKey.bytes)
        } catch {
            throw .cryptography(error)
        }
    }

    /// Takes the octets of an endorsement.
    ///
    /// - Throws: `.malformed(.endorsement)` unless there are 64.
    public init(decoding bytes: [UInt8]) throws(CredentialError) {
        guard bytes.count == VerifyingKey.signatureByteCount else {
            throw .malformed(.endorsement)
        }
        self.bytes = bytes
    }

    func isValid(for identityKey: VerifyingKey, voucher: VoucherContent) -> Bool {
        voucher.invitationKey.isValid(
            signature: bytes, label: Self.label, voucher.serial, identityKey.bytes)
    }
}

/// A person for whom the clinic vouches, with the identity key of the person's device; there is no
/// other way to make one than `verify`.
public struct VerifiedPerson: Hashable, Sendable {
    /// The voucher's serial. Seen with two identity keys it is an alarm.
    public let voucherSerial: [UInt8]
    /// What the person is.
    public let role: PersonRole
    /// The clinic's own number for the person; may be empty.
    public let reference: String
    /// The name as the clinic verified it.
    public let name: String
    /// The day of birth as YYYY-MM-DD; may be empty.
    public let born: String
    /// The key of the person's device.
    public let identityKey: VerifyingKey
    /// Until when the clinic vouches.
    public let expires: Date

    /// Verifies that the clinic vouches for the holder of an identity key.
    ///
    /// - Throws: as `Voucher.verify`, or `.wrongKey(.endorsement)` if the voucher belongs to another
    ///   device.
    public static func verify(
        voucher: Voucher, endorsement: Endorsement, identityKey: VerifyingKey,
        root: ClinicCertificate, at date: Date, revocations: Revocations? = nil
    ) throws(CredentialError) -> VerifiedPerson {
        let content = try voucher.verify(root: root, at: date, revocations: revocations)
        guard endorsement.isValid(for: identityKey, voucher: content) else {
            throw .wrongKey(.endorsement)
        }
        return VerifiedPerson(
            voucherSerial: content.serial, role: content.role, reference: content.reference,
            name: content.name, born: content.born, identityKey: identityKey,
            expires: content.expires)
    }
}
