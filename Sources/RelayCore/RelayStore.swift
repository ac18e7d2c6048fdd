public import RelayProtocol

/// Where a mailbox is kept; free of meaning, and used again for another mailbox after it is gone.
public struct MailboxNumber: RawRepresentable, Hashable, Sendable {
    /// The slot.
    public let rawValue: Int64
    /// Takes a slot.
    public init(rawValue: Int64) { self.rawValue = rawValue }
}

/// Where a group is kept; free of meaning, and used again for another group after it is gone.
public struct GroupNumber: RawRepresentable, Hashable, Comparable, Sendable {
    /// The slot.
    public let rawValue: Int64
    /// Takes a slot.
    public init(rawValue: Int64) { self.rawValue = rawValue }
    /// Orders by slot.
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Which message among all that the relay ever took; never used again.
public struct MessageNumber: RawRepresentable, Hashable, Comparable, Sendable {
    /// Counts up.
    public let rawValue: UInt64
    /// Takes a number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// Orders by arrival.
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Members of a group by their position, one bit each.
public typealias MemberSet = UInt64

/// A message on its way.
public struct StoredMessage: Equatable, Sendable {
    /// Which.
    public var number: MessageNumber
    /// What it is.
    public var kind: DeliveryKind
    /// Members that haven't acknowledged it yet.
    public var waiting: MemberSet
    /// As it was sent.
    public var content: [UInt8]
    /// What was sent can't be read any more; `content` has its length and nothing else of it. Fault:
    /// the disk.
    public var isDamaged = false

    /// Makes a message.
    public init(
        number: MessageNumber, kind: DeliveryKind, waiting: MemberSet, content: [UInt8]
    ) {
        self.number = number
        self.kind = kind
        self.waiting = waiting
        self.content = content
    }
}

/// A receipt kept for a mailbox.
public struct StoredReceipt: Equatable, Sendable {
    /// Which; never used again.
    public var number: UInt64
    /// An encoded `ErasureReceipt`.
    public var content: [UInt8]

    /// Makes a receipt.
    public init(number: UInt64, content: [UInt8]) {
        self.number = number
        self.content = content
    }
}

/// A blob as the relay keeps it.
public struct BlobRecord: Equatable, Sendable {
    /// Where it is kept.
    public var number: Int64
    /// Whose it is.
    public var group: GroupNumber
    /// Who puts its pieces; `nil` once it is whole.
    public var owner: MailboxNumber?
    /// Octets of the whole.
    public var byteCount: Int
    /// The first so many pieces are there.
    public var pieceCount: Int

    /// Puts a record together.
    public init(
        number: Int64, group: GroupNumber, owner: MailboxNumber?, byteCount: Int, pieceCount: Int
    ) {
        self.number = number
        self.group = group
        self.owner = owner
        self.byteCount = byteCount
        self.pieceCount = pieceCount
    }

    /// Octets of the pieces that are there.
    public var storedByteCount: Int { min(byteCount, pieceCount * BlobShape.pieceByteCount) }
}

/// What blobs take.
public struct BlobUsage: Codable, Equatable, Sendable {
    /// How many there are, whole or not.
    public var count: Int
    /// Their octets: of a group's, those that they have when they are whole; of all, those of the
    /// pieces that are stored.
    public var byteCount: Int

    /// Makes a sum.
    public init(count: Int = 0, byteCount: Int = 0) {
        self.count = count
        self.byteCount = byteCount
    }
}

/// Why the store couldn't do its work. The batch is lost; nothing of it was answered.
public enum StoreError: Error, Equatable, Sendable {
    /// The disk is full. Fault: the machine; what was accepted before is safe.
    case full
    /// The disk refused, in words for the operator. Fault: the machine.
    case failed(String)
    /// What is stored can't be read. Fault: the disk, or a bug of ours.
    case corrupt(String)
    /// What is stored was taken away from under the running relay. Fault: the operator.
    case takenAway
}

/// The relay's memory: everything in it is durable once the batch that wrote it is committed.
///
/// Calls come from one thread, between the begin and the end of a batch. A store answers with what
/// the batch itself has written. How it keeps things such that they can be erased is its own affair
/// (`protocol/relay.md`, "What is stored").
public protocol RelayStore: AnyObject {
    // MARK: Mailboxes

    /// Looks a mailbox up.
    func mailbox(_ id: MailboxID) throws(StoreError) -> (MailboxNumber, MailboxRecord)?
    /// Looks a mailbox up by its place.
    func mailbox(_ number: MailboxNumber) throws(StoreError) -> MailboxRecord?
    /// Keeps a new mailbox.
    func addMailbox(_ record: MailboxRecord) throws(StoreError) -> MailboxNumber
    /// Overwrites a mailbox; its id stays the same.
    func updateMailbox(
        _ number: MailboxNumber, _ record: MailboxRecord) throws(StoreError)
    /// Erases a mailbox with its answers and its shelf.
    func eraseMailbox(_ number: MailboxNumber, _ id: MailboxID) throws(StoreError)
    /// How many there are.
    var mailboxCount: Int { get }

    // MARK: Answers

    /// The stored answer to a request.
    func answer(_ mailbox: MailboxNumber, _ request: RequestID) throws(StoreError) -> [UInt8]?
    /// Keeps an answer.
    func addAnswer(
        _ mailbox: MailboxNumber, _ request: RequestID, _ content: [UInt8]) throws(StoreError)
    /// Forgets answers up to and including a request's.
    func removeAnswers(
        _ mailbox: MailboxNumber, through request: RequestID) throws(StoreError)

    // MARK: Shelves

