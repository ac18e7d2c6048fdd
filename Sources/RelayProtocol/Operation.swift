/// What a device sends in one WebSocket message.
public struct ClientFrame: Equatable, Sendable {
    /// In the first frame of a connection, and only there.
    public var hello: Hello?
    /// Requests, carried out in this order.
    public var requests: [Request]
    /// Deliveries that are durable on the device.
    public var acknowledgements: [Acknowledgement]

    /// Makes a frame.
    public init(
        hello: Hello? = nil, requests: [Request] = [], acknowledgements: [Acknowledgement] = []
    ) {
        self.hello = hello
        self.requests = requests
        self.acknowledgements = acknowledgements
    }
}

/// A device's first words.
public struct Hello: Equatable, Sendable {
    /// The protocol version that the device speaks.
    public var version: UInt32
    /// 32 random octets of this connection.
    public var nonce: [UInt8]

    /// Makes a greeting.
    public init(version: UInt32 = ProtocolConstants.version, nonce: [UInt8]) {
        self.version = version
        self.nonce = nonce
    }
}

/// Deliveries to one mailbox that the device has stored durably.
public struct Acknowledgement: Equatable, Sendable {
    /// Whose deliveries.
    public var mailbox: MailboxID
    /// Which.
    public var deliveries: [DeliveryID]

    /// Makes an acknowledgement.
    public init(mailbox: MailboxID, deliveries: [DeliveryID]) {
        self.mailbox = mailbox
        self.deliveries = deliveries
    }
}

/// One request of a mailbox. The same mailbox and id again get the same answer.
public struct Request: Equatable, Sendable {
    /// Who asks.
    public var mailbox: MailboxID
    /// The device's number for it, stored before sending.
    public var id: RequestID
    /// Every answer up to this id has been stored by the device.
    public var confirmed: RequestID
    /// What is asked.
    public var operation: Operation

    /// Makes a request.
    public init(
        mailbox: MailboxID, id: RequestID, confirmed: RequestID = .opening, operation: Operation
    ) {
        self.mailbox = mailbox
        self.id = id
        self.confirmed = confirmed
        self.operation = operation
    }
}

/// What a request asks for (`protocol/relay.md`, "Operations").
public enum Operation: Equatable, Sendable {
    /// Proves ownership of the mailbox, and may make it.
    case open(Opening)
    /// Draws tickets for fresh mailboxes; home mailboxes only.
    case drawTickets(count: UInt32)
    /// Puts KeyPackages on the shelf; home mailboxes only.
    case stockShelf(ShelfStock)
    /// Takes a KeyPackage from the shelf of a home mailbox.
    case claimKeyPackage(shelf: MailboxID)
    /// Makes a group.
    case createGroup(GroupCreation)
    /// Ends the current epoch; owners only.
    case commit(CommitRequest)
    /// Sends an application message or a proposal.
    case send(MessageRequest)
    /// Sends the last message of a group; owners only.
    case close(MessageRequest)
    /// This owner is done with the closed group.
    case confirm(GroupID)
    /// Asks for epoch, commit hash and members.
    case inspectGroup(GroupID)
    /// Deletes the asking mailbox, which belongs to no group.
    case retire
    /// Makes room for a blob.
    case beginBlob(BlobBeginning)
    /// Puts the next piece of a blob that the asker began.
    case putPiece(PieceReference, content: [UInt8])
    /// Asks what is there of a blob.
    case inspectBlob(BlobReference)
    /// Asks for a piece of a whole blob.
    case readPiece(PieceReference)
    /// Only from decoding: an operation that this version doesn't know, or one whose fields break
    /// the rules; the relay answers with the refusal.
    case unusable(Refusal)
}

/// The proof that a mailbox is the device's, under one connection's challenge.
public struct Opening: Equatable, Sendable {
    /// What makes the mailbox, if it doesn't exist yet.
    public enum Creation: Equatable, Sendable {
        /// An encoded `AdmissionToken`: a home mailbox.
        case home(admissionToken: [UInt8])
        /// An encoded `Ticket`: a consultation mailbox. Without a permit hash nobody can add it.
        case fresh(ticket: [UInt8], permitHash: [UInt8]?, permitUses: UInt32)
    }

    /// The mailbox's opening counter.
    public var counter: UInt64
    /// `OpeningProof.sign`.
    public var signature: [UInt8]
    /// Ignored if the mailbox exists.
    public var creation: Creation?

