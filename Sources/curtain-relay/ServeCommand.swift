import ArgumentParser
import Foundation
import Logging
import Relay
import RelayCore
import Terminal
import WebSockets

struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the relay in the foreground.",
        discussion: """
            Prints one line with the address once it listens. Without a certificate it listens on \
            loopback addresses only. SIGTERM finishes what has come, tells the devices, and ends.
            """)

    @OptionGroup var data: DataOptions
    @Option(
        help: ArgumentHelp(
            "The clinic's root certificate, whose admission tokens are taken.", valueName: "pem"),
        completion: .file())
    var clinicRoot: String
    @Option(
        help: ArgumentHelp(
            "Where to listen; port 0 lets the system choose.", valueName: "addr:port"))
    var listen = ListenAddress(host: "127.0.0.1", port: 7443)
    @Option(
        help: ArgumentHelp("Certificate chain for wss, PEM.", valueName: "file"),
        completion: .file())
    var tlsCert: String?
    @Option(
        help: ArgumentHelp("Private key for wss, PEM.", valueName: "file"), completion: .file())
    var tlsKey: String?
    @Option(
        help: ArgumentHelp(
            "Requests that one mailbox may make per second, on average.", valueName: "n"))
    var requestsPerSecond = 2_000.0
    @Option(help: ArgumentHelp("Connections at a time.", valueName: "n"))
    var connections = 20_000
    @Flag(
        help: """
            Erase what is due although the clock is far ahead of the last run: you have compared \
            the clock with another one.
            """)
    var acceptClock = false
    @Option(help: .hidden) var clockAhead: UInt32 = 0

    func validate() throws {
        guard (tlsCert == nil) == (tlsKey == nil) else {
            throw ValidationError("--tls-cert and --tls-key belong together")
        }
        guard requestsPerSecond >= 1, requestsPerSecond <= 10_000_000 else {
            throw ValidationError("--requests-per-second must be between 1 and 10000000")
        }
        guard (1...1_000_000).contains(connections) else {
            throw ValidationError("--connections must be between 1 and 1000000")
        }
    }

    func run() throws {
        var configuration = RelayConfiguration(
            dataFolder: data.path, clinicRoot: try ClinicRoot.key(ofPEMFile: clinicRoot))
        configuration.address = listen.host
        configuration.port = listen.port
        if let tlsCert, let tlsKey {
            configuration.tls = .init(certificatePath: tlsCert, privateKeyPath: tlsKey)
        }
        configuration.limits.requestsPerSecond = requestsPerSecond
        configuration.limits.requestBurst = 2 * requestsPerSecond
        configuration.connectionLimit = connections
        configuration.acceptsClock = acceptClock
        configuration.clockAheadDays = clockAhead
        configuration.signals = [.terminate, .interrupt]

        let log = Logger(label: "curtain-relay") { StreamLogHandler.standardError(label: $0) }
        let server = try RelayServer(configuration, log: log) { error in
            Diagnostic.warn(error.failure.happened)
            _exit(ExitStatus.inputOutput.rawValue)
        }
        let scheme = configuration.tls == nil ? "ws" : "wss"
        FileHandle.standardOutput.write(
            Data("listening on \(scheme)://\(server.boundAddress)\n".utf8))
        server.wait()
    }
}

/// An address and a port, as in `127.0.0.1:7443` or `[::1]:7443`.
struct ListenAddress: ExpressibleByArgument {
    let host: String
    let port: UInt16

    init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"),
            let port = UInt16(argument[argument.index(after: colon)...])
        else { return nil }
        var host = argument[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { return nil }
        self.init(host: String(host), port: port)
    }

    var defaultValueDescription: String { "\(host):\(port)" }
}
