import ArgumentParser
import Cryptography
import Foundation
import Testing

@testable import Terminal

struct InputTests {
    /// A file in a folder of its own.
    func withFile<Result>(
        _ contents: [UInt8], mode: Int = 0o600, _ body: (String) throws -> Result
    ) throws -> Result {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("curtain-terminal-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("file")
        try Data(contents).write(to: file)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file.path)
        return try body(file.path)
    }

    @Test(arguments: [
        ("secret\n", "secret"), ("secret", "secret"), ("a\n\n", "a\n"), (" b \r\n", " b \r"),
    ])
    func `one line feed at the end is no part of the passphrase`(
        contents: String, passphrase: String
    ) throws {
        let read = try withFile(Array(contents.utf8)) { try Passphrase.read(file: $0) }
        #expect(read == SecretBytes(Array(passphrase.utf8)))
    }

    @Test(arguments: [0o644, 0o640, 0o604, 0o620])
    func `a passphrase file for others is refused`(mode: Int) throws {
        let status = try withFile(Array("secret".utf8), mode: mode) { path in
            #expect(throws: Failure.self) { try Passphrase.read(file: path) }.map(\.status)
        }
        #expect(status == .notAllowed)
    }

    @Test func `empty, endless and missing passphrase files are refused`() throws {
        for contents in [[], [0x0A], [UInt8](repeating: 0x61, count: 5000)] as [[UInt8]] {
            let status = try withFile(contents) { path in
                #expect(throws: Failure.self) { try Passphrase.read(file: path) }.map(\.status)
            }
            #expect(status == .badData)
        }
        let missing = #expect(throws: Failure.self) { try Passphrase.read(file: "/nowhere/x") }
        #expect(missing?.status == .notFound)
    }

    @Test func `a file is made once and read whole`() throws {
        try withFile([]) { path in
            let target = path + ".new"
            try Files.create(target, contents: [1, 2, 3], isPrivate: true)
            #expect(try Files.read(target) == [1, 2, 3])
            let mode = try FileManager.default.attributesOfItem(atPath: target)[.posixPermissions]
            #expect(mode as? Int == 0o600)
            let refusal = #expect(throws: Failure.self) {
                try Files.create(target, contents: [4])
            }
            #expect(refusal?.status == .cannotCreate)
            #expect(try Files.read(target) == [1, 2, 3])
            try Files.create(target, contents: [5], replacing: true)
            #expect(try Files.read(target) == [5])
            let folder = (target as NSString).deletingLastPathComponent
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 2)
        }
    }

    @Test func `reading says what is wrong`() throws {
        let missing = #expect(throws: Failure.self) { try Files.read("/nowhere/x") }
        #expect(missing?.status == .notFound)
        let large = try withFile([UInt8](repeating: 0, count: 100)) { path in
            #expect(throws: Failure.self) { try Files.read(path, limit: 99) }
        }
        #expect(large?.status == .badData)
    }

    @Test func `lines come from a pipe as they are, the last one without its end too`() throws {
        let pipe = Pipe()
        try pipe.fileHandleForWriting.write(contentsOf: Data("one\r\n\ntwo\u{FFFD}".utf8))
        try pipe.fileHandleForWriting.close()
        let input = StandardInput(
            Descriptor(number: pipe.fileHandleForReading.fileDescriptor))
        var lines: [String] = []
        while let line = try input.line(wake: -1) { lines.append(line) }
        #expect(lines == ["one", "", "two\u{FFFD}"])
    }
}

struct ProgramTests {
    struct Root: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "curtain")
        @Option var at: TimeArgument
        @Flag var json = false
    }
    struct Strange: Error {}

    @Test func `errors become exit statuses`() {
        func status(_ error: any Error) -> Program.Outcome {
            Program.outcome(of: error, in: Root.self) { error in
                error is Strange ? .quiet(.tryAgain) : nil
            }
        }
        #expect(status(Strange()) == .ended(.tryAgain))
        #expect(status(Failure.quiet(.badData)) == .ended(.badData))
        #expect(status(BrokenPipe()) == .ended(.inputOutput))
        #expect(status(CancellationError()) == .interrupted)
        #expect(status(ExitCode(66)) == .ended(.notFound))
    }

    @Test func `what fails after an interruption ends by the signal`() async {
        let work = Task {
            while !Task.isCancelled { await Task.yield() }
            return Program.outcome(of: Failure.quiet(.tryAgain), in: Root.self) { _ in nil }
        }
        work.cancel()
        #expect(await work.value == .interrupted)
    }

    @Test func `a wrong command line is a usage error`() {
        for arguments in [["--at", "soon"], ["--at"], ["--nonsense"], []] {
            do {
                _ = try Root.parseAsRoot(arguments)
                Issue.record("accepted \(arguments)")
            } catch {
                #expect(Root.exitCode(for: error).rawValue == ExitStatus.usage.rawValue)
            }
        }
    }

    @Test func `a failure says what happened and what to do`() {
        let failure = Failure(.notAllowed, "wrong passphrase", advice: "try again")
        #expect(failure.message == "wrong passphrase; try again")
        #expect(Failure(.bug, "oops").message == "oops")
        #expect(Failure.quiet(.badData).message.isEmpty)
    }
}
