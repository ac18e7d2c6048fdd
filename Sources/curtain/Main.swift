import ArgumentParser
import Terminal

@main
struct Main {
    static func main() async {
        await Program.run(CurtainCommand.self, explain: Explanation.failure)
    }
}

struct CurtainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "curtain",
        abstract: "End-to-end encrypted consultations and signed prescriptions.",
        discussion: """
            Patients and doctors begin with 'curtain join'. A consultation, prescription or person \
            is named by any unambiguous beginning of its id.

            Not for emergencies: in danger, call your emergency number.
            """,
        version: "curtain 0.1.0",
        groupedSubcommands: [
            CommandGroup(
                name: "Device",
                subcommands: [
                    JoinCommand.self, MeCommand.self, PassphraseCommand.self, SyncCommand.self,
                    RecoverCommand.self,
                ]),
            CommandGroup(
                name: "Consultations",
                subcommands: [
                    RequestCommand.self, ConsultationsCommand.self, AcceptCommand.self,
                    DeclineCommand.self, ChatCommand.self, SendCommand.self, ReadCommand.self,
                    SaveCommand.self, VerifyCommand.self, ReopenCommand.self, EndCommand.self,
                    ReceiptsCommand.self,
                ]),
            CommandGroup(
                name: "Doctors and prescriptions",
                subcommands: [
                    CertificateCommand.self, CardCommand.self, PrescribeCommand.self,
                    RxCommand.self,
                ]),
        ])
}
