public import ArgumentParser
public import Cryptography
private import Foundation

/// `--passphrase-file`, shared by all commands that open or make something sealed.
public struct PassphraseOptions: ParsableArguments, Sendable {
    /// The file that holds the passphrase, if it is to come from one.
    @Option(
        name: .customLong("passphrase-file"),
        help: ArgumentHelp(
            "Read the passphrase from this file, which only you may read.",
            discussion: "Else CURTAIN_PASSPHRASE_FILE names it, else it is asked for.",
            valueName: "file"), completion: .file())
    public var file: String?

    /// For ArgumentParser.
    public init() {}

    /// Whether the passphrase comes from a file.
    public var isFromFile: Bool { path != nil }

    /// The passphrase of something that exists.
    public func existing(_ prompt: String = "Passphrase") throws -> SecretBytes {
        try path.map(Passphrase.read(file:)) ?? Passphrase.ask(prompt)
    }

    /// The passphrase of something to be made; on a terminal it is asked for twice.
    public func new(_ prompt: String = "New passphrase") throws -> SecretBytes {
        try path.map(Passphrase.read(file:)) ?? Passphrase.askNew(prompt)
    }

    private var path: String? {
        if let file { return file }
        let named = ProcessInfo.processInfo.environment["CURTAIN_PASSPHRASE_FILE"]
        return named.flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// Where passphrases come from: a file or the terminal, never an argument.
public enum Passphrase {
    /// Octets of the longest passphrase.
    static let maximumByteCount = 1024

    /// Reads a file that only its owner can read; one line feed at the end isn't part of it.
    ///
    /// - Throws: status 66 if there is no such file, 77 if others can read it, 65 if it is empty
    ///   or too long.
    public static func read(file path: String) throws -> SecretBytes {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Files.failure(errno, opening: path) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw Files.failure(errno, opening: path)
        }
        let isPipe = status.st_mode & S_IFMT == S_IFIFO
        guard isPipe || status.st_mode & 0o077 == 0 else {
            throw Failure(
                .notAllowed, "others can read the passphrase file \(path)",
                advice: "make it yours alone with 'chmod 600 \(path)'")
        }
        var failure: Int32 = 0
        var isTooLong = false
        var count = 0
        let whole = unsafe SecretBytes(count: maximumByteCount + 2) { buffer in
            while count < buffer.count {
                let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
                let read = unsafe Glibc.read(descriptor, rest.baseAddress, rest.count)
                if read < 0, errno == EINTR { continue }
                if read < 0 { failure = errno }
                if read <= 0 { break }
                count += read
            }
            if count > 0, unsafe buffer[count - 1] == UInt8(ascii: "\n") { count -= 1 }
            isTooLong = count > maximumByteCount
        }
        guard failure == 0 else { throw Files.failure(failure, opening: path) }
        guard count > 0 else { throw Failure(.badData, "the passphrase file \(path) is empty") }
        guard !isTooLong else { throw tooLong }
        return whole.slice(0..<count)
    }

    /// Asks on the terminal, without showing what is typed.
    ///
    /// - Throws: status 64 if there is no terminal, `CancellationError` on Ctrl-C.
    public static func ask(_ prompt: String) throws -> SecretBytes {
        let descriptor = unsafe open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Failure(
                .usage, "there is no terminal to ask for the passphrase on",
                advice: "name a file with --passphrase-file")
        }
        defer { close(descriptor) }
        let terminal = Descriptor(number: descriptor)
        let mode = TerminalMode.change(descriptor, farewell: "\n", discardingInput: true) {
            $0.c_lflag &= ~tcflag_t(ECHO)
            $0.c_lflag |= tcflag_t(ICANON | ISIG)
        }
        defer { mode?.restore() }
        try terminal.write(Array("\(prompt): ".utf8))
        return try readLine(from: terminal)
    }

    /// Asks twice on the terminal until both answers are the same.
    public static func askNew(_ prompt: String) throws -> SecretBytes {
        for _ in 0..<3 {
            let first = try ask(prompt)
            guard first.count > 0 else {
                Diagnostic.warn("an empty passphrase protects nothing; choose another")
                continue
            }
            if first.count < 10 {
                Diagnostic.warn("this passphrase is short; whoever gets the file may guess it")
            }
            if try ask("Again") == first { return first }
            Diagnostic.warn("the two differ; please try again")
        }
        throw Failure(.usage, "no passphrase was chosen", advice: "run the command again")
    }

    private static let tooLong = Failure(
        .badData, "the passphrase is longer than \(maximumByteCount) octets",
        advice: "choose a shorter one")

    private static func readLine(from terminal: Descriptor) throws -> SecretBytes {
        var count = 0
        var outcome: Result<Void, any Error> = .success(())
        let whole = unsafe SecretBytes(count: maximumByteCount + 1) { buffer in
            outcome = Result { count = try unsafe fill(buffer, from: terminal) }
        }
        try outcome.get()
        return whole.slice(0..<count)
    }

    /// Reads octet by octet straight into guarded storage, so that no other buffer holds them.
    private static func fill(
        _ buffer: UnsafeMutableRawBufferPointer, from terminal: Descriptor
    ) throws -> Int {
        var count = 0
        while true {
            var waiting = [
                pollfd(fd: terminal.number, events: Int16(POLLIN), revents: 0),
                pollfd(fd: Signals.wakeDescriptor, events: Int16(POLLIN), revents: 0),
            ]
            if unsafe poll(&waiting, 2, -1) < 0 {
                if errno == EINTR { continue }
                throw Failure(.inputOutput, "the terminal is gone")
            }
            if waiting[1].revents != 0 { throw CancellationError() }
            let slot = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
            let read = unsafe Glibc.read(terminal.number, slot.baseAddress, 1)
            if read < 0, errno == EINTR || errno == EAGAIN { continue }
            guard read > 0 else {
                throw Failure(.usage, "no passphrase was given", advice: "run the command again")
            }
            let byte = unsafe buffer[count]
            if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") { return count }
            count += 1
            guard count < buffer.count else { throw tooLong }
        }
    }
}
