import Foundation
import Glibc
import TestSupport
import Testing

/// The audit trail's mirror is on a disk that doesn't answer.
@Suite(
    .enabled(if: FreezableDisk.canBeHad, "needs root, a loop device and fsfreeze"),
    .timeLimit(.minutes(3)))
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
        let begin = ContinuousClock.now
        try await relay.run("audit", "--head").expect(0)
        #expect(ContinuousClock.now - begin < .seconds(4))
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
        #expect(try await first.wait(for: .seconds(20)) == .exited(0))
        try await eventually("the mirror has caught up") {
            try relay.metric(Self.troubles) == 0
        }
        try await relay.run("audit", "--verify", "--trail-mirror", mirror).expect(0)
        #expect(try await relay.stop() == .exited(0))
    }
}
