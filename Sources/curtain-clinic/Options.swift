public import ArgumentParser
import Clinic
public import Credentials
import Cryptography
import Terminal

/// `--home`, which every command takes.
struct HomeOptions: ParsableArguments {
    @Option(
        name: .customLong("home"),
        help: ArgumentHelp("The clinic's folder.", valueName: "dir"), completion: .directory)
    var path: String

    func open() throws -> ClinicHome { try ClinicHome.open(at: path) }
}

/// A public key as `curtain-relay identity` prints it: base64url.
struct KeyArgument: ExpressibleByArgument {
    let key: VerifyingKey

    init?(argument: String) {
        guard let bytes = Base64URL.decode(argument.utf8), let key = try? VerifyingKey(bytes) else {
            return nil
        }
        self.key = key
    }
}

extension PersonRole: ExpressibleByArgument {
    /// Reads the word for a role, in any case.
    public init?(argument: String) { self.init(word: argument.lowercased()) }
    /// The words, for help and completion.
    public static var allValueStrings: [String] { allCases.map(\.word) }
}

extension RevocationReason: ExpressibleByArgument {
    /// Reads a name of RFC 5280.
    public init?(argument: String) { self.init(word: argument) }
    /// The names, for help and completion.
    public static var allValueStrings: [String] { allCases.map(\.word) }
}
