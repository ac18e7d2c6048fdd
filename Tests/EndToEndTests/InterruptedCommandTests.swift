import Foundation
import Glibc
import TestSupport
import Testing

/// Commands beside a running relay that end before they are done.
@Suite(.timeLimit(.minutes(6))) struct `An operator's commands` {
    @Test(arguments: ["backup", "restore"])
    func `leave no copy behind when a signal interrupts them`(command: String) async throws {
        let relay = try RelayAlone()
        try await relay.start()
        let backup = relay.file("backup")
        try await relay.run("backup", "--out", backup).expect(0)
        let target = relay.file("copies/copy")
        try FileManager.default.createDirectory(
            atPath: relay.file("copies"), withIntermediateDirectories: true)
        let (place, prefix, options) =
            command == "backup"
            ? (relay.file("copies"), "copy.new", ["--out", target, "--force"])
            : (relay.dataFolder, "rehearsal.", ["--verify", "--from", backup])
        func hasBegun() throws -> Bool {
            try FileManager.default.contentsOfDirectory(atPath: place).contains {
                $0.hasPrefix(prefix)
            }
        }
        var interruptions = 0
        for round in 0..<10 {
            let child = try relay.launcher.start(
                .relay, [command, "--data", relay.dataFolder] + options)
            while try !hasBegun(), child.ending() == nil {
                try await Task.sleep(for: .milliseconds(1))
            }
            try await Task.sleep(for: .milliseconds(round))
            // The second one ends it at once.
            child.signal(SIGINT)
            child.signal(SIGTERM)
            if try await child.wait() != .exited(0) { interruptions += 1 }
            #expect(try !hasBegun())
        }
        #expect(interruptions > 0)
        #expect(try await relay.stop() == .exited(0))
        // What has the name is whole.
        if FileManager.default.fileExists(atPath: target) {
            try await relay.run("restore", "--verify", "--from", target).expect(0)
        }
    }
}
