import Logging
import RelayCore
import RelayProtocol
import WebSockets

/// Between sockets and writer; lives on the loop's thread. Frames are decoded here, so that the
/// writer's time goes to deciding and writing.
final class Switchboard: @unchecked Sendable {
    private let log: Logger
    /// Set once, before the loop hands in the first event.
    var writer: RelayWriter?
    private var server: WebSocketServer?
    private var loop: EventLoop?
    private var shortWay: ShortWay?
    /// How long deliveries took that went the short way.
    var deliverySeconds: Histogram? { shortWay?.deliverySeconds }
    /// Connections ended for what they did.
    private(set) var cuts = ConnectionCuts()

    /// What waits of one connection.
    struct Traffic {
        let socket: WebSockets.ConnectionID
        /// Frames that the writer hasn't dealt with.
        var waiting = 0
        var waitingByteCount = 0
        var isPaused = false
        /// Octets that wait to be sent, when it was last looked at; 0 where they are few.
        var unsentByteCount = 0
        /// Since when they are many.
        var isSlowSince: UInt64 = 0
        /// Without a mailbox it may be anybody's, and little is kept for it.
        var hasMailbox = false

        /// Whether its socket isn't to be read for a while. For what waits of others it is paused
        /// only while something of its own waits: the end of that wakes it again.
        func needsPause(total: Int, limit: Int, pending: Int) -> Bool {
            waiting >= pauseAt || waitingByteCount >= pauseAtByteCount
                || (waiting > 0 && total >= limit) || pending >= pendingLimit
        }

        /// Whether its socket can be read again.
        func canResume(pending: Int) -> Bool {
            waiting <= resumeAt && waitingByteCount < pauseAtByteCount && pending < pendingLimit
        }
    }

    /// Octets of all connections waiting for the writer.
    private(set) var totalByteCount = 0
    /// Octets waiting to be sent, of the connections where they are many.
    private(set) var unsentByteCount = 0
    /// The limits in force.
    var limits: RelayLimits
    /// The writer has said goodbye; nothing is taken any more.
    private(set) var isStopping = false

    private var traffic: [RelayCore.ConnectionID: Traffic] = [:]

    /// Frames of one connection waiting for the writer, above which its socket isn't read.
    private static let pauseAt = 64
    private static let resumeAt = 16
    /// The same for their octets.
    private static let pauseAtByteCount = 2 << 20
    /// Octets waiting to be sent, above which a connection's requests aren't read.
    private static let pendingLimit = 4 << 20

    /// How long acknowledgements wait for a batch that is to be made anyway.
    private static let patience = Duration.milliseconds(2)
    private var willHurry = false

    /// Octets waiting to be sent up to which nobody is a slow reader; at most what the sockets tell
    /// of (`ConnectionLimits.lowWaterMark`).
    private static let fewByteCount = ConnectionLimits().lowWaterMark
    /// Connections to be looked at at the end of this turn.
    private var suspects: [RelayCore.ConnectionID] = []

    /// Octets of a message before the first mailbox is open.
    private static let openingByteCount = 64 << 10

    init(log: Logger, limits: RelayLimits) {
        self.log = log
        self.limits = limits
    }

    func start(_ server: WebSocketServer, _ loop: EventLoop) {
        self.server = server
        self.loop = loop
        if let writer {
            shortWay = ShortWay(
                gate: writer.gate, clock: writer.clock, loop: loop,
                send: { [unowned self, unowned server] output in
                    let number = output.connection
                    send(FramePacker.encode(output.frame), output.closing, to: number, server)
                    pauseIfNeeded(number)
                },
                wakeWriter: { writer.events.add(.due) })
        }
        for id in Array(early) { handle(id.0, id.1) }
        early = []
    }

    /// Events of the moment between listening and `start`.
    private var early: [(WebSockets.ConnectionID, WebSocketServer.Event)] = []

