import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

private let notAllowed = Outcome.refused(.notAllowed, retryAfterSeconds: 0)

struct OpeningTests {
    let world: RelayWorld
    init() throws { world = try RelayWorld() }

    @Test func `a token makes one home mailbox`() throws {
        let line = try world.connect()
        let token = try world.token()
        let first = try TestMailbox()
        let outcome = try line.open(first, creation: .home(admissionToken: token))
        #expect(
            outcome
                == .opened(
                    Opened(
                        lastCounter: 0, shelf: ShelfState(packages: 0, lastResortClaims: 0),
                        lastRequest: .opening)))
        let second = try TestMailbox()
        #expect(
            try line.open(second, creation: .home(admissionToken: token))
                == .refused(.token, retryAfterSeconds: 0))
        // The same mailbox again is no second use.
        guard case .opened = try line.open(first, creation: .home(admissionToken: token)) else {
            Issue.record("the retry was refused")
            return
        }
    }

    @Test func `tokens that are forged, expired or another relay's make nothing`() throws {
        let line = try world.connect()
        let forged = try AdmissionToken(
            relayKey: world.relay.identity.publicKey, serial: Random.bytes(16), expires: .max,
            clinicRoot: SigningKey()
        ).encoded()
        let foreign = try AdmissionToken(
            relayKey: SigningKey().publicKey, serial: Random.bytes(16), expires: .max,
            clinicRoot: world.clinic
        ).encoded()
        let expired = try world.token(expires: world.now.unixSeconds - 1)
        var cut = try world.token()
        cut.removeLast()
        for token in [forged, foreign, expired, cut, []] {
            let outcome = try line.open(TestMailbox(), creation: .home(admissionToken: token))
            #expect(outcome == .refused(.token, retryAfterSeconds: 0))
        }
        #expect(world.engine.counters.refusals[Refusal.token.rawValue] == 5)
    }

    @Test func `a ticket makes one mailbox, and forged or late ones none`() throws {
        let line = try world.connect()
        let home = try line.makeHome()
        guard case .tickets(let tickets) = try home.ask(.drawTickets(count: 2)) else {
            Issue.record("no tickets")
            return
        }
        func use(_ ticket: [UInt8]) throws -> Outcome {
            try line.open(
                TestMailbox(), creation: .fresh(ticket: ticket, permitHash: nil, permitUses: 0))
        }
        guard case .opened = try use(tickets[0]) else {
            Issue.record("a good ticket was refused")
            return
        }
        #expect(try use(tickets[0]) == .refused(.ticket, retryAfterSeconds: 0))
        var forged = tickets[1]
        forged[3] ^= 1
        #expect(try use(forged) == .refused(.ticket, retryAfterSeconds: 0))
        world.advance(days: 61)
        #expect(try use(tickets[1]) == .refused(.ticket, retryAfterSeconds: 0))
    }

    @Test func `an unknown mailbox and a wrong signature are answered alike`() throws {
        let line = try world.connect()
        let home = try line.makeHome()
        let unknown = try TestMailbox()
        #expect(try line.open(unknown) == notAllowed)

        let other = try world.connect()
        let signature = try other.proof().sign(
            with: SigningKey(), counter: home.counter + 1, creation: nil)
        let stolen = Request(
            mailbox: home.id, id: .opening,
            operation: .open(Opening(counter: home.counter + 1, signature: signature)))
        #expect(try other.ask(stolen) == notAllowed)
        #expect(line.notices.isEmpty, "the owner was displaced by an impostor")
    }

    @Test func `a signature for one connection opens nothing on another`() throws {
        let first = try world.connect()
        let home = try first.makeHome()
        let signature = try first.proof().sign(with: home.key, counter: 2_000, creation: nil)
        let request = Request(
            mailbox: home.id, id: .opening,
            operation: .open(Opening(counter: 2_000, signature: signature)))
        let second = try world.connect()
        #expect(try second.ask(request) == notAllowed)
    }

    @Test func `a rogue relay can't use a signature made for itself`() throws {
        // The rogue passes the true relay's nonce on, under its own identity.
        let line = try world.connect()
        let home = try line.makeHome()
        let rogue = try SigningKey()
        let attack = try world.connect()
        let proof = OpeningProof(
            relayKey: rogue.publicKey, clientNonce: attack.nonce,
            relayNonce: try #require(attack.challenge).nonce)
        let signature = try proof.sign(with: home.key, counter: 2_000, creation: nil)
        let request = Request(
            mailbox: home.id, id: .opening,
            operation: .open(Opening(counter: 2_000, signature: signature)))
        #expect(try attack.ask(request) == notAllowed)
        // And the true relay's own challenge doesn't pass the device's check under its nonce.
        let challenge = try #require(attack.challenge)
        #expect(throws: RelayProtocolError.self) {
            try RelayIntroduction.verify(
                challenge, clientNonce: Random.bytes(32), pinned: world.relay.identity.publicKey)
        }
    }

    @Test func `a counter that isn't above the last one reveals a copied vault`() throws {
        let line = try world.connect()
        let home = try line.makeHome()
        home.counter -= 1
        #expect(try line.open(home) == .refusedCounter(last: home.counter))
        #expect(world.engine.counters.refusals == [Refusal.counter.rawValue: 1])
        guard case .opened(let opened) = try line.open(home) else {
            Issue.record("a higher counter was refused")
            return
        }
        #expect(opened.lastCounter == home.counter - 1)
    }

    @Test func `a newer connection displaces the older one`() throws {
        let older = try world.connect()
        let home = try older.makeHome()
        let newer = try world.connect()
        try newer.open(home)
        #expect(older.notices == [.displaced(home.id)])
        home.line = older
        #expect(try home.ask(.drawTickets(count: 1)) == notAllowed)
        home.line = newer
        guard case .tickets = try home.ask(.drawTickets(count: 1)) else {
            Issue.record("the newer connection may not ask")
            return
        }
    }

    @Test func `nothing is answered for a mailbox that isn't open here`() throws {
        let line = try world.connect()
        let home = try line.makeHome()
        let other = try world.connect()
        home.line = other
        #expect(try home.ask(.drawTickets(count: 1)) == notAllowed)
        #expect(try home.ask(.retire) == notAllowed)
    }

    @Test func `a first frame that is no greeting ends the connection`() throws {
        let line = try world.dial()
        try line.send(ClientFrame())
        #expect(line.closing == .violation)
        let twice = try world.connect()
        try twice.send(ClientFrame(hello: Hello(nonce: Random.bytes(32))))
        #expect(twice.closing == .violation)
        let version = try world.dial()
        try version.send(ClientFrame(hello: Hello(version: 2, nonce: Random.bytes(32))))
        #expect(version.closing == .violation)
        let garbage = try world.connect()
        try world.batch { $0.receivedGarbage(from: garbage.id) }
        #expect(garbage.closing == .violation)
    }

    /// Ways to make the relay look at a signature and to have nothing open afterwards.
    enum Futility: CaseIterable {
        case unknown, forged, badToken, tooManyUses, fullRelay, full, copied, erased
    }

    @Test(arguments: Futility.allCases)
    func `whoever opens nothing has few tries, however they fail`(way: Futility) throws {
        var limits = RelayLimits()
        if way == .fullRelay { limits.mailboxes = 4 }
        let world = try RelayWorld(limits: limits)
        let talk = try TestConsultation(world)
        let token = try world.token()
        world.engine.refusesGrowth = way == .full
        if way == .erased {
            try talk.patient.ask(talk.closing())
            try talk.patient.ask(.confirm(talk.group))
            try talk.doctor.ask(.confirm(talk.group))
        }
        let line = try world.connect()
        // All in one frame: nothing behind the last try is looked at.
        let requests = try (0..<100).map { _ in
            var mailbox = try TestMailbox()
            var creation: Opening.Creation?
            var key = mailbox.key
            switch way {
            case .unknown: break
            case .forged: (mailbox, key) = (talk.doctorHome, try SigningKey())
            case .badToken: creation = .home(admissionToken: [])
            case .tooManyUses:
                let ticket = Random.bytes(Ticket.byteCount)
                let hash = mailbox.permit.hash
                creation = .fresh(ticket: ticket, permitHash: hash, permitUses: .max)
            case .fullRelay, .full: creation = .home(admissionToken: token)
            case .copied, .erased: mailbox = way == .erased ? talk.doctor : talk.doctorHome
            }
            let counter: UInt64 = way == .copied ? 1 : 1_000
            let signature = try line.proof().sign(with: key, counter: counter, creation: creation)
            return Request(
                mailbox: mailbox.id, id: .opening,
                operation: .open(
                    Opening(counter: counter, signature: signature, creation: creation)))
        }
        try line.send(ClientFrame(requests: requests))
        #expect(line.replies.count == limits.failedOpenings)
        #expect(line.closing == .unproven)
    }

    @Test func `who has a mailbox open may fail more often`() throws {
        let line = try world.connect()
        let home = try line.makeHome()
        for _ in 0..<4 * world.limits.failedOpenings {
            #expect(try line.open(TestMailbox()) == notAllowed)
        }
        guard case .tickets = try home.ask(.drawTickets(count: 1)) else {
            Issue.record("cut off")
            return
        }
    }

    @Test func `who opens nothing in time is cut off`() throws {
        let idle = try world.connect()
        world.advance(seconds: 31)
        try world.sweep()
        #expect(idle.closing == .unproven)
    }

    @Test func `a connection whose last mailbox was opened elsewhere has to open one in time`()
        throws
    {
        let older = try world.connect()
        let home = try older.makeHome()
        world.advance(seconds: 100)
        let newer = try world.connect()
        try newer.open(home)
        try world.sweep()
        #expect(older.closing == nil)
        world.advance(seconds: 31)
        try world.sweep()
        #expect(older.closing == .unproven)
        #expect(newer.closing == nil)
    }

    @Test func `a retired mailbox is unknown afterwards`() throws {
        let line = try world.connect()
        let home = try line.makeHome()
        let fresh = try line.makeFresh(from: home)
        #expect(try fresh.ask(.retire) == .done)
        #expect(try line.open(fresh) == notAllowed)
    }
}
