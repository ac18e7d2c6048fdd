public import Credentials
public import Cryptography
public import FoundationEssentials

/// Somebody else, with what the clinic says of them.
public struct Person: Hashable, Sendable, Identifiable {
    /// The fingerprint of the identity key.
    public let id: PersonID
    /// The name, as certified or vouched for.
    public let name: String
    /// Patient, doctor or guest.
    public let role: PersonRole
    /// The device's identity key.
    public let identityKey: VerifyingKey
    /// Whether the safety code was compared.
    public let isVerified: Bool
    /// Whether the clinic vouches for, or certifies, this key.
    public let isVouched: Bool
    /// Doctors: the licence number.
    public let licence: String?
    /// Doctors: the specialty.
    public let specialty: String?
    /// Patients and guests: the date of birth, if the clinic names it.
    public let born: String?
    /// Patients and guests: the clinic's own reference.
    public let reference: String?
}

/// The state of one of a doctor's certificates.
public enum CertificateState: Hashable, Sendable {
    /// Patients and guests have none.
    case notNeeded
    /// Requested or not, it isn't here.
    case missing
    /// Good until then.
    case valid(until: Date)
    /// Over since then.
    case expired(Date)
}

/// The person whose device this is.
public struct Me: Hashable, Sendable {
    /// The name that the clinic verified.
    public let name: String
    /// Patient, doctor or guest.
    public let role: PersonRole
    /// The fingerprint of the identity key.
    public let fingerprint: PersonID
    /// The device's identity key.
    public let identityKey: VerifyingKey
    /// Where the relay is.
    public let relay: String
    /// The relay's pinned identity key.
    public let relayKey: VerifyingKey
    /// Whether the relay has admitted this device.
    public let isRegistered: Bool
    /// Whether this vault was found to be a copy or an old backup.
    public let isCopied: Bool
    /// The certificate of the identity key.
    public let certificate: CertificateState
    /// The certificate of the prescription key.
    public let prescriptionCertificate: CertificateState
    /// Doctors: KeyPackages on the shelf, as last heard.
    public let shelf: Int?
    /// Messages in all outboxes.
    public let waiting: Int
}
