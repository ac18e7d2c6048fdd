import RelayTestSupport
import Testing

@testable import RelayCore

@Suite struct `What is held in memory` {
    @Test func `a mailbox that waits for room and moves about is listed once`() throws {
        var limits = RelayLimits()
        limits.connectionByteCount = 4_096
        let world = try RelayWorld(limits: limits)
        let (busy, moving) = (try TestConsultation(world), try TestConsultation(world))
        for talk in [busy, moving] { _ = try #require(talk.doctor.line).drain() }
        try busy.send([UInt8](repeating: 1, count: 4_000), from: busy.patient)
        try moving.send([UInt8](repeating: 1, count: 1_000), from: moving.patient)
        let (one, other) = (try world.connect(), try world.connect())
        try one.open(busy.doctor)
        for _ in 0..<20 {
            try other.open(moving.doctor)
            try one.open(moving.doctor)
        }
        #expect(world.engine.connections[one.id]?.starved.count == 1)
    }

    @Test func `mailboxes in use are looked through only once many others have come`() throws {
        let world = try RelayWorld()
        world.engine.cacheLimit = 8
        let line = try world.connect()
        let home = try line.makeHome()
        for _ in 0..<11 { _ = try line.makeFresh(from: home, permitUses: 0) }
        // Twelve are in use; each batch of these two leaves one more that isn't.
        for count in 13...14 {
            let other = try world.connect()
            _ = try other.makeHome()
            try world.hangUp(other)
            #expect(world.engine.mailboxesByNumber.count == count)
        }
        for _ in 0..<8 {
            let other = try world.connect()
            _ = try other.makeHome()
            try world.hangUp(other)
        }
        #expect(world.engine.mailboxesByNumber.count < 19)
        #expect(world.engine.mailboxesByNumber.count >= 12)
    }
}
