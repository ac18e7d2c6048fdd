import Cryptography
import Foundation
import Glibc

/// One of the project's programs, built beside the tests; and what they are tried with.
enum Program: String, Sendable {
    case curtain
    case relay = "curtain-relay"
    case clinic = "curtain-clinic"
    case openssl
    case shell
    case nginx

    /// Where the build put it: the folder of the running test binary, or another build's that
    /// `CURTAIN_PROGRAMS` names.
    var path: String {
        switch self {
        case .openssl: "/usr/bin/openssl"
        case .shell: "/bin/bash"
        case .nginx: "/usr/sbin/nginx"
        case .curtain, .relay, .clinic:
            (ProcessInfo.processInfo.environment["CURTAIN_PROGRAMS"] ?? Self.folder) + "/"
                + rawValue
        }
    }

    static let folder: String = {
        // Typing to a process that has just been killed is no reason to end.
        _ = Glibc.signal(SIGPIPE, SIG_IGN)
        let binary = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: binary ?? ".").deletingLastPathComponent().path
    }()
}

/// How a process ended.
enum Ending: Equatable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case killed(signal: Int32)

    var description: String {
        switch self {
        case .exited(let status): "exit status \(status)"
        case .killed(let signal): "signal \(signal)"
        }
    }
}

/// A process that the tests started. Its output goes to files, so that nobody has to drain a pipe
/// and nothing of it is lost when it is killed; its input is a pipe, or nothing.
final class Child: Sendable {
    private struct State {
        var ending: Ending?
        var input: Int32?
    }

    let name: String
    let pid: pid_t
    private let outputFile: String
    private let errorFile: String
    private let state: Lock<State>

    /// Starts `program`.
    ///
    /// - Parameters:
    ///   - environment: what it has beside the little that every child gets.
    ///   - keepsInput: leaves standard input open for `type`; otherwise it is empty.
    init(
        _ program: Program, _ arguments: [String], environment: [String: String],
        outputPrefix: String, keepsInput: Bool = false
    ) throws {
        name = ([program.rawValue] + arguments).joined(separator: " ")
        outputFile = outputPrefix + ".out"
        errorFile = outputPrefix + ".err"
        let writing: Int32
        (pid, writing) = try Self.starting.withLock { count throws(StageError) in
            count += 1
            let (reading, writing) = try Self.pipe()
            defer { close(reading) }
            do throws(StageError) {
                let pid = try Self.spawn(
                    program.path, [program.rawValue] + arguments,
                    Self.environment.merging(environment) { $1 }.map { "\($0.key)=\($0.value)" },
                    input: reading, outputFile: outputPrefix + ".out",
                    errorFile: outputPrefix + ".err")
                return (pid, writing)
            } catch {
                close(writing)
                throw error
            }
        }
        if keepsInput {
            state = Lock(State(input: writing))
        } else {
            close(writing)
            state = Lock(State())
        }
    }

    /// The same wherever tests run; and what sanitizers of programs that were built with one are told.
    private static let environment = ProcessInfo.processInfo.environment.filter {
        ["PATH", "LD_LIBRARY_PATH", "TSAN_OPTIONS", "ASAN_OPTIONS", "LSAN_OPTIONS"].contains($0.key)
    }.merging(["LANG": "C.UTF-8", "TZ": "UTC", "SWIFT_BACKTRACE": "enable=no"]) { $1 }

    deinit {
        kill()
        closeInput()
        // One that nobody has waited for would keep exit tests waiting for ever.
        _ = ending(options: 0)
    }

    // MARK: - Input

    /// Writes a line, at most a pipe's atomic 4,096 octets, to its standard input; false if it is
    /// gone or doesn't read.
    @discardableResult
    func type(_ text: String) -> Bool {
        let octets = Array((text + "\n").utf8)
        return state.withLock { state in
            guard let input = state.input else { return false }
            let count = unsafe octets.withUnsafeBytes {
                unsafe write(input, $0.baseAddress, $0.count)
            }
            return count == octets.count
        }
    }

    /// Ends its standard input.
    func closeInput() {
        state.withLock { state in
            if let input = state.input { close(input) }
            state.input = nil
        }
    }

    // MARK: - Ending

    func signal(_ number: Int32) {
        // Under the lock, so that the number can't have been reaped and given to another process.
        state.withLock { state in
            if state.ending == nil { _ = Glibc.kill(pid, number) }
        }
    }

