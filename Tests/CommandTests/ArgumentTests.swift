import ArgumentParser
import Foundation
import Terminal
import Testing

@testable import curtain

struct ArgumentTests {
    @Test(arguments: [
        ["join", "curtain:abc"], ["join", "-", "--pin-file", "pin"], ["me", "--json"],
        ["certificate", "request", "--out", "f"], ["certificate", "import", "f"],
        ["card"], ["card", "--out", "f"],
        ["request", "card", "--at", "+2h", "--minutes", "30", "--reason", "cough"],
        ["consultations", "--json"], ["accept", "ab"], ["decline", "ab", "--reason", "full"],
        ["chat", "ab"], ["chat", "ab", "--json"], ["send", "ab", "hello"], ["send", "ab", "-"],
        ["send", "ab"], ["send", "ab", "--file", "f"], ["send", "ab", "x", "--file", "f"],
        ["save", "ab", "7"], ["save", "ab", "7", "there.pdf", "--json"],
        ["read", "ab", "--follow", "--since", "12"], ["sync", "--wait", "5"],
        ["verify", "Ada", "--matches", "12345"], ["prescribe", "ab"],
        ["prescribe", "ab", "--from", "f", "--yes"], ["prescribe", "--example"], ["rx", "list"],
        ["rx", "show", "ab"], ["rx", "export", "ab", "--out", "f"],
        ["rx", "verify", "f", "--root", "pem", "--crl", "crl"], ["end", "ab", "--wait", "9"],
        ["passphrase"], ["reopen", "ab"], ["recover", "--yes"], ["receipts"],
        ["receipts", "--json"], ["receipts", "verify", "f"],
        ["me", "--home", "dir", "--passphrase-file", "f", "--relay-url", "ws://127.0.0.1:1"],
    ])
    func `the promised command lines are understood`(arguments: [String]) throws {
        _ = try CurtainCommand.parseAsRoot(arguments)
    }

    @Test(arguments: [
        [], ["--nonsense"], ["join"], ["request", "card"], ["request", "card", "--at", "never"],
        ["request", "card", "--at", "2001-01-01"],
        ["request", "card", "--at", "+1h", "--minutes", "0"], ["send"],
        ["send", "ab", "--file"], ["save", "ab"], ["save", "ab", "x"],
        ["add", "ab", "card", "--as", "guardian"],
        ["remove", "ab", "person"], ["read", "ab", "--since", "x"], ["sync", "--wait", "-1"],
        ["rx", "verify", "f"], ["rx", "export", "ab"], ["prescribe"], ["end"],
        ["me", "--passphrase", "secret"],
    ])
    func `what isn't there or makes no sense is a usage error`(arguments: [String]) {
        do {
            var command = try CurtainCommand.parseAsRoot(arguments)
            // Without a subcommand the help is shown, which ArgumentParser does in `run`.
            #expect(arguments.isEmpty)
            try command.run()
        } catch {
            let expected = arguments.isEmpty ? 0 : ExitStatus.usage.rawValue
            #expect(CurtainCommand.exitCode(for: error).rawValue == expected)
        }
    }

    @Test func `the home comes from the option, then from the environment`() {
        let environment = ["CURTAIN_HOME": "/c", "XDG_DATA_HOME": "/x", "HOME": "/h"]
        #expect(HomeOptions.path(given: "/o", environment: environment) == "/o")
        #expect(HomeOptions.path(given: nil, environment: environment) == "/c")
        #expect(
            HomeOptions.path(given: nil, environment: ["CURTAIN_HOME": "", "XDG_DATA_HOME": "/x"])
                == "/x/curtain")
        #expect(
            HomeOptions.path(given: nil, environment: ["HOME": "/h"]) == "/h/.local/share/curtain")
    }

    @Test(arguments: [
        ("hello /there", ChatInput.message("hello /there")),
        ("/file  my scan.pdf ", .file("my scan.pdf")),
        ("/file ", .incomplete("/file PATH sends a file")),
        ("/file ~/a b.pdf", .file(NSHomeDirectory() + "/a b.pdf")),
        ("/save 7", .save(7, path: nil)),
        ("/save 7 to my place.pdf", .save(7, path: "to my place.pdf")),
        ("/save", .incomplete("/save N saves the file that came with message number N")),
        ("//quit", .message("/quit")),
        ("/help", .help), ("/quit ", .quit), ("/verify", .verify(nil)),
        ("/verify 12345 67890", .verify("12345 67890")), ("/end", .end(.asking)),
        ("/end yes", .end(.certain)), ("/end yes please", .end(.asking)),
        ("/end now", .end(.now)),
        ("/rx", .prescribe), ("/info", .info), ("/nonsense x", .unknown("/nonsense")),
        ("   ", .nothing), ("", .nothing), ("/", .unknown("/")), (" /quit", .message(" /quit")),
    ])
    func `a line of a chat is a message or a command`(line: String, input: ChatInput) {
        #expect(ChatInput(line) == input)
    }

    @Test func `half a command is told which ones it may be`() {
        #expect(ChatInput.advice(on: "/sav") == "/sav is no command; did you mean /save?")
        #expect(ChatInput.advice(on: "/e") == "/e is no command; did you mean /end?")
        #expect(ChatInput.advice(on: "/x\u{1B}") == "/x␛ is no command; /help lists them")
    }

    @Test func `a receipt is found as text and in JSON`() throws {
        #expect(try ReceiptsCommand.Verify.receipt(in: Array(" AQID\n".utf8)) == [1, 2, 3])
        let json = #"{"consultation":"x","receipt":"AQID"}"# + "\n"
        #expect(try ReceiptsCommand.Verify.receipt(in: Array(json.utf8)) == [1, 2, 3])
        for bad in ["", "{}", "no receipt!", "{\"receipt\":\"?\"}"] {
            #expect(throws: Failure.self) {
                try ReceiptsCommand.Verify.receipt(in: Array(bad.utf8))
            }
        }
    }
}
