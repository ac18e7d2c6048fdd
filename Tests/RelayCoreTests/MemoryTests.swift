import RelayTestSupport
import Testing

@testable import RelayCore

@Suite struct `What is held in memory` {
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
