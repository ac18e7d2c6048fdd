import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

@testable import Relay

/// An admitted device whose requests are made to stop the relay.
struct HostileRequestTests {
    @Test func `numbers that the store can't order are refused, and no answer is lost`() throws {
        try StoreWorld().run { world, _ in
            let line = try world.connect()
            let home = try line.makeHome()
            func draw(_ id: UInt64, confirmed: UInt64) throws -> Outcome {
                try line.ask(
                    Request(
                        mailbox: home.id, id: RequestID(rawValue: id),
                        confirmed: RequestID(rawValue: confirmed),
                        operation: .drawTickets(count: 1)))
            }
            let far: UInt64 = 1 << 63
            for outcome in [
                try draw(far + 5, confirmed: far), try draw(far + 6, confirmed: far),
                try draw(far + 7, confirmed: far + 5), try draw(far + 6, confirmed: far + 5),
            ] {
                #expect(outcome == .refused(.malformed, retryAfterSeconds: 0))
            }
            let last = RequestID.last.rawValue
            let answer = try draw(last, confirmed: last - 1)
            guard case .tickets = answer else {
                Issue.record("no ticket")
                return
            }
            #expect(try draw(last, confirmed: last - 1) == answer)
        }
    }

    @Test func `a stolen database doesn't tell who took a last-resort package`() throws {
        try StoreWorld().run { world, store in
            let line = try world.connect()
            let doctor = try line.makeHome()
            let patient = try line.makeFresh(from: line.makeHome())
            try doctor.ask(.stockShelf(ShelfStock(packages: [], lastResort: [1, 2, 3])))
            let claim = patient.request(.claimKeyPackage(shelf: doctor.id))
            let package = Outcome.keyPackage(sealed: [1, 2, 3], lastResort: true)
            #expect(try line.ask(claim) == package)
            #expect(try line.ask(claim) == package)
            let slot = try #require(try store.mailbox(patient.id)).0
            #expect(try store.answer(slot, claim.id) == nil)
        }
    }
}
