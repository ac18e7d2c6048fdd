import Testing

@testable import Relay
@testable import WebSockets

@Suite struct `What waits of a connection` {
    @Test func `pauses it for the sake of others only while that can end`() {
        var traffic = Switchboard.Traffic(socket: ConnectionID(rawValue: 1))
        #expect(!traffic.needsPause(total: 1 << 30, limit: 1 << 30, pending: 0))
        traffic.waiting = 1
        #expect(traffic.needsPause(total: 1 << 30, limit: 1 << 30, pending: 0))
        #expect(!traffic.needsPause(total: 1 << 29, limit: 1 << 30, pending: 0))
        #expect(traffic.canResume(pending: 0))
        #expect(traffic.needsPause(total: 0, limit: 1 << 30, pending: 4 << 20))
        #expect(!traffic.canResume(pending: 4 << 20))
    }
}
