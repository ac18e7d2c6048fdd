public import Cryptography
private import Foundation
private import GRDB
public import Logging
public import RelayCore
private import RelayProtocol
public import WebSockets

/// A running relay: one loop for the sockets, one thread that decides and writes.
public final class RelayServer: Sendable {
    /// The address that it listens on.
    public let boundAddress: SocketAddress
    /// The key that invitations pin.
    public let identityKey: VerifyingKey

    private let loop: EventLoop
    private let writer: RelayWriter
    private let writerEnd = DispatchSemaphore(value: 0)
    private let folderLock: FolderLock
    private let control: ControlSocket
    private let inForce: Lock<InForce>
    private let health: Lock<RelayHealth>
    private let server: WebSocketServer
    private let observatory: Observatory
    private let switchboard: Switchboard
    private let refusalLog: RefusalLog
    /// Where metrics and health are served, if they are.
    public let metricsAddress: SocketAddress?

    /// Starts a relay.
    ///
    /// - Parameter fatal: called on the writer's thread when the disk can't be trusted any more;
    ///   the process must end, for what was taken since isn't durable.
    /// - Throws: `RelayError`.
    public init(
        _ configuration: RelayConfiguration, log: Logger,
        fatal: @escaping @Sendable (StoreError) -> Never
    ) throws(RelayError) {
        let settings = configuration.settings
        guard settings.hasTLS || configuration.listeningSocket != nil || settings.listen.isLoopback
        else { throw .needsTLS }
        let folder = try DataFolder(path: settings.dataFolder)
        folderLock = try folder.lock()
        do throws(RelayError) {
            folder.removeLeftovers()
            let keys = try folder.keys(holding: folderLock)
            identityKey = keys.identity.publicKey
            try folder.requireDatabase()
            let (database, identity, trail) = try Self.whenThereIsRoom(log) {
                () throws(RelayError) in
                try Self.openStore(folder, keys, configuration, log)
            }
            health = Lock(RelayHealth())
            inForce = Lock(InForce(settings))
            refusalLog = RefusalLog(log, health)
            switchboard = Switchboard(log: log, limits: settings.limits)
            observatory = Observatory(
                folder: folder, health: health, inForce: inForce, switchboard: switchboard)
            let stopper = Stopper(observatory)
            loop = try Self.makeLoop(configuration, stopper)
            writer = RelayWriter(
                database: database, trail: trail, identity: identity,
                settings: settings, folder: folder, log: log, health: health
            ) { [loop, weak switchboard] release in
                loop.execute { [weak switchboard] in switchboard?.release(release) }
            }
            switchboard.writer = writer
            stopper.begin(writer)
            do throws(RelayError) {
                server = try Self.listen(configuration, loop, switchboard, observatory)
                metricsAddress = try Self.listenForWatchers(settings, loop, observatory)
                boundAddress = server.boundAddress
                let handler = ControlHandler(
                    writer: writer, address: "\(boundAddress)", copyPath: folder.copyPath,
                    inForce: inForce)
                control = try ControlSocket(
                    folder: folder, owners: [getuid(), folder.owner]
                ) { handler.answer($0, from: $1) }
            } catch {
                loop.shutdown()
                loop.wait()
                throw error
            }
        } catch {
            folderLock.release()
            throw error
        }
        startLoop()
        startWriter(fatal: fatal)
    }

    /// Lets events of the sockets in, and does what is to be done from time to time.
    private func startLoop() {
        loop.execute { [loop, server, switchboard, observatory, writer, refusalLog] in
            observatory.server = server
            switchboard.start(server, loop)
            loop.schedule(after: .seconds(1), every: .seconds(1)) {
                let refused = observatory.refusedConnections
                writer.refusedConnections.withLock { $0 = refused }
            }
            loop.schedule(after: .seconds(60), every: .seconds(60)) {
                refusalLog.tell(connections: observatory.refusedConnections)
            }
        }
    }

    /// Returns once whoever connects is answered.
    private func startWriter(fatal: @escaping @Sendable (StoreError) -> Never) {
        let thread = Thread { [writer, writerEnd] in
            do throws(StoreError) {
                try writer.run()
            } catch {
                fatal(error)
            }
            writerEnd.signal()
        }
        thread.name = "relay writer"
        thread.stackSize = 8 << 20
        thread.start()
        writer.hasBegun.wait()
    }

