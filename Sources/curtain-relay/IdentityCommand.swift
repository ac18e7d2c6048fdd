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
