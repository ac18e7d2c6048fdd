internal import CWebSockets

/// Who is told what happens on a connection; on the loop.
protocol ConnectionOwner: AnyObject {
    func opened(_ connection: Connection)
    func received(_ message: [UInt8], on connection: Connection)
    /// A part of a message that isn't the last.
    func receivedPart(on connection: Connection)
    func drained(_ connection: Connection)
    /// The last call. `close` is nil if the connection had never opened.
    func ended(_ connection: Connection, _ close: WebSocketClose?)
    /// Why an upgrade isn't taken, or nil if it is.
    func refusal(of connection: Connection, _ request: UpgradeRequest)
        -> WebSocketServer.HTTPResponse?
    /// The answer to a request on a server that asks for no upgrade.
    func response(to request: PlainRequest, on connection: Connection)
        -> WebSocketServer.HTTPResponse?
    /// Whether the server confirmed the subprotocol that the client had asked for.
    func confirms(subprotocol: String) -> Bool
    /// A client's attempt failed before the connection opened.
    func failed(_ connection: Connection, status: UInt16, reason: String)
}

/// The state of one connection between the loop's thread and libwebsockets.
///
/// Touched by the loop's thread only. `@safe`: `wsi` is set from adoption or connecting until libwebsockets says that it is gone.
@safe final class Connection: @unchecked Sendable {
    enum Phase {
        /// TCP, TLS and the HTTP upgrade.
        case opening
        case open
        /// Closed from here: what is queued goes out first, nothing more comes in.
        case draining
        /// The Close frame is libwebsockets' business now.
        case closing
        case ended
    }

    unowned let core: LoopCore
    let limits: ConnectionLimits
    private let messageTimeout: UInt64?
    private let sums: ConnectionSums
    let peer: SocketAddress?
    /// Set by a server: why the connection will be refused once it has asked.
    var refusal: Gate.Refusal?
    /// Set by a server: the trusted proxy through which it comes.
    var proxy: AddressOctets?
    /// Set by a server: whose number of connections it adds to.
    var addressKey: AddressKey?
    /// Milliseconds between two looks at the clocks that suffice for this connection.
    let sweepPeriod: UInt64
    private(set) var owner: (any ConnectionOwner)?
    var id = ConnectionID(rawValue: 0)
    var wsi: OpaquePointer?

    private(set) var phase = Phase.opening
    private(set) var cause: WebSocketClose.Cause?
    private var closeFrame: (code: CloseCode, reason: String)?

    /// A message of which the last part has not come, and since when.
    private var incoming: [UInt8] = []
    var incompleteSince: UInt64?
    /// What was read together with the message after which it was paused.
    private var heldBack = MessageStore()
    /// Octets that `incoming` and `heldBack` take, as they are counted in `sums`.
    private var incompleteByteCount = 0 {
        didSet { sums.incompleteByteCount += incompleteByteCount - oldValue }
    }
    /// Since when it takes such room; nil if it doesn't.
    var takesRoomSince: UInt64? {
        heldBack.isEmpty ? incompleteSince : min(pausedAt, incompleteSince ?? pausedAt)
    }
    /// Its owner vouches for it (`WebSocketServer.setProven`).
    var isProven = false

    private var queue: [[UInt8]] = []
    private var queueHead = 0
    private var queuedByteCount = 0 {
        didSet { sums.pendingByteCount += queuedByteCount - oldValue }
    }
    /// Octets of the last written message, while libwebsockets still holds a part of it.
    private var heldByteCount = 0 {
        didSet { sums.pendingByteCount += heldByteCount - oldValue }
    }
    /// When the system last took a whole message, or the first one that waits was queued.
    private(set) var lastTaken: UInt64 = 0
    private var wasAboveLowWater = false
    var isWaitingToWrite = false

    private var pauses: Pauses = []
    private var isPaused: Bool { !pauses.isEmpty }
    var pausedAt: UInt64 = 0
    /// What libwebsockets was told last.
    private var isRead = true
    private var willFollowPauses = false
    private var lastHeard: UInt64
    private var pingedAt: UInt64?
    private var mustPing = false
    private var acknowledged: UInt64 = 0
    /// When an unfinished opening or closing is cut off.
    private(set) var deadline: UInt64?
    /// Of an answer by HTTP, until it can be written.
    var httpBody: [UInt8]?

