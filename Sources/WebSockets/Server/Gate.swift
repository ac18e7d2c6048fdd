/// How many connections a server takes, from whom, and how fast.
public struct AdmissionLimits: Equatable, Sendable {
    /// Open WebSockets in all.
    public var connections = 20_000
    /// Connections, open or not yet, of one IPv4 address or one IPv6 network of 64 bits.
    public var connectionsPerAddress = 1_000
    /// New connections per second in all, on average; ten seconds' worth may come at once.
    public var handshakesPerSecond = 1_000.0
    /// The same for one address.
    public var handshakesPerSecondPerAddress = 50.0
    /// Time for TLS, request and upgrade together, however slowly they trickle in.
    public var handshakeTimeout: Duration = .seconds(10)
    /// Time for one message, from its first part to its last.
    public var messageTimeout: Duration = .seconds(120)
    /// Whom the limits per address don't concern.
    public var exemptAddresses = AddressBlock.loopback
    /// Proxies whose `X-Forwarded-For` names the client that the limits per address concern.
    public var trustedProxies: [AddressBlock] = []

    /// The defaults.
    public init() {}

    /// Connections, open or not yet, for which nobody vouches (`WebSocketServer.setProven`): a
    /// quarter of all.
    public var unprovenConnections: Int { max(1, connections / 4) }
}

/// Why a connection was not taken.
public enum ConnectionRefusal: String, CaseIterable, Sendable {
    /// There are enough.
    case connections = "connections"
    /// Nobody vouched for it, and it gave way to a new one.
    case crowdedOut = "crowded_out"
    /// The address has enough.
    case connectionsPerAddress = "connections_per_address"
    /// Too many new ones in too short a time.
    case handshakes = "handshakes"
    /// The same, of one address.
    case handshakesPerAddress = "handshakes_per_address"
    /// TLS, request and upgrade weren't done in time.
    case slow = "slow"
    /// The request asks for another subprotocol, or its `X-Forwarded-For` can't be read.
    case badRequest = "bad_request"
}

/// Counts connections and how fast they come. Loop only; times in milliseconds of the loop.
struct Gate {
    struct Refusal: Error, Equatable {
        var reason: ConnectionRefusal
        var retryAfterSeconds: UInt32
    }

    private struct Address {
        var connections = 0
        var pace = Pace()
    }

    var limits: AdmissionLimits
    private var all = Pace()
    private var explanations = Pace()
    private var addresses: [AddressKey: Address] = [:]
    private var nextPurge: UInt64 = 0

    /// Refusals per second that are explained by HTTP; the others are cut off without a word, so
    /// that refusing a flood costs less than the flood.
    private static let explanationsPerSecond = 20.0
    private static let secondsWithoutRoom: UInt32 = 30

    init(_ limits: AdmissionLimits) { self.limits = limits }

    /// Addresses held in memory.
    var addressCount: Int { addresses.count }

    func isTrustedProxy(_ address: AddressOctets) -> Bool {
        limits.trustedProxies.contains { $0.contains(address) }
    }

    /// Whether one more may come at this moment, from wherever. To be asked after `admit`, so that
    /// one address that comes too fast takes nothing of the others' pace.
    mutating func admitAny(at now: UInt64) -> Refusal? {
        all.take(perSecond: limits.handshakesPerSecond, at: now).map {
            Refusal(reason: .handshakes, retryAfterSeconds: $0)
        }
    }

    /// Whether one more may come from this address. The key, if it must `leave` afterwards.
    mutating func admit(
        _ address: AddressOctets, at now: UInt64
    ) -> Result<AddressKey?, Refusal> {
        if limits.exemptAddresses.contains(where: { $0.contains(address) }) { return .success(nil) }
        purge(at: now)
        let key = AddressKey(address)
        var state = addresses[key] ?? Address()
        defer { addresses[key] = state }
        let wait = state.pace.take(perSecond: limits.handshakesPerSecondPerAddress, at: now)
        if let wait {
            return .failure(Refusal(reason: .handshakesPerAddress, retryAfterSeconds: wait))
        }
        guard state.connections < limits.connectionsPerAddress else {
            return .failure(
                Refusal(
                    reason: .connectionsPerAddress, retryAfterSeconds: Self.secondsWithoutRoom))
        }
        state.connections += 1
        return .success(key)
    }

    mutating func leave(_ key: AddressKey) {
        addresses[key]?.connections -= 1
    }

    mutating func mayExplain(at now: UInt64) -> Bool {
        explanations.take(perSecond: Self.explanationsPerSecond, at: now) == nil
    }

    static let full = Refusal(reason: .connections, retryAfterSeconds: secondsWithoutRoom)

    /// Forgets addresses of which nothing is to be known any more.
    private mutating func purge(at now: UInt64) {
        guard now >= nextPurge else { return }
        nextPurge = now + 10_000
        addresses = addresses.filter {
            $0.value.connections > 0 || !$0.value.pace.isRested(at: now)
        }
    }
}

/// So many per second on average, and ten seconds' worth at once (the generic cell rate algorithm).
struct Pace {
    /// When all that was taken would have been due at the steady rate.
    private var due: Double = 0
    private static let slack = 10_000.0

    /// Takes one; nil if it could, else the whole seconds to wait.
    mutating func take(perSecond rate: Double, at now: UInt64) -> UInt32? {
        let interval = 1_000 / rate
        let next = max(due, Double(now)) + interval
        let excess = next - Double(now) - max(Self.slack, interval)
        guard excess > 0 else {
            due = next
            return nil
        }
        return UInt32(min(86_400, max(1, (excess / 1_000).rounded(.up))))
    }

    func isRested(at now: UInt64) -> Bool { due <= Double(now) }
}
