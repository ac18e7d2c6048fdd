import ArgumentParser
import Cryptography
import Foundation
import Relay
import Terminal

struct BackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Write a verified copy of everything that the relay keeps.",
        discussion: """
            The relay may run meanwhile. The file holds the relay's keys: whoever has it can be the \
            relay. Keep it where nobody else reads, and not longer than consultations are to live. \
            The audit trail isn't in it: mirror that on another disk (serve --trail-mirror).
            """)

    @OptionGroup var data: DataOptions
    @OptionGroup var output: OutputOptions
    @Option(
        help: ArgumentHelp("The file to be written.", valueName: "file"), completion: .file())
    var out: String
    @Flag(help: "Replace a file of that name.")
    var force = false

    func run() throws {
        let backup = try RelayBackup.make(folder: data.path, to: out, replaces: force)
        if let words = backup.gapWords {
            Diagnostic.warn(
                "\(words), neither in the backup nor at the relay; look at the relay's disk")
        }
        if !backup.isCounted {
            Diagnostic.warn(
                "the relay couldn't be told of it; check goes on counting from the one before")
        }
        if output.json {
            return try output.output.json(
                Report(
                    path: backup.path, bytes: backup.byteCount,
                    relayKey: Base64URL.encode(backup.relayKey.bytes), verified: true,
                    unreadable: backup.gapWords))
        }
        try output.output.line("\(backup.path): \(backup.byteCount) octets, verified")
    }

    private struct Report: Encodable {
        let path: String
        let bytes: Int
        let relayKey: String
        let verified: Bool
        let unreadable: String?
    }
}
