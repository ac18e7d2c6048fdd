internal import CWebSockets

/// A WebSocket server on a loop (RFC 6455): binary messages of one subprotocol, whole or not at all.
///
/// Events come on the loop, in order per connection. `send` may be called inside a handler; messages
/// are written when the turn ends, each as one frame. Frames that a client didn't mask are taken too,
/// against §5.1: libwebsockets doesn't tell of the mask, which protects proxies and not the server.
public final class WebSocketServer: @unchecked Sendable {
    /// What happens on a connection.
    public enum Event: Sendable {
        /// The upgrade is done.
        case opened(peer: SocketAddress)
        /// A whole binary message.
        case message([UInt8])
        /// What waits to be sent has fallen to the low-water mark.
        case drained
        /// The connection has ended; the last event of its number.
        case closed(WebSocketClose)
    }

    private let loop: EventLoop
    private let handler: @Sendable (ConnectionID, Event) -> Void
    private let http: (@Sendable (String) -> HTTPResponse?)?

    /// What is really bound, with the port that the system chose if none was asked for.
    public let boundAddress: SocketAddress

    // Loop only.
    private var configuration: Configuration
    private var gate: Gate
    /// What happened so far. Loop only.
    public private(set) var counters = ServerCounters()
    private var listener: Listener?
    private var context: ServiceContext?
    /// WebSockets that are open. Loop only.
    public private(set) var connectionCount = 0
    /// Connections that have not finished TLS, HTTP upgrade or closing. Loop only.
    public var handshakeCount: Int { socketCount - connectionCount }
    private var socketCount = 0
    private var unproven = UnprovenQueue()
    private let sums = ConnectionSums()
    private var whenEmpty: [@Sendable () -> Void] = []

    /// Listens for a moment, to see whether a server could. Any thread.
    public static func tryListening(at address: SocketAddress) throws(ListenError) {
        closeSocket(try Listener.bind(address: address.host, port: address.port).descriptor)
    }

    /// Binds, and begins to accept. Blocks for milliseconds. Any thread.
    ///
    /// - Parameters:
    ///   - http: answers a GET that is no upgrade, by its path; nil is a 404. On the loop.
    ///   - handler: called on the loop.
    /// - Throws: what is wrong with address or certificate; nothing is left open then.
    public init(
        _ configuration: Configuration, on loop: EventLoop,
        http: (@Sendable (_ path: String) -> HTTPResponse?)? = nil,
        handler: @escaping @Sendable (ConnectionID, Event) -> Void
    ) throws(ListenError) {
        self.loop = loop
        self.configuration = configuration
        gate = Gate(configuration.admission)
        self.handler = handler
        self.http = http
        guard !configuration.subprotocol.isEmpty, configuration.subprotocol.utf8.count < 128 else {
            throw .library("the subprotocol's name is empty or too long")
        }
        if let problem = configuration.tls?.problem { throw .certificate(problem) }
        let (descriptor, bound) =
            if let socket = configuration.listeningSocket {
                try Listener.adopt(socket)
            } else {
                try Listener.bind(address: configuration.address, port: configuration.port)
            }
        boundAddress = bound
        let result: Result<Void, ListenError>
        do {
            result = try loop.executeAndWait { [self] in
                Result { () throws(ListenError) in try start(descriptor) }
            }
        } catch {
            closeSocket(descriptor)
            throw .stopped
        }
        try result.get()
    }

    private func start(_ descriptor: Int32) throws(ListenError) {
        let core = loop.core
        guard
            let context = core.makeServerContext(
                subprotocol: configuration.subprotocol, identity: configuration.tls)
        else {
            closeSocket(descriptor)
            throw .library("libwebsockets gave no context; is libwebsockets-evlib-uv installed?")
        }
        self.context = context
        // The listener keeps the server alive until it stops.
        listener = try Listener(core: core, descriptor: descriptor) { [self] in
            accept($0, from: $1)
        }
    }

    // MARK: - Accepting

