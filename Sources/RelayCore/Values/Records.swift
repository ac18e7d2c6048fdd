public import RelayProtocol

/// What the relay keeps of a mailbox, in a slot of fixed size.
public struct MailboxRecord: Equatable, Sendable {
    /// How it was made.
    public enum Kind: UInt8, Sendable {
        /// With an admission token: has a shelf, draws tickets, is in no group.
        case home = 1
        /// With a ticket: for consultations.
        case consultation = 2
    }

    /// Groups that one mailbox may be in at a time.
    public static let membershipLimit = 16

    /// Its public key.
    public let id: MailboxID
    /// How it was made.
    public let kind: Kind
    /// The last opening counter.
    public var counter: UInt64
    /// The hash of its join permit; `nil` if nobody can add it.
    public var permitHash: [UInt8]?
    /// How often the permit can still be used.
    public var permitUses: UInt32
    /// The day of the last drawing of tickets.
    public var ticketDay: Day
    /// How many were drawn on that day.
    public var ticketCount: UInt32
    /// How often the last-resort package was given since it was stocked.
    public var lastResortClaims: UInt32
    /// Which requests were answered, and how.
    public var requests: RequestWindow
    /// The groups it is in, at most `membershipLimit`.
    public var memberships: [GroupNumber]

    /// A new mailbox.
    public init(
        id: MailboxID, kind: Kind, counter: UInt64, permitHash: [UInt8]? = nil,
        permitUses: UInt32 = 0, ticketDay: Day = Day(rawValue: 0), ticketCount: UInt32 = 0,
        lastResortClaims: UInt32 = 0, requests: RequestWindow = RequestWindow(),
        memberships: [GroupNumber] = []
    ) {
        self.id = id
        self.kind = kind
        self.counter = counter
        self.permitHash = permitHash
        self.permitUses = permitUses
        self.ticketDay = ticketDay
        self.ticketCount = ticketCount
        self.lastResortClaims = lastResortClaims
        self.requests = requests
        self.memberships = memberships
    }
}

/// What the relay keeps of a group, in a slot of fixed size.
public struct GroupRecord: Equatable, Sendable {
    /// The MLS group id.
    public let id: GroupID
    /// The current epoch.
    public var epoch: UInt64
    /// SHA-256 of the commit that began it.
    public var commitHash: [UInt8]
    /// Whether nobody writes any more.
    public var isClosed: Bool
    /// When it is erased at the latest.
    public var deadline: Day
    /// At most `ProtocolConstants.groupMembers`; a member's position is its bit in `MemberSet`.
    public var members: [MemberRecord?]

    /// A new group.
    public init(
        id: GroupID, epoch: UInt64, commitHash: [UInt8], isClosed: Bool = false, deadline: Day,
        members: [MemberRecord?]
    ) {
        self.id = id
        self.epoch = epoch
        self.commitHash = commitHash
        self.isClosed = isClosed
        self.deadline = deadline
        self.members = members
    }
}

/// A mailbox's place in a group.
public struct MemberRecord: Equatable, Sendable {
    /// How far the member is.
    public enum State: UInt8, Sendable {
        /// Takes part.
        case active = 1
        /// Was removed; gets what was sent before, up to the commit that removed it.
        case removed = 2
        /// An owner that has confirmed the closing; gets nothing but the receipt.
        case confirmed = 3
    }

    /// Which mailbox.
    public var mailbox: MailboxNumber
    /// What it may do.
    public var role: Role
    /// The last day of its membership; `nil`: as long as the group.
    public var expires: Day?
    /// How far it is.
    public var state: State

    /// A new member.
    public init(
        mailbox: MailboxNumber, role: Role, expires: Day? = nil, state: State = .active
    ) {
        self.mailbox = mailbox
        self.role = role
        self.expires = expires
        self.state = state
    }

    /// Whether it takes part on that day.
    public func isActive(on day: Day) -> Bool {
        guard state == .active else { return false }
        guard let expires else { return true }
        return day <= expires
    }

    /// Whether what was sent to it may still be handed out on that day.
    public func isServed(on day: Day) -> Bool {
        guard state != .confirmed else { return false }
        guard let expires else { return true }
        return day <= expires
    }
}
