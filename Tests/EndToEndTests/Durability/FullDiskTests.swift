import Foundation
import Glibc
import Testing
import WebSockets

/// The real relay on a small file system of its own that fills up. Only root may mount one.
@Suite(.enabled(if: geteuid() == 0)) struct `A full disk` {
    @Test(.timeLimit(.minutes(3)))
    func `what was accepted is delivered, and there is room again afterwards`() async throws {
        let relay = try RelayAlone()
        try FileManager.default.createDirectory(
            atPath: relay.dataFolder, withIntermediateDirectories: true)
        try Self.system(
            "/bin/mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "none", relay.dataFolder)
        var isMounted = true
        defer { if isMounted { try? Self.system("/bin/umount", "-l", relay.dataFolder) } }
        try await relay.start()
        let loop = try EventLoop(name: "devices")

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
        for pair in pairs {
            let accepted = await pair.accepted.count
            let reading = Task { try await pair.read(untilAccepted: accepted) }
            let limit = Task {
                try await Task.sleep(for: .seconds(60))
                reading.cancel()
            }
            _ = await reading.result
            limit.cancel()
            #expect(await pair.faults() == [])
        }

        let before = await pairs[0].accepted.count
        // The relay looks at its disk once a second.
        try await Task.sleep(for: .seconds(3))
        try await pairs[0].write(before + 50)
        #expect(await pairs[0].accepted.count == before + 50)
        try await relay.kill()
        await loop.shutdownAndWait()
        try Self.system("/bin/umount", relay.dataFolder)
        isMounted = false
        try await relay.remove()
    }

    private static func system(_ program: String, _ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw StageError.system(program, process.terminationStatus)
        }
    }
}
