import Consultations
import Credentials
import Cryptography
import Prescriptions
import RelayProtocol
import Terminal
import Vault

/// The libraries' errors in words for a person, with the exit status that scripts rely on.
enum Explanation {
    @Sendable static func failure(_ error: any Error) -> Failure? {
        switch error {
        case let error as DeviceError: device(error)
        case let error as CredentialError: credential(error)
        case let error as PrescriptionError: prescription(error)
        default: nil
        }
    }

    static func device(_ error: DeviceError) -> Failure {
        switch error {
        case .vault(let error): vault(error)
        case .credential(let error): credential(error)
        case .prescription(let error): prescription(error)
        case .foreignCard:
            Failure(
                .badData, "this card belongs to another clinic or another relay",
                advice: "ask the doctor for a card of your clinic")
        case .relayUnreachable(let trouble): connection(trouble)
        case .unknownConsultation:
            Failure(
                .notFound, "there is no such consultation",
                advice: "'curtain consultations' lists them, 'curtain sync' fetches new ones")
        case .unknownPerson:
            Failure(
                .notFound, "there is no such person here",
                advice: "name them as 'curtain consultations' does")
        case .unknownPrescription:
            Failure(
                .notFound, "there is no such prescription", advice: "'curtain rx list' lists them")
        case .ambiguous(let names):
            Failure(
                .usage,
                "several fit: \(names.prefix(5).map(Sanitiser.line).joined(separator: ", "))",
                advice: "type more of it")
        case .notInState(let word): notInState(word)
        case .notPermitted(.doctorsOnly):
            Failure(.notAllowed, "only a doctor can do this")
        case .notPermitted(.patientsOnly):
            Failure(.notAllowed, "only a patient can do this")
        case .notRegistered:
            Failure(
                .tryAgain, "the relay has not admitted this device yet",
                advice: "run 'curtain sync' first")
        case .noCertificate:
            Failure(
                .notAllowed, "this needs your certificate",
                advice: "'curtain certificate request' begins, 'curtain certificate import' ends it"
            )
        case .copied: connection(.copied)
        case .safetyCodeDiffers:
            Failure(
                .badData, "the safety codes differ: this may not be the person you think",
                advice: "write nothing confidential and ask the clinic")
        case .tooLong(let maximum):
            Failure(
                .badData, "the text is longer than \(maximum) octets",
                advice: "send it in several messages")
        case .file(let problem): file(problem)
        case .fileRefused(let refusal): refusedFile(refusal)
        case .invalidReceipt:
            Failure(.badData, "this is no receipt of your relay")
        case .closed: Failure(.bug, "the device was closed too early; please report it")
        case .resources:
            Failure(.inputOutput, "the machine has no memory or threads left", advice: "try again")
        case .bug(let what):
            Failure(.bug, "a bug of ours (\(what))", advice: "please report it")
        }
    }

    private static func file(_ problem: FileProblem) -> Failure {
        switch problem {
        case .unreadable:
            Failure(
                .notFound, "the file can't be read, or is no ordinary file",
                advice: "check its name and who owns it")
        case .changed:
            Failure(
                .badData, "the file changed while it was read; nothing was sent",
                advice: "send it again")
        case .tooLarge(let maximum):
            Failure(.badData, "the file is larger than \(SizeText.text(maximum))")
        case .name:
            Failure(.badData, "the file's name is too long", advice: "give it a shorter one")
        case .exists:
            Failure(
                .cannotCreate, "there is something of that name already; nothing is overwritten",
                advice: "name another")
        case .unwritable:
            Failure(.cannotCreate, "the file can't be written there", advice: "name another place")
        case .none:
            Failure(
                .notFound, "that message brought no file",
                advice: "'curtain read' shows the numbers")
        case .notHere:
            Failure(
                .tryAgain, "the file isn't here yet",
                advice: "'curtain sync' fetches it when the relay has it")
        case .damaged:
            Failure(
                .badData, "the file that came isn't what its sender speaks of",
                advice: "ask for it again")
        }
    }

    private static func refusedFile(_ refusal: Refusal) -> Failure {
        switch refusal {
        case .tooLarge: Failure(.badData, "the file is larger than the relay takes")
        case .limit:
            Failure(
                .notAllowed, "the relay takes no more files in this consultation")
        case .unsupported: Failure(.notAllowed, "this relay takes no files")
        default: Failure(.notAllowed, "the relay refuses the file (\(refusal.words))")
        }
    }

    private static func notInState(_ word: String) -> Failure {
        switch word {
        case "closing", "erased":
            Failure(
                .badData, "this consultation is closed: nobody can write any more",
                advice: "a patient asks for a new one with 'curtain request'")
        case "locked":
            Failure(
                .badData, "this consultation is locked: nothing can be sent",
                advice:
                    "'curtain reopen' tries again with fresh keys, 'curtain end' erases your side")
        case "requested", "requesting":
            Failure(
                .badData, "this consultation is only requested so far",
                advice: "wait until the doctor accepts it")
        default:
            Failure(.badData, "this can't be done with a consultation that is \(word)")
        }
    }

