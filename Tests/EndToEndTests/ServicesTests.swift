import Foundation
import Glibc
import RelayProtocol
import TestSupport
import Testing
import WebSockets

/// The relay's process behind a proxy, and under a service manager.
@Suite(.timeLimit(.minutes(6))) struct `A relay among other services` {
    @Test func `takes the service manager's socket, and tells it how things stand`() async throws {
        let relay = try RelayAlone()
        try relay.configure()
        let notices = try NoticeSocket(path: relay.file("notify"))
        let listening = try ListeningSocket()
        let shell =
            "exec 3<&\(listening.descriptor); LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\""
        try await relay.start(
            environment: ["NOTIFY_SOCKET": notices.path, "WATCHDOG_USEC": "6000000"], shell: shell)
        #expect(relay.port == listening.port)
        #expect(try relay.connect().head.contains(" 101 "))
        #expect(notices.next() == "READY=1")
        #expect(notices.next() == "WATCHDOG=1")
        #expect(try await relay.stop() == .exited(0))
        var last = notices.next()
        while last == "WATCHDOG=1" { last = notices.next() }
        #expect(last == "STOPPING=1")
        // The socket is still the service manager's: who comes now waits for the next relay.
        _ = try RawPeer(port: listening.port)
    }

    @Test(.enabled(if: FileManager.default.fileExists(atPath: Program.nginx.path)))
    func `stands behind nginx as the example shows`() async throws {
        let relay = try RelayAlone()
        try relay.configure(
            """
            trusted-proxies: [127.0.0.1, '::1']
            limit-exempt-addresses: []
            limit-connections-per-address: 1

            """)
        try await relay.start()
        try await relay.makeCertificate(named: "localhost")
        let proxy = try HeldPort()
        let proxyPort = proxy.port
        let nginx = try relay.launcher.start(
            .nginx, ["-p", relay.file(""), "-c", try nginxSettings(relay, port: proxyPort)])
        defer { nginx.kill() }

        let url = try #require(WebSocketURL("wss://localhost:\(proxyPort)/"))
        let loop = try EventLoop(name: "device")
        defer { loop.shutdown() }
        try await eventually("nginx listens") {
            (try? RawPeer(port: proxyPort)) != nil
        }
        let trust = WebSocketClient.Trust.authority(path: relay.file("tls.pem"))
        #expect(await Self.outcome(of: url, trust, loop) == "opened")
        // It is the address before nginx that has enough now.
        #expect(await Self.outcome(of: url, trust, loop) == "status 429")
        #expect(try relay.connect(forwardedFor: "203.0.113.1").head.contains(" 101 "))

        // No error of a connection is logged, for it would name the device's address.
        #expect(try await relay.stop() == .exited(0))
        #expect(await Self.outcome(of: url, trust, loop) == "status 502")
        let log = FileManager.default.contents(atPath: relay.file("error.log")) ?? Data()
        #expect(!(nginx.errors + String(decoding: log, as: UTF8.self)).contains("client:"))
        withExtendedLifetime(proxy) {}
    }

    private func nginxSettings(_ relay: RelayAlone, port: UInt16) throws -> String {
        let site = try RelayAlone.shipped("nginx.conf")
            .replacing("listen 443 ssl", with: "listen 127.0.0.1:\(port) ssl")
            .replacing("    listen [::]:443 ssl;\n", with: "")
            .replacing("127.0.0.1:7443", with: "127.0.0.1:\(relay.port)")
            .replacing("/etc/curtain-relay/", with: relay.file(""))
            .replacing("/var/log/nginx/", with: relay.file(""))
        let whole = """
            daemon off;
            master_process off;
            pid \(relay.file("nginx.pid"));
            error_log stderr;
            events {}
            http {
            client_body_temp_path \(relay.file("body"));
            proxy_temp_path \(relay.file("proxy"));
            fastcgi_temp_path \(relay.file("fastcgi"));
            uwsgi_temp_path \(relay.file("uwsgi"));
            scgi_temp_path \(relay.file("scgi"));
            \(site)
            }
            """
        let path = relay.file("nginx.conf")
        try Data(whole.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    /// Connects, and stays until the loop ends.
    private static func outcome(
        of url: WebSocketURL, _ trust: WebSocketClient.Trust, _ loop: EventLoop
    ) async -> String {
        var configuration = WebSocketClient.Configuration(
            url: url, subprotocol: ProtocolConstants.subprotocol)
        configuration.trust = trust
        let (stream, continuation) = AsyncStream<String>.makeStream()
        _ = WebSocketClient(configuration, on: loop) { _, event in
            switch event {
            case .opened: continuation.yield("opened")
            case .failed(.upgradeRefused(let status)): continuation.yield("status \(status)")
            case .failed(let error): continuation.yield("\(error)")
            case .message, .drained, .closed: break
            }
        }
        for await outcome in stream { return outcome }
        return ""
    }
}

/// A listening socket that a process started from here inherits.
private final class ListeningSocket {
    let descriptor: Int32
    let port: UInt16

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let result = unsafe withUnsafeMutablePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe bind(descriptor, address, length) == 0 && listen(descriptor, 64) == 0
                    ? unsafe getsockname(descriptor, address, &length) : -1
            }
        }
        try #require(result == 0)
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }
}

/// The service manager's end of sd_notify(3).
private final class NoticeSocket {
    let path: String
    private let descriptor: Int32

    init(path: String) throws {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let octets = Array(path.utf8)
        try #require(octets.count < 100)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { field in
            for (index, octet) in octets.enumerated() { unsafe field[index] = octet }
        }
        let descriptor = descriptor
        let result = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0)
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// The next notice; empty if none comes.
    func next() -> String {
        let octets = unsafe [UInt8](unsafeUninitializedCapacity: 256) { buffer, count in
            count = max(0, unsafe recv(descriptor, buffer.baseAddress, 256, 0))
        }
        return String(decoding: octets, as: UTF8.self)
    }
}
