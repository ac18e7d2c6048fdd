public import Cryptography
public import RelayCore
private import RelayProtocol
public import WebSockets

/// How a relay is run.
public struct RelayConfiguration: Sendable {
    /// Where it keeps everything.
    public var dataFolder: String
    /// Whose admission tokens it takes.
    public var clinicRoot: VerifyingKey
    /// The fingerprint of its certificate, for the trail.
    public var clinicFingerprint = ""
    /// A numeric address.
    public var address = "127.0.0.1"
    /// 0: the kernel chooses.
    public var port: UInt16 = 7443
    /// A listening socket of the service manager instead of address and port.
    public var listeningSocket: Int32?
    /// Certificate and key; without, the address must be a loopback one.
    public var tls: WebSocketServer.TLSIdentity?
    /// Where metrics and health are served; nil: nowhere.
    public var metricsAddress: SocketAddress?
    /// What devices may do.
    public var limits = RelayLimits()
    /// Which connections are taken.
    public var admission = AdmissionLimits()
    /// The clocks of a connection.
    public var connection = ConnectionLimits()
    /// The operator has compared the wall clock with another one.
    public var acceptsClock = false
    /// A folder on another disk in which the audit trail is kept as well.
    public var trailMirror: String?
    /// Days added to the wall clock; for tests of deadlines.
    public var clockAheadDays: UInt32 = 0
    /// Signals that the relay takes instead of ending the process: all but `hangUp` stop it.
    public var signals: Set<EventLoop.Signal> = []
    /// Called on the loop at each of them; must return at once.
    public var onSignal: (@Sendable (EventLoop.Signal) -> Void)?

    /// A relay with the defaults, and without metrics.
    public init(dataFolder: String, clinicRoot: VerifyingKey) {
        self.dataFolder = dataFolder
        self.clinicRoot = clinicRoot
    }

    /// A relay as its operator wants it.
    ///
    /// - Throws: `.notFound` or `.clinicRoot`.
    public init(_ settings: RelaySettings) throws(RelayError) {
        dataFolder = settings.dataFolder
        (clinicRoot, clinicFingerprint) = try ClinicRoot.read(pemFile: settings.clinicRoot)
        address = settings.listen.host
        port = settings.listen.port
        tls = settings.hasTLS ? settings.tls : nil
        metricsAddress = settings.metricsAddress
        limits = settings.limits
        admission = settings.admission
        connection = settings.connection
        acceptsClock = settings.acceptsClock
        trailMirror = settings.trailMirror.isEmpty ? nil : settings.trailMirror
        clockAheadDays = settings.clockAheadDays
    }

    /// What of it an operator decides, as settings.
    var settings: RelaySettings {
        var settings = RelaySettings()
        settings.listen = SocketAddress(host: address, port: port)
        if let tls { settings.tls = tls }
        settings.metrics = metricsAddress.map { .address($0) } ?? .off
        (settings.limits, settings.admission) = (limits, admission)
        settings.connection = connection
        settings.trailMirror = trailMirror ?? ""
        return settings
    }

    /// The limits of one connection's sockets, which follow from several settings.
    var connectionLimits: ConnectionLimits {
        Self.connectionLimits(connection, limits)
    }

    static func connectionLimits(
        _ connection: ConnectionLimits, _ limits: RelayLimits
    ) -> ConnectionLimits {
        var result = connection
        result.maxMessageByteCount = Int(limits.published.frameByteCount)
        result.maxUnprovenMessageByteCount = Switchboard.openingByteCount
        result.maxIncompleteByteCount = limits.unreadByteCount
        result.maxPendingByteCount = 2 * limits.connectionByteCount
        return result
    }
}
