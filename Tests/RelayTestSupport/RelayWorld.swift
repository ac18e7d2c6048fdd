public import Cryptography
public import RelayCore
public import RelayProtocol

/// A relay's decisions with a manual clock, and devices that talk to it without sockets.
public final class RelayWorld {
    /// What went wrong in a test's own steps.
    public enum Problem: Error { case noReply, noChallenge, unexpected(Outcome) }

    /// The clinic whose tokens the relay takes.
    public let clinic: SigningKey
    /// The relay's keys.
    public let relay: RelayIdentity
    /// Both clocks.
    public var now = RelayTime(unixSeconds: 20_000 * 86_400, monotonicMilliseconds: 1_000)
    /// What the operator allows.
    public let limits: RelayLimits
    /// The decisions.
    public private(set) var engine: RelayEngine
    /// Frames go the short way first, as they do when the loop finds the engine free.
    public var takesShortWay = false
    /// What the last batch said.
    public private(set) var lastBatch: BatchOutput?

    private let store: any RelayStore
    private let transaction: (() throws -> Void) throws -> Void
    private var lines: [ConnectionID: RelayLine] = [:]
    private var nextConnection: UInt64 = 1

    /// Starts a relay.
    ///
    /// - Parameter transaction: runs its argument between the store's begin and commit.
    public init(
        store: any RelayStore, limits: RelayLimits = RelayLimits(), clinic: SigningKey? = nil,
        relay: RelayIdentity? = nil, transaction: @escaping (() throws -> Void) throws -> Void
    ) throws {
        let clinic = try clinic ?? SigningKey()
        self.clinic = clinic
        self.relay =
            try relay
            ?? RelayIdentity(
                identity: SigningKey(), ticketKey: .random(count: 32),
                deliveryKey: .random(count: 32), incarnation: Random.bytes(16),
                clinicRoot: clinic.publicKey)
        self.store = store
        self.limits = limits
        self.transaction = transaction
        engine = try RelayEngine(
            store: store, identity: self.relay, limits: limits,
            clock: ClockGuard(at: now, lastHour: nil, isConfirmed: false))
    }

    /// A relay over memory.
    public convenience init(
        memory store: MemoryStore = MemoryStore(), limits: RelayLimits = RelayLimits()
    ) throws {
        try self.init(store: store, limits: limits) { body in
            store.begin()
            do {
                try body()
                store.commit()
            } catch {
                store.rollback()
                throw error
            }
        }
    }

    /// Lets time pass on both clocks.
    public func advance(seconds: UInt64) {
        now.unixSeconds += seconds
        now.monotonicMilliseconds += seconds * 1_000
    }

    /// Lets days pass on both clocks.
    public func advance(days: UInt64) { advance(seconds: days * 86_400) }

    /// Lets milliseconds pass on the monotonic clock.
    public func advance(milliseconds: UInt64) { now.monotonicMilliseconds += milliseconds }

    /// Lets the time pass for which a message may wait in memory.
    public func passHoldingTime() throws {
        now.monotonicMilliseconds += limits.holdMilliseconds
        try batch { _ in }
    }

    /// Ends the process, as it were, and starts another one on the same store.
    public func restart(clock: ClockGuard? = nil) throws {
        for line in lines.values { line.isClosed = true }
        lines = [:]
        engine = try RelayEngine(
            store: store, identity: relay, limits: limits,
            clock: clock ?? ClockGuard(at: now, lastHour: nil, isConfirmed: true))
    }

    /// Runs one batch and hands out what it lets go.
    public func batch(_ body: (RelayEngine) throws -> Void) throws {
        var output: BatchOutput?
        try transaction {
            engine.begin(at: now)
            try body(engine)
            output = try engine.finish()
        }
        lastBatch = output
        hand(output)
    }

    private func hand(_ output: BatchOutput?) {
        for part in output?.connections ?? [] {
            guard let line = lines[part.connection] else { continue }
            line.take(part)
            if part.closing != nil { lines[part.connection] = nil }
        }
    }