    func handle(_ id: WebSockets.ConnectionID, _ event: WebSocketServer.Event) {
        guard server != nil else {
            if !isStopping { early.append((id, event)) }
            return
        }
        let number = RelayCore.ConnectionID(rawValue: id.rawValue)
        switch event {
        case .opened:
            traffic[number] = Traffic(socket: id)
            server?.limitMessages(of: id, toByteCount: Self.openingByteCount)
            writer?.events.add(.opened(number))
        case .message(let bytes):
            guard let state = traffic[number], !isStopping else { return }
            do {
                var frame = try ClientFrame(decoding: bytes)
                // Nobody waits for acknowledgements but of held messages.
                var canWait = frame.isFewAcknowledgements
                if let shortWay, writer?.canHold == true {
                    canWait = false
                    if state.waiting == 0 {
                        let (rest, hasLooked) = shortWay.take(frame, from: number)
                        guard let rest else { return }
                        canWait = rest.isFewAcknowledgements && hasLooked
                        frame = rest
                    }
                }
                writer?.events.add(
                    .frame(number, frame, byteCount: bytes.count), canWait: canWait)
                if canWait { hurryLater() }
            } catch {
                writer?.events.add(.garbage(number, byteCount: bytes.count))
            }
            traffic[number]?.waiting += 1
            traffic[number]?.waitingByteCount += bytes.count
            totalByteCount += bytes.count
            pauseIfNeeded(number)
        case .drained:
            noteUnsent(of: number)
            resumeIfPossible(number)
        case .closed:
            setUnsent(of: number, 0)
            traffic[number] = nil
            writer?.events.add(.closed(number))
        }
    }

    /// Sees to it that what can wait for the writer doesn't wait for long.
    private func hurryLater() {
        guard !willHurry, let loop else { return }
        willHurry = true
        loop.schedule(after: Self.patience) { [self] in
            willHurry = false
            writer?.events.hurry()
        }
    }

    /// Sends what a durable batch lets go.
    func release(_ release: RelayRelease) {
        defer { writer?.gate.released() }
        guard let server else { return }
        for number in release.opened where traffic[number]?.hasMailbox == false {
            traffic[number]?.hasMailbox = true
            if let id = traffic[number]?.socket { server.limitMessages(of: id, toByteCount: nil) }
        }
        for number in release.unopened where traffic[number]?.hasMailbox == true {
            traffic[number]?.hasMailbox = false
            if let id = traffic[number]?.socket {
                server.limitMessages(of: id, toByteCount: Self.openingByteCount)
            }
        }
        for (number, frames, closing) in release.outputs {
            send(frames, closing, to: number, server)
        }
        for (number, handled) in release.handled {
            totalByteCount -= handled.byteCount
            traffic[number]?.waiting -= handled.frames
            traffic[number]?.waitingByteCount -= handled.byteCount
            pauseIfNeeded(number)
            resumeIfPossible(number)
        }
        if release.closesAll {
            for state in traffic.values {
                server.close(state.socket, code: .goingAway, reason: "disk full")
            }
        }
        if release.isLast { end(server) }
    }

    private func send(
        _ frames: [[UInt8]], _ closing: ConnectionOutput.Closing?,
        to number: RelayCore.ConnectionID, _ server: WebSocketServer
    ) {
        guard let id = traffic[number]?.socket else { return }
        for frame in frames {
            switch server.send(frame, to: id) {
            case .queued: break
            case .full: return cut(number, server)
            case .notOpen: return
            }
        }
        if server.pendingByteCount(of: id) > Self.fewByteCount { lookAtUnsent(of: number) }
        if let closing { close(id, closing) }
    }

    // MARK: Slow readers

    /// Looks how much the system hasn't taken, once it was offered what this turn sends.
    private func lookAtUnsent(of number: RelayCore.ConnectionID) {
        suspects.append(number)
        guard suspects.count == 1, let loop else { return }
        loop.atEndOfTurn { [self] in
            // What was queued before this is written now, before the next round.
            loop.atEndOfTurn { [self] in
                for number in suspects { noteUnsent(of: number) }
                suspects = []
                if unsentByteCount > limits.unsentByteCount { cutSlowest() }
            }
        }
    }

