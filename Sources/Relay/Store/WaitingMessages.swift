/// Messages that wait for somebody.
public struct WaitingMessages: Equatable, Sendable {
    /// How many.
    public internal(set) var count = 0
    /// Their octets.
    public internal(set) var byteCount = 0

    /// None.
    public init() {}

    init(count: Int, byteCount: Int) {
        self.count = count
        self.byteCount = byteCount
    }

    /// From a row of both.
    init(_ row: SQLRow) {
        self.init(count: Int(row.integer(0)), byteCount: Int(row.integer(1)))
    }

    mutating func remove(_ other: WaitingMessages) {
        count -= other.count
        byteCount -= other.byteCount
    }
}