    /// Gives the relay a frame.
    func receive(_ frame: ClientFrame, from id: ConnectionID) throws {
        var rest: ClientFrame? = frame
        if takesShortWay {
            engine.beginFromMemory(at: now)
            rest = try engine.receivedFromMemory(frame, from: id)
            hand(engine.finishFromMemory())
        }
        guard let rest else { return }
        try batch { try $0.received(rest, from: id) }
    }

    /// Looks after what is due.
    public func sweep() throws {
        try batch { engine in
            engine.sweepConnections()
            try engine.sweepRecords()
            var cursor = try engine.sweepGroups(from: nil)
            while cursor != nil { cursor = try engine.sweepGroups(from: cursor) }
            while try engine.sweepBlobs() {}
        }
    }

    /// A connection that hasn't said hello.
    public func dial() throws -> RelayLine {
        let id = ConnectionID(rawValue: nextConnection)
        nextConnection += 1
        let line = RelayLine(world: self, id: id)
        lines[id] = line
        try batch { $0.connected(id) }
        return line
    }

    /// A connection after the handshake.
    public func connect() throws -> RelayLine {
        let line = try dial()
        try line.greet()
        return line
    }

    /// A connection ends.
    public func hangUp(_ line: RelayLine) throws {
        lines[line.id] = nil
        line.isClosed = true
        try batch { try $0.disconnected(line.id) }
    }

    /// A token of the clinic.
    public func token(serial: [UInt8] = Random.bytes(16), expires: UInt64? = nil) throws -> [UInt8]
    {
        try AdmissionToken(
            relayKey: relay.identity.publicKey, serial: serial,
            expires: expires ?? now.unixSeconds + 3_600, clinicRoot: clinic
        ).encoded()
    }
}

/// One connection's device end.
public final class RelayLine {
    /// Which connection.
    public let id: ConnectionID
    /// Whether the relay has ended it.
    public internal(set) var isClosed = false
    /// Why.
    public private(set) var closing: ConnectionOutput.Closing?
    /// After the handshake.
    public private(set) var challenge: Challenge?
    /// What came and wasn't looked at.
    public var deliveries: [Delivery] = []
    /// What came and wasn't looked at.
    public var notices: [Notice] = []
    /// What came and wasn't looked at.
    public var replies: [Reply] = []
    /// This device's nonce.
    public let nonce = Random.bytes(32)

    private unowned let world: RelayWorld

    init(world: RelayWorld, id: ConnectionID) {
        self.world = world
        self.id = id
    }

    func take(_ output: ConnectionOutput) {
        if let challenge = output.frame.challenge { self.challenge = challenge }
        replies += output.frame.replies
        deliveries += output.frame.deliveries
        notices += output.frame.notices
        if let closing = output.closing {
            self.closing = closing
            isClosed = true
        }
    }

    /// Sends a frame through the wire's encoding.
    public func send(_ frame: ClientFrame) throws {
        try world.receive(try ClientFrame(decoding: frame.encoded()), from: id)
    }

    /// Says hello.
    public func greet() throws {
        try send(ClientFrame(hello: Hello(nonce: nonce)))
        guard challenge != nil else { throw RelayWorld.Problem.noChallenge }
    }

    /// What openings on this connection sign.
    public func proof() throws -> OpeningProof {
        guard let challenge else { throw RelayWorld.Problem.noChallenge }
        return OpeningProof(
            relayKey: world.relay.identity.publicKey, clientNonce: nonce,
            relayNonce: challenge.nonce)
    }

    /// Sends one request and returns its answer.
    @discardableResult public func ask(_ request: Request) throws -> Outcome {
        replies = []
        try send(ClientFrame(requests: [request]))
        if replies.isEmpty { try world.passHoldingTime() }
        guard let reply = replies.first, reply.mailbox == request.mailbox, reply.id == request.id
        else { throw RelayWorld.Problem.noReply }
        return reply.outcome
    }

