extension WebSocketClient {
    /// Where a client connects to, and its limits.
    public struct Configuration: Sendable {
        /// The server.
        public var url: WebSocketURL
        /// What is asked for, and must be confirmed by the server.
        public var subprotocol: String
        /// Whose certificates are accepted for `wss`; the name or address is always checked.
        public var trust = Trust.system
        /// Limits of the connection.
        public var limits = ConnectionLimits()
        /// Time for name, TCP, TLS and upgrade together.
        public var connectTimeout: Duration = .seconds(10)

        /// The defaults, for a server and a subprotocol.
        public init(url: WebSocketURL, subprotocol: String) {
            self.url = url
            self.subprotocol = subprotocol
        }
    }

    /// Whose certificates a client accepts.
    public enum Trust: Hashable, Sendable, CustomStringConvertible {
        /// The authorities that the system trusts.
        case system
        /// Only the authorities in a PEM file.
        case authority(path: String)

        /// For messages about the caller's own settings.
        public var description: String {
            switch self {
            case .system: "the system's certificates"
            case .authority(let path): path
            }
        }

        var authorityPath: String? {
            switch self {
            case .system: nil
            case .authority(let path): path
            }
        }
    }
}

/// Why a connection did not open.
public enum ConnectError: Error, Equatable, Sendable {
    /// No such name, no route, nobody listening, or the connection broke. Fault: network.
    case unreachable(String)
    /// `connectTimeout` passed. Fault: network.
    case timedOut
    /// The certificate is not trusted or for another name, or TLS failed. Fault: server, or someone
    /// between.
    case tlsRefused(String)
    /// The HTTP answer was not a proper 101. Fault: server.
    case upgradeRefused(status: UInt16)
    /// The server did not confirm the subprotocol. Fault: server.
    case subprotocolRefused
    /// The CA file cannot be read. Fault: caller.
    case trust(String)
    /// `close()` came first, or the loop ended.
    case cancelled
    /// libwebsockets refused, for instance without its libuv plugin. Fault: installation.
    case library
}
