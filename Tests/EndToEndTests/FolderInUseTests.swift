import Foundation
import Glibc
import Testing

/// A stopped relay's folder while one of the operator's commands has it.
@Suite(.timeLimit(.minutes(6))) struct `A data folder that a command has` {
    @Test func `is said to be a relay's that doesn't answer`() async throws {
        let relay = try RelayAlone()
        try await relay.start()
        #expect(try await relay.stop() == .exited(0))
        let lock = unsafe open(relay.dataFolder + "/lock", O_RDWR | O_CLOEXEC)
        defer { close(lock) }
        try #require(flock(lock, LOCK_EX | LOCK_NB) == 0)
        try Data("\(getpid()) serve\n".utf8).write(
            to: URL(fileURLWithPath: relay.dataFolder + "/lock"), options: [])
        let status = try await relay.run("status")
        #expect(status.ending == .exited(69))
        #expect(status.output.contains("process \(getpid()), but it doesn't answer"))
        #expect(status.output.contains(#/connections: +unknown/#))
        #expect(try await relay.run("check").ending == .exited(65))
        #expect(try await relay.run("backup", "--out", relay.file("b")).ending == .exited(69))
    }

    @Test func `is said to be compacted, and by which process, to whoever asks`() async throws {
        let relay = try RelayAlone()
        try await relay.start()
        #expect(try await relay.stop() == .exited(0))
        // This test stands for the command, so that it lasts as long as is wanted.
        let lock = unsafe open(relay.dataFolder + "/lock", O_RDWR | O_CLOEXEC)
        defer { close(lock) }
        try #require(flock(lock, LOCK_EX | LOCK_NB) == 0)
        try Data("\(getpid()) compact\n".utf8).write(
            to: URL(fileURLWithPath: relay.dataFolder + "/lock"), options: [])
        for options in [
            ["status"], ["check"], ["audit"], ["compact"], ["backup", "--out", relay.file("b")],
        ] {
            let outcome = try await relay.run(
                .relay, [options[0], "--data", relay.dataFolder] + options.dropFirst())
            #expect(outcome.ending == .exited(75), "\(options)")
            #expect(outcome.output == "")
            #expect(
                outcome.errors == """
                    curtain: the database is being compacted (process \(getpid())); \
                    wait until it has ended

                    """)
        }
    }
}
