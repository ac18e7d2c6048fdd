public import Cryptography
private import Foundation
private import GRDB
public import Logging
public import RelayCore
private import RelayProtocol
public import WebSockets

/// How a relay is run.
public struct RelayConfiguration: Sendable {
    /// Where it keeps everything.
    public var dataFolder: String
    /// Whose admission tokens it takes.
    public var clinicRoot: VerifyingKey
    /// A numeric address.
    public var address = "127.0.0.1"
    /// 0: the kernel chooses.
    public var port: UInt16 = 7443
    /// Certificate and key; without, the address must be a loopback one.
    public var tls: WebSocketServer.TLSIdentity?
    /// What the operator allows.
    public var limits = RelayLimits()
    /// Connections at a time.
    public var connectionLimit = 20_000
    /// The operator has compared the wall clock with another one.
    public var acceptsClock = false
    /// Days added to the wall clock; for tests of deadlines.
    public var clockAheadDays: UInt32 = 0
    /// Signals that stop the relay instead of ending the process.
    public var signals: Set<EventLoop.Signal> = []

    /// A relay with the defaults.
    public init(dataFolder: String, clinicRoot: VerifyingKey) {
        self.dataFolder = dataFolder
        self.clinicRoot = clinicRoot
    }
}

/// What can be seen of a running relay from outside.
public struct RelayHealth: Equatable, Sendable {
    /// When the last batch was durable.
    public var lastBatchMilliseconds: UInt64 = 0
    /// What would grow is refused.
    public var isFull = false
    /// Erasure by deadline is paused.
    public var isClockDoubted = false
    /// Connections.
    public var connections = 0
    /// Mailboxes kept.
    public var mailboxes = 0
    /// Groups kept.
    public var groups = 0
    /// What happened so far.
    public var counters = RelayCounters()
}

/// A running relay: one loop for the sockets, one thread that decides and writes.
public final class RelayServer: Sendable {
    /// The address that it listens on.
    public let boundAddress: SocketAddress
    /// The key that invitations pin.
    public let identityKey: VerifyingKey

    private let loop: EventLoop
    private let writer: RelayWriter
    private let writerEnd: DispatchSemaphore
    private let folderLock: FolderLock
    private let health: Lock<RelayHealth>

    /// Starts a relay.
    ///
    /// - Parameter fatal: called on the writer's thread when the disk can't be trusted any more;
    ///   the process must end, for what was taken since isn't durable.
    /// - Throws: `RelayError`.
    public init(
        _ configuration: RelayConfiguration, log: Logger,
        fatal: @escaping @Sendable (StoreError) -> Never
    ) throws(RelayError) {
        let address = SocketAddress(host: configuration.address, port: configuration.port)
        guard configuration.tls != nil || address.isLoopback else { throw .needsTLS }
        let folder = try DataFolder(path: configuration.dataFolder)
        let folderLock = try folder.lock()
        do throws(RelayError) {
            let keys = try folder.keys(holding: folderLock)
            let database = try RelayDatabase(path: folder.databasePath)
            let identity = try Self.identity(keys, database, configuration.clinicRoot)
            let health = Lock(RelayHealth())
            let switchboard = Switchboard(log: log)
            let stopper = Stopper()
            let loop = try Self.makeLoop(configuration, stopper)
            let writer = RelayWriter(
                database: database, identity: identity, configuration: configuration,
                folder: folder, log: log, health: health
            ) { release in
                loop.execute { switchboard.release(release) }
            }
            switchboard.writer = writer
            stopper.writer.withLock { $0 = writer }
            let server = try Self.listen(configuration, loop, switchboard, health)
            loop.execute { switchboard.start(server, loop) }

            self.folderLock = folderLock
            self.loop = loop
            self.writer = writer
            self.health = health
            identityKey = keys.identity.publicKey
            boundAddress = server.boundAddress
            let end = DispatchSemaphore(value: 0)
            writerEnd = end
            let thread = Thread {
                do throws(StoreError) {
                    try writer.run()
                } catch {
                    fatal(error)
                }
                end.signal()
            }
            thread.name = "relay writer"
            thread.stackSize = 8 << 20
            thread.start()
        } catch {
            folderLock.release()
            throw error
        }
    }