    /// What can be seen from outside.
    public var currentHealth: RelayHealth { health.withLock { $0 } }

    /// Begins to stop: what has come is finished, devices are told. Returns at once.
    public func stop() {
        let observatory = observatory
        loop.execute { observatory.isDraining = true }
        writer.events.add(.stop)
    }

    /// The settings in force.
    var settings: RelaySettings { inForce.withLock { $0.settings } }

    /// Brings new limits and the present content of the certificate's files into force. Blocks; any
    /// thread but the loop's.
    ///
    /// - Parameter settings: all of them; what wants a restart is as before.
    /// - Throws: `.listen` if the certificate can't be used; nothing has changed then.
    public func apply(_ settings: RelaySettings) throws(RelayError) {
        let (server, switchboard, inForce) = (server, switchboard, inForce)
        let new = InForce(settings)
        let result: Result<Void, ListenError>
        do {
            result = try loop.executeAndWait {
                do throws(ListenError) {
                    if let identity = settings.tlsIdentity {
                        try server.reloadCertificate(identity)
                    }
                } catch {
                    return .failure(error)
                }
                server.apply(settings.connectionLimits, settings.admission)
                switchboard.limits = settings.limits
                inForce.withLock { $0 = new }
                return .success(())
            }
        } catch {
            throw .listen("the relay has stopped")
        }
        if case .failure(let error) = result { throw .listen("\(error)") }
        writer.events.add(.limits(settings.limits))
        let fields = settings.trailFields
        writer.events.add(.task { $0.trail.note(TrailEvent(.configured, fields)) })
    }

    /// Counts a reload.
    func noteReload(succeeded: Bool) {
        let observatory = observatory
        loop.execute { observatory.noteReload(succeeded: succeeded) }
    }

    /// Gives a sign again and again for as long as loop and writer are alive.
    public func giveSigns(every period: Duration, _ sign: @escaping @Sendable () -> Void) {
        let (loop, observatory) = (loop, observatory)
        loop.execute {
            loop.schedule(after: period, every: period) {
                if observatory.isWriterAlive { sign() }
            }
        }
    }

    /// Waits until the relay has stopped. Blocks.
    public func wait() {
        writerEnd.wait()
        control.close()
        loop.wait()
        // What was the loop's is nobody's now.
        refusalLog.tell(connections: observatory.refusedConnections)
        folderLock.release()
    }

    /// What the log's line says of a relay that has started.
    public var startFields: Logger.Metadata {
        let health = currentHealth
        return [
            "version": "\(RelayVersion.current)", "schema": .stringConvertible(Schema.number),
            "mailboxes": .stringConvertible(health.mailboxes),
            "groups": .stringConvertible(health.groups),
            "messages": .stringConvertible(health.messages.count),
        ]
    }

    /// And of one that has stopped: what it did while it ran.
    public var endFields: Logger.Metadata {
        let counters = currentHealth.counters
        return [
            "seconds": .stringConvertible(observatory.runningSeconds),
            "accepted": .stringConvertible(counters.accepted),
            "erased": .stringConvertible(counters.erased),
        ]
    }

    /// On a disk so full that not even an index of the log fits, takes up the store once it does.
    private static func whenThereIsRoom<Result>(
        _ log: Logger, _ takeUp: () throws(RelayError) -> Result
    ) throws(RelayError) -> Result {
        var isWaiting = false
        while true {
            do throws(RelayError) {
                return try takeUp()
            } catch {
                guard case .store(.full) = error else { throw error }
            }
            if !isWaiting { log.warning("there is no room on the disk; the relay waits for some") }
            isWaiting = true
            sleep(1)
        }
    }

