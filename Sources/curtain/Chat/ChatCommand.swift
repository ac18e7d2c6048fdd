import ArgumentParser
import Consultations
import Foundation
import Terminal

struct ChatCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat", abstract: "Talk in a consultation.",
        discussion: """
            On a terminal: an editor with history, and '/help' for its commands. Through a pipe, \
            or with --json: each line of input is a message, what comes is printed line by line, \
            and the end of the input ends the chat once the relay has everything (exit status 75 \
            if something still waits in the outbox). A line that begins with '/' is a command; \
            begin with '//' to send it.
            """)

    @OptionGroup var consultation: ConsultationArgument
    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await session.withDevice(showing: output.output, showsTroubles: false) { device in
            let found = try await device.consultation(matching: consultation.id)
            if let closed = found.closedFailure { throw closed }
            let chat = ChatSession(
                device: device, consultation: found, output: output.output,
                passphrase: session.passphrase)
            try await chat.run()
        }
    }
}

/// What begins with `/` in a chat.
enum ChatInput: Equatable {
    /// How certain somebody is who wants to end a consultation.
    enum Ending: Equatable {
        case asking
        case certain
        /// And doesn't want to wait for anything.
        case now
    }

    case message(String)
    case help
    case info
    case verify(String?)
    case end(Ending)
    case prescribe
    case file(String)
    case save(Int64, path: String?)
    case quit
    /// A command that lacks something: how it goes.
    case incomplete(String)
    case unknown(String)
    case nothing

    static let commands = ["/help", "/info", "/verify", "/end", "/rx", "/file", "/save", "/quit"]

    init(_ line: String) {
        guard line.contains(where: { !$0.isWhitespace }) else {
            self = .nothing
            return
        }
        guard line.hasPrefix("/") else {
            self = .message(line)
            return
        }
        if line.hasPrefix("//") {
            self = .message(String(line.dropFirst()))
            return
        }
        let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
        let rest = words.dropFirst().joined(separator: " ")
        switch words.first {
        case "/help", "/?": self = .help
        case "/info": self = .info
        case "/verify": self = .verify(rest.isEmpty ? nil : rest)
        case "/end":
            switch rest.lowercased() {
            case "yes": self = .end(.certain)
            case "now": self = .end(.now)
            default: self = .end(.asking)
            }
        case "/rx": self = .prescribe
        case "/file":
            guard !rest.isEmpty else {
                self = .incomplete("/file PATH sends a file")
                return
            }
            self = .file(Self.path(in: line, behind: 1))
        case "/save":
            guard let number = words.dropFirst().first.flatMap({ Int64($0) }) else {
                self = .incomplete("/save N saves the file that came with message number N")
                return
            }
            let path = Self.path(in: line, behind: 2)
            self = .save(number, path: path.isEmpty ? nil : path)
        case "/quit", "/exit", "/q": self = .quit
        default: self = .unknown(words.first ?? "/")
        }
    }

    /// The path behind so many words, with its spaces; `~/` is the person's own folder, as in a shell.
    private static func path(in line: String, behind count: Int) -> String {
        let path = rest(of: line, behind: count)
        return path.hasPrefix("~/") ? (path as NSString).expandingTildeInPath : path
    }

    /// What to say to a word that is no command.
    static func advice(on word: String) -> String {
        let meant = commands.filter { $0.hasPrefix(word.lowercased()) }
        let help =
            meant.isEmpty ? "/help lists them" : "did you mean \(meant.joined(separator: ", "))?"
        return "\(Sanitiser.line(word)) is no command; \(help)"
    }

    private static func rest(of line: String, behind count: Int) -> String {
        var rest = line[...]
        for _ in 0..<count {
            rest = rest.drop(while: \.isWhitespace).drop { !$0.isWhitespace }
        }
        return rest.trimmingCharacters(in: .whitespaces)
    }

    /// What `/help` prints.
    static func help(isDoctor: Bool) -> [String] {
        var lines = [
            "/verify     show the safety code; '/verify CODE' or",
            "            '/verify yes' marks the person verified",
            "/info       who is here, keys, appointment",
            "/file PATH  send a file",
            "/save N     save the file of message N here; '/save N PATH'",
            "            names another place",
            "/end        close and erase the consultation; '/end now'",
            "            doesn't wait for files that are on their way",
            "/quit       leave; the consultation goes on (also Ctrl-D)",
            "//TEXT      send a line that begins with /",
            "Alt-Enter   a new line within a message",
            "Marks: ○ in the outbox  ✓ on the relay",
            "       ✓✓ delivered  ✓✓ read",
        ]
        if isDoctor { lines.insert("/rx         sign a prescription", at: 2) }
        return lines
    }
}
