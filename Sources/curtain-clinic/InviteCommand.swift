import ArgumentParser
import Clinic
import Credentials
import Cryptography
import Foundation
import Terminal

struct InviteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "invite",
        abstract: "Make a single-use invitation with the clinic's voucher for a person.",
        discussion: """
            The invitation goes to standard output, or to --out. With --pin it is of no use without \
            the PIN, which goes to standard error: send the two different ways.

            A table for --from has the headings name, born, reference and role in its first line; \
            only the name is needed.
            """)

    @OptionGroup var home: HomeOptions
    @Option(help: ArgumentHelp("The relay's address.", valueName: "url")) var relay: String
    // A key may begin with a hyphen.
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The relay's key, as 'curtain-relay identity' prints it.", valueName: "key"))
    var relayKey: KeyArgument
    @Option(help: "What the person is.") var role: PersonRole?
    @Option(help: "The person's name, as you have verified it.") var name: String?
    @Option(help: ArgumentHelp("The day of birth, YYYY-MM-DD.", valueName: "date")) var born:
        String?
    @Option(help: ArgumentHelp("The clinic's own number for the person.", valueName: "ref"))
    var reference: String?
    @Option(
        help: ArgumentHelp("Invite everybody of a table instead.", valueName: "csv"),
        completion: .file())
    var from: String?
    @Flag(help: "Seal the invitation under a PIN.") var pin = false
    @Option(
        help: ArgumentHelp(
            "Until when the person can join with it (default: 30 days).", valueName: "time"))
    var expires: TimeArgument?
    @Option(
        help: ArgumentHelp(
            "Until when the clinic vouches for the person (default: 2 years).", valueName: "time"))
    var vouchUntil: TimeArgument?
    @Option(
        help: ArgumentHelp("Write the invitation to this file.", valueName: "file"),
        completion: .file())
    var out: String?
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard !Self.isUnprotected(relay) else {
            throw ValidationError(
                "ws:// is for a relay on this machine only, and devices refuse it; use wss://")
        }
        if from != nil {
            guard name == nil, born == nil, reference == nil, out == nil else {
                throw ValidationError(
                    "--from takes all names from its table, and --out is for one invitation")
            }
        } else {
            guard name != nil else { throw ValidationError("give --name, or --from a table") }
            guard role != nil else { throw ValidationError("give --role") }
        }
    }

    func run() throws {
        let clinic = try home.open()
        let now = Date()
        let joinBefore = expires?.date ?? now.addingTimeInterval(30 * 86_400)
        guard joinBefore > now else { throw ClinicError.invalid(.validity) }
        let terms = try InvitationTerms(
            relayURL: relay, relayKey: relayKey.key, joinBefore: joinBefore,
            vouchUntil: vouchUntil?.date ?? max(joinBefore, now.addingTimeInterval(730 * 86_400)))
        let people = try people()
        let keys = try clinic.unlock(passphrase: passphrase.existing("Passphrase of the clinic"))
        let issued = try clinic.invite(people, on: terms, with: keys, at: now)
        for (voucher, invitation) in issued {
            try hand(voucher, invitation, amongMany: from != nil)
        }
    }

    /// Devices take `ws://` for loopback addresses only (`protocol/relay.md`, "Transport").
    private static func isUnprotected(_ relay: String) -> Bool {
        guard let url = URLComponents(string: relay), url.scheme == "ws", let host = url.host
        else { return false }
        return host != "localhost" && host != "[::1]" && !host.hasPrefix("127.")
    }

    private func people() throws -> [InvitationEntry] {
        if let from {
            let bytes = try Files.read(from)
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw Failure(.badData, "the table is no UTF-8 text", advice: "save it as UTF-8")
            }
            return try PersonTable.read(text, role: role)
        }
        guard let role, let name else { throw ClinicError.invalid(.name) }
        return [
            try InvitationEntry(
                role: role, name: name, born: born ?? "", reference: reference ?? "")
        ]
    }

    private struct Row: Encodable {
        let serial: String
        let role: String
        let name: String
        let born: String?
        let reference: String?
        let invitation: String?
        let pin: String?
        let expires: Date
        let vouchedUntil: Date
    }

    private func hand(
        _ voucher: IssuedVoucher, _ invitation: Invitation, amongMany: Bool
    ) throws {
        let pin = pin ? Self.newPIN() : nil
        let text =
            try pin.map { try invitation.sealedText(pin: SecretBytes(Array($0.utf8))) }
            ?? invitation.text()
        if let out, out != "-" {
            try Files.create(out, contents: Array((text + "\n").utf8), isPrivate: true)
        }
        let isInFile = out != nil && out != "-"
        let output = output.output
        if output.isJSON {
            return try output.json(
                Row(
                    serial: voucher.serial, role: voucher.role, name: voucher.name,
                    born: voucher.born.isEmpty ? nil : voucher.born,
                    reference: voucher.reference.isEmpty ? nil : voucher.reference,
                    invitation: isInFile ? nil : text, pin: pin, expires: voucher.joinBefore,
                    vouchedUntil: voucher.expires))
        }
        let name = Sanitiser.line(voucher.name)
        if amongMany { try output.line(output.style.bold("\(name) (\(voucher.role))")) }
        if !isInFile { try output.line(text) }
        if amongMany { try output.line() }
        if let pin {
            Diagnostic.warn(
                "the PIN for \(name) is \(pin); send it another way than the invitation")
        }
    }

    /// Eight digits: with Argon2id behind each guess that is enough for something that expires.
    private static func newPIN() -> String {
        (0..<8).map { _ in String(Random.number(below: 10)) }.joined()
    }
}