    /// What can be seen from outside.
    public var currentHealth: RelayHealth { health.withLock { $0 } }

    /// Begins to stop: what has come is finished, devices are told. Returns at once.
    public func stop() { writer.events.add(.stop) }

    /// Waits until the relay has stopped. Blocks.
    public func wait() {
        writerEnd.wait()
        loop.wait()
        folderLock.release()
    }

    private static func identity(
        _ keys: DataFolder.Keys, _ database: RelayDatabase, _ clinicRoot: VerifyingKey
    ) throws(RelayError) -> RelayIdentity {
        do {
            return try database.queue.writeWithoutTransaction { database in
                let store = try SQLiteStore(database)
                try store.begin()
                let incarnation: [UInt8]
                let deliveryKey: [UInt8]
                if let stored = try store.setting(SQLiteStore.Setting.incarnation),
                    let key = try store.setting(SQLiteStore.Setting.deliveryKey)
                {
                    (incarnation, deliveryKey) = (stored, key)
                } else {
                    incarnation = Random.bytes(ProtocolConstants.incarnationByteCount)
                    deliveryKey = Random.bytes(32)
                    try store.set(SQLiteStore.Setting.incarnation, to: incarnation)
                    try store.set(SQLiteStore.Setting.deliveryKey, to: deliveryKey)
                }
                try store.commit()
                return RelayIdentity(
                    identity: keys.identity, ticketKey: keys.ticketKey,
                    deliveryKey: SecretBytes(deliveryKey), incarnation: incarnation,
                    clinicRoot: clinicRoot)
            }
        } catch {
            throw .store(StoreError(error))
        }
    }

    private static func makeLoop(
        _ configuration: RelayConfiguration, _ stopper: Stopper
    ) throws(RelayError) -> EventLoop {
        do {
            return try EventLoop(name: "relay", signals: configuration.signals) { signal in
                if signal != .hangUp { stopper.stop() }
            }
        } catch {
            throw .resources("the event loop can't be started")
        }
    }

    private static func listen(
        _ configuration: RelayConfiguration, _ loop: EventLoop, _ switchboard: Switchboard,
        _ health: Lock<RelayHealth>
    ) throws(RelayError) -> WebSocketServer {
        var settings = WebSocketServer.Configuration(subprotocol: ProtocolConstants.subprotocol)
        settings.address = configuration.address
        settings.port = configuration.port
        settings.tls = configuration.tls
        settings.admission.connections = configuration.connectionLimit
        settings.limits.maxMessageByteCount = Int(configuration.limits.published.frameByteCount)
        settings.limits.maxPendingByteCount = 2 * configuration.limits.connectionByteCount
        do {
            return try WebSocketServer(
                settings, on: loop,
                http: { path in
                    guard path == "/healthz" else { return nil }
                    return answerHealth(health.withLock { $0 })
                },
                handler: { id, event in switchboard.handle(id, event) })
        } catch {
            loop.shutdown()
            throw .listen("\(error)")
        }
    }

    private static func answerHealth(_ health: RelayHealth) -> WebSocketServer.HTTPResponse {
        let silence = SystemClock().now.monotonicMilliseconds &- health.lastBatchMilliseconds
        guard health.lastBatchMilliseconds > 0, silence < 15_000 else {
            return .init(status: 503, body: Array("the writer doesn't answer\n".utf8))
        }
        return .init(body: Array((health.isFull ? "ok, disk nearly full\n" : "ok\n").utf8))
    }
}

/// Lets a signal that comes during the start stop a relay that isn't whole yet.
private final class Stopper: Sendable {
    let writer = Lock<RelayWriter?>(nil)

    func stop() { writer.withLock { $0?.events.add(.stop) } }
}
