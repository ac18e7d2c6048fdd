import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

struct HomeTests {
    let world: RelayWorld
    let line: RelayLine
    let home: TestMailbox

    init() throws {
        world = try RelayWorld()
        line = try world.connect()
        home = try line.makeHome()
    }

    @Test func `tickets are few per day`() throws {
        guard case .tickets(let all) = try home.ask(.drawTickets(count: 64)) else {
            Issue.record("no tickets")
            return
        }
        #expect(Set(all).count == 64)
        func limit(_ seconds: UInt32) -> Outcome { .refused(.limit, retryAfterSeconds: seconds) }
        world.now.unixSeconds += 1_000
        #expect(try home.ask(.drawTickets(count: 1)) == limit(86_400 - 1_000))
        #expect(try home.ask(.drawTickets(count: .max)) == limit(0))
        world.advance(seconds: 86_400 - 1_001)
        #expect(try home.ask(.drawTickets(count: 1)) == limit(1))
        world.advance(seconds: 1)
        guard case .tickets = try home.ask(.drawTickets(count: 64)) else {
            Issue.record("no tickets on the next day")
            return
        }
    }

    @Test(arguments: [35, 1, -35])
    func `a clock that is wrong for a while keeps no tickets back`(days: Int64) throws {
        func draws() throws -> Bool {
            guard case .tickets = try home.ask(.drawTickets(count: 64)) else { return false }
            guard case .refused(.limit, _) = try home.ask(.drawTickets(count: 1)) else {
                return false
            }
            return true
        }
        func shift(_ days: Int64) {
            world.now.unixSeconds = UInt64(Int64(world.now.unixSeconds) + days * 86_400)
        }
        shift(days)
        try world.sweep()
        #expect(try draws())
        // Doubted or not, it goes on to the next day.
        world.advance(days: 1)
        try world.sweep()
        #expect(try draws())
        shift(-days)
        try world.sweep()
        #expect(try draws())
        world.advance(days: 1)
        #expect(try draws())
        try world.restart(
            clock: ClockGuard(
                at: world.now, lastHour: UInt64(world.now.day.rawValue + 35) * 24,
                isConfirmed: false))
        try world.connect().open(home)
        world.advance(days: 1)
        #expect(try draws())
    }

    @Test func `only homes draw tickets and have a shelf`() throws {
        let fresh = try line.makeFresh(from: home)
        let notAllowed = Outcome.refused(.notAllowed, retryAfterSeconds: 0)
        #expect(try fresh.ask(.drawTickets(count: 1)) == notAllowed)
        #expect(try fresh.ask(.stockShelf(ShelfStock(packages: [[1]]))) == notAllowed)
        #expect(
            try home.ask(.claimKeyPackage(shelf: fresh.id))
                == .refused(.shelfEmpty, retryAfterSeconds: 0))
    }

    @Test func `a shelf is emptied so often per hour, and its last-resort package replaced`() throws
    {
        var limits = RelayLimits()
        limits.shelfClearingsPerHour = 2
        let world = try RelayWorld(limits: limits)
        let fresh = try world.connect().makeHome()
        let withdrawal = ShelfStock(packages: [], withdraw: true)
        #expect(
            try fresh.ask(.stockShelf(withdrawal))
                == .shelf(ShelfState(packages: 0, lastResortClaims: 0)))
        #expect(
            try fresh.ask(.stockShelf(ShelfStock(packages: [], lastResort: [1])))
                == .shelf(ShelfState(packages: 0, lastResortClaims: 0)))
        #expect(
            try fresh.ask(.stockShelf(withdrawal)) == .refused(.rate, retryAfterSeconds: 1_800))
        // Filling it up is no emptying.
        guard case .shelf = try fresh.ask(.stockShelf(ShelfStock(packages: [[1]]))) else {
            Issue.record("a shelf can't be filled")
            return
        }
        world.advance(seconds: 1_800)
        guard case .shelf = try fresh.ask(.stockShelf(withdrawal)) else {
            Issue.record("a shelf can't be emptied")
            return
        }
    }

    @Test func `packages go once each, in order, then the last-resort one`() throws {
        let stocked = try home.ask(
            .stockShelf(ShelfStock(packages: [[1], [2]], lastResort: [9])))
        #expect(stocked == .shelf(ShelfState(packages: 2, lastResortClaims: 0)))
        let claimer = try line.makeFresh(from: home)
        func claim() throws -> Outcome { try claimer.ask(.claimKeyPackage(shelf: home.id)) }
        #expect(try claim() == .keyPackage(sealed: [1], lastResort: false))
        #expect(try claim() == .keyPackage(sealed: [2], lastResort: false))
        #expect(try claim() == .keyPackage(sealed: [9], lastResort: true))
        #expect(try claim() == .keyPackage(sealed: [9], lastResort: true))
        #expect(
            try home.ask(.stockShelf(ShelfStock(packages: [[3]])))
                == .shelf(ShelfState(packages: 1, lastResortClaims: 2)))
        #expect(
            try home.ask(.stockShelf(ShelfStock(packages: [], withdraw: true)))
                == .shelf(ShelfState(packages: 0, lastResortClaims: 0)))
        #expect(try claim() == .refused(.shelfEmpty, retryAfterSeconds: 0))
    }

    @Test func `the same claim again gets the same package`() throws {
        try home.ask(.stockShelf(ShelfStock(packages: [[1], [2]])))
        let claimer = try line.makeFresh(from: home)
        let request = claimer.request(.claimKeyPackage(shelf: home.id))
        #expect(try line.ask(request) == .keyPackage(sealed: [1], lastResort: false))
        #expect(try line.ask(request) == .keyPackage(sealed: [1], lastResort: false))
        try world.restart()
        let again = try world.connect()
        try again.open(claimer)
        #expect(try again.ask(request) == .keyPackage(sealed: [1], lastResort: false))
    }

    @Test func `one claimer can't empty a shelf, nor many claimers at once`() throws {
        try home.ask(.stockShelf(ShelfStock(packages: (0..<50).map { [$0] })))
        let claimer = try line.makeFresh(from: home)
        var got = 0
        while case .keyPackage = try claimer.ask(.claimKeyPackage(shelf: home.id)) { got += 1 }
        #expect(got == 12)
        guard
            case .refused(.rate, let seconds) = try claimer.ask(.claimKeyPackage(shelf: home.id))
        else {
            Issue.record("not refused by rate")
            return
        }
        #expect(seconds == 300)
        world.advance(seconds: 300)
        guard case .keyPackage = try claimer.ask(.claimKeyPackage(shelf: home.id)) else {
            Issue.record("not given after the wait")
            return
        }
    }

    @Test func `shelf and packages have their bounds`() throws {
        let tooLarge = [UInt8](repeating: 0, count: world.limits.packageByteCount + 1)
        #expect(
            try home.ask(.stockShelf(ShelfStock(packages: [tooLarge])))
                == .refused(.tooLarge, retryAfterSeconds: 0))
        #expect(
            try home.ask(.stockShelf(ShelfStock(packages: [[]])))
                == .refused(.malformed, retryAfterSeconds: 0))
        #expect(
            try home.ask(.stockShelf(ShelfStock(packages: (0...100).map { [UInt8($0)] })))
                == .refused(.limit, retryAfterSeconds: 0))
    }
}
