import Foundation
import RelayCore
import RelayProtocol
import TestSupport
import Testing
import WebSockets

@testable import Relay

/// Settings of a file, an environment and a command line.
private func load(
    _ file: String? = nil, _ environment: [String: String] = [:],
    _ flags: [String: String] = ["data": "/data", "clinic-root": "/root.pem"]
) throws -> RelaySettings {
    guard let file else {
        return try SettingsSource(file: nil, environment: environment, flags: flags).load()
    }
    let folder = try TemporaryFolder()
    let path = folder.file("relay.yaml")
    try Data(file.utf8).write(to: URL(fileURLWithPath: path))
    do throws(SettingsError) {
        return try SettingsSource(file: path, environment: environment, flags: flags).load()
    } catch {
        throw SettingsError(problems: error.problems.map { $0.replacing(path, with: "relay.yaml") })
    }
}

private func problems(
    _ file: String? = nil, _ environment: [String: String] = [:],
    _ flags: [String: String] = ["data": "/data", "clinic-root": "/root.pem"]
) -> [String] {
    do {
        _ = try load(file, environment, flags)
        return []
    } catch {
        return (error as? SettingsError)?.problems ?? ["\(error)"]
    }
}

@Suite struct `Settings` {
    @Test func `without a word are the defaults`() throws {
        var expected = RelaySettings()
        expected.dataFolder = "/data"
        expected.clinicRoot = "/root.pem"
        #expect(try load() == expected)
        #expect(try load("# nothing\n") == expected)
        #expect(try load("") == expected)
        #expect(try load().metricsAddress == SocketAddress(host: "127.0.0.1", port: 7444))
    }

    @Test func `name no mirror in the data folder`() throws {
        let folder = try TemporaryFolder()
        let data = folder.file("data")
        _ = try DataFolder(path: data)
        let flags = ["data": data, "clinic-root": "/r"]
        for mirror in [data, data + "/trail", data + "/new/one", folder.path + "/./data/trail"] {
            let words = problems("trail-mirror: \(mirror)\n", [:], flags)
            #expect(words.count == 1)
            #expect(words.first?.hasPrefix("relay.yaml line 1: trail-mirror") == true, "\(words)")
        }
        #expect(problems("trail-mirror: \(folder.file("mirror"))\n", [:], flags) == [])
    }

    @Test func `of a flag win over the environment, and that over the file`() throws {
        let file = "limit-connections: 1\nlimit-groups: 1\nlimit-mailboxes: 1\n"
        let environment = [
            "CURTAIN_RELAY_LIMIT_CONNECTIONS": "2", "CURTAIN_RELAY_LIMIT_GROUPS": "2",
            "CURTAIN_RELAY_CA": "/somewhere/else.pem", "HOME": "/root",
        ]
        let flags = ["data": "/data", "clinic-root": "/root.pem", "limit-connections": "3"]
        let settings = try load(file, environment, flags)
        #expect(settings.admission.connections == 3)
        #expect(settings.limits.groups == 2)
        #expect(settings.limits.mailboxes == 1)
    }

