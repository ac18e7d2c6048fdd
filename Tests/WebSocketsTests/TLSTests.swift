import Foundation
import TestSupport
import Testing
import WebSockets

/// The openssl command makes the certificates; without it these tests are skipped.
private let hasOpenSSL = FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl")

@Suite(
    .timeLimit(.minutes(5)), .serialized,
    .enabled(if: hasOpenSSL, "/usr/bin/openssl is not installed"))
struct `TLS` {
    @Test func `opens where the authority is trusted, and nowhere else`() async throws {
        let folder = try TemporaryFolder()
        let good = try folder.certificate("good", for: "IP:127.0.0.1,DNS:localhost")
        let server = try TestServer(isEcho: true) { $0.tls = good }
        let url = try #require(WebSocketURL("wss://127.0.0.1:\(server.port)"))
        let trust = WebSocketClient.Trust.authority(path: good.certificatePath)

        let client = TestClient(url, on: server.loop) { $0.trust = trust }
        try await client.opened()
        for size in [0, 1, 100_000, 1 << 20] { try client.send(pattern(size)) }
        for size in [0, 1, 100_000, 1 << 20] {
            #expect(try await client.message() == pattern(size))
        }

        let byName = try #require(WebSocketURL("wss://localhost:\(server.port)"))
        try await TestClient(byName, on: server.loop) { $0.trust = trust }.opened()

        let stranger = TestClient(url, on: server.loop)
        guard case .tlsRefused = try await stranger.failed() else { throw Unexpected("error") }
        let missing = TestClient(url, on: server.loop) { $0.trust = .authority(path: "/nowhere") }
        #expect(try await missing.failed() == .trust("/nowhere"))
        // Someone who speaks plain HTTP gets nothing.
        let plain = try RawPeer(port: server.port)
        plain.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(!plain.readToEnd().contains("HTTP"))
        await server.loop.shutdownAndWait()
    }

    @Test func `refuses a certificate for another name or one that is over`() async throws {
        let folder = try TemporaryFolder()
        let other = try folder.certificate("other", for: "DNS:relay.example")
        let server = try TestServer { $0.tls = other }
        let url = try #require(WebSocketURL("wss://127.0.0.1:\(server.port)"))
        let client = TestClient(url, on: server.loop) {
            $0.trust = .authority(path: other.certificatePath)
        }
        guard case .tlsRefused(let reason) = try await client.failed() else {
            throw Unexpected("error")
        }
        #expect(reason.lowercased().contains("mismatch"))
        let plainServer = try TestServer()
        let plainURL = try #require(WebSocketURL("wss://127.0.0.1:\(plainServer.port)"))
        guard case .tlsRefused = try await TestClient(plainURL, on: server.loop).failed() else {
            throw Unexpected("error")
        }
        await server.loop.shutdownAndWait()
        await plainServer.loop.shutdownAndWait()
    }

    @Test func `takes a new certificate without a restart, and never half of one`() async throws {
        let folder = try TemporaryFolder()
        let old = try folder.certificate("relay", for: "IP:127.0.0.1")
        let server = try TestServer { $0.tls = old }
        let url = try #require(WebSocketURL("wss://127.0.0.1:\(server.port)"))
        let made = server.server
        func reload() throws -> ListenError? {
            try server.loop.executeAndWait {
                do throws(ListenError) {
                    try made.reloadCertificate()
                    return nil
                } catch {
                    return error
                }
            }
        }
        try folder.copy("relay.pem", to: "old.pem")
        _ = try folder.certificate("relay", for: "IP:127.0.0.1")
        #expect(try reload() == nil)
        let trusting = TestClient(url, on: server.loop) {
            $0.trust = .authority(path: old.certificatePath)
        }
        try await trusting.opened()
        let remembering = TestClient(url, on: server.loop) {
            $0.trust = .authority(path: folder.path + "/old.pem")
        }
        guard case .tlsRefused = try await remembering.failed() else { throw Unexpected("error") }
        // Certificate and key that do not belong together leave the present ones in force.
        try folder.copy("old.pem", to: "relay.pem")
        guard case .certificate = try reload() else { throw Unexpected("reload") }
        let again = TestClient(url, on: server.loop) {
            $0.trust = .authority(path: old.certificatePath)
        }
        guard case .opened = try await again.events.next() else { throw Unexpected("event") }
        await server.loop.shutdownAndWait()
    }

    @Test func `is not disturbed by other loops and other trusts that begin`() async throws {
        let folder = try TemporaryFolder()
        let good = try folder.certificate("good", for: "IP:127.0.0.1")
        let server = try TestServer { $0.tls = good }
        let url = try #require(WebSocketURL("wss://127.0.0.1:\(server.port)"))
        let loops = try (0..<4).map { _ in try EventLoop() }
        var clients: [TestClient] = []
        for index in 0..<80 {
            let name = "good\(index).pem"
            try folder.copy("good.pem", to: name)
            clients.append(
                TestClient(url, on: loops[index % loops.count]) {
                    $0.trust = .authority(path: "\(folder.path)/\(name)")
                })
        }
        for client in clients { try await client.opened() }
        for loop in loops { await loop.shutdownAndWait() }
        await server.loop.shutdownAndWait()
    }

    @Test func `refuses to start without a certificate`() throws {
        #expect {
            try TestServer {
                $0.tls = .init(certificatePath: "/nowhere", privateKeyPath: "/nowhere")
            }
        } throws: { error in
            if case .certificate = error as? ListenError { true } else { false }
        }
    }
}

/// A folder that goes with the object.
private final class TemporaryFolder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/curtain-tls-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func copy(_ name: String, to other: String) throws {
        try? FileManager.default.removeItem(atPath: "\(path)/\(other)")
        try FileManager.default.copyItem(atPath: "\(path)/\(name)", toPath: "\(path)/\(other)")
    }

    /// A self-signed certificate and its key.
    func certificate(_ name: String, for names: String) throws -> WebSocketServer.TLSIdentity {
        let identity = WebSocketServer.TLSIdentity(
            certificatePath: "\(path)/\(name).pem", privateKeyPath: "\(path)/\(name).key")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", identity.privateKeyPath, "-out", identity.certificatePath, "-days", "2",
            "-subj", "/CN=test", "-addext", "subjectAltName=\(names)",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return identity
    }
}