    static func vault(_ error: VaultError) -> Failure {
        switch error {
        case .noVault:
            Failure(
                .notFound, "there is no vault here",
                advice: "'curtain join INVITATION' makes one, --home or CURTAIN_HOME name another")
        case .alreadyExists:
            Failure(
                .cannotCreate, "there is a vault here already",
                advice: "use it, or choose another place with --home")
        case .inUse(let holder): inUse(holder)
        case .wrongPassphrase: Failure(.notAllowed, "wrong passphrase", advice: "try again")
        case .notAVault: Failure(.badData, "the vault's file is something else")
        case .newerVersion:
            Failure(.badData, "this vault is of a newer Curtain", advice: "update Curtain")
        case .damaged:
            Failure(
                .inputOutput, "the vault is damaged",
                advice: "keep the file, check the disk, and ask the clinic for a new invitation")
        case .diskFull:
            Failure(
                .inputOutput, "the disk is full; nothing was half written", advice: "make room")
        case .notPermitted:
            Failure(.notAllowed, "the vault may not be opened", advice: "check who owns its folder")
        case .storage(let code):
            Failure(.inputOutput, "the disk failed (SQLite \(code))", advice: "check the disk")
        case .unknownConsultation: device(.unknownConsultation)
        case .valueTooLarge: Failure(.badData, "this is too large to keep")
        case .resourceExhausted:
            Failure(.inputOutput, "there is not enough memory to open the vault")
        case .misuse(let misuse):
            Failure(.bug, "a bug of ours (vault: \(misuse))", advice: "please report it")
        }
    }

    private static func inUse(_ holder: Vault.Holder?) -> Failure {
        let who = holder.map { holder in
            let command = holder.command.map { " (\(Sanitiser.line($0)))" } ?? ""
            return "process \(holder.processID)\(command)"
        }
        return Failure(
            .tryAgain, "the vault is in use by \(who ?? "another process")",
            advice: "wait until that one has ended")
    }

    static func connection(_ trouble: ConnectionTrouble) -> Failure {
        switch trouble {
        case .unreachable, .lost:
            Failure(.unavailable, trouble.words, advice: "try again when it is back")
        case .tls:
            Failure(
                .unavailable, trouble.words,
                advice: "ask the operator, or name the authority with --relay-ca")
        case .untrusted:
            Failure(
                .notAllowed, "this isn't the relay that your invitation names; nothing was sent",
                advice: "ask the clinic")
        case .displaced, .copied:
            Failure(
                .notAllowed,
                "this vault is a copy or an old backup, or a copy of it is in use; nothing is sent",
                advice: "use the newest one, or go on with this one: 'curtain recover'")
        case .rejected(let refusal): Self.refusal(refusal)
        case .protocolViolation: Failure(.unavailable, trouble.words, advice: "tell the operator")
        case .disk: Failure(.inputOutput, trouble.words, advice: "check the disk")
        case .diskFull: vault(.diskFull)
        }
    }

    static func refusal(_ refusal: Refusal) -> Failure {
        switch refusal {
        case .rate, .mailboxFull, .storage, .limit, .shelfEmpty:
            Failure(
                .tryAgain, "the relay refuses for now (\(refusal.words))", advice: "try again later"
            )
        case .token:
            Failure(
                .notAllowed,
                "the relay doesn't take this invitation: spent, expired, or not for it",
                advice: "ask the clinic for a new one")
        default:
            Failure(.notAllowed, "the relay refuses (\(refusal.words))")
        }
    }

    static func trouble(_ trouble: Trouble) -> Failure {
        switch trouble {
        case .shelfEmpty:
            Failure(
                .tryAgain, "the doctor can't take more requests at the moment",
                advice: "try again later")
        case .wrongKeyPackage:
            Failure(
                .badData, "the relay gave keys that aren't this doctor's; nothing was sent",
                advice: "ask the doctor for a new card, and tell the operator")
        case .clock:
            Failure(
                .tryAgain, "keys or tickets from the relay aren't good at this device's time",
                advice: "check its clock and date; if they are right, the other side's device has "
                    + "been offline for weeks and must connect first")
        case .doctorNotCertified:
            Failure(
                .badData, "the doctor's certificate doesn't hold; nothing was sent",
                advice: "ask the doctor for a new card")
        case .patientNotVouched:
            Failure(.badData, "the clinic doesn't vouch for this patient; the request was closed")
        case .refused(let refusal): Self.refusal(refusal)
        case .fileRefused(let name, let refusal):
            Failure(
                refusedFile(refusal).status,
                "file \(FileName.cut(name)): \(refusedFile(refusal).message)")
        case .fileGivenUp(let name):
            Failure(.notFound, "file \(FileName.cut(name)) was given up: nobody gets it")
        case .diskFull(let name):
            Failure(
                .inputOutput,
                "file \(FileName.cut(name)) isn't fetched: this device's disk is full",
                advice: "make room; 'curtain sync' fetches it then")
        case .delayed(let refusal, let seconds):
            Failure(
                .tryAgain,
                "the relay refuses for now (\(refusal.words)); it is asked again in "
                    + (seconds < 120 ? "\(seconds) seconds" : "\(seconds / 60) minutes"))
        }
    }