    /// How many one-use packages lie on a shelf.
    func shelfCount(_ mailbox: MailboxNumber) throws(StoreError) -> Int
    /// Puts a package on a shelf; as last-resort one it replaces the one before.
    func addToShelf(
        _ mailbox: MailboxNumber, _ package: [UInt8], isLastResort: Bool) throws(StoreError)
    /// Takes the oldest one-use package off a shelf.
    func takeFromShelf(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]?
    /// The last-resort package, which stays.
    func lastResort(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]?
    /// Empties a shelf.
    func clearShelf(_ mailbox: MailboxNumber) throws(StoreError)

    // MARK: Tokens and tickets

    /// Marks a token or ticket as spent; false if it was before.
    func spend(_ hash: [UInt8], until day: Day) throws(StoreError) -> Bool

    // MARK: Groups

    /// Looks a group up.
    func group(_ id: GroupID) throws(StoreError) -> (GroupNumber, GroupRecord)?
    /// Looks a group up by its place.
    func group(_ number: GroupNumber) throws(StoreError) -> GroupRecord?
    /// Keeps a new group.
    func addGroup(_ record: GroupRecord) throws(StoreError) -> GroupNumber
    /// Overwrites a group; its id stays the same.
    func updateGroup(_ number: GroupNumber, _ record: GroupRecord) throws(StoreError)
    /// Erases a group with its messages, and says how many messages there were.
    func eraseGroup(_ number: GroupNumber, _ id: GroupID) throws(StoreError) -> Int
    /// The places of at most `limit` groups after `number`, and where to go on; `nil` at the end.
    func groups(
        after number: GroupNumber?, limit: Int
    ) throws(StoreError) -> (found: [(GroupNumber, GroupRecord)], next: GroupNumber?)
    /// How many there are.
    var groupCount: Int { get }

    // MARK: Messages

    /// Gives numbers for that many messages, never given before.
    func reserveMessageNumbers(_ count: UInt64) throws(StoreError) -> MessageNumber
    /// Keeps a message.
    func addMessage(_ message: StoredMessage, in group: GroupNumber) throws(StoreError)
    /// Messages that wait for a member, oldest first, until `limit` of them or `byteCount` octets
    /// are together; at least one if there is one.
    func messages(
        in group: GroupNumber, waitingFor member: MemberSet, after number: MessageNumber,
        limit: Int, byteCount: Int
    ) throws(StoreError) -> (found: [StoredMessage], isComplete: Bool)
    /// Which group a message belongs to, and for whom it waits.
    func message(
        _ number: MessageNumber
    ) throws(StoreError) -> (GroupNumber, MemberSet, byteCount: Int)?
    /// One member has the message, of so many octets; deletes it when nobody is left. `isLast`:
    /// nobody else waits.
    func acknowledge(
        _ number: MessageNumber, of byteCount: Int, by member: MemberSet, isLast: Bool
    ) throws(StoreError)
    /// Octets of all messages that wait for somebody.
    var waitingByteCount: Int { get }
    /// These members want no message of the group any more.
    func clearWaiting(_ members: MemberSet, in group: GroupNumber) throws(StoreError)
    /// What waits for a member.
    func backlog(
        in group: GroupNumber, of member: MemberSet
    ) throws(StoreError) -> (count: Int, byteCount: Int)

    // MARK: Blobs

    /// Looks a blob of a group up.
    func blob(_ id: BlobID, in group: GroupNumber) throws(StoreError) -> BlobRecord?
    /// Makes room for a new blob.
    func addBlob(
        _ id: BlobID, in group: GroupNumber, byteCount: Int, by owner: MailboxNumber, on day: Day
    ) throws(StoreError)
    /// Keeps the next piece; with the last one the blob is whole and has no owner any more.
    func addPiece(
        _ content: [UInt8], to blob: BlobRecord, on day: Day) throws(StoreError)
    /// A piece that is there.
    func piece(_ index: Int, of blob: BlobRecord) throws(StoreError) -> [UInt8]?
    /// What the blobs of a group take once they are whole.
    func blobUsage(in group: GroupNumber) throws(StoreError) -> BlobUsage
    /// What all blobs take: octets of their pieces, also of those that are still to be deleted.
    var blobUsage: BlobUsage { get }
    /// How many blobs a mailbox has begun that aren't whole.
    func unfinishedBlobs(of mailbox: MailboxNumber) throws(StoreError) -> Int
    /// Drops blobs that aren't whole and got their last piece before this day, or none and were
    /// begun before the other.
    func dropUnfinishedBlobs(before day: Day, empty other: Day) throws(StoreError)
    /// Deletes at most `limit` pieces of blobs that were dropped, or whose group was erased: nobody
    /// can read them since. True if there is more to do.
    func clearDroppedBlobs(limit: Int) throws(StoreError) -> Bool

    // MARK: Receipts

    /// Keeps a receipt under the hash of a mailbox.
    func addReceipt(
        _ content: [UInt8], for mailbox: MailboxID, until day: Day
    ) throws(StoreError) -> UInt64
    /// The newest receipts kept for a mailbox, `ProtocolConstants.receiptsTold` at most, oldest
    /// first.
    func receipts(for mailbox: MailboxID) throws(StoreError) -> [StoredReceipt]
    /// How many receipts are kept for a mailbox.
    func receiptCount(for mailbox: MailboxID) throws(StoreError) -> Int
    /// Forgets a receipt, if it is this mailbox's.
    func removeReceipt(_ number: UInt64, of mailbox: MailboxID) throws(StoreError)

    // MARK: Time

    /// Forgets spent tokens, tickets and receipts whose day is before this one.
    func prune(before day: Day) throws(StoreError)
    /// The last hour, since 1970-01-01 UTC, at which the relay is known to have run and believed its
    /// clock.
    func clockMark() throws(StoreError) -> UInt64?
    /// Moves that mark.
    func setClockMark(hour: UInt64) throws(StoreError)
}