    private func accept(_ descriptor: Int32, from peer: SocketAddress) {
        guard let context else { return closeSocket(descriptor) }
        let connection = Connection(
            core: loop.core, owner: self, limits: configuration.limits, peer: peer,
            openingTimeout: configuration.admission.handshakeTimeout,
            messageTimeout: configuration.admission.messageTimeout, sums: sums)
        let now = loop.core.now
        let refusal =
            admitDirectly(connection, peer, at: now)
            ?? (connection.proxy == nil ? gate.admitAny(at: now) : nil) ?? makeRoom(at: now)
        if let refusal {
            counters.refused[refusal.reason] += 1
            guard socketCount < configuration.admission.connections + Self.spareCount,
                gate.mayExplain(at: now)
            else {
                if let key = connection.addressKey { gate.leave(key) }
                return closeSocket(descriptor)
            }
            connection.refusal = refusal
        }
        loop.core.add(connection)
        socketCount += 1
        if refusal == nil { unproven.add(connection.id, at: now) }
        if let wsi = unsafe context.adopt(descriptor, as: connection.id) {
            unsafe connection.wsi = wsi
        } else {
            loop.core.end(connection)
        }
    }

    /// So many over the limit are let in to be told so by HTTP, and to reach /healthz.
    private static let spareCount = 64

    /// Sees to it that those for whom nobody vouches take their part of the room and no more: then
    /// the oldest of them gives way to the new one.
    private func makeRoom(at now: UInt64) -> Gate.Refusal? {
        let admission = configuration.admission
        let others = socketCount - unproven.count
        let limit = min(
            admission.unprovenConnections, admission.connections + Self.spareCount - others)
        guard unproven.count >= limit else { return nil }
        return givesWay(at: now) { _ in true } ? nil : Gate.full
    }

    /// Ends the oldest of those for whom nobody vouches, if it has had some time to change that.
    private func givesWay(at now: UInt64, where isMeant: (Connection) -> Bool) -> Bool {
        let core = loop.core
        let patience = configuration.unprovenPatience.milliseconds
        guard
            let oldest = unproven.oldest(where: { core.connection($0).map(isMeant) ?? false }),
            now >= oldest.since + patience, let connection = core.connection(oldest.id)
        else { return false }
        unproven.remove(oldest.id)
        counters.refused[.crowdedOut] += 1
        connection.cut(.local)
        return true
    }

    /// Whether the limits per address let it in; a trusted proxy says later for whom it comes.
    private func admitDirectly(
        _ connection: Connection, _ peer: SocketAddress, at now: UInt64
    ) -> Gate.Refusal? {
        guard let address = AddressOctets(peer.host) else { return nil }
        guard !gate.isTrustedProxy(address) else {
            connection.proxy = address
            return nil
        }
        return admit(connection, address, at: now)
    }

    private func admit(
        _ connection: Connection, _ address: AddressOctets, at now: UInt64
    ) -> Gate.Refusal? {
        switch gate.admit(address, at: now) {
        case .success(let key):
            connection.addressKey = key
            return nil
        case .failure(let refusal): return refusal
        }
    }

    /// Changes the limits: those of new connections, and from how many on none are taken. Loop only.
    public func apply(_ limits: ConnectionLimits, _ admission: AdmissionLimits) {
        loop.requireCurrent()
        configuration.limits = limits
        configuration.admission = admission
        gate.limits = admission
    }

    // MARK: - Connections

