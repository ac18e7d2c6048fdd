public import FoundationEssentials

/// One entry of a consultation, as this device sees it.
public struct Message: Sendable, Identifiable, Hashable {
    /// What a message says.
    public enum Body: Hashable, Sendable {
        /// Words.
        case text(String)
        /// The patient's request, which is the first message.
        case request(time: Date, minutes: Int, reason: String)
        /// The doctor accepted.
        case accept
        /// The doctor declined; nothing follows.
        case decline(reason: String?)
        /// A signed prescription, kept in `Device.prescriptions` too.
        case prescription(jws: [UInt8], id: String)
        /// A file.
        case file(FileDetail)
        /// The end; nothing follows.
        case close(reason: String?)
        /// Something about the consultation that all members see.
        case notice(Notice)
        /// Something is missing here.
        case gap(Gap)
        /// A body that this version of Curtain doesn't know.
        case needsNewerVersion
    }

    /// How far a message has got.
    public enum State: Hashable, Sendable, Comparable {
        /// In the outbox of this device.
        case waiting
        /// Durable at the relay.
        case relayed
        /// On every other member's device.
        case delivered
        /// Every other member has seen it.
        case read
        /// Came from someone else.
        case received
    }

    /// The MLS key that encrypted it (RFC 9420 §9); no two ciphertexts share one.
    public struct Origin: Hashable, Sendable {
        /// Leaf index of the sender.
        public let sender: UInt32
        /// The epoch.
        public let epoch: UInt64
        /// The generation within the sender's ratchet.
        public let generation: UInt32
    }

    /// The same on every device.
    public let id: MessageID
    /// The order on this device, from 1.
    public let number: Int64
    /// Whether this device sent it.
    public let isMine: Bool
    /// Who sent it; `nil` for one's own, and for a gap whose sender isn't known.
    public let from: Person?
    /// When it was sent, by the sender's clock; for a gap, when it was noticed.
    public let sentAt: Date
    /// When it came; `nil` for one's own.
    public let receivedAt: Date?
    /// What it says.
    public let body: Body
    /// How far it has got.
    public let state: State
    /// Whether the person hasn't read it yet.
    public let isUnread: Bool
    /// Which key encrypted it; of one's own, the last time it was encrypted.
    public let mls: Origin?
}

/// Something about a consultation that all members see.
public enum Notice: Hashable, Sendable {
    /// Someone came in.
    case memberAdded(name: String)
    /// Someone was removed.
    case memberRemoved(name: String)
    /// A member's keys come from another history of the group.
    case epochMismatch
    /// It goes on in a fresh group; by whom it was begun, `Message.from` says.
    case reopened(ReopenReason)
    /// The clocks are more than a day apart, so it does not go on in a fresh group: this is what the
    /// other's said, and `Message.sentAt` what this device's said.
    case clock(theirs: Date)
    /// Somebody with another identity key tried to go on with it, and was turned away.
    case otherKey
}

/// Something that should be here and isn't.
public enum Gap: Hashable, Sendable {
    /// A message came that can't be decrypted.
    case undecryptable
    /// The sender counted a message that never came.
    case missing(counter: UInt64)
    /// The sender counted several in a row that never came.
    case missingSeveral(counters: ClosedRange<UInt64>)
}
