/// What a server did since it was made. No address, no content.
public struct ServerCounters: Sendable {
    /// Upgrades taken.
    public var opened: UInt64 = 0
    /// Whole messages received.
    public var framesReceived: UInt64 = 0
    /// Their octets.
    public var bytesReceived: UInt64 = 0
    /// Messages queued to be sent.
    public var framesSent: UInt64 = 0
    /// Their octets.
    public var bytesSent: UInt64 = 0
    /// Connections not taken, by reason.
    public var refused = Tally<ConnectionRefusal>()
    /// Connections that ended after having been open, by cause.
    public var closed = Tally<WebSocketClose.Cause>()

    /// Nothing yet.
    public init() {}
}

/// A count for each case of an enumeration.
public struct Tally<Case: CaseIterable & Hashable & Sendable>: Sendable {
    private var counts: [Case: UInt64] = Dictionary(
        uniqueKeysWithValues: Case.allCases.map { ($0, 0) })

    init() {}

    /// How often it was.
    public subscript(_ item: Case) -> UInt64 {
        get { counts[item] ?? 0 }
        set { counts[item] = newValue }
    }
}
