internal import CWebSockets

/// A connection's own number on its loop; never used again for another.
public struct ConnectionID: Hashable, Sendable, Comparable {
    /// The number.
    public let rawValue: UInt64

    init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The order of numbers, which is not that of age.
    public static func < (left: ConnectionID, right: ConnectionID) -> Bool {
        left.rawValue < right.rawValue
    }

    /// The number as libwebsockets carries it.
    var opaque: UnsafeMutableRawPointer? {
        unsafe UnsafeMutableRawPointer(bitPattern: UInt(rawValue))
    }
}

/// A numeric IP address and a port.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// `127.0.0.1`, `::1`.
    public let host: String
    /// The TCP port.
    public let port: UInt16

    /// Takes a numeric address.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Whether only this machine can reach the address.
    public var isLoopback: Bool {
        isLoopbackAddress(host)
    }

    /// `127.0.0.1:7443`, `[::1]:7443`.
    public var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

func isLoopbackAddress(_ host: String) -> Bool {
    switch unsafe shim_numeric_family(host) {
    case 4: host.hasPrefix("127.")
    case 6: host == "::1"
    default: false
    }
}

/// Why an endpoint closes (RFC 6455 §7.4). Codes of one's own are 4000...4999.
///
/// Of the later registrations 1012 to 1014 must not be used: libwebsockets 4.1 takes them for errors.
public struct CloseCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The code on the wire.
    public let rawValue: UInt16

    /// Any code; those that may not be sent are replaced by 1000 when they are.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// The purpose is fulfilled.
    public static let normalClosure = CloseCode(rawValue: 1000)
    /// The server goes down, or the client does.
    public static let goingAway = CloseCode(rawValue: 1001)
    /// A rule of RFC 6455 was broken.
    public static let protocolError = CloseCode(rawValue: 1002)
    /// A kind of data that is not taken here, for instance text.
    public static let unsupportedData = CloseCode(rawValue: 1003)
    /// The peer's Close frame had no code; never on the wire.
    public static let noStatusReceived = CloseCode(rawValue: 1005)
    /// There was no Close frame; never on the wire.
    public static let abnormalClosure = CloseCode(rawValue: 1006)
    /// Data that is not what it claims to be.
    public static let invalidPayload = CloseCode(rawValue: 1007)
    /// A message that breaks the receiver's policy.
    public static let policyViolation = CloseCode(rawValue: 1008)
    /// A message that is larger than the receiver takes.
    public static let messageTooBig = CloseCode(rawValue: 1009)
    /// The server met a condition that it did not expect.
    public static let internalError = CloseCode(rawValue: 1011)

    /// The number.
    public var description: String { "\(rawValue)" }

    /// Whether an endpoint may put it into a frame (RFC 6455 §7.4.2).
    var isSendable: Bool {
        switch rawValue {
        case 1000...1003, 1007...1011, 3000...4999: true
        default: false
        }
    }
}

/// How a connection ended.
public struct WebSocketClose: Sendable, Equatable {
    /// Who or what ended it.
    public enum Cause: String, Sendable, CaseIterable {
        /// The peer sent a Close frame; code and reason are the peer's.
        case peer
        /// It was closed from here.
        case local
        /// The peer sent a text message.
        case textFrame = "text_frame"
        /// The peer sent a message over the limit.
        case messageTooBig = "message_too_big"
        /// Nothing was heard for the ping interval and the pong timeout: the connection was half-open.
        case unresponsive
        /// The last part of a message didn't come in time, or there was no room to wait for it.
        case slowMessage = "slow_message"
        /// TCP or TLS ended without a Close frame, or the peer broke the protocol.
        case lost
        /// The loop ended.
        case shutdown
    }

    /// Who or what ended it.
    public let cause: Cause
    /// The code that was sent or received; `.abnormalClosure` without a Close frame.
    public let code: CloseCode
    /// The peer's or one's own words; for machines, and never shown unchecked to a person.
    public let reason: String
}

/// Limits and clocks of a connection, for either side.
public struct ConnectionLimits: Equatable, Sendable {
    /// Octets of a received message; over it the connection is closed with 1009.
    public var maxMessageByteCount = 1 << 20
    /// The same while nobody has vouched for the connection (`WebSocketServer.setProven`).
    public var maxUnprovenMessageByteCount = Int.max
    /// Octets of messages whose last part hasn't come, and of those that came in the same read as one
    /// after which their connection was paused, of all connections of a server; over it those that
    /// have waited longest are cut.
    public var maxIncompleteByteCount = 128 << 20
    /// Octets waiting to be sent; over it a message is refused with `.full`.
    public var maxPendingByteCount = 8 << 20
    /// Octets waiting: falling to it, after having been above, is reported as `.drained`.
    public var lowWaterMark = 64 << 10
    /// Silence after which the peer is pinged (RFC 6455 §5.5.2).
    public var pingInterval: Duration = .seconds(30)
    /// Silence after that ping, after which the connection is given up.
    public var pongTimeout: Duration = .seconds(10)
    /// Time for sending what is queued, and then again for the peer's answer to a Close frame.
    var closeTimeout: Duration = .seconds(5)

    /// The defaults.
    public init() {}

    var sweepPeriod: UInt64 {
        min(pingInterval.milliseconds, pongTimeout.milliseconds) / 4
    }
}

/// What became of a message that was to be sent.
public enum SendOutcome: Sendable {
    /// It will be written in its order, unless the connection ends first.
    case queued
    /// `maxPendingByteCount` would be passed; it was not taken.
    case full
    /// The connection is not open (any more); it was not taken.
    case notOpen
}
