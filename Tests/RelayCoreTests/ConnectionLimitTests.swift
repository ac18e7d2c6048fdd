import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

@Suite struct ConnectionLimitTests {
    @Test func `all mailboxes of a connection share its requests`() throws {
        var limits = RelayLimits()
        limits.connectionRequestsPerSecond = 1
        limits.connectionRequestBurst = 3
        let world = try RelayWorld(limits: limits)
        let line = try world.connect()
        let homes = try (0..<4).map { _ in try line.makeHome() }
        for home in homes.prefix(3) {
            guard case .tickets = try line.ask(home.request(.drawTickets(count: 1))) else {
                Issue.record("refused within the limit")
                return
            }
        }
        let last = homes[3].request(.drawTickets(count: 1))
        #expect(try line.ask(last) == .refused(.rate, retryAfterSeconds: 1))
        let other = try world.connect()
        guard case .tickets = try other.ask(other.makeHome().request(.drawTickets(count: 1)))
        else {
            Issue.record("another connection is refused")
            return
        }
        world.advance(seconds: 1)
        guard case .tickets = try line.ask(last) else {
            Issue.record("refused after the wait that was asked for")
            return
        }
    }

    @Test func `a changed limit is in force for connections that are there`() throws {
        let world = try RelayWorld()
        let line = try world.connect()
        let home = try line.makeHome()
        var limits = RelayLimits()
        limits.published.ticketsPerDay = 1
        world.engine.limits = limits
        #expect(
            try line.ask(home.request(.drawTickets(count: 2)))
                == .refused(.limit, retryAfterSeconds: 0))
    }
}
