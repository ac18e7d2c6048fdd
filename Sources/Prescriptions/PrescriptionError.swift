public import Credentials
public import Cryptography

/// Why a prescription couldn't be made or read.
public enum PrescriptionError: Error, Hashable, Sendable {
    /// Fields are missing or wrong; all of them are listed. Fault: caller.
    case invalid([FieldProblem])
    /// The octets are no prescription of ours; says which part isn't. Fault: sender.
    case notAPrescription(Part)
    /// The prescriber's certificate doesn't hold. Fault: caller, who needs another certificate.
    case credential(CredentialError)
    /// The key isn't the certificate's. Fault: caller.
    case wrongKey
    /// The preview was shown too long ago, or the clock was set. Fault: caller, who previews again.
    case previewTooOld
    /// A primitive failed. Fault: machine.
    case cryptography(CryptographyError)

    /// The parts of a prescription's form.
    public enum Part: Hashable, Sendable {
        /// Not three parts in base64url joined by dots.
        case envelope
        /// Not exactly the header that the format asks for.
        case header
        /// Not JSON, or a name occurs twice in it.
        case json
        /// Not exactly the document that the format asks for.
        case document
    }
}

/// What is wrong with one field of a draft.
public struct FieldProblem: Hashable, Sendable, CustomStringConvertible {
    /// The path, such as `dose.amount` or `medication.codes[0].code`.
    public let field: String
    /// In words for the person who wrote it.
    public let problem: String

    /// Path and problem.
    public var description: String { "\(field): \(problem)" }
}
