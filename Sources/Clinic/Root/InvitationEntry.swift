public import Credentials
public import Cryptography
public import FoundationEssentials
internal import RelayProtocol

/// A person whom the clinic invites.
public struct InvitationEntry: Hashable, Sendable {
    /// What the person is.
    public let role: PersonRole
    /// The name as the clinic verified it.
    public let name: String
    /// The day of birth as YYYY-MM-DD; may be empty.
    public let born: String
    /// The clinic's number for the person; may be empty.
    public let reference: String

    /// Takes the fields.
    ///
    /// - Throws: `.invalid` with the field that cannot stand in a voucher.
    public init(
        role: PersonRole, name: String, born: String = "", reference: String = ""
    ) throws(ClinicError) {
        guard Text.isValid(name) else { throw .invalid(.name) }
        guard VoucherContent.isValid(born: born) else { throw .invalid(.born) }
        guard Text.isValid(reference, mayBeEmpty: true) else { throw .invalid(.reference) }
        self.role = role
        self.name = name
        self.born = born
        self.reference = reference
    }
}

/// The relay that invitations name, and how long they last.
public struct InvitationTerms: Sendable {
    /// Where the relay listens.
    public let relayURL: String
    /// The relay's identity key.
    public let relayKey: VerifyingKey
    /// Until when somebody can join with the invitation.
    public let joinBefore: Date
    /// Until when the clinic vouches for the person.
    public let vouchUntil: Date

    /// Takes the terms.
    ///
    /// - Throws: `.invalid(.relayURL)`, or `.invalid(.validity)` if joining would outlast vouching.
    public init(
        relayURL: String, relayKey: VerifyingKey, joinBefore: Date, vouchUntil: Date
    ) throws(ClinicError) {
        guard Invitation.isValid(relayURL: relayURL) else { throw .invalid(.relayURL) }
        guard joinBefore <= vouchUntil else { throw .invalid(.validity) }
        self.relayURL = relayURL
        self.relayKey = relayKey
        self.joinBefore = joinBefore
        self.vouchUntil = vouchUntil
    }
}

extension ClinicRoot {
    /// Makes a single-use invitation with a voucher for one person.
    public func invite(
        _ person: InvitationEntry, on terms: InvitationTerms, directoryKey: SecretBytes
    ) throws(ClinicError) -> Invitation {
        do {
            let invitationKey = try SigningKey()
            let content = try VoucherContent(
                serial: Random.bytes(VoucherContent.serialByteCount), role: person.role,
                reference: person.reference, name: person.name, born: person.born,
                invitationKey: invitationKey.publicKey, expires: terms.vouchUntil)
            guard
                let expires = UInt64(
                    exactly: terms.joinBefore.timeIntervalSince1970.rounded(.down))
            else { throw ClinicError.invalid(.validity) }
            let token = try AdmissionToken(
                relayKey: terms.relayKey,
                serial: Random.bytes(AdmissionToken.serialByteCount), expires: expires,
                clinicRoot: key)
            return try Invitation(
                relayURL: terms.relayURL, relayKey: terms.relayKey, root: certificate,
                directoryKey: directoryKey, admissionToken: token.encoded(),
                invitationKey: invitationKey, voucher: Voucher(signing: content, with: key),
                expires: terms.joinBefore)
        } catch {
            throw ClinicError(wrapping: error)
        }
    }
}
