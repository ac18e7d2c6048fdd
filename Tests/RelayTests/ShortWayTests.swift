import Cryptography
import Foundation
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
    let gate = EngineGate()
    let loop: EventLoop
    private(set) lazy var way = ShortWay(
        gate: gate, clock: SystemClock(), loop: loop, send: { _ in },
        write: { [unowned self] in
            wrote += 1
            return canWrite ? RelayRelease() : nil
        }, release: { [unowned self] _ in released += 1 },
        wakeWriter: { [unowned self] in woke += 1 })
    var canWrite = true
    var wrote = 0
    var released = 0
    var woke = 0

    init() throws {
        world = try RelayWorld()
        world.now = SystemClock().now
        talk = try TestConsultation(world)
        loop = try EventLoop(name: "test")
        gate.enter()
        gate.leave(with: world.engine, hasRelease: false)
    }

    func message(_ body: UInt8) throws -> ClientFrame {
        ClientFrame(requests: [
            talk.patient.request(.sending([body], to: talk.group))
        ])
    }
}

@Suite(.timeLimit(.minutes(5))) struct ShortWayTests {
    @Test func `measures how long deliveries take that are never stored`() async throws {
        let lent = try Lent()
        let line = try #require(lent.talk.doctor.line)
        // The first message is stored: that the doctor keeps up isn't known before.
        try lent.talk.send([1], from: lent.talk.patient)
        _ = try line.drain()
        lent.world.now = SystemClock().now
        let sender = try #require(lent.talk.patient.line).id
        let frame = try lent.message(2)
        try lent.loop.executeAndWait {
            #expect(lent.way.take(frame, from: sender).rest == nil)
        }
        let counted = try lent.loop.executeAndWait { lent.way.deliverySeconds.count }
        #expect(counted == 1)
        await lent.loop.shutdownAndWait()
    }

    @Test func `stores a few messages at the end of their turn, without the writer`() async throws {
        let lent = try Lent()
        let frame = try lent.message(1)
        try lent.loop.executeAndWait {
            #expect(lent.way.stores(frame))
            #expect(lent.way.stores(frame))
            #expect(lent.wrote == 0)
        }
        try lent.loop.executeAndWait {
            #expect((lent.wrote, lent.released, lent.woke) == (1, 1, 0))
            #expect(lent.gate.tryEnter() != nil)
        }
        await lent.loop.shutdownAndWait()
    }

    @Test func `leaves many messages, and all other requests, to the writer`() async throws {
        let lent = try Lent()
        let frame = try lent.message(1)
        let other = ClientFrame(requests: [
            lent.talk.patient.request(.inspectGroup(lent.talk.group))
        ])
        try lent.loop.executeAndWait {
            #expect(!lent.way.stores(other))
            #expect(!lent.way.stores(ClientFrame(hello: Hello(nonce: Random.bytes(32)))))
            #expect(lent.way.stores(frame))
            #expect(lent.way.stores(frame))
            #expect(!lent.way.stores(frame))
        }
        try lent.loop.executeAndWait { #expect(lent.wrote == 0) }
        await lent.loop.shutdownAndWait()
    }

    @Test(arguments: [true, false])
    func `wakes the writer where it can't store them itself`(isBusy: Bool) async throws {
        let lent = try Lent()
        let frame = try lent.message(1)
        if isBusy { lent.gate.enter() }
        lent.canWrite = false
        try lent.loop.executeAndWait { #expect(lent.way.stores(frame)) }
        try lent.loop.executeAndWait {
            #expect((lent.wrote, lent.released, lent.woke) == (isBusy ? 0 : 1, 0, 1))
        }
        await lent.loop.shutdownAndWait()
    }
}
