import ArgumentParser
import Consultations
import Cryptography
import Foundation
import Terminal
import Vault

/// Where the device's state lies.
struct HomeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Where vault and keys lie.",
            discussion: "Else $CURTAIN_HOME, else $XDG_DATA_HOME/curtain.", valueName: "dir"),
        completion: .directory)
    var home: String?

    var path: String { Self.path(given: home, environment: ProcessInfo.processInfo.environment) }

    static func path(given: String?, environment: [String: String]) -> String {
        func value(_ name: String) -> String? {
            environment[name].flatMap { $0.isEmpty ? nil : $0 }
        }
        if let named = given ?? value("CURTAIN_HOME") { return named }
        let data = value("XDG_DATA_HOME") ?? (value("HOME") ?? ".") + "/.local/share"
        return data + "/curtain"
    }
}

/// How to reach the relay where the invitation's word isn't enough.
struct RelayOptions: ParsableArguments {
    @Option(
        name: .customLong("relay-url"),
        help: ArgumentHelp(
            "Another address of the same relay; its identity stays pinned.", valueName: "url"))
    var url: String?

    @Option(
        name: .customLong("relay-ca"),
        help: ArgumentHelp(
            "Trust this private TLS authority for wss.",
            discussion: "Else CURTAIN_RELAY_CA names it, else the system's authorities are used.",
            valueName: "pem"), completion: .file())
    var authority: String?

    var options: DeviceOptions {
        var options = DeviceOptions()
        options.relay = url
        // A person waits here: try again soon, not in a minute.
        options.backoff = .milliseconds(250) ... .seconds(8)
        let named = ProcessInfo.processInfo.environment["CURTAIN_RELAY_CA"]
        options.authorityPath = authority ?? named.flatMap { $0.isEmpty ? nil : $0 }
        return options
    }
}

/// What every command needs that works with the vault.
struct SessionOptions: ParsableArguments {
    @OptionGroup var home: HomeOptions
    @OptionGroup var passphrase: PassphraseOptions
    @OptionGroup var relay: RelayOptions

    /// Opens the vault, lends the device to `body`, and closes it whatever happens.
    func withDevice<Result: Sendable>(
        _ body: (Device, SecretBytes) async throws -> Result
    ) async throws -> Result {
        guard Device.exists(at: home.path) else { throw DeviceError.vault(.noVault) }
        let secret = try passphrase.existing()
        let device = try await open(secret)
        do {
            let result = try await body(device, secret)
            await device.close()
            return result
        } catch {
            await device.close()
            // What fails because the person interrupted it is no failure of the relay's.
            try Task.checkCancellation()
            throw error
        }
    }

    /// Opens the vault. Another short command may have it at this moment, so that one is given time
    /// to end.
    private func open(_ secret: SecretBytes) async throws -> Device {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(1)
        while true {
            do {
                return try await Device.open(
                    home: home.path, passphrase: secret, options: relay.options)
            } catch {
                guard case .vault(.inUse) = error, clock.now < end else { throw error }
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    func withDevice<Result: Sendable>(
        _ body: (Device) async throws -> Result
    ) async throws -> Result {
        try await withDevice { device, _ in try await body(device) }
    }
}

extension Device {
    /// Sends what waits. What can't leave now is safe in the outbox: that is status 75, not a loss.
    func deliver(_ what: String) async throws {
        let summary: SyncSummary
        do {
            summary = try await sync()
        } catch {
            guard let reason = error.waitingReason else { throw error }
            throw Delivery.waits(what, because: reason)
        }
        if summary.stillWaiting > 0 || !summary.isSettled {
            throw Delivery.waits(what, because: "the relay has not taken everything yet")
        }
    }
}

extension Device {
    /// Waits until the relay has a message, but not long once it is known to be out of reach.
    ///
    /// - Returns: the message as it is then, and why it still waits if it does.
    func sent(_ message: Message, in id: ConsultationID) async throws -> (Message, String?) {
        var message = message
        do {
            message = try await relayed(message.id, in: id, timeout: .seconds(3))
            if message.state == .waiting, case .connected = connection {
                message = try await relayed(message.id, in: id, timeout: .seconds(12))
            }
        } catch {
            guard let reason = error.waitingReason else { throw error }
            return (message, reason)
        }
        guard message.state == .waiting else { return (message, nil) }
        if case .waiting(_, let cause) = connection { return (message, cause.words) }
        return (message, "the relay has not taken it yet")
    }
}

extension DeviceError {
    /// Why something stays in the outbox for now; nil if waiting won't help.
    var waitingReason: String? {
        switch self {
        case .relayUnreachable(let trouble) where !trouble.isPermanent: trouble.words
        case .notRegistered: "the relay has not admitted this device yet"
        default: nil
        }
    }
}

enum Delivery {
    static func waits(_ what: String, because reason: String) -> Failure {
        Failure(
            .tryAgain, "\(what) waits in the outbox: \(reason)",
            advice: "'curtain sync' sends it later")
    }
}
