import Logging
import RelayCore
import RelayProtocol
import WebSockets

/// Between sockets and writer; lives on the loop's thread. Frames are decoded and encoded here, so that
/// the writer's time goes to deciding and writing.
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
        /// Without a mailbox it may be anybody's, and little is kept for it.
        var hasMailbox = false

        /// Whether its socket isn't to be read for a while.
        func needsPause(pending: Int) -> Bool {
            waiting >= pauseAt || waitingByteCount >= pauseAtByteCount || pending >= pendingLimit
        }

        /// Whether its socket can be read again.
        func canResume(pending: Int) -> Bool {
            waiting <= resumeAt && waitingByteCount < pauseAtByteCount && pending < pendingLimit
        }
    }

    /// Octets of all connections waiting for the writer.
    private(set) var totalByteCount = 0
    /// They are too many: whoever sends is paused.
    private var isCrowded = false
    /// Octets of all connections waiting to be sent.
    var unsentByteCount: Int { server?.pendingByteCount ?? 0 }
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
    /// What a frame takes in memory besides its octets and its parts, roughly.
    private static let frameOverhead = 256

    /// How long acknowledgements wait for a batch that is to be made anyway.
    private static let patience = Duration.milliseconds(2)
    private var willHurry = false

    /// Whether slow readers are looked for at the end of this turn.
    private var willLookForSlow = false

    /// Octets of a message before the first mailbox is open.
    static let openingByteCount = 64 << 10

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
                    send(output, server)
                    pauseIfNeeded(output.connection)
                },
                write: { writer.writeInstead() },
                release: { [unowned self] in handOut($0) },
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
            writer?.events.add(.opened(number))
        case .message(let bytes):
            guard let state = traffic[number], !isStopping else { return }
            var byteCount = bytes.count + Self.frameOverhead
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
                let isStoredHere = shortWay?.stores(frame) ?? false
                byteCount += frame.overhead
                writer?.events.add(
                    .frame(number, frame, byteCount: byteCount), canWait: canWait || isStoredHere)
                if canWait { hurryLater() }
            } catch {
                writer?.events.add(.garbage(number, byteCount: byteCount))
            }
            traffic[number]?.waiting += 1
            traffic[number]?.waitingByteCount += byteCount
            totalByteCount += byteCount
            pauseIfNeeded(number)
            judgeCrowd()
        case .drained:
            resumeIfPossible(number)
        case .closed:
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

    /// Sends what a durable batch of the writer lets go.
    func release(_ release: RelayRelease) {
        handOut(release)
        writer?.gate.released()
    }

    private func handOut(_ release: RelayRelease) {
        guard let server else { return }
        for output in release.outputs { send(output, server) }
        for (number, handled) in release.handled {
            totalByteCount -= handled.byteCount
            traffic[number]?.waiting -= handled.frames
            traffic[number]?.waitingByteCount -= handled.byteCount
            pauseIfNeeded(number)
            resumeIfPossible(number)
        }
        judgeCrowd()
        if release.closesAll {
            for state in traffic.values {
                server.close(state.socket, code: .goingAway, reason: "disk full")
            }
        }
        if release.isLast { end(server) }
    }

    private func send(_ output: ConnectionOutput, _ server: WebSocketServer) {
        let number = output.connection
        guard let state = traffic[number] else { return }
        if state.hasMailbox != output.hasMailbox {
            traffic[number]?.hasMailbox = output.hasMailbox
            server.setProven(state.socket, output.hasMailbox)
        }
        for frame in FramePacker.encode(output.frame) {
            switch server.send(frame, to: state.socket) {
            case .queued: break
            case .full: return cut(number, server)
            case .notOpen: return
            }
        }
        if server.pendingByteCount > limits.unsentByteCount { lookForSlow(server) }
        if let closing = output.closing { close(state.socket, closing) }
    }

    // MARK: Slow readers

    /// Looks whether too much waits once the system was offered what this turn sends, and ends those
    /// that take least of it. Whoever reads finds what it hasn't acknowledged on its next connection.
    private func lookForSlow(_ server: WebSocketServer) {
        guard !willLookForSlow, let loop else { return }
        willLookForSlow = true
        loop.atEndOfTurn { [self] in
            // What was queued before this is written now, before the next round.
            loop.atEndOfTurn { [self] in
                willLookForSlow = false
                guard server.pendingByteCount > limits.unsentByteCount else { return }
                // More than one at once, so that they aren't looked through for each frame.
                let count = server.cutSlowReaders(downTo: limits.unsentByteCount / 8 * 7)
                noteSlow(count)
            }
        }
    }

    private func cut(_ number: RelayCore.ConnectionID, _ server: WebSocketServer) {
        guard let id = traffic[number]?.socket else { return }
        noteSlow(1)
        server.cut(id)
    }

    private func noteSlow(_ count: Int) {
        log.info(
            "devices don't read; their connections are closed",
            metadata: ["count": .stringConvertible(count)])
        cuts.slowReader += UInt64(count)
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

    /// Whoever sends while too much waits has to wait too.
    private func judgeCrowd() {
        guard let server else { return }
        if !isCrowded, totalByteCount >= limits.unreadByteCount {
            isCrowded = true
            server.pauseSenders()
        } else if isCrowded, totalByteCount <= limits.unreadByteCount / 4 * 3 {
            isCrowded = false
            server.resumeSenders()
        }
    }

    private func pauseIfNeeded(_ number: RelayCore.ConnectionID) {
        guard let server, let state = traffic[number], !state.isPaused,
            state.needsPause(pending: server.pendingByteCount(of: state.socket))
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
    /// What its parts take in memory besides their octets: a request without content is forty octets
    /// long when it travels.
    var overhead: Int {
        requests.count * MemoryLayout<Request>.stride
            + acknowledgements.count * MemoryLayout<Acknowledgement>.stride
    }

    /// A device has stored a few messages and asks for nothing. Many would be a device that waits for
    /// more.
    fileprivate var isFewAcknowledgements: Bool {
        hello == nil && requests.isEmpty
            && acknowledgements.reduce(0) { $0 + $1.deliveries.count } <= 16
    }
}
