import Foundation
import Glibc
import TestSupport
import Testing

/// `serve --check-config`: what would keep a relay from starting, without starting one.
@Suite(.timeLimit(.minutes(6))) struct `A check of what a relay needs` {
    private func check(_ relay: RelayAlone, _ options: String...) async throws -> Child.Outcome {
        try await relay.run(
            .relay, ["serve", "--config", relay.settingsFile, "--check-config"] + options)
    }

    /// What is in the data folder: names with content and time of change.
    private func content(_ relay: RelayAlone) throws -> [String: [String]] {
        let manager = FileManager.default
        var found: [String: [String]] = [:]
        for name in try manager.subpathsOfDirectory(atPath: relay.dataFolder) {
            let path = relay.dataFolder + "/" + name
            let attributes = try manager.attributesOfItem(atPath: path)
            found[name] = [
                "\(attributes[.modificationDate] ?? 0)", "\(attributes[.posixPermissions] ?? 0)",
                "\(manager.contents(atPath: path)?.hashValue ?? 0)",
            ]
        }
        return found
    }

    @Test func `names every one at once, with file and line, and changes nothing`() async throws {
        let relay = try RelayAlone()
        try await relay.start()
        #expect(try await relay.stop() == .exited(0))
        let keys = relay.dataFolder + "/keys"
        let whole = try Data(contentsOf: URL(fileURLWithPath: keys))
        try Data(repeating: 7, count: whole.count).write(to: URL(fileURLWithPath: keys))
        let before = try content(relay)
        let plain = relay.file("plain")
        try Data().write(to: URL(fileURLWithPath: plain))
        try relay.configure(
            """
            listen: 192.0.2.1:7443
            tls-cert: /nowhere.pem
            tls-key: /nowhere.key
            trail-mirror: \(plain)/mirror
            limit-groups: none

            """)
        let wrong = try await check(relay, "--metrics-listen", "192.0.2.1:9")
        #expect(wrong.ending == .exited(64))
        #expect(wrong.output == "")
        for words in [
            "relay.yaml line 7: limit-groups can't be \"none\"",
            "relay.yaml line 1: data: the relay's keys are damaged",
            "relay.yaml line 3: listen: can't listen: 192.0.2.1:7443: 192.0.2.1 is no address of",
            "relay.yaml line 4: tls-cert: tls-cert and tls-key can't be used: /nowhere.pem",
            "--metrics-listen: can't listen: 192.0.2.1:9",
            "relay.yaml line 6: trail-mirror: the trail's mirror can't be written: no folder: \(plain)",
        ] { #expect(wrong.errors.contains(words), "\(words) in \(wrong.errors)") }
        #expect(try content(relay) == before)

        // Without a wrong line the first that is wrong beyond it decides.
        try relay.configure("trail-mirror: \(plain)/mirror\n")
        #expect(try await check(relay).ending == .exited(65))
        try whole.write(to: URL(fileURLWithPath: keys))
        #expect(try await check(relay).ending == .exited(73))
        try relay.configure("trail-mirror: \(relay.file("new"))/mirror\n")
        let good = try await check(relay)
        #expect(good.ending == .exited(0), "\(good.errors)")
        #expect(!FileManager.default.fileExists(atPath: relay.file("new")))
    }

    @Test func `sees a folder that no relay takes`() async throws {
        let relay = try RelayAlone()
        try Data().write(to: URL(fileURLWithPath: relay.dataFolder))
        let plain = try await check(relay)
        #expect(plain.ending == .exited(73))
        #expect(plain.errors.contains("line 1: data: the data folder can't be entered"))
        unsafe unlink(relay.dataFolder)
        let below = try await check(relay, "--data", relay.settingsFile + "/data")
        #expect(below.ending == .exited(73))
        #expect(below.errors.contains("--data: the data folder can't be made: no folder"))

        try await relay.start()
        #expect(try await relay.stop() == .exited(0))
        unsafe chmod(relay.dataFolder, 0o750)
        let open = try await check(relay)
        #expect(open.ending == .exited(77))
        #expect(open.errors.contains("line 1: data: others may enter the data folder"))
        unsafe chmod(relay.dataFolder, 0o700)

        let database = relay.dataFolder + "/relay.sqlite"
        try FileManager.default.moveItem(atPath: database, toPath: relay.file("elsewhere"))
        let gone = try await check(relay)
        #expect(gone.ending == .exited(65))
        #expect(gone.errors.contains("line 1: data: the relay's database is missing"))
        try Data(repeating: 7, count: 8_192).write(to: URL(fileURLWithPath: database))
        let damaged = try await check(relay)
        #expect(damaged.ending == .exited(65))
        #expect(damaged.errors.contains("line 1: data: the database is damaged"))
    }

    @Test func `passes beside the relay that runs, whose ports are taken`() async throws {
        let relay = try RelayAlone()
        try await relay.start()
        let address = "127.0.0.1:\(relay.port)"
        let good = try await check(relay, "--listen", address, "--metrics-listen", "off")
        #expect(good.ending == .exited(0))
        #expect(good.output == "the settings are good\n")
        #expect(good.errors.contains("--listen: \(address) is in use by the relay that runs"))
        // Somebody else's port is another thing.
        let other = try RelayAlone()
        try await other.start()
        let taken = "127.0.0.1:\(other.port)"
        let wrong = try await check(relay, "--listen", taken, "--metrics-listen", "off")
        #expect(wrong.ending == .exited(69))
        #expect(
            wrong.errors.contains("--listen: can't listen: \(taken): another program listens there")
        )
        #expect(try await relay.stop() == .exited(0))
        #expect(try await other.stop() == .exited(0))
    }

    @Test(.enabled(if: geteuid() == 0, "only root mounts a disk"))
    func `remarks that the disk is full, on which a relay starts and waits`() async throws {
        let relay = try RelayAlone()
        let disk = try SmallDisk(at: relay.dataFolder, mebibytes: 24)
        let words = "than 6, or as much in the database, the relay refuses what would grow"
        func remark() async throws -> Bool {
            let good = try await check(relay, "--listen", "127.0.0.1:0", "--metrics-listen", "off")
            #expect(good.ending == .exited(0), "\(good.errors)")
            #expect(good.output == "the settings are good\n")
            return good.errors.contains(words)
        }
        #expect(try await !remark())
        try await relay.start()
        try disk.fill(leaving: 5 << 20)
        try await eventually("the relay refuses") {
            try relay.get("/readyz").hasPrefix("HTTP/1.1 503")
        }
        #expect(try await remark())
        #expect(try await relay.stop() == .exited(0))
        #expect(try await remark())
        let none = try await check(
            relay, "--data", relay.dataFolder + "/not/made", "--listen", "127.0.0.1:0",
            "--metrics-listen", "off")
        #expect(none.errors.contains("--data: 5 MiB are free on its disk"))
        disk.makeRoom()
        #expect(try await !remark())
        try disk.unmount()
    }
}
