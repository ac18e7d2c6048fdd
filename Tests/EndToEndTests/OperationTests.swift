import Cryptography
import Foundation
import Glibc
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing
import WebSockets

/// The relay's process as its operator sees it.
@Suite(.timeLimit(.minutes(6))) struct `An operated relay` {
    @Test func `takes every setting by one name, from file, environment and flags`() async throws {
        let relay = try RelayAlone()
        func printed(
            _ options: [String], _ environment: [String: String] = [:]
        ) async throws -> [(name: String, takes: String, value: String)] {
            let outcome = try await relay.run(
                .relay, ["serve", "--print-config"] + options, environment: environment)
            try outcome.expect(0)
            return outcome.output.matches(of: #/\n# ([^\n;]*)[^\n]*\n([a-z-]+): ([^\n]*)/#)
                .map { (String($0.2), String($0.1), String($0.3)) }
        }
        // Another value than the default for each.
        let defaults = try await printed(["--config", relay.settingsFile])
        let others = defaults.map { (name: $0.name, value: Self.value(taken: $0.takes)) }
        for (standard, other) in zip(defaults, others) { #expect(standard.value != other.value) }
        #expect(defaults.count > 40)
        let expected = others.map { "\($0.name): \($0.value)" }

        let file = relay.file("all.yaml")
        try Data(expected.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: file))
        let variables = others.map { other in
            ("CURTAIN_RELAY_" + other.name.uppercased().replacing("-", with: "_"), other.value)
        }
        let flags = others.flatMap {
            $0.value == "true" ? ["--" + $0.name] : ["--" + $0.name, $0.value]
        }
        for (options, environment) in [
            (["--config", file], [:]), ([], Dictionary(uniqueKeysWithValues: variables)),
            (flags, [:]),
        ] {
            let taken = try await printed(options, environment)
            #expect(taken.map { "\($0.name): \($0.value)" } == expected)
        }

        let help = try await relay.run(.relay, ["serve", "--help"]).output
        let offered = Set(help.matches(of: /\n  --([a-z-]+)/).map { String($0.1) })
        #expect(
            offered
                == Set(others.map(\.name) + ["config", "check-config", "print-config", "version"]))
    }

    /// A value that is no setting's default, from the words for what it takes.
    private static func value(taken words: String) -> String {
        if let range = words.firstMatch(of: #/, (.+) to /#) { return String(range.1) }
        return switch words {
        case "folder", "file": "/another"
        case "numeric address:port": "127.0.0.1:9"
        case "numeric address:port, auto, or off": "off"
        case "true or false": "true"
        case "addresses or networks, separated by commas": "192.0.2.0/24"
        default: words.split(separator: ", ").last.map(String.init) ?? ""
        }
    }

    @Test func `refuses wrong settings by file, line and name, and starts nothing`() async throws {
        let relay = try RelayAlone()
        try relay.configure("limit-conections: 7\nlimit-groups: lots\n")
        let line = RelayAlone.linesBefore + 1
        let wrong = try await relay.run(
            .relay, ["serve", "--config", relay.settingsFile, "--limit-mailboxes", "0"])
        #expect(wrong.ending == .exited(64))
        #expect(wrong.output == "")
        #expect(wrong.errors.contains("relay.yaml line \(line): limit-conections is no setting"))
        #expect(
            wrong.errors.contains("relay.yaml line \(line + 1): limit-groups can't be \"lots\""))
        #expect(wrong.errors.contains("--limit-mailboxes can't be \"0\""))
        #expect(!FileManager.default.fileExists(atPath: relay.dataFolder))

        try relay.configure("limit-groups: 9\n")
        let check = ["serve", "--config", relay.settingsFile, "--check-config"]
        let good = try await relay.run(.relay, check)
        #expect(good.ending == .exited(0))
        try await relay.makeCertificate(named: "one")
        let other = relay.file("other.key")
        try FileManager.default.moveItem(atPath: relay.file("tls.key"), toPath: other)
        try await relay.makeCertificate(named: "two")
        try relay.configure("tls-cert: \(relay.file("tls.pem"))\ntls-key: \(other)\n")
        let mixed = try await relay.run(.relay, check)
        #expect(mixed.ending == .exited(65))
        let missing = try await relay.run(
            .relay, ["serve", "--config", relay.settingsFile, "--tls-key", "/nowhere"])
        #expect(missing.ending == .exited(65))
        #expect(missing.errors.contains("can't be used: /nowhere: no such file"))
        #expect(!FileManager.default.fileExists(atPath: relay.dataFolder))
    }

    @Test func `takes new limits and a new certificate at SIGHUP, or nothing`() async throws {
        let relay = try RelayAlone()
        var tls =
            "tls-cert: \(relay.file("tls.pem"))\ntls-key: \(relay.file("tls.key"))\n"
        try await relay.makeCertificate(named: "first")
        try relay.configure(tls + "limit-connections: 11\n")
        try await relay.start()
        let limit = #"curtain_relay_limit{name="limit-connections"}"#
        let reloads = "curtain_relay_reloads_total"
        #expect(try relay.metric(limit) == 11)
        #expect(try await subject(relay).contains("first"))

        // Renewed under another name; the old file is gone.
        try await relay.makeCertificate(named: "second")
        let renewed = relay.file("renewed.pem")
        let manager = FileManager.default
        try manager.moveItem(atPath: relay.file("tls.pem"), toPath: renewed)
        tls = "tls-cert: \(renewed)\ntls-key: \(relay.file("tls.key"))\n"
        try relay.configure(tls + "limit-connections: 12\nlog-format: json\n")
        relay.process?.signal(SIGHUP)
        try await eventually("the reload") {
            try relay.metric(reloads + #"{result="taken"}"#) == 1
        }
        #expect(try relay.metric(limit) == 12)
        #expect(try await subject(relay).contains("second"))
        #expect(relay.errors.contains("changed a setting new=12 old=11 setting=limit-connections"))
        #expect(
            relay.errors.contains(
                "a setting waits for a restart new=json old=text setting=log-format"))

        // It began to listen with TLS.
        try relay.configure("limit-connections: 12\n")
        relay.process?.signal(SIGHUP)
        try await eventually("the reload without TLS") {
            try relay.metric(reloads + #"{result="taken"}"#) == 2
        }
        #expect(
            relay.errors.contains(
                #"a setting waits for a restart new="" old=\#(renewed) setting=tls-cert"#))
        #expect(try await subject(relay).contains("second"))
        #expect(try relay.metric("curtain_relay_certificate_expiry_seconds") ?? 0 > 0)

        func certificate() async throws -> String {
            let lines = try await relay.run("check", "--certificate-days", "1").output
                .split(separator: "\n")
            return lines.first { $0.contains("certificate") }.map(String.init) ?? ""
        }
        #expect(try await certificate().contains("good  good for 1 more days"))

        try await relay.makeCertificate(named: "third")
        try manager.removeItem(atPath: renewed)
        try manager.moveItem(atPath: relay.file("tls.pem"), toPath: renewed)
        #expect(try await certificate().contains("LOOK"))
        #expect(try await certificate().contains("another one that isn't in force yet"))
        try relay.configure(tls + "limit-connections: none\n")
        relay.process?.signal(SIGHUP)
        try await eventually("the refusal") {
            try relay.metric(reloads + #"{result="refused"}"#) == 1
        }
        let line = RelayAlone.linesBefore + 3
        #expect(
            relay.errors.contains(
                "warning \(relay.settingsFile) line \(line): limit-connections can't be \"none\""))
        #expect(try relay.metric(limit) == 12)
        #expect(try await subject(relay).contains("second"))

        // The certificate is wrong, so the limit stays as well.
        try relay.configure(tls + "limit-connections: 13\n")
        try Data("no key".utf8).write(to: URL(fileURLWithPath: relay.file("tls.key")))
        relay.process?.signal(SIGHUP)
        try await eventually("the second refusal") {
            try relay.metric(reloads + #"{result="refused"}"#) == 2
        }
        #expect(try relay.metric(limit) == 12)
        #expect(relay.errors.contains("warning the certificate can't be taken"))
        #expect(try await subject(relay).contains("second"))
        #expect(try await relay.stop() == .exited(0))
    }

    private func subject(_ relay: RelayAlone) async throws -> String {
        let text = try await relay.run(
            .openssl, ["s_client", "-connect", "127.0.0.1:\(relay.port)", "-showcerts"]
        ).output
        return text.split(separator: "\n").first { $0.hasPrefix("subject=") }.map(String.init) ?? ""
    }

    @Test func `raises the limit of open files, or says that it is too low`() async throws {
        let relay = try RelayAlone()
        try relay.configure("limit-connections: 5000\n")
        try await relay.start(shell: "ulimit -Sn 64; exec \"$0\" \"$@\"")
        #expect(try relay.metric("process_max_fds") == 5_256)
        #expect(!relay.errors.contains("open files"))
        #expect(try await relay.stop() == .exited(0))
        try await relay.start(shell: "ulimit -n 1256; exec \"$0\" \"$@\"")
        #expect(relay.errors.contains("open files suffice for 1000 connections"))
        let limit = #"curtain_relay_limit{name="limit-connections"}"#
        #expect(try relay.metric(limit) == 1_000)
        relay.process?.signal(SIGHUP)
        try await eventually("the reload") {
            relay.errors.contains("reloaded changed=0")
        }
        #expect(try relay.metric(limit) == 1_000)
        #expect(try await relay.stop() == .exited(0))
    }

    @Test func `can still be watched when connections have taken all files they may`() async throws
    {
        let relay = try RelayAlone()
        try relay.configure("limit-connections: 5000\n")
        try await relay.start(shell: "ulimit -n 240; exec \"$0\" \"$@\"")
        let flood = try (0..<400).map { _ in try RawPeer(port: relay.port) }
        let refused = #"curtain_relay_connections_refused_total{reason="connections"}"#
        try await eventually("some are refused") { try relay.metric(refused) ?? 0 > 0 }
        #expect(try relay.metric("process_open_fds") ?? 240 < 240)
        withExtendedLifetime(flood) {}
        #expect(try await relay.stop() == .exited(0))
    }

    @Test func `isn't started again and again with what somebody has to put right`() async throws {
        let relay = try RelayAlone()
        try await relay.start()
        #expect(try await relay.stop() == .exited(0))
        let unit = try RelayAlone.shipped("curtain-relay.service")
        let listed = try #require(unit.firstMatch(of: /RestartPreventExitStatus=([0-9 ]+)\n/))
        let final = listed.1.split(separator: " ").compactMap { Int32($0) }
        for (name, words) in [
            ("keys", "the relay's keys are damaged"), ("relay.sqlite", "the database is damaged"),
        ] {
            let path = relay.dataFolder + "/" + name
            let whole = try Data(contentsOf: URL(fileURLWithPath: path))
            try Data(repeating: 7, count: 8_192).write(to: URL(fileURLWithPath: path))
            let child = try relay.serve()
            let ending = try await child.wait()
            #expect(ending == .exited(65) && final.contains(65))
            #expect(child.errors.contains(words))
            try whole.write(to: URL(fileURLWithPath: path))
        }
        unsafe chmod(relay.dataFolder, 0o750)
        let ending = try await relay.serve().wait()
        #expect(ending == .exited(77) && final.contains(77))
        unsafe chmod(relay.dataFolder, 0o700)
        let below = try relay.serve(["--data", relay.settingsFile + "/data"])
        #expect(try await below.wait() == .exited(73) && final.contains(73))
        try await relay.start()
    }

    @Test(arguments: ["relay.sqlite", "relay.sqlite-wal"])
    func `ends when its database is taken away, and makes no other`(name: String) async throws {
        let relay = try RelayAlone()
        try await relay.start()
        try await relay.trailBegins()
        let manager = FileManager.default
        let (path, elsewhere) = (relay.dataFolder + "/" + name, relay.file("elsewhere"))
        try manager.moveItem(atPath: path, toPath: elsewhere)
        #expect(try await relay.process?.wait() == .exited(65))
        #expect(relay.errors.contains("the database was taken away from under the relay"))
        #expect(!relay.errors.contains("is safe"))
        if name == "relay.sqlite" {
            let again = try relay.serve()
            #expect(try await again.wait() == .exited(65))
            #expect(again.errors.contains("the relay's database is missing"))
        }
        try manager.moveItem(atPath: elsewhere, toPath: path)
        try await relay.start()
    }

    @Test func `shows of its trail days as days, and hours by the reader's clock`() async throws {
        let relay = try RelayAlone()
        try await relay.start()
        let loop = try EventLoop(name: "device")
        var line = try await WireLine(to: relay.url, on: loop)
        let token = try relay.token(relayKey: line.relayKey)
        try await line.open(TestMailbox(), creation: .home(admissionToken: token))
        func audit(_ options: String...) async throws -> Child.Outcome {
            try await relay.run(
                .relay, ["audit", "--data", relay.dataFolder] + options,
                environment: ["TZ": "America/New_York"])
        }
        let head = try await audit("--head")
        let signed = try #require(try JSONLine.all(head.output).first)
        #expect(signed["time"]?.hasSuffix(":00:00Z") == true && signed.number("hour") == nil)
        let activity = try await audit().output.split(separator: "\n").filter {
            $0.contains("  activity  ")
        }
        #expect(!activity.isEmpty)
        for entry in activity {
            #expect(entry.firstMatch(of: #/^\d+  \d{4}-\d\d-\d\d  activity/#) != nil, "\(entry)")
        }

        // A head that an earlier version printed is taken as well.
        let time = try #require(signed["time"])
        let seconds = try Date(time, strategy: .iso8601).timeIntervalSince1970
        let heads = relay.file("heads")
        let old = head.output.replacing(
            "\"time\":\"\(time)\"", with: "\"hour\":\(Int(seconds) / 3_600)")
        #expect(old != head.output)
        try Data((head.output + old).utf8).write(to: URL(fileURLWithPath: heads))
        let verdict = try await audit("--verify", "--against", heads)
        #expect(verdict.ending == .exited(0))
        #expect(verdict.output.contains("2 heads kept elsewhere"))
        line.close()
        #expect(try await relay.stop() == .exited(0))
        await loop.shutdownAndWait()
    }

    @Test func `shows an auditor nothing raw that somebody has written into its trail`()
        async throws
    {
        let relay = try RelayAlone()
        try await relay.start()
        #expect(try await relay.stop() == .exited(0))
        let content = Array("\u{1B}[2J\u{9B}31m\u{1B}]0;=x\u{1B}[1m\n".utf8)
        let body =
            [UInt8](repeating: 0, count: 7) + [99] + [UInt8](repeating: 0, count: 32 + 4)
            + [0, 11, UInt8(content.count)] + content + [0]
        let frame =
            [0, 0, 0, UInt8(body.count)] + body + Hash.sha256(label: "trail entry", body)
        let path = relay.dataFolder + "/trail/00000000000000000000.trail"
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.seekToEnd()
        try file.write(contentsOf: frame)
        try file.close()
        let shown = try await relay.run("audit")
        #expect(shown.output.contains("\n99  "))
        let raw = shown.output.unicodeScalars.filter {
            $0 != "\n" && $0.properties.generalCategory == .control
        }
        #expect(raw.isEmpty, "\(shown.output.debugDescription)")
        #expect(try await relay.run("audit", "--verify").ending == .exited(65))
    }

    @Test func `says that its trail was taken away, until it is back`() async throws {
        let relay = try RelayAlone()
        try await relay.start()
        let (path, elsewhere) = (relay.dataFolder + "/trail", relay.file("elsewhere"))
        func troubles(_ count: Double) async throws {
            try await eventually("\(count) troubles") {
                try relay.metric("curtain_relay_trail_troubles") == count
            }
        }
        try await relay.trailBegins()
        try FileManager.default.moveItem(atPath: path, toPath: elsewhere)
        try await troubles(1)
        #expect(relay.errors.contains("the trail was taken away from under the relay"))
        try FileManager.default.moveItem(atPath: elsewhere, toPath: path)
        try await troubles(0)
        #expect(try await relay.stop() == .exited(0))
        #expect(try await relay.run("audit", "--verify").ending == .exited(0))
    }

    @Test func `ends in order, or before it has begun, whenever it is asked to`() async throws {
        let relay = try RelayAlone()
        let began = ContinuousClock.now
        try await relay.start()
        let start = ContinuousClock.now - began
        #expect(try await relay.stop() == .exited(0))
        for step in 0..<20 {
            let child = try relay.serve()
            try await Task.sleep(for: start * step / 16)
            child.signal(SIGTERM)
            let ending = try await child.wait()
            let wasReady = child.output.contains("listening")
            #expect(
                ending == .exited(0) || (ending == .killed(signal: SIGTERM) && !wasReady),
                "after \(start * step / 16): \(ending), \(child.output)\(child.errors)")
        }
    }

    @Test(arguments: [">/dev/full", ">&-", "> >(:)"])
    func `serves although nobody can be told that it is ready`(output: String) async throws {
        let relay = try RelayAlone()
        let child = try relay.serve(shell: "exec \"$0\" \"$@\" \(output)")
        try await eventually("it serves") {
            child.errors.contains("standard output") || child.ending() != nil
        }
        let address = try #require(
            child.errors.firstMatch(of: #/ws://127\.0\.0\.1:([0-9]+)/#), "\(child.errors)")
        let peer = try RawPeer(port: try #require(UInt16(address.1)))
        peer.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(peer.readToEnd().hasSuffix("\r\n\r\nok\n"))
        child.signal(SIGTERM)
        #expect(try await child.wait() == .exited(0))
        #expect(try await relay.run("check").errors.isEmpty)
    }

    @Test func `reloads once it has begun if it was asked to before`() async throws {
        let relay = try RelayAlone()
        // Ignored only for as long as the program isn't loaded.
        let child = try relay.serve(shell: "trap '' HUP; exec \"$0\" \"$@\"")
        try await eventually("it is ignored or taken") {
            let status = try String(contentsOfFile: "/proc/\(child.pid)/status", encoding: .utf8)
            return status.split(separator: "\n").contains { line in
                guard line.hasPrefix("SigIgn:") || line.hasPrefix("SigCgt:") else { return false }
                return line.last?.hexDigitValue.map { $0 & 1 == 1 } ?? false
            }
        }
        while child.lines.isEmpty, child.ending() == nil {
            child.signal(SIGHUP)
            try await Task.sleep(for: .milliseconds(5))
        }
        try await eventually("the reload") {
            child.errors.contains("reloaded changed=0")
        }
        child.signal(SIGTERM)
        #expect(try await child.wait() == .exited(0))
    }

    @Test func `keeps an address to its number of connections`() async throws {
        let relay = try RelayAlone()
        try relay.configure("limit-exempt-addresses: []\nlimit-connections-per-address: 2\n")
        try await relay.start()
        let (one, two) = (try relay.connect(), try relay.connect())
        #expect(one.head.contains(" 101 ") && two.head.contains(" 101 "))
        let third = try relay.connect()
        #expect(third.head.contains(" 429 "))
        #expect(third.head.lowercased().contains("\r\nretry-after: 30\r\n"))
        let refused = "curtain_relay_connections_refused_total"
        #expect(try relay.metric(refused + #"{reason="connections_per_address"}"#) == 1)
        #expect(try relay.metric("curtain_relay_connections") == 2)
    }

    @Test func `cuts off slow headers, and serves others meanwhile`() async throws {
        let relay = try RelayAlone()
        try relay.configure("limit-handshake-seconds: 8\n")
        try await relay.start()
        let slow = try (0..<100).map { _ in try RawPeer(port: relay.port) }
        for peer in slow { peer.write("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ") }
        let cut = #"curtain_relay_connections_refused_total{reason="slow"}"#
        try await eventually("all are waited for, or were") {
            let cutCount = try relay.metric(cut) ?? 0
            return try cutCount + (relay.metric("curtain_relay_handshakes") ?? 0) == 100
        }
        #expect(try relay.connect().head.contains(" 101 "))
        let ready = try relay.get("/readyz")
        #expect(ready.hasSuffix("\r\n\r\nready\n"), "\(ready)")
        for peer in slow { peer.write("a") }
        try await eventually("all are cut off") {
            try relay.metric(cut) == 100
        }
        #expect(slow.allSatisfy { $0.read().isEmpty })
        #expect(try relay.metric("curtain_relay_handshakes") == 0)
    }

    @Test func `names nobody in its log`() async throws {
        let relay = try RelayAlone()
        try relay.configure(
            """
            trusted-proxies: 127.0.0.1
            limit-connections-per-address: 1
            log-format: json
            log-level: debug

            """)
        try await relay.start()
        var peers = [try relay.connect(forwardedFor: "203.0.113.77")]
        peers.append(try relay.connect(forwardedFor: "203.0.113.77"))
        #expect(peers[1].head.contains(" 429 "))
        peers[0].peer.frame(2, [1, 2, 3])
        #expect(!peers[0].peer.read().isEmpty)
        peers = []
        #expect(try await relay.stop() == .exited(0))
        #expect(!relay.errors.contains("203.0.113"))
        var lines: [String: [String: Any]] = [:]
        for line in relay.errors.split(separator: "\n") {
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
            var fields = try #require(object as? [String: Any])
            #expect(fields.removeValue(forKey: "time") is String)
            #expect(fields.removeValue(forKey: "level") is String)
            let message = try #require(fields["message"] as? String)
            fields["message"] = nil
            lines[message] = fields
        }
        // What isn't a sentence is a field, and no other is there.
        let started = try #require(lines["started"])
        #expect(
            Set(started.keys)
                == ["version", "address", "schema", "mailboxes", "groups", "messages"])
        #expect(started["address"] as? String == "ws://127.0.0.1:\(relay.port)")
        #expect(started["groups"] as? Int == 0)
        let stopped = try #require(lines["stopped"])
        #expect(Set(stopped.keys) == ["seconds", "accepted", "erased"])
        let refused = try #require(lines["connections refused or cut"])
        #expect(refused["connections_per_address"] as? Int == 1)
        #expect(Set(refused.keys) == ["connections_per_address", "violation"])
        let known = ["started", "stopped", "connections refused or cut"]
        for (message, fields) in lines where !known.contains(message) {
            #expect(fields.isEmpty, "\(message)")
        }
    }
}