    /// Few octets leave again without being mentioned (`.drained`), and count as none.
    private func noteUnsent(of number: RelayCore.ConnectionID) {
        guard let server, let state = traffic[number] else { return }
        let byteCount = server.pendingByteCount(of: state.socket)
        setUnsent(of: number, byteCount > Self.fewByteCount ? byteCount : 0)
    }

    private func setUnsent(of number: RelayCore.ConnectionID, _ byteCount: Int) {
        guard let before = traffic[number]?.unsentByteCount, before != byteCount else { return }
        unsentByteCount += byteCount - before
        if before == 0 { traffic[number]?.isSlowSince = SystemClock.nanoseconds }
        traffic[number]?.unsentByteCount = byteCount
    }

    /// Ends those connections for which much has been waiting for longest, until the rest may stay.
    /// Whoever reads finds what it hasn't acknowledged on its next connection.
    private func cutSlowest() {
        guard let server else { return }
        let slow = traffic.filter { $0.value.unsentByteCount > 0 }.keys
        // Some of it may have left since it was looked at.
        for number in slow { noteUnsent(of: number) }
        let order = slow.sorted {
            (traffic[$0]?.isSlowSince ?? 0) < (traffic[$1]?.isSlowSince ?? 0)
        }
        for number in order where unsentByteCount > limits.unsentByteCount { cut(number, server) }
    }

    private func cut(_ number: RelayCore.ConnectionID, _ server: WebSocketServer) {
        guard let id = traffic[number]?.socket else { return }
        log.info("a device doesn't read; its connection is closed")
        cuts.slowReader += 1
        setUnsent(of: number, 0)
        server.cut(id)
    }

    private func close(_ id: WebSockets.ConnectionID, _ closing: ConnectionOutput.Closing) {
        switch closing {
        case .violation:
            cuts.violation += 1
            server?.close(id, code: .protocolError, reason: "protocol violation")
        case .unproven:
            cuts.unproven += 1
            server?.close(id, code: .policyViolation, reason: "no mailbox opened")
        case .goingAway: server?.close(id, code: .goingAway, reason: "relay stops")
        }
    }

    private func end(_ server: WebSocketServer) {
        guard !isStopping else { return }
        isStopping = true
        let loop = loop
        server.closeAll(code: .goingAway) { [self] in
            self.server = nil  // It holds this object by its handler.
            loop?.shutdown()
        }
    }

    private func pauseIfNeeded(_ number: RelayCore.ConnectionID) {
        guard let server, let state = traffic[number], !state.isPaused,
            state.needsPause(
                total: totalByteCount, limit: limits.unreadByteCount,
                pending: server.pendingByteCount(of: state.socket))
        else { return }
        traffic[number]?.isPaused = true
        server.pauseReading(state.socket)
    }

    private func resumeIfPossible(_ number: RelayCore.ConnectionID) {
        guard let server, let state = traffic[number], state.isPaused,
            state.canResume(pending: server.pendingByteCount(of: state.socket))
        else { return }
        traffic[number]?.isPaused = false
        server.resumeReading(state.socket)
    }
}

/// Open connections that were ended for what they did or didn't do, by reason.
struct ConnectionCuts: Equatable, Sendable {
    /// Took too little of what was sent to it.
    var slowReader: UInt64 = 0
    /// Opened no mailbox in time, or tried too often.
    var unproven: UInt64 = 0
    /// Broke the protocol.
    var violation: UInt64 = 0

    /// As in labels and in the trail.
    var byReason: [(String, UInt64)] {
        [("slow_reader", slowReader), ("unproven", unproven), ("violation", violation)]
    }
}

extension ClientFrame {
    /// A device has stored a few messages and asks for nothing. Many would be a device that waits for
    /// more.
    fileprivate var isFewAcknowledgements: Bool {
        hello == nil && requests.isEmpty
            && acknowledgements.reduce(0) { $0 + $1.deliveries.count } <= 16
    }
}
