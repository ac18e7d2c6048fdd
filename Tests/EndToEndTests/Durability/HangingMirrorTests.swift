import Foundation
import Glibc
import TestSupport
import Testing

/// The audit trail's mirror is on a disk that doesn't answer.
@Suite(
    .enabled(if: FreezableDisk.canBeHad, "needs root, a loop device and fsfreeze"),
    .timeLimit(.minutes(8)))
struct `A mirror on a disk that hangs` {
    private static let troubles = "curtain_relay_trail_troubles"

    @Test func `stops neither the relay, nor its end, nor the next start`() async throws {
        let relay = try RelayAlone()
        let disk = try FreezableDisk(in: relay.file("server"))
        defer { disk.end() }
        let mirror = disk.folder + "/mirror"
        try relay.configure("trail-mirror: \(mirror)\n")
        try await relay.start()
        try await relay.trailBegins()
        #expect(try relay.metric(Self.troubles) == 0)

        try disk.freeze()
        // Makes an entry, and so waits for the mirror once.
        try await relay.run("audit", "--head").expect(0)
        #expect(try relay.get("/readyz").hasPrefix("HTTP/1.1 200"))
        var times: [Duration] = []
        for _ in 0..<3 {
            let begin = ContinuousClock.now
            try await relay.run("audit", "--head").expect(0)
            times.append(ContinuousClock.now - begin)
        }
        // The machine may stall once or twice.
        #expect(try #require(times.min()) < .seconds(4))
        try await eventually("the trouble is told") { try relay.metric(Self.troubles) == 1 }
        #expect(relay.errors.contains("the mirror is behind the trail"))
        let check = try await relay.run("check")
        #expect(check.ending == .exited(75))
        #expect(check.output.contains("the mirror is behind the trail"))

        let first = try #require(relay.process)
        first.signal(SIGTERM)
        try await eventually("the relay has stopped") { first.errors.contains("stopped") }
        try await relay.start()
        #expect(try relay.get("/readyz").hasPrefix("HTTP/1.1 200"))
        try await relay.run("audit", "--head").expect(0)
        #expect(try relay.metric(Self.troubles) == 1)

        try disk.thaw()
        #expect(try await first.wait() == .exited(0))
        try await eventually("the mirror has caught up") {
            try relay.metric(Self.troubles) == 0
        }
        try await relay.run("audit", "--verify", "--trail-mirror", mirror).expect(0)
        #expect(try await relay.stop() == .exited(0))
    }
}

/// The audit trail's mirror is on a machine that doesn't answer.
@Suite(
    .enabled(if: HangingFolder.canBeHad, "needs root and FUSE"),
    .disabled(if: isSanitized, "looking for leaks at its end, a process waits for the disk too"),
    .timeLimit(.minutes(8)))
struct `A mirror that can't even be looked at` {
    @Test func `is said not to answer by every command that was to read it`() async throws {
        let relay = try RelayAlone()
        try await relay.start()
        let backup = relay.file("backup")
        try await relay.run("backup", "--out", backup).expect(0)
        let mirror = relay.file("mirror")
        let folder = try HangingFolder(at: mirror)
        defer { folder.end() }
        let words = "the trail's mirror doesn't answer"
        let audit = try await relay.run("audit", "--trail-mirror", mirror)
        #expect(audit.ending == .exited(73))
        #expect(audit.errors == "curtain: \(words)\n")
        let rehearsal = try await relay.run(
            "restore", "--verify", "--from", backup, "--trail", mirror)
        #expect(rehearsal.ending == .exited(73))
        #expect(rehearsal.errors == "curtain: \(words)\n")
        let check = try await relay.run("check", "--trail-mirror", mirror)
        #expect(check.ending == .exited(75))
        #expect(check.output.contains("the mirror doesn't answer"))
        try relay.configure("trail-mirror: \(mirror)\n")
        let settings = try await relay.run(
            .relay, ["serve", "--config", relay.settingsFile, "--check-config"])
        #expect(settings.errors.contains("trail-mirror: \(words)"))
        #expect(try await relay.stop() == .exited(0))
    }
}
