import Foundation
import Glibc
import TestSupport
import Testing
import WebSockets

/// The real relay on a small file system of its own that fills up. Only root may mount one.
@Suite(.enabled(if: geteuid() == 0)) struct `A full disk` {
    let relay: RelayAlone
    let disk: SmallDisk
    let loop: EventLoop

    init() throws {
        relay = try RelayAlone()
        disk = try SmallDisk(at: relay.dataFolder, mebibytes: 24)
        loop = try EventLoop(name: "devices")
    }

    private func end() async throws {
        try await relay.kill()
        await loop.shutdownAndWait()
        try disk.unmount()
    }

    /// Whether the relay says within a while that it is ready, or isn't; it may not end meanwhile.
    private func becomes(
        ready isReady: Bool, within limit: Duration = .seconds(60)
    ) async throws -> Bool {
        let deadline = ContinuousClock.now + limit
        while true {
            let isLate = ContinuousClock.now >= deadline
            guard relay.process?.ending() == nil else { return false }
            let answer = try relay.get("/readyz")
            if answer.hasPrefix("HTTP/1.1 \(isReady ? 200 : 503)") {
                if !isReady { #expect(answer.contains("the disk is full")) }
                return true
            }
            guard !isLate else { return false }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func read(_ pair: WirePair, _ count: Int) async throws {
        let reading = Task { try await pair.read(untilAccepted: count) }
        let limit = Task {
            try await Task.sleep(for: .seconds(120))
            reading.cancel()
        }
        _ = await reading.result
        limit.cancel()
        #expect(await pair.faults() == [])
    }

    @Test(.timeLimit(.minutes(8)))
    func `what was accepted is delivered, and there is room again afterwards`() async throws {
        try await relay.start()
        var pairs: [WirePair] = []
        for _ in 0..<4 { pairs.append(try await WirePair(at: relay, on: loop)) }
        let writers = pairs.map { pair in
            Task { try await pair.write(9_000, untilRefused: 100) }
        }
        for writer in writers { try await writer.value }
        for pair in pairs { #expect(await pair.refused >= 100) }
        #expect(await pairs[0].accepted.count > 1_000)

        // Full as it is, it ends and starts again.
        try await relay.kill()
        try await relay.start()
        for pair in pairs { try await read(pair, pair.accepted.count) }

        let before = await pairs[0].accepted.count
        #expect(try await becomes(ready: true))
        try await pairs[0].write(before + 50)
        #expect(await pairs[0].accepted.count == before + 50)
        try await end()
    }

    @Test(.timeLimit(.minutes(8)))
    func `without an octet left the relay waits, is stopped, started and killed, and goes on`()
        async throws
    {
        try await relay.start()
        try disk.fill(leaving: 8 << 20)
        // The log holds what the database has no room for.
        let pair = try await WirePair(at: relay, on: loop)
        try disk.fill(leaving: 0)
        #expect(try await becomes(ready: false))
        try await Task.sleep(for: .seconds(3))
        #expect(relay.process?.ending() == nil)

        relay.process?.signal(SIGTERM)
        #expect(try await relay.process?.wait() == .exited(0))
        try await relay.start()
        #expect(try await becomes(ready: false))
        try await relay.kill()
        try await relay.start()
        #expect(try await becomes(ready: false))

        disk.makeRoom()
        #expect(try await becomes(ready: true))
        try await pair.write(200)
        try await read(pair, 200)

        // No copy is begun that would take the relay's reserve.
        let backup = relay.file("backup")
        try await relay.run("backup", "--out", backup).expect(0)
        try disk.fill(leaving: (6 << 20) + (64 << 10))
        #expect(try await relay.run("backup", "--out", relay.file("copy")).ending == .exited(73))
        let rehearsal = try await relay.run("restore", "--verify", "--from", backup)
        #expect(rehearsal.ending == .exited(73))
        #expect(rehearsal.errors.contains("MiB are missing on the disk of the data folder"))
        #expect(try await becomes(ready: true))
        try await end()
    }

    @Test(.timeLimit(.minutes(8)))
    func `a disk that fills up under the writers' hands takes nothing accepted with it`()
        async throws
    {
        try await relay.start()
        let pair = try await WirePair(at: relay, on: loop)
        let writing = Task { try await pair.write(6_000, untilRefused: 1 << 30) }
        while await pair.accepted.count < 300 { try await Task.sleep(for: .milliseconds(5)) }
        for _ in 0..<3 {
            try disk.fill(leaving: 0)
            #expect(try await becomes(ready: false))
            disk.makeRoom()
            #expect(try await becomes(ready: true))
        }
        try await writing.value
        try await read(pair, 6_000)
        try await end()
    }

    @Test(.timeLimit(.minutes(8)))
    func `a restore that has no room is refused before it has changed anything`() async throws {
        try await relay.start()
        let pair = try await WirePair(at: relay, on: loop)
        try await pair.write(2_000)
        let backup = relay.file("backup")
        try await relay.run("backup", "--out", backup).expect(0)
        #expect(try await relay.stop() == .exited(0))

        func content() throws -> [String: Data?] {
            let others: Set = ["foreign", "lock", "relay.sqlite-wal", "relay.sqlite-shm"]
            let names = try FileManager.default.subpathsOfDirectory(atPath: relay.dataFolder)
            return Dictionary(
                uniqueKeysWithValues: Set(names).subtracting(others).map {
                    ($0, FileManager.default.contents(atPath: relay.dataFolder + "/" + $0))
                })
        }
        let before = try content()
        for rest in [1 << 20, 256 << 10] {
            try disk.fill(leaving: rest)
            let refused = try await relay.run("restore", "--from", backup)
            #expect(refused.ending == .exited(73), "\(refused.errors)")
            let words = refused.errors.wholeMatch(
                of: #/curtain: the backup: [1-9] MiB are missing on the disk of the data folder\n/#)
            #expect(words != nil, "\(refused.errors)")
            #expect(try content() == before)
        }
        try await relay.start()
        #expect(try await becomes(ready: false))
        #expect(try await relay.stop() == .exited(0))
        disk.makeRoom()
        // The reserve is no matter while nobody is served.
        try disk.fill(leaving: 5 << 20)
        try await relay.run("restore", "--from", backup).expect(0)
        disk.makeRoom()
        try await relay.start()
        #expect(try await becomes(ready: true))
        try await end()
    }
}
