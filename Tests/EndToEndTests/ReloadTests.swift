import Glibc
import RelayProtocol
import RelayTestSupport
import Testing
import WebSockets

/// What SIGHUP changes at a relay that goes on serving those who are connected.
@Suite struct `A reloaded relay` {
    private let relay: RelayAlone

    init() throws { relay = try RelayAlone() }

    @Test(.timeLimit(.minutes(6)))
    func `holds messages or stores them, and keeps to limits, as it was told last`() async throws {
        try configure(holdMilliseconds: 0, tickets: 64)
        try await relay.start()
        let loop = try EventLoop(name: "devices")
        let pair = try await WirePair(at: relay, on: loop)
        let reader = Task { try await pair.read() }
        defer { reader.cancel() }
        var line = try await WireLine(to: relay.url, on: loop)
        let home = try TestMailbox()
        let token = try relay.token(relayKey: line.relayKey)
        try await line.open(home, creation: .home(admissionToken: token))
        guard case .tickets = try await line.ask(home.request(.drawTickets(count: 2))) else {
            Issue.record("no tickets")
            return
        }
        try await pair.write(100)
        #expect(try accepted("stored") >= 100)
        #expect(try accepted("delivered") == 0)

        try await reload(1, holdMilliseconds: 1_000, tickets: 3)
        var count = 100
        while try accepted("delivered") == 0 {
            count += 20
            try await pair.write(count)
        }
        let outcome = try await line.ask(home.request(.drawTickets(count: 5)))
        guard case .refused(.limit, _) = outcome else {
            throw RelayWorld.Problem.unexpected(outcome)
        }

        try await reload(2, holdMilliseconds: 0, tickets: 3)
        // What was under way may still be held.
        try await pair.write(count + 20)
        let delivered = try accepted("delivered")
        try await pair.write(count + 120)
        #expect(try accepted("delivered") == delivered)
        try await eventually("all messages there") {
            await pair.received.count >= pair.accepted.count
        }
        #expect(await pair.faults() == [])
        line.close()
        #expect(try await relay.stop() == .exited(0))
        await loop.shutdownAndWait()
    }

    private func configure(holdMilliseconds: Int, tickets: Int) throws {
        try relay.configure(
            """
            limit-hold-milliseconds: \(holdMilliseconds)
            limit-tickets-per-day: \(tickets)

            """)
    }

    private func reload(_ number: Double, holdMilliseconds: Int, tickets: Int) async throws {
        try configure(holdMilliseconds: holdMilliseconds, tickets: tickets)
        relay.process?.signal(SIGHUP)
        try await eventually("the reload") {
            try relay.metric(#"curtain_relay_reloads_total{result="taken"}"#) == number
        }
    }

    private func accepted(_ way: String) throws -> Double {
        try #require(
            try relay.metric(#"curtain_relay_messages_accepted_total{way="\#(way)"}"#))
    }
}
