public import Cryptography
public import WebSockets

/// How a relay is run: its settings, and what the program that runs it adds.
public struct RelayConfiguration: Sendable {
    /// What the operator decides.
    public var settings: RelaySettings
    /// Whose admission tokens it takes.
    public var clinicRoot: VerifyingKey
    /// The fingerprint of its certificate, for the trail.
    public var clinicFingerprint = ""
    /// A listening socket of the service manager instead of the address to listen on.
    public var listeningSocket: Int32?
    /// Signals that the relay takes instead of ending the process: all but `hangUp` stop it.
    public var signals: Set<EventLoop.Signal> = []
    /// Called on the loop at each of them; must return at once.
    public var onSignal: (@Sendable (EventLoop.Signal) -> Void)?
    /// How often what killed commands have left in the data folder is removed.
    var cleaningPeriod = Duration.seconds(3_600)

    /// A relay with the defaults, and without metrics.
    public init(dataFolder: String, clinicRoot: VerifyingKey) {
        settings = RelaySettings()
        settings.dataFolder = dataFolder
        settings.metrics = .off
        self.clinicRoot = clinicRoot
    }

    /// A relay as its operator wants it.
    ///
    /// - Throws: `.notFound` or `.clinicRoot`.
    public init(_ settings: RelaySettings) throws(RelayError) {
        self.settings = settings
        (clinicRoot, clinicFingerprint) = try ClinicRoot.read(pemFile: settings.clinicRoot)
    }
}