    @Test func `of the environment can name the file`() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("relay.yaml")
        try Data("data: /here\nclinic-root: /root.pem\n".utf8).write(to: URL(fileURLWithPath: path))
        let source = SettingsSource(
            file: nil, environment: ["CURTAIN_RELAY_CONFIG": path], flags: [:])
        #expect(try source.load().dataFolder == "/here")
    }

    @Test func `are read in every notation`() throws {
        let settings = try load(
            """
            listen: '[::1]:9000'
            metrics-listen: off
            limit-mailbox-bytes: 128 MiB   # a comment
            limit-frame-bytes: 2097152
            limit-commits-per-hour: 0.5
            limit-handshake-seconds: 3
            trusted-proxies: [10.0.0.0/8, 'fd00::/8']
            limit-exempt-addresses: []
            log-format: json
            accept-clock: true
            """)
        #expect(settings.listen == SocketAddress(host: "::1", port: 9_000))
        #expect(settings.metricsAddress == nil)
        #expect(settings.limits.mailboxByteCount == 128 << 20)
        #expect(settings.limits.published.frameByteCount == 2 << 20)
        #expect(settings.limits.commitsPerHour == 0.5)
        #expect(settings.admission.handshakeTimeout == .seconds(3))
        #expect(settings.admission.trustedProxies.map(\.description) == ["10.0.0.0/8", "fd00::/8"])
        #expect(settings.admission.exemptAddresses.isEmpty)
        #expect(settings.logFormat == .json)
        #expect(settings.acceptsClock)
    }

    @Test(arguments: [
        (
            "limit-conections: 3",
            "line 1: limit-conections is no setting; did you mean limit-connections?"
        ),
        ("\n\nshoe-size: 3", "line 3: shoe-size is no setting; see curtain-relay serve --help"),
        (
            "limit-groups: many",
            #"line 1: limit-groups can't be "many"; write number, 1 to 50000000"#
        ),
        ("limit-groups: 0", #"line 1: limit-groups can't be "0"; write number, 1 to 50000000"#),
        ("limit-groups: -1", #"line 1: limit-groups can't be "-1"; write number, 1 to 50000000"#),
        (
            "limit-groups: 99999999999999999999",
            #"line 1: limit-groups can't be "99999999999999999999"; write number, 1 to 50000000"#
        ),
        (
            "#\nlimit-mailbox-bytes: 64 megs",
            #"line 2: limit-mailbox-bytes can't be "64 megs"; write octets, 1 MiB to 1 TiB"#
        ),
        (
            "limit-mailbox-bytes: 99999999999 GiB",
            #"line 1: limit-mailbox-bytes can't be "99999999999 GiB"; write octets, 1 MiB to 1 TiB"#
        ),
        (
            "limit-commits-per-hour: nan",
            #"line 1: limit-commits-per-hour can't be "nan"; write per hour, 0.01 to 10000000"#
        ),
        (
            "listen: localhost:1",
            #"line 1: listen can't be "localhost:1"; write numeric address:port"#
        ),
        ("listen: ::1:7443", #"line 1: listen can't be "::1:7443"; write numeric address:port"#),
        ("listen: 127.0.0.1", #"line 1: listen can't be "127.0.0.1"; write numeric address:port"#),
        (
            "listen: 127.0.0.1:70000",
            #"line 1: listen can't be "127.0.0.1:70000"; write numeric address:port"#
        ),
        (
            "listen: [::1]:7443",
            "line 1 is no YAML (did not find expected node content); write \"name: value\""
        ),
        (
            "listen: [127.0.0.1:1]",
            "line 1: listen wants one value; write it in quotes, on the same line"
        ),
        ("listen: {a: b}", "line 1: listen wants one value; write it in quotes, on the same line"),
        (
            "log-level: loud",
            #"line 1: log-level can't be "loud"; write debug, info, warning, error"#
        ),
        (
            "trusted-proxies: 10.0.0.1/8",
            #"line 1: trusted-proxies can't be "10.0.0.1/8"; write addresses or networks, separated by commas"#
        ),
        ("accept-clock: yes", #"line 1: accept-clock can't be "yes"; write true or false"#),
        ("limit-groups: 1\nlimit-groups: 2", "line 2: limit-groups stands there twice; strike one"),
        ("just words", #"line 1 is no setting; write one "name: value" per line"#),
        (
            "data: /x\n\ttabs: 1",
            "line 2 is no YAML (found a tab character that violates indentation); write \"name: value\""
        ),
        (
            "data: /x\nlog-level: \u{7}",
            "line 2 is no YAML (control characters are not allowed); write \"name: value\""
        ),
        (
            "metrics-listen: 127.0.0.1:7443",
            "line 1: metrics-listen is where listen is; give it another port"
        ),
        (
            "listen: 0.0.0.0:7443",
            "line 1: listen is no loopback address, and plain ws is for those only; give tls-cert and tls-key"
        ),
        ("\ntls-key: /key", "line 2: tls-key needs tls-cert beside it; give both or none"),
        (
            "limit-message-bytes: 1 MiB",
            "line 1: limit-message-bytes must be 64 KiB below limit-frame-bytes"
        ),
        (
            "\nlimit-frame-bytes: 256 KiB",
            "line 2: limit-frame-bytes: limit-message-bytes must be 64 KiB below limit-frame-bytes"
        ),
        (
            "limit-window-bytes: 1 GiB",
            "line 1: limit-window-bytes can't be above limit-connection-window-bytes"
        ),
        (
            "limit-package-bytes: 1 MiB\nlimit-frame-bytes: 512 KiB",
            "line 1: limit-package-bytes must be 64 KiB below limit-frame-bytes"
        ),
        (
            "limit-unread-bytes: 1 MiB\nlimit-frame-bytes: 16 MiB",
            "line 1: limit-unread-bytes can't be below limit-frame-bytes"
        ),
        (
            "limit-unsent-bytes: 1 MiB",
            "line 1: limit-unsent-bytes: limit-connection-window-bytes can't be above limit-unsent-bytes"
        ),
        (
            "limit-all-blob-bytes: 0\nlimit-group-blob-bytes: 1 TiB",
            "line 2: limit-group-blob-bytes can't be above limit-all-blob-bytes"
        ),
        (
            "limit-blob-bytes: 512 MiB",
            "line 1: limit-blob-bytes can't be above limit-group-blob-bytes"
        ),
        (
            "limit-mailbox-bytes: 1 MiB\nlimit-frame-bytes: 8 MiB\nlimit-message-bytes: 4 MiB",
            "line 1: limit-mailbox-bytes can't be below limit-message-bytes"
        ),
    ])
    func `that are wrong are named with file, line, key and what to do`(file: String, words: String)
    {
        let expected = words.hasPrefix("line ") ? "relay.yaml " + words : words
        #expect(problems(file) == [expected])
    }

    @Test func `that are wrong are named all at once, wherever they stand`() {
        let found = problems(
            "limit-groups: x\nlimit-mailboxes: y\n", ["CURTAIN_RELAY_LOG_LEVEL": "loud"],
            ["clinic-root": "/root.pem", "limit-connections": "0"])
        #expect(
            found == [
                #"relay.yaml line 1: limit-groups can't be "x"; write number, 1 to 50000000"#,
                #"relay.yaml line 2: limit-mailboxes can't be "y"; write number, 1 to 100000000"#,
                #"CURTAIN_RELAY_LOG_LEVEL can't be "loud"; write debug, info, warning, error"#,
                #"--limit-connections can't be "0"; write number, 1 to 1000000"#,
                "data is missing; name the relay's folder with --data",
            ])
    }

    @Test func `that stand twice are each named with its line, and nothing else is missed`() {
        let found = problems(
            """
            # first
            listen: 127.0.0.1:1
            limit-groups: many
            'log-level' : info
            listen: 127.0.0.1:2
            "log-level": debug
            trusted-proxies: {a: 1, a: 2}
            listen: nonsense
            shoe-size: 1
            shoe-size: 2
            """.replacing("# first\n", with: "# \u{fc}\u{1f600}\r\n"))
        #expect(
            found == [
                #"relay.yaml line 3: limit-groups can't be "many"; write number, 1 to 50000000"#,
                "relay.yaml line 5: listen stands there twice; strike one",
                "relay.yaml line 6: log-level stands there twice; strike one",
                "relay.yaml line 7: trusted-proxies wants one value; write it in quotes, on the same line",
                "relay.yaml line 8: listen stands there twice; strike one",
                "relay.yaml line 9: shoe-size is no setting; see curtain-relay serve --help",
                "relay.yaml line 10: shoe-size stands there twice; strike one",
            ])
        #expect(
            problems("{log-level: info, log-level: debug}")
                == ["relay.yaml line 1: log-level stands there twice; strike one"])
    }

    @Test func `of an unknown variable are refused`() {
        #expect(
            problems(nil, ["CURTAIN_RELAY_LISTN": "127.0.0.1:1"])
                == ["CURTAIN_RELAY_LISTN is no setting; did you mean listen?"])
    }

    @Test func `of a file that is no text are refused by its line, and nothing else is missed`()
        throws
    {
        let folder = try TemporaryFolder()
        let path = folder.file("relay.yaml")
        try Data("data: /x\n# stra\u{df}e\n".unicodeScalars.map { UInt8($0.value) })
            .write(to: URL(fileURLWithPath: path))
        let source = SettingsSource(file: path, environment: [:], flags: [:])
        #expect(
            throws: SettingsError(problems: ["\(path) line 2 is no text in UTF-8; write it anew"])
        ) { try source.load() }
    }

    @Test func `of a file that isn't there are refused`() {
        let source = SettingsSource(
            file: "/nowhere/relay.yaml", environment: [:],
            flags: ["data": "/data", "clinic-root": "/root.pem"])
        #expect(
            throws: SettingsError(problems: [
                "/nowhere/relay.yaml can't be read; name a readable YAML file with --config"
            ])
        ) { try source.load() }
    }

    @Test func `without files contradict nothing`() throws {
        let none = try load("limit-all-blob-bytes: 0\nlimit-group-blob-bytes: 0\n")
        #expect(none.limits.groupBlobByteCount == 0)
        #expect(problems("limit-group-blob-bytes: 0") == [])
    }

    @Test func `are written as a file that reads as the same`() throws {
        var settings = try load(
            nil, ["CURTAIN_RELAY_LISTEN": "[::1]:9000", "CURTAIN_RELAY_LIMIT_GROUPS": "7"])
        settings.dataFolder = "/a folder: 'quoted' #1"
        #expect(try load(settings.file, [:], [:]) == settings)
    }
}

