import ArgumentParser
import Consultations
import Foundation
import Terminal

struct ReopenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reopen", abstract: "Go on with a consultation under fresh keys.",
        discussion: """
            Consultations reopen by themselves when the relay was restored or keys no longer fit, \
            and say so. By hand it is for one that is locked, or in which nothing arrives any more. \
            It keeps its id and its messages; what the other side doesn't have is sent again.
            """)

    @OptionGroup var consultation: ConsultationArgument
    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await session.decide(on: consultation, "the reopening", output: output.output) {
            try await $0.reopen($1)
        }
    }
}

struct RecoverCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recover", abstract: "Go on with this vault after a copy of it was used.",
        discussion: """
            The relay has told that this vault is a copy or an old backup, so nothing is sent from \
            it. If it is the one that you want to go on with, this throws away the keys that the \
            other copy may have used and reopens every consultation; the people on the other side \
            see that. The other copy is then the one that sends nothing. If you know of no other \
            copy, somebody may have stolen one: change the passphrase, and tell the clinic.
            """)

    @Flag(help: "Don't ask first.")
    var yes = false

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    private struct Row: Encodable {
        let copied: Bool
        let reopened: [String]
    }

    func run() async throws {
        let output = output.output
        try await session.withDevice(showing: output) { device in
            guard try await device.me().isCopied else {
                if output.isJSON { return try output.json(Row(copied: false, reopened: [])) }
                return try output.sentence("nothing to recover: the relay takes this vault")
            }
            if Prompt.isInteractive, !yes {
                let question = "Go on with this vault, and stop the other copy?"
                guard try Prompt.confirm(question) else {
                    throw Failure(.usage, "nothing was changed")
                }
            }
            try await device.recover()
            let later = try await device.deliver("what you wrote")
            let reopened = try await device.consultations().filter { $0.reopening != nil }
            if output.isJSON {
                try output.json(
                    Row(
                        copied: try await device.me().isCopied,
                        reopened: reopened.map(\.id.description)))
            } else {
                try output.sentence("this vault goes on; no other copy of it sends any more")
                for consultation in reopened {
                    try output.line("\(consultation.shortID): \(consultation.stateText)")
                }
            }
            if let later { throw later }
        }
    }
}
