import Testing
import WebSockets

/// Devices that don't read what is sent to them, at the real relay.
@Suite struct `Slow readers` {
    @Test(.timeLimit(.minutes(8)))
    func `together take no more memory than they may, and lose nothing by being cut`() async throws
    {
        let relay = try RelayAlone()
        // Each alone may have on its way what all together may have unsent.
        try await relay.start([
            "--limit-unsent-bytes", "16MiB", "--limit-window-messages", "100000",
            "--limit-window-bytes", "16MiB", "--limit-connection-window-bytes", "16MiB",
            "--limit-mailbox-messages", "100000", "--limit-request-burst", "100000",
            "--limit-connection-request-burst", "100000",
        ])
        let loop = try EventLoop(name: "devices")
        let fast = try await WirePair(at: relay, on: loop)
        var slow: [WirePair] = []
        for _ in 0..<3 {
            slow.append(try await WirePair(at: relay, on: loop, bodyByteCount: 8 << 10))
        }
        for pair in slow { try await pair.stall() }
        let reading = Task { try await fast.read(untilAccepted: 2_000) }
        let writing = Task { try await fast.write(2_000) }
        // More than the system keeps for their connections on both ends.
        try await withThrowingTaskGroup(of: Void.self) { group in
            for pair in slow { group.addTask { try await pair.write(2_400) } }
            try await group.waitForAll()
        }
        try await writing.value
        try await reading.value
        #expect(await fast.faults() == [])

        let cut = #"curtain_relay_connections_cut_total{reason="slow_reader"}"#
        #expect(try relay.metric(cut) ?? 0 > 0)
        try await relay.kill()
        var counts: [Int] = []
        for pair in slow { counts.append(await pair.readStalled()) }
        #expect(counts.allSatisfy { $0 > 0 })
        #expect(counts.contains { $0 < 2_400 })
        // With room for all windows they get everything.
        try await relay.start()
        for pair in slow {
            try await pair.read(untilAccepted: 2_400)
            #expect(await pair.faults() == [])
        }
        try await relay.kill()
        await loop.shutdownAndWait()
    }
}