    /// - Parameters:
    ///   - messageTimeout: for one received message, from its first part to its last.
    ///   - sums: of the connections that are counted together.
    init(
        core: LoopCore, owner: any ConnectionOwner, limits: ConnectionLimits,
        peer: SocketAddress?, openingTimeout: Duration, messageTimeout: Duration? = nil,
        sums: ConnectionSums = ConnectionSums()
    ) {
        self.core = core
        self.owner = owner
        self.limits = limits
        self.peer = peer
        self.messageTimeout = messageTimeout?.milliseconds
        self.sums = sums
        lastHeard = core.now
        deadline = core.now + openingTimeout.milliseconds
        sweepPeriod = min(
            limits.sweepPeriod, openingTimeout.milliseconds / 4,
            (messageTimeout?.milliseconds ?? .max) / 4)
    }

    // MARK: - Sending

    var pendingByteCount: Int { queuedByteCount + heldByteCount }

    func send(_ message: [UInt8]) -> SendOutcome {
        guard phase == .open, !core.isClosing else { return .notOpen }
        // The limit never refuses the only message, so that each can be sent when nothing waits.
        let isEmpty = pendingByteCount == 0
        guard isEmpty || pendingByteCount + message.count <= limits.maxPendingByteCount else {
            return .full
        }
        if isEmpty { lastTaken = core.now }
        queue.append(message)
        queuedByteCount += message.count
        if pendingByteCount > limits.lowWaterMark { wasAboveLowWater = true }
        core.writeAtEndOfTurn(self)
        return .queued
    }

    /// Writes what the system takes; outside of libwebsockets' callbacks.
    func write() {
        guard phase == .open || phase == .draining, let wsi = unsafe wsi, !core.isClosing else {
            return
        }
        // While it holds a part of a frame it asks for us when that has gone out.
        guard unsafe lws_partial_buffered(wsi) == 0 else { return }
        noteTaken()
        if mustPing {
            mustPing = false
            let octets: [UInt8] = Array("curtain?".utf8)
            let written = unsafe core.withScratch(octets) {
                unsafe shim_write_ping(wsi, $0, octets.count)
            }
            guard written >= 0 else { return cut(.lost) }
        }
        while queueHead < queue.count, unsafe lws_partial_buffered(wsi) == 0 {
            let message = queue[queueHead]
            queue[queueHead] = []
            queueHead += 1
            queuedByteCount -= message.count
            let written = unsafe core.withScratch(message) {
                unsafe shim_write_binary(wsi, $0, message.count)
            }
            guard written >= 0 else { return cut(.lost) }
            if unsafe lws_partial_buffered(wsi) != 0 {
                heldByteCount = message.count
            } else {
                lastTaken = core.now
            }
        }
        if queueHead == queue.count {
            queue.removeAll(keepingCapacity: queue.count <= 16)
            queueHead = 0
        } else if queueHead > 64, queueHead * 2 > queue.count {
            queue.removeFirst(queueHead)
            queueHead = 0
        }
        if wasAboveLowWater, pendingByteCount <= limits.lowWaterMark {
            wasAboveLowWater = false
            if phase == .open { owner?.drained(self) }
        }
        if phase == .draining, pendingByteCount == 0 { unsafe sendClose(wsi) }
    }

    /// Hands the Close frame to libwebsockets, which waits for the peer's and closes.
    ///
    /// Debian's libwebsockets is built for debugging: it closes twice when a callback asks for it,
    /// the second time without waiting. So it is asked here, outside of its callbacks.
    private func sendClose(_ wsi: OpaquePointer) {
        guard let closeFrame else { return }
        phase = .closing
        deadline = core.now + limits.closeTimeout.milliseconds
        var reason = Array(closeFrame.reason.utf8.prefix(123))
        let count = reason.count
        unsafe reason.withUnsafeMutableBufferPointer {
            unsafe shim_close(wsi, Int32(closeFrame.code.rawValue), $0.baseAddress, count)
        }
    }

    /// libwebsockets can write again, and holds nothing.
    func writable() {
        noteTaken()
        core.writeAtEndOfTurn(self)
    }

    private func noteTaken() {
        guard heldByteCount > 0 else { return }
        heldByteCount = 0
        lastTaken = core.now
    }

    private func dropQueue() {
        queue = []
        queueHead = 0
        queuedByteCount = 0
    }

    // MARK: - Closing

