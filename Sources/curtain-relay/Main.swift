import ArgumentParser
import Relay
import Terminal

@main struct Main {
    static func main() async {
        HangUp.take()
        await Program.run(
            RelayCommand.self, beforeSignal: { UnfinishedFiles.eraseAll() }
        ) { error in
            (error as? RelayError)?.failure ?? (error as? SettingsError)?.failure
        }
    }
}

struct RelayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "curtain-relay",
        abstract: "Runs the relay of Curtain: it carries consultations and can read none.",
        version: "curtain-relay \(RelayVersion.current)",
        subcommands: [
            ServeCommand.self, IdentityCommand.self, StatusCommand.self, CheckCommand.self,
            BackupCommand.self, RestoreCommand.self, CompactCommand.self, AuditCommand.self,
        ])
}

struct DataOptions: ParsableArguments {
    @Option(
        name: .customLong("data"),
        help: ArgumentHelp("The folder that holds everything the relay keeps.", valueName: "dir"),
        completion: .directory)
    var path: String
}