    func kill() { signal(SIGKILL) }

    /// How it ended, or nil while it runs.
    func ending() -> Ending? { ending(options: WNOHANG) }

    private func ending(options: Int32) -> Ending? {
        state.withLock { state in
            if let ending = state.ending { return ending }
            var status: Int32 = 0
            guard unsafe waitpid(pid, &status, options) == pid else { return nil }
            let signal = status & 0x7f
            state.ending = signal == 0 ? .exited((status >> 8) & 0xff) : .killed(signal: signal)
            return state.ending
        }
    }

    /// Waits for its end.
    ///
    /// - Throws: `StageError.stillRunning`, after killing it, if that takes too long.
    @discardableResult
    func wait(for limit: Duration = .seconds(120)) async throws -> Ending {
        let deadline = ContinuousClock.now + limit
        while true {
            let isLate = ContinuousClock.now >= deadline
            if let ending = ending() { return ending }
            guard !isLate else { break }
            try await Task.sleep(for: .milliseconds(4))
        }
        kill()
        throw StageError.stillRunning(name, limit, output: output, errors: errors)
    }

    /// How a command ended and what it said.
    struct Outcome: Sendable {
        let ending: Ending
        let output: String
        let errors: String
        fileprivate let name: String

        var objects: [JSONLine] { get throws { try JSONLine.all(output) } }

        /// - Throws: `StageError.unexpectedEnding` if it ended in another way.
        func expect(_ status: Int32) throws {
            guard ending != .exited(status) else { return }
            throw StageError.unexpectedEnding(
                name, ending, expected: status, output: output, errors: errors)
        }
    }

    /// Waits for its end, and tells how it was.
    func outcome(within limit: Duration = .seconds(120)) async throws -> Outcome {
        let ending = try await wait(for: limit)
        return Outcome(ending: ending, output: output, errors: errors, name: name)
    }

    // MARK: - Output

    var output: String { Self.text(of: outputFile) }
    var errors: String { Self.text(of: errorFile) }

    /// Whole lines of standard output that have come so far.
    var lines: [String] {
        output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }

    /// Waits until standard output has a whole line for which `matches` holds.
    @discardableResult
    func line(
        within limit: Duration = .seconds(60), where matches: (String) -> Bool
    ) async throws -> String {
        let deadline = ContinuousClock.now + limit
        while true {
            let isOver = ContinuousClock.now >= deadline || ending() != nil
            if let line = lines.first(where: matches) { return line }
            guard !isOver else {
                throw StageError.missingLine(name, output: output, errors: errors)
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Waits for a relay's ready line, and reads the port in it.
    func listeningPort() async throws -> UInt16 {
        let ready = try await line { $0.hasPrefix("listening on ") }
        guard let port = ready.firstMatch(of: /127\.0\.0\.1:([0-9]+)/).flatMap({ UInt16($0.1) })
        else { throw StageError.unexpectedOutput("the ready line", output: ready) }
        return port
    }

    private static func text(of path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }

    // MARK: - Starting

    /// Held while a process starts, so that no other one inherits its pipe. Not around nothing: what
    /// has no size ThreadSanitizer takes for the lock itself.
    private static let starting = Lock(0)

    private static func pipe() throws(StageError) -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [0, 0]
        guard unsafe Glibc.pipe(&ends) == 0 else { throw .system("pipe", errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        // Only our end: a child that doesn't read must not hold up the tests.
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String], input: Int32,
        outputFile: String, errorFile: String
    ) throws(StageError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, input, 0)
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND
        unsafe posix_spawn_file_actions_addopen(&actions, 1, outputFile, flags, 0o600)
        unsafe posix_spawn_file_actions_addopen(&actions, 2, errorFile, flags, 0o600)

        // The test binary ignores SIGPIPE and may block others: a child starts as from a shell.
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        unsafe sigemptyset(&none)
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF))

        var argumentPointers = unsafe arguments.map { unsafe strdup($0) } + [nil]
        var environmentPointers = unsafe environment.map { unsafe strdup($0) } + [nil]
        defer {
            unsafe argumentPointers.forEach { unsafe free($0) }
            unsafe environmentPointers.forEach { unsafe free($0) }
        }
        var pid: pid_t = 0
        let result = unsafe posix_spawn(
            &pid, path, &actions, &attributes, &argumentPointers, &environmentPointers)
        guard result == 0 else { throw .system("posix_spawn \(path)", result) }
        return pid
    }
}
