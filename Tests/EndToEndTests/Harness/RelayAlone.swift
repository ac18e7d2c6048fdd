import ClinicTestSupport
import Credentials
import Cryptography
import Foundation
import Glibc
import RelayProtocol
import RelayTestSupport
import TestSupport
import WebSockets

/// The real relay process and nothing else: devices of its own kind talk to it (`WireDevice`).
final class RelayAlone: Sendable {
    private struct State {
        var process: Child?
        var port: UInt16 = 0
        var starts = 0
    }

    let folder: String
    let clinic: TestClinic
    private let state = Lock(State())

    var dataFolder: String { folder + "/relay" }

    init() throws {
        folder = NSTemporaryDirectory() + "curtain-relay-\(getpid())-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        clinic = try TestClinic()
        try Data(clinic.root.pem.utf8).write(to: URL(fileURLWithPath: folder + "/root.pem"))
    }

    private static var environment: [String: String] {
        ProcessInfo.processInfo.environment.filter {
            ["PATH", "LD_LIBRARY_PATH"].contains($0.key)
        }.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
    }

    /// Kills what runs and removes everything.
    func remove() async throws {
        try await kill()
        try FileManager.default.removeItem(atPath: folder)
    }

    /// Starts the relay, on the same port every time.
    func start(_ options: [String] = [], environment: [String: String] = [:]) async throws {
        let (port, number) = state.withLock { state in
            state.starts += 1
            return (state.port, state.starts)
        }
        let child = try Child(
            .relay,
            [
                "serve", "--data", dataFolder, "--clinic-root", folder + "/root.pem", "--listen",
                "127.0.0.1:\(port)", "--metrics-listen", "off",
            ] + options,
            environment: Self.environment.merging(environment) { $1 },
            outputPrefix: folder + "/\(number)")
        let ready = try await child.line { $0.contains("127.0.0.1:") }
        guard let port = ready.firstMatch(of: /127\.0\.0\.1:([0-9]+)/).flatMap({ UInt16($0.1) })
        else { throw StageError.unexpectedOutput("the ready line", output: ready) }
        state.withLock {
            $0.process = child
            $0.port = port
        }
    }

    var process: Child? { state.withLock { $0.process } }

    var url: WebSocketURL? { WebSocketURL("ws://127.0.0.1:\(state.withLock { $0.port })") }

    /// The whole answer to a GET.
    func get(_ path: String) throws -> String {
        let peer = try RawPeer(port: state.withLock { $0.port })
        peer.write("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return peer.readToEnd()
    }

    /// Runs an operator's command on the relay's folder, and says how that ended.
    func run(_ command: String, _ options: String...) async throws -> Ending {
        try await Child(
            .relay, [command, "--data", dataFolder] + options, environment: Self.environment,
            outputPrefix: folder + "/" + command
        ).wait(for: .seconds(60))
    }

    /// `kill -9`.
    func kill() async throws {
        guard let process else { return }
        process.kill()
        try await process.wait(for: .seconds(10))
    }

    /// A token of the clinic for a home mailbox.
    func token(relayKey: VerifyingKey) throws -> [UInt8] {
        try AdmissionToken(
            relayKey: relayKey, serial: Random.bytes(16),
            expires: UInt64(Date().timeIntervalSince1970) + 3_600, clinicRoot: clinic.rootKey
        ).encoded()
    }
}
