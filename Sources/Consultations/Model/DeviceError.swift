public import Credentials
public import Prescriptions
public import RelayProtocol
public import Vault

/// Why a device didn't do what was asked. What it keeps is as before the call.
public enum DeviceError: Error, Equatable, Sendable {
    /// Who may do what was asked.
    public enum Permission: Hashable, Sendable {
        /// Only doctors.
        case doctorsOnly
        /// Only patients.
        case patientsOnly
    }

    /// The vault: passphrase, disk, or another process that holds it.
    case vault(VaultError)
    /// An invitation, certificate, card or other credential doesn't hold. Fault: whoever made it.
    case credential(CredentialError)
    /// A prescription can't be made or read. Fault: the draft, or whoever sent it.
    case prescription(PrescriptionError)
    /// A card of another clinic or relay. Fault: whoever gave it.
    case foreignCard
    /// Network, or the relay itself.
    case relayUnreachable(ConnectionTrouble)
    /// The caller named a consultation that isn't here.
    case unknownConsultation
    /// The caller named a person who isn't here.
    case unknownPerson
    /// The caller named a prescription that isn't here.
    case unknownPrescription
    /// The caller's text fits several things; their ids.
    case ambiguous([String])
    /// The consultation's state, in a word, doesn't allow it.
    case notInState(String)
    /// The person's role doesn't allow it.
    case notPermitted(Permission)
    /// The relay hasn't admitted this device yet.
    case notRegistered
    /// The doctor's certificate isn't here.
    case noCertificate
    /// This vault is a copy or an old backup.
    case copied
    /// The two safety codes aren't the same.
    case safetyCodeDiffers
    /// More octets than one message carries.
    case tooLong(maximum: Int)
    /// Something is wrong with a file.
    case file(FileProblem)
    /// The relay doesn't take a file.
    case fileRefused(Refusal)
    /// A receipt isn't one, or isn't this relay's.
    case invalidReceipt
    /// `Device.close` was called.
    case closed
    /// The machine can't do more: threads, memory.
    case resources
    /// A mistake of ours.
    case bug(String)
}
