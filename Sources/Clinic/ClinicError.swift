public import Credentials

/// Why the clinic authority could not do what was asked. Nothing has been issued by the failed call.
public enum ClinicError: Error, Hashable, Sendable {
    /// A field cannot stand in a certificate or voucher. Fault: the caller.
    case invalid(ClinicField)
    /// A request, certificate or key was refused. Fault: whoever made it.
    case credential(CredentialError)
    /// The folder holds a clinic already. Fault: the caller.
    case alreadyExists
    /// The folder holds no clinic. Fault: the caller.
    case notFound
    /// The passphrase doesn't open the keys.
    case wrongPassphrase
    /// Another program works in the folder. Fault: nobody's; try again.
    case busy
    /// No voucher or certificate has this serial.
    case unknownSerial
    /// Several serials begin like this.
    case ambiguousSerial
    /// It was revoked before.
    case alreadyRevoked
    /// A file of the folder is damaged or from a newer version. Fault: the disk, or somebody's hand.
    case damaged(String)
    /// The system refused to read or write: `errno`. Fault: the disk or its permissions.
    case system(Int32)
}

/// The fields that a caller gives.
public enum ClinicField: Hashable, Sendable {
    /// A person's or clinic's name.
    case name
    /// The clinic's number for a person.
    case reference
    /// A day of birth.
    case born
    /// A licence number.
    case licence
    /// A field of medicine.
    case specialty
    /// How long something holds.
    case validity
    /// The relay's URL.
    case relayURL
    /// A table of persons: the line number.
    case table(line: Int)
}
