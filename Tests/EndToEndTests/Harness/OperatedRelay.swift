import Foundation
import Glibc
import RelayProtocol
import TestSupport

/// A relay as an operator runs it, with a file of settings; without a clinic or people.
final class OperatedRelay {
    let folder: TemporaryFolder
    private(set) var child: Child?
    private(set) var port: UInt16 = 0
    private(set) var metricsPort: UInt16 = 0
    private var count = 0

    var settingsFile: String { folder.file("relay.yaml") }
    var errors: String { child?.errors ?? "" }

    init() async throws {
        folder = try TemporaryFolder()
        try await openssl(
            ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=Clinic", "-days", "2"]
                + ["-keyout", folder.file("root.key"), "-out", folder.file("root.pem")])
    }

    /// Writes the file of settings: what every test wants, and then `lines`.
    func configure(_ lines: String = "") throws {
        let common = """
            data: \(folder.file("data"))
            clinic-root: \(folder.file("root.pem"))
            listen: 127.0.0.1:0

            """
        try Data((common + lines).utf8).write(to: URL(fileURLWithPath: settingsFile))
    }

    /// How many lines stand before those given to `configure`.
    static let linesBefore = 3

    /// A certificate for localhost that stands for itself.
    func makeCertificate(named name: String) async throws {
        try await openssl(
            ["req", "-x509", "-days", "2", "-subj", "/CN=\(name)", "-nodes"]
                + ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
                + ["-addext", "subjectAltName=DNS:localhost"]
                + ["-keyout", folder.file("tls.key"), "-out", folder.file("tls.pem")])
    }

    /// Starts it and waits for the ready line.
    ///
    /// - Parameter shell: a command line that runs the relay, whose arguments are `"$@"`.
    func start(
        _ options: [String] = [], environment: [String: String] = [:], shell: String? = nil
    ) async throws {
        let arguments = ["serve", "--config", settingsFile] + options
        let child =
            if let shell {
                try run(.shell, ["-c", shell, Program.relay.path] + arguments, environment)
            } else {
                try run(.relay, arguments, environment)
            }
        self.child = child
        let ready = try await child.line { $0.hasPrefix("listening on ") }
        port = try Self.port(in: ready)
        try await eventually("the metrics' address in the log") {
            child.errors.contains("metrics on")
        }
        metricsPort = try Self.port(in: child.errors)
    }

    /// Runs the relay's program to its end.
    func command(
        _ arguments: [String], environment: [String: String] = [:]
    ) async throws -> (ending: Ending, output: String, errors: String) {
        let child = try run(.relay, arguments, environment)
        return (try await child.wait(), child.output, child.errors)
    }

    @discardableResult
    func openssl(_ arguments: [String]) async throws -> String {
        let child = try run(.openssl, arguments, [:])
        let ending = try await child.wait()
        guard ending == .exited(0) else {
            throw StageError.unexpectedEnding(
                "openssl", ending, expected: 0, output: child.output, errors: child.errors)
        }
        return child.output
    }

    func run(
        _ program: Program, _ arguments: [String], _ environment: [String: String] = [:]
    ) throws -> Child {
        count += 1
        var fixed = ["HOME": folder.path, "SWIFT_BACKTRACE": "enable=no"]
        fixed["PATH"] = ProcessInfo.processInfo.environment["PATH"]
        fixed["LD_LIBRARY_PATH"] = ProcessInfo.processInfo.environment["LD_LIBRARY_PATH"]
        return try Child(
            program, arguments, environment: fixed.merging(environment) { $1 },
            outputPrefix: folder.file("log\(count)"))
    }

    private static func port(in text: String) throws -> UInt16 {
        guard let match = text.firstMatch(of: /127\.0\.0\.1:([0-9]+)/), let port = UInt16(match.1)
        else { throw StageError.unexpectedOutput("an address", output: text) }
        return port
    }

    // MARK: - Asking

    /// The whole answer to a GET.
    func get(_ path: String, port: UInt16) throws -> String {
        let peer = try RawPeer(port: port)
        peer.write("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return peer.readToEnd()
    }

    /// A metric's value now.
    func metric(_ sample: String) throws -> Double? {
        for line in try get("/metrics", port: metricsPort).split(separator: "\n")
        where line.hasPrefix(sample + " ") {
            return Double(line.dropFirst(sample.count + 1))
        }
        return nil
    }

    /// A connection with its upgrade, and the head of the answer to it.
    func connect(
        port: UInt16? = nil, forwardedFor: String? = nil
    ) throws -> (peer: RawPeer, head: String) {
        let peer = try RawPeer(port: port ?? self.port)
        let head = peer.upgradeHead(
            subprotocol: ProtocolConstants.subprotocol, forwardedFor: forwardedFor)
        return (peer, head)
    }

    /// SIGTERM, and how it ended.
    func stop() async throws -> Ending? {
        child?.signal(SIGTERM)
        return try await child?.wait(for: .seconds(20))
    }
}