    private func connection(_ id: ConnectionID, _ function: StaticString = #function) -> Connection?
    {
        loop.requireCurrent(function)
        return loop.core.connection(id)
    }

    /// Queues a message: one binary frame, written when the turn ends. Loop only.
    @discardableResult
    public func send(_ message: [UInt8], to id: ConnectionID) -> SendOutcome {
        let outcome = connection(id)?.send(message) ?? .notOpen
        if outcome == .queued {
            counters.framesSent += 1
            counters.bytesSent += UInt64(message.count)
        }
        return outcome
    }

    /// Octets of messages that the system has not taken yet; 0 if there is no such connection.
    /// Loop only.
    public func pendingByteCount(of id: ConnectionID) -> Int {
        connection(id)?.pendingByteCount ?? 0
    }

    /// Sends a Close frame after what is queued; what comes in from now on is dropped. Loop only.
    ///
    /// - Parameter reason: at most 123 octets of it are sent.
    public func close(_ id: ConnectionID, code: CloseCode = .normalClosure, reason: String = "") {
        connection(id)?.close(code, reason)
    }

    /// Ends a connection at once, without a Close frame; what is queued is dropped. Loop only.
    public func cut(_ id: ConnectionID) { connection(id)?.cut(.local) }

    /// Takes no more from the connection's socket, so that its peer has to wait. Loop only.
    ///
    /// What has been read already waits, and counts as a frame does that isn't whole
    /// (`ConnectionLimits.maxIncompleteByteCount`). While a connection is paused its peer's silence is
    /// not counted.
    public func pauseReading(_ id: ConnectionID) {
        connection(id)?.pauseReading()
    }

    /// Reads on. Loop only.
    public func resumeReading(_ id: ConnectionID) {
        connection(id)?.resumeReading()
    }

    /// Vouches for a connection, or does so no longer. Loop only.
    ///
    /// While nobody does, it takes only shorter messages (`ConnectionLimits`), and of such there are
    /// few (`AdmissionLimits.unprovenConnections`).
    public func setProven(_ id: ConnectionID, _ isProven: Bool) {
        guard let connection = connection(id), connection.isProven != isProven else { return }
        connection.isProven = isProven
        if isProven {
            unproven.remove(id)
        } else {
            unproven.add(id, at: loop.core.now)
        }
    }

    // MARK: - All connections together

    /// Octets of messages that the system has not taken yet, of all connections. Loop only.
    public var pendingByteCount: Int { sums.pendingByteCount }

    /// Octets of frames that aren't whole, and of messages that pauses hold back. Loop only.
    public var incompleteByteCount: Int { sums.incompleteByteCount }

    /// Cuts those that take least of what is sent to them, until no more than so many octets wait.
    /// Loop only.
    ///
    /// What each costs is how much waits for it, for as long as it has taken nothing whole.
    ///
    /// - Returns: how many.
    public func cutSlowReaders(downTo byteCount: Int) -> Int {
        let now = loop.core.now
        func cost(_ connection: Connection) -> Double {
            Double(connection.pendingByteCount) * Double(now - connection.lastTaken + 1)
        }
        let slow = connections { $0.pendingByteCount > 0 }.map { (cost: cost($0), connection: $0) }
        var count = 0
        for (_, connection) in slow.sorted(by: { $0.cost > $1.cost })
        where sums.pendingByteCount > byteCount {
            connection.cut(.local)
            count += 1
        }
        return count
    }

    /// From now on whoever sends is paused after that, until `resumeSenders`. Loop only.
    public func pauseSenders() {
        loop.requireCurrent()
        sums.pausesSenders = true
    }

    /// Reads on from all who were paused by `pauseSenders`, but for those whom `pauseReading` keeps
    /// so. Loop only.
    public func resumeSenders() {
        loop.requireCurrent()
        sums.pausesSenders = false
        let paused = sums.pausedSenders
        sums.pausedSenders = []
        for id in paused { connection(id)?.resumeReading(.others) }
    }

    private func connections(where isMeant: (Connection) -> Bool) -> [Connection] {
        loop.core.connections.filter { $0.isOwned(by: self) && isMeant($0) }
    }

    // MARK: - The end

    /// Accepts no more; connections stay. Loop only.
    public func stopListening() {
        loop.requireCurrent()
        listener?.stop()
        listener = nil
    }

    /// Stops listening, closes every connection with `code`, and calls back when none is left; those
    /// that linger are cut off after `grace`. Loop only.
    public func closeAll(
        code: CloseCode = .goingAway, grace: Duration = .seconds(2),
        then: @escaping @Sendable () -> Void
    ) {
        stopListening()
        guard socketCount > 0 else { return then() }
        whenEmpty.append(then)
        for connection in connections(where: { _ in true }) { connection.close(code, "") }
        loop.schedule(after: grace) { [weak self] in
            guard let self else { return }
            for connection in connections(where: { _ in true }) { connection.cut(.local) }
        }
    }

    /// Reads certificate and key again, for handshakes from now on; open connections keep theirs.
    /// Loop only.
    ///
    /// - Parameter files: other files than before; nothing happens without TLS from the start.
    /// - Throws: `.certificate`; what was in force stays in force then.
    public func reloadCertificate(_ files: TLSIdentity? = nil) throws(ListenError) {
        loop.requireCurrent()
        guard let current = configuration.tls else { return }
        let identity = files ?? current
        if let problem = identity.problem { throw .certificate(problem) }
        guard let tls = unsafe context?.serverTLS else { throw .stopped }
        let isLoaded = unsafe shim_tls_identity(
            tls, identity.certificatePath, identity.privateKeyPath)
        guard isLoaded != 0 else { throw .certificate(unsafe String(cString: shim_tls_error())) }
        configuration.tls = identity
    }
}

extension WebSocketServer: ConnectionOwner {
    func opened(_ connection: Connection) {
        connectionCount += 1
        counters.opened += 1
        if let peer = connection.peer { handler(connection.id, .opened(peer: peer)) }
    }

    func received(_ message: [UInt8], on connection: Connection) {
        counters.framesReceived += 1
        counters.bytesReceived += UInt64(message.count)
        handler(connection.id, .message(message))
    }

