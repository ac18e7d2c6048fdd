import Cryptography
import RelayProtocol

/// What a light device has on its disk, as a value: a process that ends goes back to a copy.
struct LightState {
    /// The home mailbox first, the others in the order in which they were made.
    var boxes: [LightBox]
    var talks: [Talk] = []
    var tickets: [[UInt8]] = []
    var drawsAgainAt = 0
}

/// One mailbox.
struct LightBox {
    enum Kind { case home, patient, shelf, lastResort, guest }
    enum Link { case closed, opening, open }

    let key: SigningKey
    let id: MailboxID
    let kind: Kind
    let permit: JoinPermit
    var token: [UInt8] = []
    var ticket: [UInt8]?
    var exists = false
    /// A KeyPackage that names it is on the shelf, or its permit was handed over.
    var isOffered = false
    var isRetiring = false
    var counter: UInt64
    var lastRequest: UInt64 = 0
    /// In the order of their ids.
    var pending: [Pending] = []
    var handled = Handled()

    // Only as long as a connection lasts.
    var link = Link.closed
    var pausedUntil = 0
    var mustRepeat = false
}

/// A request that is stored and may have been sent.
struct Pending {
    enum Purpose: Equatable {
        case tickets
        case shelf(MailboxID)
        case claim(GroupID)
        case create(GroupID, isLastResort: Bool)
        case send(GroupID, counter: UInt64)
        case commit(GroupID)
        case close(GroupID, counter: UInt64)
        case confirm(GroupID)
        case inspect(GroupID)
        case retire
        case blob(GroupID, BlobID)
    }

    var request: Request
    var purpose: Purpose
    var epoch: UInt64 = 0
}

/// What has come already: as a real device keeps it, by the relay's name for a delivery and by its
/// content, and no longer than it does.
struct Handled {
    private static let limit = 512
    private var names: Set<DeliveryID> = []
    private var contents: Set<UInt64> = []
    private var order: [(DeliveryID?, UInt64)] = []

    func contains(_ name: DeliveryID) -> Bool { names.contains(name) }
    func contains(content: UInt64) -> Bool { contents.contains(content) }

    mutating func insert(_ name: DeliveryID?, content: UInt64) {
        if let name { names.insert(name) }
        contents.insert(content)
        order.append((name, content))
        guard order.count > Self.limit + Self.limit / 4 else { return }
        for (name, content) in order.prefix(order.count - Self.limit) {
            if let name { names.remove(name) }
            contents.remove(content)
        }
        order.removeFirst(order.count - Self.limit)
    }
}

/// One consultation, as one device knows it.
struct Talk {
    enum Phase { case claiming(shelf: MailboxID), creating, active, failed }

    struct Commit {
        var name: UInt64
        var hash: [UInt8]
        var adds: [GuestInvitation]
        var removes: [MailboxID]
    }

    let group: GroupID
    let box: MailboxID
    let role: Role
    var phase: Phase
    var attempts = 0
    var epoch: UInt64
    var joined: UInt64
    /// The relay named this epoch; nothing is sent before it is reached.
    var awaited: UInt64 = 0
    var guests: [GuestInvitation] = []
    /// Counters of what the relay doesn't have yet, ascending.
    var outbox: [UInt64] = []
    var lastCounter: UInt64 = 0
    /// The last one that the relay took.
    var accepted: UInt64 = 0
    /// The epoch in which it was taken.
    var acceptedIn: UInt64 = 0
    var commit: Commit?
    var wantsCommit = false
    var wantsClose = false
    var closeIsSent = false
    var isClosed = false
    var confirmIsSent = false
    /// The relay says that this mailbox is none of its members.
    var isRefused = false
    var isRemoved = false
    var expires: Day?
    /// The last counter of each sender.
    var heard: [MailboxID: UInt64] = [:]
    /// What came, in the order in which it came.
    var log: [UInt64] = []
    /// Files on their way.
    var transfers: [LightTransfer] = []
    /// Of which file a message of one's own speaks that the relay doesn't have yet.
    var files: [UInt64: LightFile] = [:]

    var isOwner: Bool { role == .owner }
    var isWritable: Bool {
        guard case .active = phase else { return false }
        return !wantsClose && !closeIsSent && !isClosed && !isRefused && !isRemoved
    }
}