    static func changedIdentity(of person: Person) -> Failure {
        Failure(
            .badData,
            "\(Sanitiser.line(person.name)) has another key now and is no longer verified",
            advice: "compare the safety code")
    }

    static func prescription(_ error: PrescriptionError) -> Failure {
        switch error {
        case .invalid(let problems):
            Failure(
                .badData,
                "the prescription can't be signed like this:\n"
                    + problems.map { "  \($0)" }.joined(separator: "\n"))
        case .notAPrescription(let part):
            Failure(.badData, "this is no prescription (its \(part) doesn't fit)")
        case .credential(let error): credential(error)
        case .wrongKey:
            Failure(
                .badData, "the prescription key doesn't fit its certificate",
                advice: "'curtain certificate import' takes the right one in")
        case .previewTooOld:
            Failure(
                .tryAgain, "the preview is too old to be signed",
                advice: "begin again and look it over")
        case .cryptography(let error):
            Failure(.bug, "a bug of ours (\(error))", advice: "please report it")
        }
    }

    static func credential(_ error: CredentialError) -> Failure {
        switch error {
        case .malformed(let part):
            Failure(.badData, "this is no \(part.words), or a damaged one", advice: "copy it whole")
        case .unsupportedVersion(let part):
            Failure(.badData, "the \(part.words) is of a newer Curtain", advice: "update Curtain")
        case .wrongSignature(let part):
            Failure(.badData, "the signature of the \(part.words) doesn't hold")
        case .expired(let part):
            Failure(.badData, "the \(part.words) has expired", advice: "ask for a new one")
        case .notYetValid(let part):
            Failure(.badData, "the \(part.words) isn't valid yet", advice: "check this clock")
        case .revoked(let part): Failure(.badData, "the \(part.words) was revoked")
        case .certificate(let rule):
            Failure(.badData, "the certificate breaks a rule (\(rule))", advice: "ask the clinic")
        case .wrongRole: Failure(.badData, "this is for another role")
        case .wrongKey(let part): Failure(.badData, "the \(part.words) belongs to another key")
        case .wrongPIN: Failure(.notAllowed, "wrong PIN", advice: "try again")
        case .invalidText:
            Failure(.badData, "a text is empty, too long, or holds control characters")
        case .cryptography(let error):
            Failure(.bug, "a bug of ours (\(error))", advice: "please report it")
        }
    }
}

extension ConnectionTrouble {
    /// What happened, in words.
    var words: String {
        switch self {
        case .unreachable(let detail):
            "the relay can't be reached" + (detail.isEmpty ? "" : " (\(Sanitiser.line(detail)))")
        case .tls(let detail):
            "the relay's TLS certificate isn't trusted"
                + (detail.isEmpty ? "" : " (\(Sanitiser.line(detail)))")
        case .untrusted: "this is not the relay of the invitation"
        case .lost: "the connection to the relay was lost"
        case .displaced: "another copy of this vault has connected"
        case .copied: "this vault is a copy or an old backup"
        case .rejected(let refusal): "the relay refuses (\(refusal.words))"
        case .protocolViolation: "the relay doesn't keep to its protocol"
        case .disk: "this device's disk failed"
        case .diskFull: "this device's disk is full"
        }
    }

    /// Whether waiting and trying again can't help.
    var isPermanent: Bool {
        switch self {
        case .unreachable, .tls, .lost, .protocolViolation: false
        case .untrusted, .displaced, .copied, .rejected, .disk, .diskFull: true
        }
    }
}

extension Refusal {
    /// The relay's reason, in words.
    var words: String {
        switch self {
        case .notAllowed: "not allowed"
        case .malformed: "malformed request"
        case .tooLarge: "too large"
        case .mailboxFull: "mailbox full"
        case .rate: "too many requests"
        case .token: "invitation not taken"
        case .ticket: "ticket not taken"
        case .permit: "no permit"
        case .shelfEmpty: "nothing on the shelf"
        case .groupClosed: "closed"
        case .counter: "counter"
        case .limit: "limit reached"
        case .forgotten: "too long ago"
        case .storage: "its disk"
        case .unsupported: "not supported"
        case .exists: "exists already"
        case .noBlob: "not there"
        default: "reason \(rawValue)"
        }
    }
}

extension CredentialPart {
    /// The thing's name.
    var words: String {
        switch self {
        case .certificate: "certificate"
        case .root: "clinic's root certificate"
        case .revocationList: "revocation list"
        case .voucher: "voucher"
        case .endorsement: "endorsement"
        case .invitation: "invitation"
        case .card: "card"
        case .memberExtension: "member's extension"
        case .shelfEntry: "shelf entry"
        case .certificateRequest: "certificate request"
        }
    }
}