    /// Opens a mailbox.
    @discardableResult public func open(
        _ mailbox: TestMailbox, creation: Opening.Creation? = nil
    ) throws -> Outcome {
        mailbox.counter += 1
        mailbox.line = self
        return try ask(
            Request(
                mailbox: mailbox.id, id: .opening,
                operation: .open(
                    Opening(
                        counter: mailbox.counter,
                        signature: try proof().sign(
                            with: mailbox.key, counter: mailbox.counter, creation: creation),
                        creation: creation))))
    }

    /// Makes a home mailbox.
    public func makeHome() throws -> TestMailbox {
        let mailbox = try TestMailbox()
        let outcome = try open(mailbox, creation: .home(admissionToken: try world.token()))
        guard case .opened = outcome else { throw RelayWorld.Problem.unexpected(outcome) }
        return mailbox
    }

    /// Makes a consultation mailbox with a ticket of `home`.
    public func makeFresh(from home: TestMailbox, permitUses: UInt32 = 1) throws -> TestMailbox {
        let outcome = try home.ask(.drawTickets(count: 1))
        guard case .tickets(let tickets) = outcome, let ticket = tickets.first else {
            throw RelayWorld.Problem.unexpected(outcome)
        }
        let mailbox = try TestMailbox()
        let opened = try open(
            mailbox,
            creation: .fresh(
                ticket: ticket, permitHash: permitUses == 0 ? nil : mailbox.permit.hash,
                permitUses: permitUses))
        guard case .opened = opened else { throw RelayWorld.Problem.unexpected(opened) }
        return mailbox
    }

    /// Acknowledges deliveries.
    public func acknowledge(_ deliveries: [Delivery]) throws {
        let byMailbox = Dictionary(grouping: deliveries, by: \.mailbox)
        try send(
            ClientFrame(
                acknowledgements: byMailbox.map {
                    Acknowledgement(mailbox: $0.key, deliveries: $0.value.map(\.id))
                }))
    }

    /// Takes what came, acknowledges it, until nothing comes any more.
    public func drain() throws -> [Delivery] {
        var all: [Delivery] = []
        while !deliveries.isEmpty {
            let some = deliveries
            deliveries = []
            all += some
            try acknowledge(some)
        }
        return all
    }
}

/// A mailbox as its device keeps it.
public final class TestMailbox {
    /// The key behind it.
    public let key: SigningKey
    /// Its name.
    public let id: MailboxID
    /// Its permit.
    public let permit = JoinPermit()
    /// The opening counter.
    public var counter: UInt64 = 1_000
    /// The id of the last request.
    public var lastRequest: UInt64 = 0
    /// The connection that has it open.
    public var line: RelayLine?

    /// A new mailbox, which no relay knows.
    public init() throws {
        key = try SigningKey()
        guard let id = MailboxID(key.publicKey.bytes) else { throw RelayWorld.Problem.noReply }
        self.id = id
    }

    /// The next request.
    public func request(
        _ operation: RelayProtocol.Operation, confirmed: UInt64? = nil
    ) -> Request {
        lastRequest += 1
        return Request(
            mailbox: id, id: RequestID(rawValue: lastRequest),
            confirmed: RequestID(rawValue: confirmed ?? 0), operation: operation)
    }

    /// Asks, confirming every answer before.
    @discardableResult public func ask(_ operation: RelayProtocol.Operation) throws -> Outcome {
        guard let line else { throw RelayWorld.Problem.noReply }
        let request = request(operation, confirmed: lastRequest)
        return try line.ask(request)
    }

    /// This mailbox as a new member.
    public func member(_ role: Role, permit: JoinPermit? = nil, expires: Day? = nil) -> Member {
        Member(mailbox: id, permit: permit ?? self.permit, role: role, expires: expires)
    }
}
