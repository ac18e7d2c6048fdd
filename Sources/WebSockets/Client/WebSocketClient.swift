internal import CWebSockets

/// One connection to a WebSocket server; it never connects again by itself.
///
/// Events come on the loop, in order; `.closed` or `.failed` is the last. The loop keeps the object
/// until then. Thousands may share a loop.
public final class WebSocketClient: @unchecked Sendable {
    /// What happens on the connection.
    public enum Event: Sendable {
        /// The server took the upgrade and the subprotocol.
        case opened
        /// A whole binary message.
        case message([UInt8])
        /// What waits to be sent has fallen to the low-water mark.
        case drained
        /// The connection, once open, has ended.
        case closed(WebSocketClose)
        /// The connection never opened.
        case failed(ConnectError)
    }

    private let loop: EventLoop
    private let configuration: Configuration
    private let handler: @Sendable (WebSocketClient, Event) -> Void

    // Loop only.
    private var connection: Connection?
    /// Numeric addresses that have not been tried.
    private var addresses: [String] = []
    private var isClosedEarly = false
    private var hasEnded = false

    /// Begins to connect. Any thread.
    ///
    /// - Parameter handler: called on the loop; `.failed(.cancelled)` also if the loop has ended,
    ///   then on the caller's thread.
    public init(
        _ configuration: Configuration, on loop: EventLoop,
        handler: @escaping @Sendable (WebSocketClient, Event) -> Void
    ) {
        self.loop = loop
        self.configuration = configuration
        self.handler = handler
        let isAccepted = loop.execute { [self] in start() }
        if !isAccepted { finish(.failed(.cancelled)) }
    }

    // MARK: - Connecting

    private func start() {
        guard !isClosedEarly else { return finish(.failed(.cancelled)) }
        let host = configuration.url.host
        if unsafe shim_numeric_family(host) != 0 {
            addresses = [host]
            return connectToNext(until: nil, failingWith: .unreachable("no address"))
        }
        let place = place(timeout: configuration.connectTimeout)
        let loop = loop
        resolve(host) { [self] result in
            loop.execute { [self] in
                guard connection === place, !hasEnded else { return }
                let deadline = place.deadline
                connection = nil
                place.abandon()
                switch result {
                case .success(let found):
                    addresses = found
                    connectToNext(until: deadline, failingWith: .unreachable("no address"))
                case .failure(let problem):
                    finish(.failed(.unreachable(problem.text)))
                }
            }
        }
    }

    /// A connection's place in the loop's table, with its clock, before there is a socket.
    private func place(timeout: Duration) -> Connection {
        let connection = Connection(
            core: loop.core, owner: self, limits: configuration.limits, peer: nil,
            openingTimeout: timeout)
        loop.core.add(connection)
        self.connection = connection
        return connection
    }

    private func connectToNext(until deadline: UInt64?, failingWith error: ConnectError) {
        guard !addresses.isEmpty else { return finish(.failed(error)) }
        let now = loop.core.now
        var timeout = configuration.connectTimeout
        if let deadline {
            guard deadline > now else { return finish(.failed(.timedOut)) }
            timeout = .milliseconds(deadline - now)
        }
        let address = addresses.removeFirst()
        let context: ServiceContext
        do {
            let trust = configuration.url.isSecure ? configuration.trust : nil
            context = try loop.core.clientContext(trust: trust)
        } catch {
            return finish(.failed(error))
        }
        unsafe loop.core.verificationError.pointee = 0
        let connection = place(timeout: timeout)
        let wsi = unsafe context.connect(
            to: address, url: configuration.url, subprotocol: configuration.subprotocol,
            as: connection.id)
        if let wsi = unsafe wsi {
            // It may have failed, and been reported, on the way.
            if connection.phase != .ended { unsafe connection.wsi = wsi }
        } else {
            connection.failed(status: 0, reason: "Unable to connect")
        }
    }

    private func finish(_ event: Event) {
        guard !hasEnded else { return }
        hasEnded = true
        connection = nil
        handler(self, event)
    }

    // MARK: - Sending

    /// Queues a message: one binary frame, written when the turn ends. Loop only.
    @discardableResult
    public func send(_ message: [UInt8]) -> SendOutcome {
        loop.requireCurrent()
        return connection?.send(message) ?? .notOpen
    }

    /// Octets of messages that the system has not taken yet. Loop only.
    public var pendingByteCount: Int {
        loop.requireCurrent()
        return connection?.pendingByteCount ?? 0
    }

    /// Sends a Close frame after what is queued; what comes in from now on is dropped. Before
    /// `.opened` it ends in `.failed(.cancelled)`. Loop only.
    ///
    /// - Parameter reason: at most 123 octets of it are sent.
    public func close(code: CloseCode = .normalClosure, reason: String = "") {
        loop.requireCurrent()
        guard let connection else {
            isClosedEarly = true
            return
        }
        connection.close(code, reason)
    }

    /// Takes no more from the socket, so that the server has to wait. Loop only.
    public func pauseReading() {
        loop.requireCurrent()
        connection?.pauseReading()
    }

    /// Reads on. Loop only.
    public func resumeReading() {
        loop.requireCurrent()
        connection?.resumeReading()
    }
}

extension WebSocketClient: ConnectionOwner {
    func opened(_ connection: Connection) {
        addresses = []
        handler(self, .opened)
    }

    func received(_ message: [UInt8], on connection: Connection) {
        handler(self, .message(message))
    }

    func receivedPart(on connection: Connection) {}

    func drained(_ connection: Connection) {
        handler(self, .drained)
    }

    func ended(_ connection: Connection, _ close: WebSocketClose?) {
        if let close { return finish(.closed(close)) }
        switch connection.cause {
        case .unresponsive: finish(.failed(.timedOut))
        case .local: finish(.failed(.cancelled))
        default:
            finish(.failed(loop.core.isClosing ? .cancelled : .unreachable("connection ended")))
        }
    }

    func failed(_ connection: Connection, status: UInt16, reason: String) {
        let verification = unsafe loop.core.verificationError.pointee
        let error: ConnectError
        if verification != 0 {
            let problem = unsafe String(cString: shim_tls_verification_problem(verification))
            error = .tlsRefused(problem)
        } else if status == 101 {
            error = reason.contains("filter") ? .subprotocolRefused : .upgradeRefused(status: 101)
        } else if status != 0 {
            error = .upgradeRefused(status: status)
        } else if configuration.url.isSecure, reason.hasPrefix("connect S") {
            error = .tlsRefused("the TLS handshake failed")
        } else {
            error = .unreachable(reason)
        }
        // Another address helps where nobody answered, and only there.
        if case .unreachable = error, !addresses.isEmpty {
            connectToNext(until: connection.deadline, failingWith: error)
        } else {
            finish(.failed(error))
        }
    }

    func confirms(subprotocol: String) -> Bool {
        subprotocol == configuration.subprotocol
    }

    func refusal(of connection: Connection, _ request: UpgradeRequest)
        -> WebSocketServer.HTTPResponse?
    { nil }

    func response(to request: PlainRequest, on connection: Connection)
        -> WebSocketServer.HTTPResponse?
    { nil }
}
