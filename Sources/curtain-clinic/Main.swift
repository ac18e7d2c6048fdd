import ArgumentParser
import Terminal

@main
struct Main {
    static func main() async {
        await Program.run(ClinicCommand.self, explain: Explanation.failure)
    }
}

struct ClinicCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "curtain-clinic",
        abstract: "The clinic authority: certifies doctors, vouches for patients, invites them.",
        discussion: """
            Works in one folder and needs no network; keep it on a machine that has none. Signing \
            asks for the passphrase that 'init' was given.
            """,
        version: "curtain-clinic 0.1.0",
        subcommands: [
            InitCommand.self, RootCommand.self, InviteCommand.self, VouchersCommand.self,
            CertifyCommand.self, CertificatesCommand.self, RevokeCommand.self,
            RevocationListCommand.self, PassphraseCommand.self,
        ])
}
