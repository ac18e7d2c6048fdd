import ArgumentParser
import Clinic
import Credentials
import Cryptography
import Foundation
import Terminal

struct InitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Make the root key and certificate of a new clinic.")

    @OptionGroup var home: HomeOptions
    @Option(help: "The clinic's name, as everybody will see it.") var name: String
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let secret = try passphrase.new("Passphrase for the clinic's keys")
        let clinic = try ClinicHome.create(
            at: home.path, name: name, passphrase: secret, at: Date())
        try RootCommand.show(clinic.root, on: output.output)
    }
}

struct RootCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "root", abstract: "Show or write the root certificate.",
        discussion: "Without --out the certificate goes to standard output as PEM.")

    @OptionGroup var home: HomeOptions
    @Option(
        help: ArgumentHelp("Write the certificate to this file.", valueName: "file"),
        completion: .file())
    var out: String?
    @OptionGroup var output: OutputOptions

    func run() throws {
        let root = try home.open().root
        if let out {
            try Files.create(out, contents: Array(root.pem.utf8), replacing: true)
            if out != "-" { try Self.show(root, on: output.output) }
        } else if output.json {
            try Self.show(root, on: output.output)
        } else {
            try Files.create("-", contents: Array(root.pem.utf8))
        }
    }

    private struct Row: Encodable {
        let name: String
        let fingerprint: String
        let key: Data
        let notBefore: Date
        let notAfter: Date
    }

    static func show(_ root: ClinicCertificate, on output: Output) throws {
        let digits = root.fingerprint.map { octet in
            let text = String(octet, radix: 16)
            return text.count == 1 ? "0" + text : text
        }
        if output.isJSON {
            try output.json(
                Row(
                    name: root.name, fingerprint: digits.joined(), key: Data(root.key.bytes),
                    notBefore: root.notBefore, notAfter: root.notAfter))
            return
        }
        let groups = stride(from: 0, to: digits.count, by: 2).map { digits[$0] + digits[$0 + 1] }
        try output.fields([
            ("clinic", Sanitiser.line(root.name)),
            ("fingerprint", groups.joined(separator: " ")),
            ("until", TimeText.stamp(root.notAfter)),
        ])
    }
}