@Suite struct `Every setting` {
    @Test func `has a name of its own, a default that it takes, and words`() {
        #expect(Set(Setting.all.map(\.name)).count == Setting.all.count)
        for setting in Setting.all {
            var settings = RelaySettings()
            #expect(setting.read(setting.defaultText, &settings) == nil, "\(setting.name)")
            #expect(settings == RelaySettings(), "\(setting.name)")
            #expect(setting.meaning.hasSuffix("."))
            #expect(setting.name.wholeMatch(of: /[a-z]+(-[a-z]+)*/) != nil)
        }
    }

    /// Every number of `RelayLimits` and of the limits of connections: forgetting one is easy.
    @Test func `of the limits can be reached`() {
        var settings = RelaySettings()
        for setting in Setting.all
        where setting.name.hasPrefix("limit-") || setting.name.hasPrefix("t") {
            for other in ["3", "128 KiB", "4 MiB", "192.0.2.1"]
            where other != setting.defaultText && setting.read(other, &settings) == nil { break }
        }
        func unchanged(_ value: Any, _ standard: Any, _ path: String) -> [String] {
            let (fields, others) = (
                Mirror(reflecting: value).children, Mirror(reflecting: standard).children
            )
            return zip(fields, others).flatMap { field, other -> [String] in
                let name = path + "." + (field.label ?? "")
                let isNumber =
                    field.value is any Numeric || field.value is Duration
                    || field.value is [AddressBlock]
                if isNumber { return "\(field.value)" == "\(other.value)" ? [name] : [] }
                return unchanged(field.value, other.value, name)
            }
        }
        #expect(unchanged(settings.limits, RelayLimits(), "limits") == [])
        #expect(unchanged(settings.admission, AdmissionLimits(), "admission") == [])
    }

    @Test func `stands in the operator's table as it is in the code`() throws {
        let table = try operatorsChapter()
        for setting in Setting.all where !setting.isHidden {
            let standard = setting.defaultText.isEmpty ? "" : "`\(setting.defaultText)`"
            let row =
                "| `\(setting.name)` | \(setting.takes) | \(standard) | \(setting.isReloadable ? "yes" : "") | \(setting.meaning) |"
            #expect(table.contains(row + "\n"), "expected: \(row)")
        }
        let rows = table.matches(of: /\n\| `([a-z-]+)` \|/).map { String($0.1) }
        #expect(rows.filter { Setting.named($0) == nil } == [])
    }
}

/// `protocol/operations.md`.
func operatorsChapter() throws -> String {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    return try String(contentsOf: root.appending(path: "protocol/operations.md"), encoding: .utf8)
}
