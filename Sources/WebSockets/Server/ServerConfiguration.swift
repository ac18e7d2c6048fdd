internal import CWebSockets
private import Glibc

extension WebSocketServer {
    /// Where a server listens, and its limits.
    public struct Configuration: Sendable {
        /// A numeric IPv4 or IPv6 address; exactly this is bound. `0.0.0.0` and `::` mean all.
        public var address = "127.0.0.1"
        /// The port; 0 lets the system choose.
        public var port: UInt16 = 0
        /// Certificate and key for `wss`; nil is plain `ws`, and whether that may be is the caller's
        /// policy.
        public var tls: TLSIdentity?
        /// The subprotocol that a client must ask for, else it is refused with 400.
        public var subprotocol: String
        /// Limits of each connection.
        public var limits = ConnectionLimits()
        /// Which connections are taken: over its limits an upgrade is refused with 429 or 503.
        public var admission = AdmissionLimits()
        /// What a connection has at least to be vouched for before it gives way to others.
        var unprovenPatience: Duration = .seconds(2)
        /// A listening TCP socket that somebody else has bound, the service manager for instance; the
        /// server closes it. Then `address` and `port` mean nothing.
        public var listeningSocket: Int32?
        /// Whether WebSockets are taken at all, or only GET is answered.
        let takesUpgrades: Bool

        /// The defaults, for a subprotocol.
        public init(subprotocol: String) {
            self.subprotocol = subprotocol
            takesUpgrades = true
        }

        private init() {
            subprotocol = "none"
            takesUpgrades = false
        }

        /// A server that only answers GET.
        public static var httpOnly: Configuration { Configuration() }
    }

    /// The PEM files of a certificate chain (leaf first) and of its private key.
    public struct TLSIdentity: Equatable, Sendable {
        /// Leaf first, then intermediates.
        public var certificatePath: String
        /// Not encrypted.
        public var privateKeyPath: String

        /// Names the files; they are read when the server starts and by `reloadCertificate`.
        public init(certificatePath: String, privateKeyPath: String) {
            self.certificatePath = certificatePath
            self.privateKeyPath = privateKeyPath
        }

        /// What is wrong with the files, or nil.
        public var problem: String? {
            // OpenSSL has no words for these.
            for path in [certificatePath, privateKeyPath] where unsafe access(path, R_OK) != 0 {
                let reason = unsafe strerror(errno).map { unsafe String(cString: $0).lowercased() }
                return "\(path): \(reason ?? "can't be read")"
            }
            guard let problem = unsafe shim_tls_check_identity(certificatePath, privateKeyPath)
            else { return nil }
            return unsafe String(cString: problem)
        }
    }

    /// An answer to a plain HTTP request.
    public struct HTTPResponse: Sendable {
        /// The status code.
        public var status: UInt16
        /// The media type.
        public var contentType: String
        /// The body.
        public var body: [UInt8]
        /// When to try again, in the header `Retry-After` (RFC 9110 §10.2.3).
        public var retryAfterSeconds: UInt32?

        /// A text, unless told otherwise.
        public init(
            status: UInt16 = 200, contentType: String = "text/plain; charset=utf-8", body: [UInt8],
            retryAfterSeconds: UInt32? = nil
        ) {
            self.status = status
            self.contentType = contentType
            self.body = body
            self.retryAfterSeconds = retryAfterSeconds
        }
    }
}

/// Why a server does not listen, or a certificate is not taken.
public enum ListenError: Error, Equatable, CustomStringConvertible {
    /// No numeric address, or none of this machine. Fault: caller.
    case address(String)
    /// Another socket has the port. Fault: caller.
    case inUse
    /// The port wants privileges. Fault: caller.
    case notPermitted
    /// OpenSSL does not take certificate and key. Fault: caller.
    case certificate(String)
    /// The system refused with this `errno`.
    case system(code: Int32)
    /// libwebsockets refused, for instance without its libuv plugin. Fault: installation.
    case library(String)
    /// The loop has been shut down. Fault: caller.
    case stopped

    /// In words for whoever runs the server.
    public var description: String {
        switch self {
        case .address(let address): "\(address) is no address of this machine"
        case .inUse: "another program listens there"
        case .notPermitted: "the port wants privileges"
        case .certificate(let words), .library(let words): words
        case .system(let code): "system error \(code)"
        case .stopped: "the loop has ended"
        }
    }
}