    /// Makes an opening.
    public init(counter: UInt64, signature: [UInt8], creation: Creation? = nil) {
        self.counter = counter
        self.signature = signature
        self.creation = creation
    }
}

/// What goes on a KeyPackage shelf.
public struct ShelfStock: Equatable, Sendable {
    /// Sealed KeyPackages, one use each.
    public var packages: [[UInt8]]
    /// Replaces the last-resort one.
    public var lastResort: [UInt8]?
    /// Empties the shelf first.
    public var withdraw: Bool

    /// Makes a stock.
    public init(packages: [[UInt8]], lastResort: [UInt8]? = nil, withdraw: Bool = false) {
        self.packages = packages
        self.lastResort = lastResort
        self.withdraw = withdraw
    }
}

/// What a member of a group may do.
public enum Role: UInt8, Hashable, Sendable {
    /// Commits, adds and removes guests, closes.
    case owner = 1
    /// Sends and proposes.
    case guest = 2
}

/// A mailbox in a group.
public struct Member: Equatable, Sendable {
    /// The mailbox.
    public var mailbox: MailboxID
    /// Needed to add it; absent in what the relay tells.
    public var permit: JoinPermit?
    /// What it may do.
    public var role: Role
    /// The last day of its membership; `nil`: as long as the group.
    public var expires: Day?

    /// Makes a member.
    public init(mailbox: MailboxID, permit: JoinPermit? = nil, role: Role, expires: Day? = nil) {
        self.mailbox = mailbox
        self.permit = permit
        self.role = role
        self.expires = expires
    }
}

/// An MLS Welcome for one mailbox.
public struct WelcomeDelivery: Equatable, Sendable {
    /// Who is welcomed; a member that the same request adds.
    public var mailbox: MailboxID
    /// The MLSMessage.
    public var content: [UInt8]

    /// Makes a welcome.
    public init(mailbox: MailboxID, content: [UInt8]) {
        self.mailbox = mailbox
        self.content = content
    }
}

/// A new group; the asking mailbox becomes an owner.
public struct GroupCreation: Equatable, Sendable {
    /// The MLS group id.
    public var groupID: GroupID
    /// The epoch that the welcomed members join in.
    public var epoch: UInt64
    /// SHA-256 of the commit that led there.
    public var commitHash: [UInt8]
    /// The other members.
    public var members: [Member]
    /// Their Welcomes.
    public var welcomes: [WelcomeDelivery]
    /// The group is erased on this day, closed or not.
    public var deadline: Day

    /// Makes a request for a group.
    public init(
        groupID: GroupID, epoch: UInt64, commitHash: [UInt8], members: [Member],
        welcomes: [WelcomeDelivery], deadline: Day
    ) {
        self.groupID = groupID
        self.epoch = epoch
        self.commitHash = commitHash
        self.members = members
        self.welcomes = welcomes
        self.deadline = deadline
    }
}

/// A commit and what it changes at the relay.
public struct CommitRequest: Equatable, Sendable {
    /// Which group.
    public var groupID: GroupID
    /// The epoch that the commit ends.
    public var epoch: UInt64
    /// MLSMessage with a PrivateMessage.
    public var content: [UInt8]
    /// Guests that it adds.
    public var adds: [Member]
    /// Guests that it removes.
    public var removes: [MailboxID]
    /// Welcomes for those added.
    public var welcomes: [WelcomeDelivery]

    /// Makes a request for a commit.
    public init(
        groupID: GroupID, epoch: UInt64, content: [UInt8], adds: [Member] = [],
        removes: [MailboxID] = [], welcomes: [WelcomeDelivery] = []
    ) {
        self.groupID = groupID
        self.epoch = epoch
        self.content = content
        self.adds = adds
        self.removes = removes
        self.welcomes = welcomes
    }
}

/// A ciphertext for all other members.
public struct MessageRequest: Equatable, Sendable {
    /// Which group.
    public var groupID: GroupID
    /// The epoch that it was encrypted in.
    public var epoch: UInt64
    /// MLSMessage with a PrivateMessage.
    public var content: [UInt8]

    /// Makes a request to send.
    public init(groupID: GroupID, epoch: UInt64, content: [UInt8]) {
        self.groupID = groupID
        self.epoch = epoch
        self.content = content
    }
}
