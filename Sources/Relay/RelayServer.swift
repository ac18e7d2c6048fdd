public import Cryptography
private import Foundation
public import Logging
public import RelayCore
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
        folderLock = try folder.lock(for: .serve)
        do throws(RelayError) {
            folder.removeLeftovers()
            Self.tellOfLeftovers(in: folder, log)
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
            writer.events.add(
                .task { desk throws(StoreError) in
                    try desk.trail.settleBackup(in: desk.store)
                })
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
        startCleaning(folder, every: configuration.cleaningPeriod, log)
        startWriter(fatal: fatal)
    }

    /// Makes the loop's parts known to one another, and tells from time to time what was refused.
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

    /// Rehearsals that were killed don't wait for the next start: what is erased from now on would
    /// stay in them. Overwriting takes time, which the loop doesn't have.
    private func startCleaning(_ folder: DataFolder, every period: Duration, _ log: Logger) {
        let queue = DispatchQueue(label: "relay cleaning", qos: .utility)
        loop.execute { [loop] in
            loop.schedule(after: period, every: period) {
                queue.async {
                    folder.removeRehearsals()
                    Self.tellOfLeftovers(in: folder, log)
                }
            }
        }
    }

    private static func tellOfLeftovers(in folder: DataFolder, _ log: Logger) {
        for name in folder.leftovers {
            log.warning(
                "what a killed command has left can't be removed", metadata: ["name": "\(name)"])
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
}
