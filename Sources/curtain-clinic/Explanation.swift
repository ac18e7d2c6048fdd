import Clinic
import Credentials
import Cryptography
import Terminal

/// Words and exit statuses for what the libraries refuse.
enum Explanation {
    static func failure(_ error: any Error) -> Failure? {
        switch error {
        case let error as ClinicError: failure(error)
        case let error as CredentialError: failure(error)
        default: nil
        }
    }

    private static func failure(_ error: ClinicError) -> Failure {
        switch error {
        case .invalid(let field): invalid(field)
        case .credential(let error): failure(error)
        case .alreadyExists:
            Failure(
                .cannotCreate, "the folder holds a clinic already",
                advice: "name another one with --home")
        case .notFound:
            Failure(
                .notFound, "the folder holds no clinic",
                advice: "make one with 'curtain-clinic init', or name another with --home")
        case .wrongPassphrase: Failure(.notAllowed, "wrong passphrase", advice: "try again")
        case .busy:
            Failure(
                .tryAgain, "another curtain-clinic works in this folder",
                advice: "try again when it has ended")
        case .unknownSerial:
            Failure(
                .notFound, "there is no such serial",
                advice: "see 'curtain-clinic vouchers' and 'curtain-clinic certificates'")
        case .ambiguousSerial:
            Failure(.usage, "several serials begin like this", advice: "give more of it")
        case .alreadyRevoked:
            Failure(.badData, "it was revoked before", advice: "publish a new list with 'crl'")
        case .damaged(let file):
            Failure(
                .badData, "the file '\(file)' of the clinic is damaged",
                advice: "restore it from a backup")
        case .system(let number):
            Failure(
                .inputOutput, "the clinic's folder cannot be used (error \(number))",
                advice: "check its permissions and the disk")
        }
    }

    private static func invalid(_ field: ClinicField) -> Failure {
        switch field {
        case .name:
            Failure(
                .usage, "this cannot be a name",
                advice: "use up to 64 octets without control characters")
        case .reference: Failure(.usage, "this cannot be a reference", advice: "shorten it")
        case .born: Failure(.usage, "this is no day of birth", advice: "write it as YYYY-MM-DD")
        case .licence:
            Failure(
                .usage, "this cannot be a licence number",
                advice: "use up to 64 letters, digits, spaces and '()+,-./:=?")
        case .specialty: Failure(.usage, "this cannot be a specialty", advice: "shorten it")
        case .validity:
            Failure(.usage, "it cannot hold that long or that short", advice: "choose another time")
        case .relayURL:
            Failure(
                .usage, "this is no address of a relay",
                advice: "it begins with wss:// (or ws:// on one machine)")
        case .table(let line):
            Failure(
                .badData, "line \(line) of the table names no person",
                advice: "the first line holds the headings: name, born, reference, role")
        }
    }

    private static func failure(_ error: CredentialError) -> Failure {
        switch error {
        case .malformed(.certificateRequest), .unsupportedVersion(.certificateRequest):
            Failure(
                .badData, "these are no certificate requests",
                advice: "ask for the file that 'curtain certificate request' writes")
        case .wrongSignature(.certificateRequest):
            Failure(
                .badData, "the certificate requests are not signed by their own keys",
                advice: "ask the doctor for the file again, over a channel you trust")
        case .expired(.root):
            Failure(.badData, "the clinic's root has expired", advice: "found a new clinic")
        case .cryptography(.resourceExhausted):
            Failure(.tryAgain, "not enough memory for the passphrase", advice: "try again later")
        default:
            Failure(.badData, "refused: \(error)", advice: "check what was given")
        }
    }
}
