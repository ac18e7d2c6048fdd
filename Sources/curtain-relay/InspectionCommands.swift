import ArgumentParser
import Cryptography
import Relay
import Terminal

struct IdentityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "identity",
        abstract: "Print the relay's public identity key, for invitations; make it on first use.")

    @OptionGroup var data: DataOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let key = try DataFolder(path: data.path).keys().identity.publicKey
        let text = Base64URL.encode(key.bytes)
        if output.json {
            try output.output.json(["relayKey": text])
        } else {
            try output.output.line(text)
        }
    }
}

struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "What the relay keeps, and whether it runs.")

    @OptionGroup var data: DataOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let status = try RelayStatus(folder: data.path)
        if output.json { return try output.output.json(Report(status)) }
        try output.output.fields([
            ("running", status.processID.map { "yes, process \($0)" } ?? "no"),
            ("mailboxes", "\(status.mailboxes)"),
            ("groups", "\(status.groups)"),
            ("stored messages", "\(status.messages)"),
            ("stored octets", "\(status.messageByteCount)"),
            ("disk free", status.freeByteCount.map { "\($0 >> 20) MiB" } ?? "unknown"),
        ])
    }

    private struct Report: Encodable {
        let isRunning: Bool
        let processID: Int32?
        let mailboxes: Int
        let groups: Int
        let storedMessages: Int
        let storedBytes: Int
        let freeBytes: UInt64?

        init(_ status: RelayStatus) {
            isRunning = status.processID != nil
            processID = status.processID
            mailboxes = status.mailboxes
            groups = status.groups
            storedMessages = status.messages
            storedBytes = status.messageByteCount
            freeBytes = status.freeByteCount
        }
    }
}
