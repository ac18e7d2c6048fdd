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

    /// Opens the vault, lends the device to `body`, and closes it whatever happens. What was erased
    /// meanwhile, ended by the other side, and had never been read is shown then: now or never. So
    /// is what went wrong, unless `body` shows that by itself.
    func withDevice<Result: Sendable>(
        showing output: Output = Output(), showsTroubles: Bool = true,
        _ body: (Device, SecretBytes) async throws -> Result
    ) async throws -> Result {
        guard Device.exists(at: home.path) else { throw DeviceError.vault(.noVault) }
        let (device, secret) = try await unlock()
        let events = await device.events()
        let noticed = Task<Noticed, Never> {
            await events.reduce(into: Noticed()) { $0.note($1) }
        }
        do {
            let result = try await body(device, secret)
            await device.close()
            try await noticed.value.show(on: output, showsTroubles: showsTroubles)
            return result
        } catch {
            await device.close()
            try await noticed.value.show(on: output, showsTroubles: showsTroubles, besides: error)
            throw error
        }
    }

    /// How often a person may type the passphrase.
    private static let attempts = 3

    /// Opens the vault; a person who mistyped the passphrase is asked again.
    private func unlock() async throws -> (Device, SecretBytes) {
        var attempt = 1
        while true {
            let secret = try passphrase.existing()
            do throws(DeviceError) {
                return (try await open(secret), secret)
            } catch {
                guard error == .vault(.wrongPassphrase), !passphrase.isFromFile,
                    attempt < Self.attempts
                else { throw error }
                Diagnostic.warn(Explanation.device(error).message)
                attempt += 1
            }
        }
    }

    /// Opens the vault. Another short command may have it at this moment, so that one is given time
    /// to end.
    private func open(_ secret: SecretBytes) async throws(DeviceError) -> Device {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(1)
        while true {
            do throws(DeviceError) {
                return try await Device.open(
                    home: home.path, passphrase: secret, options: relay.options)
            } catch {
                guard case .vault(.inUse) = error, clock.now < end, !Task.isCancelled else {
                    throw error
                }
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    func withDevice<Result: Sendable>(
        showing output: Output = Output(), showsTroubles: Bool = true,
        _ body: (Device) async throws -> Result
    ) async throws -> Result {
        try await withDevice(showing: output, showsTroubles: showsTroubles) { device, _ in
            try await body(device)
        }
    }

    /// Decides something about a consultation, delivers it, and says how the consultation stands
    /// then.
    func decide(
        on consultation: ConsultationArgument, _ what: String, output: Output,
        _ body: (Device, ConsultationID) async throws -> Void
    ) async throws {
        try await withDevice(showing: output) { device in
            let id = try await device.consultation(matching: consultation.id).id
            try await body(device, id)
            let later = try await device.deliver(what)
            let now = try await device.consultation(id)
            if output.isJSON {
                try output.json(ConsultationRow(now))
            } else {
                try output.sentence("\(now.shortID) with \(now.otherName): \(now.stateText)")
            }
            if let later { throw later }
        }
    }
}

extension Device {
    /// Sends what waits.
    ///
    /// - Returns: why something still waits, if it does; it is safe in the outbox. That is status
    ///   75, not a loss.
    func deliver(_ what: String) async throws -> Failure? {
        do {
            let summary = try await sync()
            guard summary.stillWaiting > 0 || !summary.isSettled else { return nil }
            return try Delivery.waits(what, on: self)
        } catch {
            guard let reason = (error as? DeviceError)?.waitingReason else { throw error }
            return Delivery.waits(what, because: reason)
        }
    }

    /// Waits until the relay has a message, but not long once it is known to be out of reach.
    ///
    /// - Returns: the message as it is then, and why it still waits if it does.
    func sent(
        _ message: Message, _ what: String, in id: ConsultationID
    ) async throws -> (Message, Failure?) {
        var message = message
        do {
            message = try await relayed(message.id, in: id, timeout: .seconds(3))
            if message.state == .waiting, case .connected = connection,
                try !consultation(id).awaitsOther
            {
                message = try await relayed(message.id, in: id, timeout: .seconds(12))
            }
        } catch {
            if let reason = error.waitingReason {
                return (message, Delivery.waits(what, because: reason))
            }
            // The other side closed it meanwhile.
            guard error == .unknownConsultation, let closed = try consultation(id).closedFailure
            else { throw error }
            throw closed
        }
        guard message.state == .waiting else { return (message, nil) }
        return (message, try Delivery.waits(what, on: self, in: id))
    }
}

extension Device {
    /// Waits until the relay has a file and its message, as long as it gets on.
    ///
    /// - Returns: the message, once it is written, and why it still waits if it does.
    func sent(
        _ file: Transfer, in id: ConsultationID
    ) async throws -> (Message?, Failure?) {
        let what = "the file"
        do {
            if let message = try await relayed(file, in: id) { return (message, nil) }
        } catch {
            if let reason = error.waitingReason {
                return (nil, Delivery.waits(what, because: reason))
            }
            guard error == .unknownConsultation, let closed = try consultation(id).closedFailure
            else { throw error }
            throw closed
        }
        return (nil, try Delivery.waits(what, on: self, in: id))
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
    /// Why something waits though the relay could be asked.
    static func waits(
        _ what: String, on device: isolated Device, in id: ConsultationID? = nil
    ) throws -> Failure {
        if case .waiting(_, let cause) = device.connection {
            return waits(what, because: cause.words)
        }
        let held = try device.consultations().first {
            $0.awaitsOther && $0.waiting > 0 && (id == nil || $0.id == id)
        }
        guard let held else { return waits(what, because: "the relay has not taken all of it yet") }
        return Failure(
            .tryAgain,
            "\(what) waits for \(held.otherName)'s device: this vault is an older one, and only "
                + "the other knows what was sent from it since",
            advice:
                "nothing to do but wait until that device connects; 'curtain sync' sends it then")
    }

    static func waits(_ what: String, because reason: String) -> Failure {
        Failure(
            .tryAgain, "\(what) waits in the outbox: \(reason)",
            advice: "'curtain sync' sends it later")
    }
}