    /// Sends a Close frame after what is queued.
    func close(_ code: CloseCode, _ reason: String) {
        switch phase {
        case .opening: cut(.local)
        case .open: drain(code, reason, .local)
        case .draining, .closing, .ended: break
        }
    }

    /// Ends it with a Close frame, for something that the peer did.
    private func refuse(_ code: CloseCode, _ cause: WebSocketClose.Cause) {
        dropQueue()
        drain(code, "", cause)
    }

    private func drain(_ code: CloseCode, _ reason: String, _ cause: WebSocketClose.Cause) {
        phase = .draining
        self.cause = cause
        dropIncoming()
        closeFrame = (code.isSendable ? code : .normalClosure, reason)
        deadline = core.now + limits.closeTimeout.milliseconds
        core.writeAtEndOfTurn(self)
    }

    /// Ends it without a Close frame.
    func cut(_ cause: WebSocketClose.Cause) {
        if self.cause == nil { self.cause = cause }
        dropQueue()
        dropIncoming()
        guard let wsi = unsafe wsi else { return core.end(self) }
        deadline = nil
        // Its end is told when libwebsockets closes it; one that never opened is forgotten at once.
        if phase == .opening {
            core.end(self)
        } else {
            phase = .closing
        }
        unsafe shim_kill(wsi)
        core.kick()
    }

    /// Ends it at once; outside of libwebsockets' callbacks, when the loop ends.
    func cutNow() {
        guard let wsi = unsafe wsi else { return core.end(self) }
        unsafe shim_kill_now(wsi)
    }

    /// Called by the core when the connection has left its table.
    func ended() {
        let hadOpened = phase != .opening
        phase = .ended
        unsafe wsi = nil
        dropQueue()
        heldByteCount = 0
        dropIncoming()
        let owner = owner
        self.owner = nil
        guard hadOpened else { return owner?.ended(self, nil) ?? () }
        let cause = cause ?? (core.isClosing ? .shutdown : .lost)
        let frame = closeFrame ?? (.abnormalClosure, "")
        let code: CloseCode
        switch cause {
        case .peer, .local, .textFrame, .messageTooBig: code = frame.code
        case .unresponsive, .slowMessage, .lost, .shutdown: code = .abnormalClosure
        }
        owner?.ended(self, WebSocketClose(cause: cause, code: code, reason: frame.reason))
    }

    // MARK: - libwebsockets' events

    func opened() {
        guard phase == .opening else { return }
        phase = .open
        deadline = nil
        heard()
        owner?.opened(self)
    }

    func heard() {
        lastHeard = core.now
        pingedAt = nil
    }

    func received(_ octets: UnsafeRawBufferPointer, isBinary: Bool, isLast: Bool, missing: Int) {
        guard phase == .open else { return }
        heard()
        guard isBinary else { return refuse(.unsupportedData, .textFrame) }
        let limit =
            isProven
            ? limits.maxMessageByteCount
            : min(limits.maxMessageByteCount, limits.maxUnprovenMessageByteCount)
        let (sofar, hasOverflowed) = incoming.count.addingReportingOverflow(octets.count)
        guard
            !hasOverflowed, missing >= 0, sofar <= limit, missing <= limit - sofar
        else { return refuse(.messageTooBig, .messageTooBig) }
        if isLast, incoming.isEmpty {
            incompleteSince = nil
            unsafe handOn([UInt8](octets))
        } else {
            // Room in proportion to what has come, not to what was announced; twice as much each time,
            // so that little is copied more than once.
            if sofar > incoming.capacity {
                incoming.reserveCapacity(sofar + min(missing, max(sofar, 8 * octets.count)))
            }
            unsafe incoming.append(contentsOf: octets)
            if isLast {
                let message = incoming
                incoming = []
                incompleteSince = nil
                countRoom()
                handOn(message)
            } else {
                if incompleteSince == nil { incompleteSince = core.now }
                countRoom()
                owner?.receivedPart(on: self)
                if sums.pausesSenders { pauseWithOthers() }
            }
        }
    }

    /// Hands a message to the owner, or keeps it while nothing is to be taken.
    private func handOn(_ message: [UInt8]) {
        guard isPaused || !heldBack.isEmpty else { return tell(message) }
        heldBack.append(message)
        countRoom()
        owner?.receivedPart(on: self)
    }

    private func tell(_ message: [UInt8]) {
        owner?.received(message, on: self)
        if sums.pausesSenders { pauseWithOthers() }
    }

