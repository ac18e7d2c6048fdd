import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import TestSupport
import Testing
import WebSockets

@testable import Relay

@Suite struct `The control socket` {
    /// A relay with its sockets, in this process.
    static func serve(
        in folder: TemporaryFolder, _ change: (inout RelaySettings) -> Void = { _ in }
    ) throws -> RelayServer {
        try RelayServer.serving(
            folder.file("data"), clinicRoot: try SigningKey().publicKey
        ) { change(&$0.settings) }
    }

    @Test func `a running relay tells how it is, backs itself up and passes its check`() throws {
        let folder = try TemporaryFolder()
        let mirror = folder.file("mirror")
        let server = try Self.serve(in: folder) { $0.trailMirror = mirror }
        let status = try RelayStatus(folder: folder.file("data"))
        #expect(status.processID == getpid())
        #expect(status.live?.connections == 0)
        #expect(status.live?.address == "\(server.boundAddress)")
        let backup = try RelayBackup.make(folder: folder.file("data"), to: folder.file("backup"))
        #expect(backup.relayKey == server.identityKey)
        _ = try Restoration.rehearse(from: backup.path, folderPath: folder.file("data"))
        try RelayBackup.noteRehearsal(folder: folder.file("data"), passed: true)
        let check = try RelayCheck(folder: folder.file("data"))
        #expect(check.standing == .good, "\(check.points)")
        #expect(!check.limits.isEmpty)
        #expect(throws: RelayError.self) {
            try Restoration.restore(from: backup.path, into: folder.file("data"))
        }
        server.stop()
        server.wait()
        let audit = try TrailAudit(folder: folder.file("data"), mirrorPath: mirror, last: 100)
        #expect(audit.verifier.faults == [])
        let kinds = audit.entries.map(\.kind).filter { $0 != .head }
        #expect(kinds.starts(with: [.started, .command, .backup, .rehearsal]))
        #expect(kinds.contains(.stopped))
        let user = audit.entries.compactMap { TrailEvent($0)?["user"] }
        #expect(user.allSatisfy { $0 == Peer.name(of: getuid()) })
        // The mirror is compared entry by entry.
        let copy = try #require(TrailFolder(path: mirror).segments().first).path
        var octets = try #require(FileManager.default.contents(atPath: copy))
        octets[octets.count - 40] ^= 1
        try octets.write(to: URL(fileURLWithPath: copy))
        let shorter = try TrailAudit(folder: folder.file("data"), mirrorPath: mirror)
        #expect(shorter.verifier.faults == [], "a torn end of the mirror is caught up later")
        #expect(shorter.mirrorMissing == 1)
    }

    @Test func `a clock far past the trail's last entry is doubted, at the next start too`() throws
    {
        let folder = try TemporaryFolder()
        let data = folder.file("data")
        func doubt(aheadDays: UInt32, accepts: Bool = false) throws -> Bool? {
            let server = try Self.serve(in: folder) {
                $0.clockAheadDays = aheadDays
                $0.acceptsClock = accepts
            }
            defer {
                server.stop()
                server.wait()
            }
            return try RelayStatus(folder: data).live?.isClockDoubted
        }
        #expect(try doubt(aheadDays: 0) == false)
        #expect(try doubt(aheadDays: 10) == true)
        // What it wrote meanwhile doesn't vouch for the clock.
        #expect(try doubt(aheadDays: 10) == true)
        #expect(try doubt(aheadDays: 10, accepts: true) == false)
        #expect(try doubt(aheadDays: 10) == false)
        let entries = try TrailAudit(folder: data, last: 1_000).entries
        #expect(entries.contains { $0.isClockDoubted } && entries.contains { !$0.isClockDoubted })
    }

    @Test func `a clock behind the last run is told by how many hours`() throws {
        let folder = try TemporaryFolder()
        func hoursBehind(aheadDays: UInt32) throws -> UInt64 {
            let server = try Self.serve(in: folder) { $0.clockAheadDays = aheadDays }
            defer {
                server.stop()
                server.wait()
            }
            return server.currentHealth.survey.clockBehindHours
        }
        #expect(try hoursBehind(aheadDays: 10) == 0)
        // It may have become another hour since.
        #expect(try (239...240).contains(hoursBehind(aheadDays: 0)))
        #expect(try hoursBehind(aheadDays: 10) == 0)
    }

    @Test func `the trail tells what the operator set, at the start and after a reload`() throws {
        let folder = try TemporaryFolder()
        let server = try Self.serve(in: folder) {
            $0.connection.pingInterval = .seconds(21)
            $0.metrics = .besideListen
            $0.trailMirror = folder.file("mirror")
        }
        var settings = RelaySettings()
        settings.admission.trustedProxies = [try #require(AddressBlock("10.1.2.3/32"))]
        settings.limits.groups = 77
        try server.apply(settings)
        #expect(
            try RelayStatus(folder: folder.file("data")).live?.limits.contains("limit-groups=77")
                == true)
        server.stop()
        server.wait()
        let events = try TrailAudit(folder: folder.file("data"), last: 100).entries
            .compactMap { TrailEvent($0) }
        let started = try #require(events.first { $0.kind == .started })
        #expect(started["listen"] == "127.0.0.1:0")
        #expect(started["metrics-listen"] == "127.0.0.1:0")
        #expect(started["tls-cert"] == "")
        #expect(started["trusted-proxies"] != nil)
        #expect(started["ping-seconds"] == "21")
        #expect(started["trail-mirror"] == folder.file("mirror"))
        let configured = try #require(events.first { $0.kind == .configured })
        #expect(configured["trusted-proxies"]?.contains("10.1.2.3") == true)
        #expect(configured["limit-groups"] == "77")
        #expect(configured["metrics-listen"] == "127.0.0.1:7444")
    }

    @Test func `octets that are no request do no harm`() throws {
        let folder = try TemporaryFolder()
        let server = try Self.serve(in: folder)
        let path = folder.file("data") + "/control"
        var random = SeededGenerator(seed: 11)
        for round in 0..<24 {
            let file = try Self.connect(to: path)
            defer { close(file) }
            let size = [0, 1, 63, 64, 65, 200, 5_000, 100_000][round % 8]
            var octets = random.bytes(size)
            if round % 3 == 0 { octets = [UInt8](repeating: 91, count: size) + [10] }
            if round % 3 == 1 { octets = Array("backup\0".utf8) + octets + [10] }
            _ = unsafe octets.withUnsafeBytes {
                unsafe send(file, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if round % 2 == 0 { shutdown(file, Int32(SHUT_WR)) }
        }
        #expect(ControlRequest(Array("status ".utf8)) == nil)
        #expect(ControlRequest([UInt8](repeating: 65, count: 100)) == nil)
        #expect(try RelayStatus(folder: folder.file("data")).live != nil)
        server.stop()
        server.wait()
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test(.timeLimit(.minutes(5)))
    func `whoever comes while eight are listened to waits its turn`() throws {
        let folder = try TemporaryFolder()
        let server = try Self.serve(in: folder)
        let path = folder.file("data") + "/control"
        let files = try (0..<12).map { _ in try Self.connect(to: path) }
        DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(200)) {
            for file in files { close(file) }
        }
        #expect(try RelayStatus(folder: folder.file("data")).live != nil)
        server.stop()
        server.wait()
    }

    @Test(.timeLimit(.minutes(5)))
    func `what a relay refuses is told from one that doesn't answer`() throws {
        let world = try FolderWorld()
        try world.run { _, _, _ in }
        let folder = try DataFolder(existing: world.path)
        let lock = try folder.lock(for: .serve)
        defer { lock.release() }
        func backup() throws {
            _ = try RelayBackup.make(folder: world.path, to: world.folder.file("backup"))
        }
        do {
            let socket = try ControlSocket(folder: folder, owners: [getuid()]) { request, _ in
                request == .backup ? .refused("another backup is being made") : .done
            }
            defer { socket.close() }
            #expect(throws: RelayError.refused("another backup is being made"), performing: backup)
        }
        #expect(
            throws: RelayError.control("the relay that has this folder doesn't answer"),
            performing: backup)
    }

    @Test(.timeLimit(.minutes(5)))
    func `a backup of a relay that hangs doesn't wait for hours`() throws {
        let world = try FolderWorld()
        try world.run { _, _, _ in }
        let folder = try DataFolder(existing: world.path)
        let lock = try folder.lock(for: .serve)
        defer { lock.release() }
        let hanging = DispatchSemaphore(value: 0)
        let socket = try ControlSocket(folder: folder, owners: [getuid()]) { _, _ in
            hanging.wait()
            return .done
        }
        defer { socket.close() }
        defer { for _ in 0..<2 { hanging.signal() } }
        #expect(throws: RelayError.control("the relay doesn't answer, or not this user")) {
            try RelayBackup.make(
                folder: world.path, to: world.folder.file("backup"), replaces: false,
                patienceSeconds: 1)
        }
    }

    @Test func `copies that a killed command or relay left are gone`() throws {
        let folder = try TemporaryFolder()
        let data = folder.file("data")
        func copies() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: data)
                .filter { $0.contains("copy") || $0.hasPrefix("rehearsal") }
        }
        var server = try Self.serve(in: folder)
        do {
            // A command that asks for a copy and is killed.
            var command = try ControlClient(folder: DataFolder(existing: data))
            let reply = try command.ask(.backup)
            #expect(reply.copy.map { FileManager.default.fileExists(atPath: $0) } == true)
        }
        for _ in 0..<3_000 where try !copies().isEmpty { usleep(10_000) }
        #expect(try copies() == [])
        server.stop()
        server.wait()
        try Data([1]).write(to: URL(fileURLWithPath: data + "/relay.sqlite.copy.77-wal"))
        try FileManager.default.createDirectory(
            atPath: data + "/rehearsal.2147483646.abcdef", withIntermediateDirectories: true)
        #expect(try copies().count == 2)
        server = try Self.serve(in: folder)
        #expect(try copies() == [])
        server.stop()
        server.wait()
    }

    /// Needs root, who alone can become somebody else.
    @Test(
        .enabled(
            if: getuid() == 0 && FileManager.default.isExecutableFile(atPath: "/usr/bin/setpriv")))
    func `nobody but the folder's owner and root is listened to`() throws {
        let folder = try TemporaryFolder()
        let server = try Self.serve(in: folder)
        let data = folder.file("data")
        // The folder would keep them out already; let them through as far as the socket.
        for path in [folder.path, data] {
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        }
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o666], ofItemAtPath: data + "/control")
        let question = """
            socket(S, AF_UNIX, SOCK_STREAM, 0) or exit 2; \
            connect(S, sockaddr_un($ARGV[0])) or exit 3; syswrite(S, "status\\n"); \
            sysread(S, $x, 100000); print length($x) > 0 ? "answered" : "refused";
            """
        func ask(as user: [String]) throws -> String {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
            process.arguments =
                user + ["perl", "-MSocket", "-e", question, data + "/control"]
            let pipe = Pipe()
            process.standardOutput = pipe
            try process.run()
            let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            return String(decoding: output, as: UTF8.self)
        }
        #expect(
            try ask(as: ["--reuid=65534", "--regid=65534", "--clear-groups"]) == "refused")
        #expect(try ask(as: ["--reuid=0"]) == "answered")
        server.stop()
        server.wait()
    }

    private static func connect(to path: String) throws -> Int32 {
        let file = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array(path.utf8)
        try #require(name.count < 108)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe Glibc.connect(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0)
        return file
    }
}
