import ClinicTestSupport
import Credentials
import Cryptography
import Foundation
import Glibc
import RelayProtocol
import RelayTestSupport
import TestSupport
import WebSockets

/// The real relay's process as an operator runs it, with a file of settings, and nothing else:
/// devices of its own kind talk to it (`WireLine`).
final class RelayAlone: Sendable {
    private struct State {
        var process: Child?
        var port: UInt16 = 0
        var metricsPort: UInt16 = 0
    }

    let clinic: TestClinic
    private let folder: TemporaryFolder
    /// Nobody else gets it while the relay is away.
    private let held: HeldPort
    let launcher: Launcher
    private let state = Lock(State())

    var dataFolder: String { file("relay") }
    var settingsFile: String { file("relay.yaml") }

    init() throws {
        folder = try TemporaryFolder()
        held = try HeldPort()
        launcher = Launcher(home: folder.path, logPrefix: folder.file("log"))
        clinic = try TestClinic()
        try Data(clinic.root.pem.utf8).write(to: URL(fileURLWithPath: file("root.pem")))
        try configure()
    }

    deinit { process?.kill() }

    /// A path inside its folder, which goes with it.
    func file(_ name: String) -> String { folder.file(name) }

    /// Writes the file of settings: what every test wants, and then `lines`.
    func configure(_ lines: String = "") throws {
        let common = """
            data: \(dataFolder)
            clinic-root: \(file("root.pem"))

            """
        try Data((common + lines).utf8).write(to: URL(fileURLWithPath: settingsFile))
    }

    /// How many lines stand before those given to `configure`.
    static let linesBefore = 2

    /// A file that operators are given.
    static func shipped(_ name: String) throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        return try String(
            contentsOf: root.appending(path: "tools/operations/" + name), encoding: .utf8)
    }

    // MARK: - The process

    /// Starts the relay, on the same port every time, and waits for its ready line.
    func start(
        _ options: [String] = [], environment: [String: String] = [:], shell: String? = nil
    ) async throws {
        let child = try serve(options, environment: environment, shell: shell)
        let port = try await child.listeningPort()
        let metrics = child.errors.firstMatch(of: #/metrics on http://127\.0\.0\.1:([0-9]+)/#)
        state.withLock {
            ($0.process, $0.port) = (child, port)
            $0.metricsPort = metrics.flatMap { UInt16($0.1) } ?? 0
        }
    }

    /// Starts the relay, and waits for nothing.
    ///
    /// - Parameter shell: a command line that runs the relay, whose arguments are `"$@"`.
    func serve(
        _ options: [String] = [], environment: [String: String] = [:], shell: String? = nil
    ) throws -> Child {
        let arguments =
            [
                "serve", "--config", settingsFile, "--listen", "127.0.0.1:\(held.port)",
                "--metrics-listen", "127.0.0.1:0",
            ] + options
        guard let shell else {
            return try launcher.start(.relay, arguments, environment: environment)
        }
        return try launcher.start(
            .shell, ["-c", shell, Program.relay.path] + arguments, environment: environment)
    }

    var process: Child? { state.withLock { $0.process } }
    var port: UInt16 { state.withLock { $0.port } }
    var url: WebSocketURL? { WebSocketURL("ws://127.0.0.1:\(port)") }
    /// What it has said on standard error since its last start.
    var errors: String { process?.errors ?? "" }

    /// Waits until the trail has its first entries on disk, which may be after the ready line.
    func trailBegins() async throws {
        let path = dataFolder + "/trail"
        try await eventually("the trail has begun") {
            let manager = FileManager.default
            return try manager.contentsOfDirectory(atPath: path).contains { name in
                manager.contents(atPath: path + "/" + name)?.isEmpty == false
            }
        }
    }

    /// `kill -9`.
    func kill() async throws {
        guard let process else { return }
        process.kill()
        try await process.wait()
    }

    /// SIGTERM, and how it ended.
    func stop() async throws -> Ending? {
        process?.signal(SIGTERM)
        return try await process?.wait()
    }

    // MARK: - Other programs

    /// Runs an operator's command on the relay's folder to its end.
    func run(_ command: String, _ options: String...) async throws -> Child.Outcome {
        try await run(.relay, [command, "--data", dataFolder] + options)
    }

    /// Runs a program to its end.
    func run(
        _ program: Program, _ arguments: [String], environment: [String: String] = [:]
    ) async throws -> Child.Outcome {
        try await launcher.start(program, arguments, environment: environment)
            .outcome()
    }

    /// A certificate for localhost that stands for itself, in `tls.pem` and `tls.key`.
    func makeCertificate(named name: String) async throws {
        try await run(
            .openssl,
            ["req", "-x509", "-days", "2", "-subj", "/CN=\(name)", "-nodes"]
                + ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
                + ["-addext", "subjectAltName=DNS:localhost"]
                + ["-keyout", file("tls.key"), "-out", file("tls.pem")]
        ).expect(0)
    }

    // MARK: - Asking

    /// The whole answer to a GET where devices connect.
    func get(_ path: String) throws -> String { try Self.get(path, port) }

    private static func get(_ path: String, _ port: UInt16) throws -> String {
        let peer = try RawPeer(port: port)
        peer.write("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return peer.readToEnd()
    }

    /// A metric's value now.
    func metric(_ sample: String) throws -> Double? {
        let page = try Self.get("/metrics", state.withLock { $0.metricsPort })
        for line in page.split(separator: "\n") where line.hasPrefix(sample + " ") {
            return Double(line.dropFirst(sample.count + 1))
        }
        return nil
    }

    /// A connection with its upgrade, and the head of the answer to it.
    func connect(forwardedFor: String? = nil) throws -> (peer: RawPeer, head: String) {
        let peer = try RawPeer(port: port)
        let head = peer.upgradeHead(
            subprotocol: ProtocolConstants.subprotocol, forwardedFor: forwardedFor)
        return (peer, head)
    }

    /// A token of the clinic for a home mailbox.
    func token(relayKey: VerifyingKey) throws -> [UInt8] {
        try AdmissionToken(
            relayKey: relayKey, serial: Random.bytes(16),
            expires: UInt64(Date().timeIntervalSince1970) + 3_600, clinicRoot: clinic.rootKey
        ).encoded()
    }
}
