public import RelayProtocol

/// A connection's number; never used again while the relay runs.
public struct ConnectionID: RawRepresentable, Hashable, Sendable {
    /// Counts up.
    public let rawValue: UInt64
    /// Takes a number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// What a batch sends over one connection, once it is durable.
public struct ConnectionOutput: Sendable {
    /// Why a connection ends.
    public enum Closing: Equatable, Sendable {
        /// The device broke the protocol.
        case violation
        /// Too many openings failed, or none came in time.
        case unproven
        /// The relay stops.
        case goingAway
    }

    /// Which connection.
    public var connection: ConnectionID
    /// What to send; may be empty.
    public var frame: RelayFrame
    /// Whether to close afterwards.
    public var closing: Closing?
    /// Whether the connection has a mailbox open.
    public var hasMailbox: Bool
}

/// What follows from a batch.
public struct BatchOutput: Sendable {
    /// To be sent after the commit.
    public var connections: [ConnectionOutput] = []
    /// Something was erased: no answer may leave before the store has forgotten it physically.
    public var hasErased = false
    /// How many deliveries are in it.
    public var deliveryCount = 0
}

/// What happened since the relay started, for operators. No mailbox, no group, no content.
public struct RelayCounters: Equatable, Sendable {
    /// Messages, commits and closings accepted.
    public var accepted: UInt64 { acceptedStored + acceptedDelivered }
    /// Of these, messages and the like accepted because they were stored.
    public var acceptedStored: UInt64 = 0
    /// Messages accepted because every recipient had acknowledged them; they were never stored.
    public var acceptedDelivered: UInt64 = 0
    /// Deliveries handed out, repetitions included.
    public var delivered: UInt64 = 0
    /// Deliveries acknowledged.
    public var acknowledged: UInt64 = 0
    /// Groups erased.
    public var erased: UInt64 = 0
    /// Stored messages that were handed out as what can't be decrypted, since they can't be read.
    /// Fault: the disk.
    public var damagedMessages: UInt64 = 0
    /// Pieces of blobs that were asked for and can't be read. Fault: the disk.
    public var damagedPieces: UInt64 = 0
    /// Refusals by their number on the wire.
    public var refusals: [UInt8: UInt64] = [:]

    /// Nothing yet.
    public init() {}
}
