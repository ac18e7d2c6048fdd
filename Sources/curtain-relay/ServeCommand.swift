import ArgumentParser
import Cryptography
import Dispatch
import Foundation
import Logging
import Relay
import RelayCore
import Terminal
import WebSockets

/// SIGTERM and SIGINT end it at once until the loop takes them over: nothing has been accepted then.
struct ServeCommand: TakesSignals {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the relay in the foreground.",
        discussion: """
            Prints one line with the address once it listens. Without a certificate it listens on \
            loopback addresses only. SIGTERM finishes what has come, tells the devices, and ends; \
            SIGHUP reads file and certificate again and brings limits into force.

            Every setting has one name: "name: value" in the file, --name here, and in the \
            environment CURTAIN_RELAY_NAME with _ for -. A flag wins over the environment, that over \
            the file. Octets may be written as 64 KiB, 8 MiB, 1 GiB.
            """)

    @Option(
        help: ArgumentHelp(
            "The file of settings, YAML; CURTAIN_RELAY_CONFIG names one too.", valueName: "file"),
        completion: .file())
    var config: String?
    @Flag(
        help: ArgumentHelp(
            "Check all settings and what they name, and end.",
            discussion: """
                Folder, keys, database, certificates and addresses are looked at and left as they \
                are, also while a relay runs.
                """))
    var checkConfig = false
    @Flag(help: "Print what would be in force, as a file of settings, and end.")
    var printConfig = false
    @OptionGroup(title: "Settings") var settings: SettingOptions
    @OptionGroup(title: "Limits") var limits: LimitOptions

    func run() throws {
        let source = SettingsSource(
            file: config, environment: ProcessInfo.processInfo.environment,
            flags: settings.values.merging(limits.values) { $1 })
        if checkConfig {
            let reading = source.read()
            let check = StartCheck(reading)
            for remark in check.remarks { Diagnostic.warn(remark) }
            if let failure = check.failure(beside: reading.problems) { throw failure }
            return try Output().line("the settings are good")
        }
        let settings = try source.load()
        if printConfig { return try Output().line(settings.file) }
        var configuration = try RelayConfiguration(settings)
        if let problem = settings.tlsIdentity?.problem { throw RelayError.certificate(problem) }
        let output = LogOutput(settings.logFormat, settings.logLevel)
        let log = output.logger()
        configuration.settings.admission.connections = FileLimit.fit(
            settings.admission.connections, log)
        let manager = ServiceManager(environment: ProcessInfo.processInfo.environment)
        guard manager.sockets.count <= 1 else {
            throw Failure(
                .usage, "the service manager hands over \(manager.sockets.count) sockets",
                advice: "leave one ListenStream in curtain-relay.socket")
        }
        configuration.listeningSocket = manager.sockets.first
        configuration.signals = [.terminate, .interrupt, .hangUp]
        let running = Running(Reloader(source: source, log: log, output: output))
        configuration.onSignal = { signal in
            switch signal {
            case .hangUp: running.reload()
            case .terminate, .interrupt:
                manager.tell(.stopping)
                log.info("stopping")
            }
        }
        let server = try RelayServer(configuration, log: log) { error in
            let failure = error.failure
            let words =
                error.isStoreWhole ? "the relay ends, what was accepted is safe" : "the relay ends"
            log.error("\(failure.happened); \(words)\(failure.advice.map { "; \($0)" } ?? "")")
            _exit(failure.status.rawValue)
        }
        running.begin(server)
        if let address = server.metricsAddress { log.info("metrics on http://\(address)/metrics") }
        let address = "\(settings.hasTLS ? "wss" : "ws")://\(server.boundAddress)"
        log.info("started", metadata: server.startFields.merging(["address": "\(address)"]) { $1 })
        do {
            try Output().line("listening on \(address)")
        } catch {
            log.warning("standard output can't be written, so nobody was told of the start there")
        }
        manager.tell(.ready)
        if let period = manager.watchdogMicroseconds {
            server.giveSigns(every: .microseconds(Int64(clamping: period / 3))) {
                manager.tell(.watchdog)
            }
        }
        server.wait()
        log.info("stopped", metadata: server.endFields)
        running.end()
    }
}

/// Reloads one after the other, once the relay runs.
private final class Running: Sendable {
    private let reloader: Reloader
    private let queue = DispatchQueue(label: "reload")
    private let state = Lock(State())

    private struct State {
        var server: RelayServer?
        /// Before there was a server.
        var isAsked = false
    }

    init(_ reloader: Reloader) {
        self.reloader = reloader
    }

    func begin(_ server: RelayServer) {
        let isAsked = state.withLock { state in
            state.server = server
            return state.isAsked
        }
        if isAsked || HangUp.hasCome { reload() }
    }

    /// Lets go of the server, whose configuration leads back here.
    func end() {
        state.withLock { $0.server = nil }
    }

    func reload() {
        let server = state.withLock { state in
            state.isAsked = true
            return state.server
        }
        guard let server else { return }
        queue.async { [reloader] in reloader.reload(server) }
    }
}