    private func countRoom() { incompleteByteCount = incoming.capacity + heldBack.byteCount }

    private func dropIncoming() {
        incoming = []
        heldBack = MessageStore()
        incompleteSince = nil
        countRoom()
    }

    func peerCloses(code: CloseCode, reason: String) {
        // What stood before the Close frame came before it.
        while phase == .open, let message = heldBack.next() { owner?.received(message, on: self) }
        guard phase == .open else { return }
        phase = .closing
        cause = .peer
        closeFrame = (code, reason)
        deadline = core.now + limits.closeTimeout.milliseconds
    }

    /// A client's attempt failed. The number is given up: libwebsockets may still mention it.
    func failed(status: UInt16, reason: String) {
        guard phase == .opening, let owner else { return }
        self.owner = nil
        core.end(self)
        owner.failed(self, status: status, reason: reason)
    }

    /// Gives up the place in the table without telling anyone.
    func abandon() {
        owner = nil
        core.end(self)
    }

    func isOwned(by other: AnyObject) -> Bool { owner === other }

    // MARK: - Backpressure and clocks

    /// Why nothing is taken from the socket.
    struct Pauses: OptionSet {
        let rawValue: UInt8
        /// The owner wants it.
        static let owner = Pauses(rawValue: 1)
        /// All connections of the server together have sent too much.
        static let others = Pauses(rawValue: 2)
    }

    func pauseReading(_ reason: Pauses = .owner) {
        guard phase == .open else { return }
        let wasPaused = isPaused
        pauses.insert(reason)
        guard !wasPaused else { return }
        pausedAt = core.now
        followPauses()
    }

    func resumeReading(_ reason: Pauses = .owner) {
        guard phase == .open, pauses.remove(reason) != nil, !isPaused else { return }
        // The message that was coming couldn't come meanwhile.
        incompleteSince? += core.now - pausedAt
        heard()
        followPauses()
    }

    /// Goes on, or doesn't, when this turn ends: libwebsockets, told amid what it has read, would keep
    /// the rest of it where nobody counts it.
    private func followPauses() {
        guard !willFollowPauses else { return }
        willFollowPauses = true
        core.atEndOfTurn { [self] in
            willFollowPauses = false
            while phase == .open, !isPaused, let message = heldBack.next() { tell(message) }
            countRoom()
            guard phase == .open, isRead == isPaused, let wsi = unsafe wsi, !core.isClosing else {
                return
            }
            isRead = !isPaused
            unsafe lws_rx_flow_control(wsi, isRead ? 1 : 0)
            if isRead { core.kick() }
        }
    }

    private func pauseWithOthers() {
        guard !pauses.contains(.others) else { return }
        pauseReading(.others)
        sums.pausedSenders.append(id)
    }

    /// Looks whether something is overdue.
    func checkClock(_ now: UInt64) {
        if let deadline, now >= deadline {
            self.deadline = nil
            return cut(.unresponsive)
        }
        guard phase == .open else { return }
        if let incompleteSince, let messageTimeout, !isPaused,
            now >= incompleteSince + messageTimeout
        {
            return cut(.slowMessage)
        }
        // A paused connection cannot be heard; one that takes what we send lives.
        if isPaused, heldByteCount == 0 { return heard() }
        if heldByteCount > 0, let wsi = unsafe wsi {
            let acknowledged = unsafe shim_acknowledged(lws_get_socket_fd(wsi))
            if acknowledged != self.acknowledged {
                self.acknowledged = acknowledged
                return heard()
            }
        }
        if isPaused {
            let patience = limits.pingInterval.milliseconds + limits.pongTimeout.milliseconds
            if now >= lastHeard + patience { cut(.unresponsive) }
        } else if let pingedAt {
            if now >= pingedAt + limits.pongTimeout.milliseconds { cut(.unresponsive) }
        } else if now >= lastHeard + jitteredPingInterval {
            pingedAt = now
            mustPing = true
            core.writeAtEndOfTurn(self)
        }
    }

    /// Up to an eighth less than the interval, by the connection's number: connections that opened
    /// together, after a restart for instance, shall not be pinged together for ever.
    private var jitteredPingInterval: UInt64 {
        let interval = limits.pingInterval.milliseconds
        return interval - (id.rawValue &* 2_654_435_761 >> 8) % (interval / 8 + 1)
    }
}
