import Testing
import WebSockets

/// Devices that don't read what is sent to them, at the real relay.
@Suite struct `Slow readers` {
    @Test(.timeLimit(.minutes(3)))
    func `together take no more memory than they may, and lose nothing by being cut`() async throws
    {
        let relay = try RelayAlone()
        // Each alone may have more on its way than all together may have unsent.
        try await relay.start([
            "--limit-unsent-bytes", "1048576", "--limit-window-messages", "100000",
            "--limit-window-bytes", "67108864", "--limit-connection-window-bytes", "67108864",
            "--limit-mailbox-messages", "100000", "--limit-request-burst", "100000",
            "--limit-connection-request-burst", "100000",
        ])
        let loop = try EventLoop(name: "devices")
        let (slow, fast) = (
            try await WirePair(at: relay, on: loop), try await WirePair(at: relay, on: loop)
        )
        try await slow.stall()
        let reading = Task { try await fast.read(untilAccepted: 2_000) }
        let writing = Task { try await fast.write(2_000) }
        // More than the system keeps for a connection on its two ends.
        try await slow.write(16_000)
        try await writing.value
        try await reading.value
        #expect(await fast.faults() == [])

        let count = await slow.readStalled()
        #expect(count > 0)
        #expect(count < 16_000)
        // With room for its window it gets everything.
        try await relay.kill()
        try await relay.start()
        try await slow.read(untilAccepted: 16_000)
        #expect(await slow.faults() == [])
        try await relay.kill()
        await loop.shutdownAndWait()
    }
}
