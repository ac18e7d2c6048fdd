import Cryptography
import Foundation
import GRDB
import Logging
import RelayCore
import RelayProtocol
import WebSockets

/// What a relay is put together from.
extension RelayServer {
    /// On a disk so full that not even an index of the log fits, takes up the store once it does.
    static func whenThereIsRoom<Result>(
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
    static func openStore(
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
        let settings = configuration.settings
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

    static func makeLoop(
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

    static func listen(
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
            throw .listen("\(settings.listen): \(error)")
        }
        // A socket of the service manager tells its address only now.
        guard settings.hasTLS || server.boundAddress.isLoopback else { throw .needsTLS }
        return server
    }

    /// Few connections: whoever watches comes, asks once and goes.
    static func listenForWatchers(
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
            throw .listen("metrics: \(address): \(error)")
        }
    }
}

/// Lets a signal that comes during the start stop a relay that isn't whole yet.
final class Stopper: Sendable {
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
