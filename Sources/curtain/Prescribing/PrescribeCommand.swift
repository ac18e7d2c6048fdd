import ArgumentParser
import Consultations
import Foundation
import Prescriptions
import Terminal

struct PrescribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prescribe", abstract: "Doctors: sign a prescription and send it.",
        discussion: """
            Asks for every field, or takes them from a JSON file, shows everything that will be \
            signed, and asks for the passphrase again. Nothing can be changed afterwards. \
            'curtain prescribe --example' prints such a file.
            """)

    @Argument(help: "The consultation's id, or an unambiguous beginning of it.")
    var id: String?

    @Option(
        help: ArgumentHelp("Take the fields from this JSON file, or '-'.", valueName: "file"),
        completion: .file())
    var from: String?

    @Flag(help: "Sign what is shown without being asked; needed where nobody can answer.")
    var yes = false

    @Flag(help: "Print an example of the JSON file.")
    var example = false

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard !example else { return }
        guard id != nil else { throw ValidationError("missing expected argument '<id>'") }
        if from != nil, !yes, !Prompt.isInteractive {
            throw ValidationError("nobody can be asked here; say '--yes' to sign what FILE says")
        }
    }

    private struct Row: Encodable {
        let id: String
        let message: String
        let state: String
        let validUntil: String
    }

    func run() async throws {
        let output = output.output
        if example { return try output.line(PrescriptionDraft.exampleJSON) }
        try await session.withDevice(showing: output) { device in
            let found = try await device.consultation(matching: id ?? "")
            if let closed = found.closedFailure { throw closed }
            let form = PrescriptionForm(
                device: device, consultation: found.id, passphrase: session.passphrase,
                output: output)
            let (message, document) = try await form.run(from: from, isCertain: yes)
            let (sent, later) = try await device.sent(message, "the prescription", in: found.id)
            if output.isJSON {
                try output.json(
                    Row(
                        id: document.id, message: sent.id.description, state: sent.state.word,
                        validUntil: document.validUntil.description))
            } else {
                try output.line("signed: \(document.id)")
            }
            if let later { throw later }
        }
    }
}