    func receivedPart(on connection: Connection) {
        let limit = configuration.limits.maxIncompleteByteCount
        guard sums.incompleteByteCount > limit else { return }
        // More than one at once, so that they aren't looked through for each part that comes.
        let waiting = connections { $0.takesRoomSince != nil }.sorted {
            ($0.takesRoomSince ?? 0) < ($1.takesRoomSince ?? 0)
        }
        for connection in waiting where sums.incompleteByteCount > limit / 8 * 7 {
            connection.cut(.slowMessage)
        }
    }

    func drained(_ connection: Connection) {
        handler(connection.id, .drained)
    }

    func ended(_ connection: Connection, _ close: WebSocketClose?) {
        socketCount -= 1
        unproven.remove(connection.id)
        if let key = connection.addressKey { gate.leave(key) }
        if close == nil, connection.cause == .unresponsive { counters.refused[.slow] += 1 }
        if let close {
            connectionCount -= 1
            counters.closed[close.cause] += 1
            handler(connection.id, .closed(close))
        }
        if socketCount == 0 {
            let callbacks = whenEmpty
            whenEmpty = []
            for callback in callbacks { callback() }
        }
    }

    func refusal(of connection: Connection, _ request: UpgradeRequest) -> HTTPResponse? {
        // One that was refused when it came has been counted.
        if let refusal = connection.refusal { return answer(refusal) }
        guard configuration.takesUpgrades else { return answer(badRequest: "GET only") }
        let refusal =
            if connectionCount >= configuration.admission.connections,
                !givesWay(at: loop.core.now, where: { $0.phase == .open })
            {
                Gate.full as Gate.Refusal?
            } else {
                admitThroughProxy(connection, request.forwardedFor)
            }
        if let refusal {
            counters.refused[refusal.reason] += 1
            return answer(refusal)
        }
        let names = request.subprotocols.split { $0 == "," || $0 == " " || $0 == "\t" }
        guard names.contains(where: { $0 == configuration.subprotocol }) else {
            counters.refused[.badRequest] += 1
            return answer(badRequest: "the subprotocol is \(configuration.subprotocol)")
        }
        return nil
    }

    /// Whether the limits let in a connection of a trusted proxy, of which only its request tells for
    /// whom it comes; nil for others, who were let in when they came.
    private func admitThroughProxy(
        _ connection: Connection, _ forwardedFor: String?
    ) -> Gate.Refusal? {
        guard let proxy = connection.proxy else { return nil }
        let trusted = configuration.admission.trustedProxies
        let client: AddressOctets
        switch forwardedFor.map({ ForwardedFor.read($0, trusting: trusted) }) {
        case .unreadable?, nil: return Gate.Refusal(reason: .badRequest, retryAfterSeconds: 0)
        case .absent?: client = proxy
        case .client(let address)?: client = address
        }
        let now = loop.core.now
        return admit(connection, client, at: now) ?? gate.admitAny(at: now)
    }

    private func answer(_ refusal: Gate.Refusal) -> HTTPResponse {
        let seconds = refusal.retryAfterSeconds
        switch refusal.reason {
        case .badRequest, .slow: return answer(badRequest: "X-Forwarded-For can't be read")
        case .connections, .crowdedOut, .handshakes:
            return HTTPResponse(
                status: 503, body: Array("busy; try again in \(seconds) s\n".utf8),
                retryAfterSeconds: seconds)
        case .connectionsPerAddress, .handshakesPerAddress:
            return HTTPResponse(
                status: 429,
                body: Array("too many from your address; try again in \(seconds) s\n".utf8),
                retryAfterSeconds: seconds)
        }
    }

    private func answer(badRequest words: String) -> HTTPResponse {
        HTTPResponse(status: 400, body: Array((words + "\n").utf8))
    }

    func response(to request: PlainRequest, on connection: Connection) -> HTTPResponse? {
        // One that was refused when it came has been counted.
        if let refusal = connection.refusal { return answer(refusal) }
        if let refusal = admitThroughProxy(connection, request.forwardedFor) {
            counters.refused[refusal.reason] += 1
            return answer(refusal)
        }
        guard let path = request.path else {
            return HTTPResponse(status: 405, body: Array("GET and HEAD only\n".utf8))
        }
        return http?(path)
    }

    func confirms(subprotocol: String) -> Bool { false }

    func failed(_ connection: Connection, status: UInt16, reason: String) {}
}