    /// Opens database and trail, and notes there that the relay has started.
    private static func openStore(
        _ folder: DataFolder, _ keys: DataFolder.Keys, _ configuration: RelayConfiguration,
        _ log: Logger
    ) throws(RelayError) -> (RelayDatabase, RelayIdentity, TrailKeeper) {
        let database = try RelayDatabase(path: folder.databasePath)
        let identity: RelayIdentity
        let trail: TrailKeeper
        do {
            (identity, trail) = try database.queue.writeWithoutTransaction { database in
                let store = try SQLiteStore(database)
                return (
                    try store.identity(keys, clinicRoot: configuration.clinicRoot),
                    try TrailKeeper(
                        path: folder.trailPath, mirrorPath: configuration.settings.mirrorPath,
                        store: store, identity: keys.identity)
                )
            }
        } catch let error as RelayError {
            throw error
        } catch {
            throw .store(StoreError(error))
        }
        for warning in trail.warnings { log.warning("\(warning)") }
        trail.note(startEvent(configuration))
        return (database, identity, trail)
    }

    private static func startEvent(_ configuration: RelayConfiguration) -> TrailEvent {
        var settings = configuration.settings
        // What `auto` comes to.
        settings.metrics = settings.metricsAddress.map { .address($0) } ?? .off
        return TrailEvent(
            .started,
            [
                ("version", RelayVersion.current), ("user", Peer.name(of: getuid())),
                ("clinicRoot", configuration.clinicFingerprint),
                ("acceptClock", "\(settings.acceptsClock)"),
                ("clockAheadDays", "\(settings.clockAheadDays)"),
                ("tls", "\(settings.hasTLS)"),
            ] + settings.trailFields)
    }

    private static func makeLoop(
        _ configuration: RelayConfiguration, _ stopper: Stopper
    ) throws(RelayError) -> EventLoop {
        let onSignal = configuration.onSignal
        do {
            return try EventLoop(name: "relay", signals: configuration.signals) { signal in
                if signal != .hangUp { stopper.stop() }
                onSignal?(signal)
            }
        } catch {
            throw .resources("the event loop can't be started")
        }
    }

    private static func listen(
        _ configuration: RelayConfiguration, _ loop: EventLoop, _ switchboard: Switchboard,
        _ observatory: Observatory
    ) throws(RelayError) -> WebSocketServer {
        let settings = configuration.settings
        var listener = WebSocketServer.Configuration(subprotocol: ProtocolConstants.subprotocol)
        listener.address = settings.listen.host
        listener.port = settings.listen.port
        listener.listeningSocket = configuration.listeningSocket
        listener.tls = settings.tlsIdentity
        listener.admission = settings.admission
        listener.limits = settings.connectionLimits
        let server: WebSocketServer
        do {
            server = try WebSocketServer(
                listener, on: loop, http: { observatory.answer($0) },
                handler: { id, event in switchboard.handle(id, event) })
        } catch {
            throw .listen("\(error)")
        }
        // A socket of the service manager tells its address only now.
        guard settings.hasTLS || server.boundAddress.isLoopback else { throw .needsTLS }
        return server
    }

    /// Few connections: whoever watches comes, asks once and goes.
    private static func listenForWatchers(
        _ settings: RelaySettings, _ loop: EventLoop, _ observatory: Observatory
    ) throws(RelayError) -> SocketAddress? {
        guard let address = settings.metricsAddress else { return nil }
        var listener = WebSocketServer.Configuration.httpOnly
        listener.address = address.host
        listener.port = address.port
        listener.admission.connections = 64
        listener.admission.exemptAddresses = []
        do {
            return try WebSocketServer(
                listener, on: loop, http: { observatory.answerWatcher($0) }, handler: { _, _ in }
            ).boundAddress
        } catch {
            throw .listen("metrics: \(error)")
        }
    }
}

/// Lets a signal that comes during the start stop a relay that isn't whole yet.
private final class Stopper: Sendable {
    private struct State {
        var writer: RelayWriter?
        /// Before there was a writer.
        var isAsked = false
    }

    private let state = Lock(State())
    private let observatory: Observatory

    init(_ observatory: Observatory) { self.observatory = observatory }

    func begin(_ writer: RelayWriter) {
        state.withLock { state in
            state.writer = writer
            if state.isAsked { writer.events.add(.stop) }
        }
    }

    /// On the loop.
    func stop() {
        observatory.isDraining = true
        state.withLock { state in
            state.isAsked = true
            state.writer?.events.add(.stop)
        }
    }
}
