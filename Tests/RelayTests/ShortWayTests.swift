import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing
import WebSockets

@testable import Relay

/// What `ShortWayTests` lends to the loop, which alone uses it until it has answered.
private final class Lent: @unchecked Sendable {
    let world: RelayWorld
    let talk: TestConsultation
    var way: ShortWay?

    init() throws {
        world = try RelayWorld()
        world.now = SystemClock().now
        talk = try TestConsultation(world)
    }
}

@Suite struct ShortWayTests {
    @Test(.timeLimit(.minutes(1)))
    func `measures how long deliveries take that are never stored`() async throws {
        let lent = try Lent()
        let (world, talk) = (lent.world, lent.talk)
        let line = try #require(talk.doctor.line)
        // The first message is stored: that the doctor keeps up isn't known before.
        try talk.send([1], from: talk.patient)
        _ = try line.drain()
        world.now = SystemClock().now
        let gate = EngineGate()
        gate.enter()
        gate.leave(with: world.engine, hasRelease: false)
        let loop = try EventLoop(name: "test")
        let sender = try #require(talk.patient.line).id
        let frame = ClientFrame(requests: [
            talk.patient.request(.sending([2], to: talk.group))
        ])
        try loop.executeAndWait {
            let way = ShortWay(
                gate: gate, clock: SystemClock(), loop: loop, send: { _ in }, wakeWriter: {})
            lent.way = way
            #expect(way.take(frame, from: sender).rest == nil)
        }
        let counted = try loop.executeAndWait { lent.way?.deliverySeconds.count }
        #expect(counted == 1)
        await loop.shutdownAndWait()
    }
}
