import Cryptography
import Logging
import RelayCore
import WebSockets

@testable import Relay

extension RelayServer {
    /// A relay with its sockets, in this process, at a port that the kernel chooses. A slow machine
    /// has time to connect and to open mailboxes.
    static func serving(
        _ dataFolder: String, clinicRoot: VerifyingKey, log: Logger? = nil,
        _ change: (inout RelayConfiguration) -> Void = { _ in }
    ) throws -> RelayServer {
        var configuration = RelayConfiguration(dataFolder: dataFolder, clinicRoot: clinicRoot)
        configuration.settings.listen = SocketAddress(host: "127.0.0.1", port: 0)
        configuration.settings.admission.handshakeTimeout = .seconds(300)
        configuration.settings.limits.secondsToOpen = 600
        change(&configuration)
        var quiet = Logger(label: "test") { StreamLogHandler.standardError(label: $0) }
        quiet.logLevel = .critical
        return try RelayServer(configuration, log: log ?? quiet) { error in fatalError("\(error)") }
    }
}
