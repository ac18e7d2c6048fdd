import GRDB
public import RelayCore
import RelayProtocol

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

/// What an operator may know of what a store holds.
public struct StoreFigures: Codable, Equatable, Sendable {
    /// Mailboxes kept.
    public internal(set) var mailboxes = 0
    /// Groups kept.
    public internal(set) var groups = 0
    /// Messages waiting for somebody.
    public internal(set) var messages = 0
    /// Their octets.
    public internal(set) var messageByteCount = 0
    /// What blobs take.
    public internal(set) var blobs = BlobUsage()
    /// The day, since 1970-01-01 UTC, on which the oldest of them came.
    public internal(set) var oldestMessageDay: UInt32?
}

extension SQLiteStore {
    /// Counts what waits: for who doesn't know it.
    func countWaiting() throws(StoreError) -> WaitingMessages {
        try sql.countAll.first { WaitingMessages($0) } ?? WaitingMessages()
    }

    func figures(_ waiting: WaitingMessages) throws(StoreError) -> StoreFigures {
        let days = MessageDays(try setting(TrailKeeper.SettingRow.days) ?? [])
        return StoreFigures(
            mailboxes: mailboxCount, groups: groupCount, messages: waiting.count,
            messageByteCount: waiting.byteCount, blobs: blobUsage,
            oldestMessageDay: try oldestMessage().flatMap { days.day(of: $0)?.rawValue })
    }
}
