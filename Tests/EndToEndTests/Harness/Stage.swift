import Cryptography
import Foundation
import Glibc
import TestSupport

/// A clinic, a relay and people in a temporary folder of their own, played by the real programs.
final class Stage: Sendable {
    private struct State {
        var relay: Child?
    }

    let folder: String
    /// Whether the relay speaks TLS, with a certificate of an authority made for the occasion.
    let isSecure: Bool
    let launcher: Launcher
    private let state = Lock(State())
    /// Nobody else gets it while the relay is away.
    private let held: HeldPort

    var relayFolder: String { folder + "/relay" }
    var clinicFolder: String { folder + "/clinic" }
    var rootFile: String { folder + "/root.pem" }
    var relayAddress: String { "127.0.0.1:\(held.port)" }

    /// Sets the stage: a clinic and a running relay; takes it down whatever `body` does.
    static func with<Result>(
        tls: Bool = false, isolation: isolated (any Actor)? = #isolation,
        _ body: (Stage) async throws -> Result
    ) async throws -> Result {
        let stage = try Stage(isSecure: tls)
        do {
            try await stage.open()
            let result = try await body(stage)
            await stage.close()
            return result
        } catch {
            stage.tell()
            await stage.close()
            throw error
        }
    }

    private init(isSecure: Bool) throws {
        self.isSecure = isSecure
        held = try HeldPort()
        folder = NSTemporaryDirectory() + "curtain-\(getpid())-\(UUID().uuidString.prefix(8))"
        launcher = Launcher(home: folder, logPrefix: folder + "/log/")
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        try FileManager.default.createDirectory(
            atPath: folder + "/log", withIntermediateDirectories: true)
    }

    private func open() async throws {
        try writeSecret("clinic passphrase", to: folder + "/clinic.pass")
        try await clinic(["init", "--home", clinicFolder, "--name", "Clinic on the Hill"])
        try await clinic(["root", "--home", clinicFolder, "--out", rootFile])
        if isSecure { try await makeServerCertificate() }
        try await startRelay()
    }

    private func close() async {
        if let relay = state.withLock({ $0.relay }) {
            relay.kill()
            _ = try? await relay.wait()
        }
        if ProcessInfo.processInfo.environment["CURTAIN_KEEP"] == nil {
            try? FileManager.default.removeItem(atPath: folder)
        } else {
            print("kept \(folder)")
        }
    }

    /// After a failure: what the relay said last.
    private func tell() {
        guard let relay = state.withLock({ $0.relay }) else { return }
        print("the relay's last words:\n\(relay.errors.suffix(3000))")
    }

    // MARK: - The relay

    /// Starts the relay, on the same port every time.
    func startRelay(_ options: [String] = []) async throws {
        let address = relayAddress
        let child = try launcher.start(
            .relay,
            [
                "serve", "--data", relayFolder, "--clinic-root", rootFile, "--listen", address,
                "--metrics-listen", "127.0.0.1:0",
            ] + (isSecure ? ["--tls-cert", serverCertificate, "--tls-key", serverKey] : [])
                + options)
        _ = try await child.listeningPort()
        state.withLock { $0.relay = child }
    }

    private var serverCertificate: String { folder + "/server.pem" }
    private var serverKey: String { folder + "/server.key" }
    /// The authority that signed the relay's TLS certificate.
    var authorityFile: String { folder + "/authority.pem" }

    /// An authority and a certificate for localhost.
    private func makeServerCertificate() async throws {
        let authorityKey = folder + "/authority.key"
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _ = try await run(
            .openssl,
            ["req", "-x509", "-days", "2", "-subj", "/CN=Test authority", "-keyout", authorityKey]
                + ["-out", authorityFile] + curve)
        _ = try await run(
            .openssl,
            ["req", "-x509", "-days", "2", "-subj", "/CN=localhost", "-keyout", serverKey]
                + ["-out", serverCertificate, "-addext", "subjectAltName=DNS:localhost"]
                + ["-CA", authorityFile, "-CAkey", authorityKey] + curve)
    }

    /// The relay's URL as invitations name it.
    var relayURL: String {
        isSecure ? "wss://localhost:\(held.port)" : "ws://127.0.0.1:\(held.port)"
    }

    var relay: Child? { state.withLock { $0.relay } }

    /// `kill -9`.
    func killRelay() async throws {
        guard let relay else { return }
        relay.kill()
        try await relay.wait()
    }

    var relayProcess: pid_t {
        get throws {
            guard let relay else { throw StageError.neverHappened("the relay's start") }
            return relay.pid
        }
    }

    /// SIGTERM: drains and exits with 0.
    func stopRelay() async throws {
        guard let relay else { return }
        relay.signal(SIGTERM)
        try await relay.outcome().expect(0)
    }

    /// The relay's public key, as invitations name it.
    func relayKey() async throws -> String {
        try await run(.relay, ["identity", "--data", relayFolder])
            .output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    // MARK: - The clinic

    @discardableResult
    func clinic(
        _ arguments: [String], exits status: Int32 = 0
    ) async throws -> Child.Outcome {
        try await run(
            .clinic, arguments, environment: ["CURTAIN_PASSPHRASE_FILE": folder + "/clinic.pass"],
            exits: status)
    }

    /// A single-use invitation for a person: a `curtain:` URI.
    func invitation(role: String, name: String, _ options: [String] = []) async throws -> String {
        let outcome = try await clinic(
            [
                "invite", "--home", clinicFolder, "--relay", relayURL,
                "--relay-key", try await relayKey(), "--role", role, "--name", name,
            ] + options)
        guard let uri = outcome.output.firstMatch(of: /curtain:[A-Za-z0-9_\-]+/) else {
            throw StageError.unexpectedOutput("the invitation", output: outcome.output)
        }
        return String(uri.0)
    }

    // MARK: - Processes

    /// Runs a command to its end and checks how it ended; nil takes any ending.
    func run(
        _ program: Program, _ arguments: [String], environment: [String: String] = [:],
        input: [String] = [], exits status: Int32? = 0, within limit: Duration = .seconds(120)
    ) async throws -> Child.Outcome {
        let child = try launcher.start(
            program, arguments, environment: environment, keepsInput: !input.isEmpty)
        for line in input { child.type(line) }
        child.closeInput()
        let outcome = try await child.outcome(within: limit)
        if let status { try outcome.expect(status) }
        return outcome
    }

    /// Writes a file that only its owner may read.
    func writeSecret(_ text: String, to path: String) throws {
        guard
            FileManager.default.createFile(
                atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600])
        else { throw StageError.system("creating \(path)", EIO) }
    }
}
