public import RelayCore
private import RelayProtocol
public import WebSockets

/// What an operator decides about a relay. Flags, environment and file say the same things by the
/// same names: those of `Setting.all`.
public struct RelaySettings: Equatable, Sendable {
    /// The folder that holds everything the relay keeps.
    public var dataFolder = ""
    /// The clinic's root certificate.
    public var clinicRoot = ""
    /// Where devices connect.
    public var listen = SocketAddress(host: "127.0.0.1", port: 7443)
    /// Certificate chain and private key; both empty without TLS.
    public var tls = WebSocketServer.TLSIdentity(certificatePath: "", privateKeyPath: "")
    /// Where metrics and health are served.
    public var metrics = MetricsListener.besideListen
    /// How lines of the log look.
    public var logFormat = LogFormat.text
    /// From which level on there are lines.
    public var logLevel = LogLevel.info
    /// What devices may do.
    public var limits = RelayLimits()
    /// Which connections are taken.
    public var admission = AdmissionLimits()
    /// The clocks of a connection.
    public var connection = ConnectionLimits()
    /// The operator has compared the wall clock with another one.
    public var acceptsClock = false
    /// A folder on another disk in which the audit trail is kept as well; empty without.
    public var trailMirror = ""
    /// Days added to the wall clock; for tests of deadlines.
    public var clockAheadDays: UInt32 = 0

    /// The defaults.
    public init() {}

    /// Whether devices connect by `wss`.
    public var hasTLS: Bool { !tls.certificatePath.isEmpty }

    /// Certificate chain and private key, or nil without TLS.
    public var tlsIdentity: WebSocketServer.TLSIdentity? { hasTLS ? tls : nil }

    /// The folder of the trail's mirror, or nil without one.
    var mirrorPath: String? { trailMirror.isEmpty ? nil : trailMirror }

    /// The limits of one connection's sockets, which follow from several settings.
    var connectionLimits: ConnectionLimits {
        var result = connection
        result.maxMessageByteCount = Int(limits.published.frameByteCount)
        result.maxUnprovenMessageByteCount = Switchboard.openingByteCount
        result.maxIncompleteByteCount = limits.unreadByteCount
        result.maxPendingByteCount = 2 * limits.connectionByteCount
        return result
    }

    /// Where metrics and health are served, or nil if nowhere.
    public var metricsAddress: SocketAddress? {
        switch metrics {
        case .off: nil
        case .address(let address): address
        case .besideListen:
            // 0 lets the system choose here too, and 65535 has no neighbour above.
            SocketAddress(
                host: "127.0.0.1",
                port: listen.port == 0 ? 0 : listen.port == .max ? .max - 1 : listen.port + 1)
        }
    }
}

/// Where metrics and health are served.
public enum MetricsListener: Equatable, Sendable {
    /// On 127.0.0.1, at the port after that of `listen`.
    case besideListen
    /// Nowhere.
    case off
    /// At this address.
    case address(SocketAddress)
}

/// How lines of the log look.
public enum LogFormat: String, CaseIterable, Sendable {
    /// For people.
    case text
    /// One object per line.
    case json
}

/// From which level on there are lines in the log.
public enum LogLevel: String, CaseIterable, Sendable {
    /// Also, every minute in which something was refused, how often and why.
    case debug
    /// What an operator may want to know.
    case info
    /// What wants attention some day.
    case warning
    /// What wants attention now.
    case error
}
