import ArgumentParser
import Clinic
import Terminal

struct PassphraseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "passphrase", abstract: "Change the passphrase of the clinic's keys.")

    @OptionGroup var home: HomeOptions
    @Option(
        name: .customLong("new-passphrase-file"),
        help: ArgumentHelp("Read the new passphrase from this file.", valueName: "file"),
        completion: .file())
    var newFile: String?
    @OptionGroup var passphrase: PassphraseOptions

    func run() throws {
        let clinic = try home.open()
        let keys = try clinic.unlock(passphrase: passphrase.existing("Passphrase of the clinic"))
        let new = try newFile.map(Passphrase.read(file:)) ?? Passphrase.askNew("New passphrase")
        try clinic.changePassphrase(of: keys, to: new)
    }
}
