public import Logging
private import WebSockets

/// Brings new limits and certificates into force while the relay runs.
public final class Reloader: Sendable {
    private let source: SettingsSource
    private let log: Logger
    private let output: LogOutput

    /// Reads `source` at each reload.
    public init(source: SettingsSource, log: Logger, output: LogOutput) {
        self.source = source
        self.log = log
        self.output = output
    }

    /// Reads file, environment and flags again, and applies what may change while running. On any
    /// error everything stays as it was. Blocks; not for the loop's thread.
    public func reload(_ server: RelayServer) {
        let old = server.settings
        var new: RelaySettings
        do throws(SettingsError) {
            new = try source.load()
        } catch {
            for problem in error.problems { log.warning("\(problem)") }
            log.warning("nothing was changed; the settings and certificates in force stay")
            return server.noteReload(succeeded: false)
        }
        new.admission.connections = FileLimit.fit(new.admission.connections, log)
        do throws(RelayError) {
            try server.apply(Self.inForce(old, new))
        } catch {
            var words = "\(error)"
            if case .listen(let said) = error { words = said }
            log.warning("the certificate can't be taken (\(words)); nothing was changed")
            return server.noteReload(succeeded: false)
        }
        report(old, new)
        server.noteReload(succeeded: true)
    }

    private func report(_ old: RelaySettings, _ new: RelaySettings) {
        output.level = new.logLevel
        var count = 0
        for setting in Setting.all where setting.text(in: old) != setting.text(in: new) {
            let change: Logger.Metadata = [
                "setting": "\(setting.name)", "old": "\(setting.text(in: old))",
                "new": "\(setting.text(in: new))",
            ]
            if Self.takes(setting, old, new) {
                count += 1
                log.info("changed a setting", metadata: change)
            } else {
                log.warning("a setting waits for a restart", metadata: change)
            }
        }
        log.info(
            old.hasTLS ? "reloaded, the certificate too" : "reloaded",
            metadata: ["changed": .stringConvertible(count)])
    }

    /// Whether a setting comes into force. The relay listens with TLS or without, as it began.
    private static func takes(
        _ setting: Setting, _ old: RelaySettings, _ new: RelaySettings
    ) -> Bool {
        setting.isReloadable
            && (old.hasTLS == new.hasTLS || !["tls-cert", "tls-key"].contains(setting.name))
    }

    /// What is in force afterwards: the new, but for what wants a restart.
    private static func inForce(_ old: RelaySettings, _ new: RelaySettings) -> RelaySettings {
        var result = new
        for setting in Setting.all where !takes(setting, old, new) {
            _ = setting.read(setting.text(in: old), &result)
        }
        return result
    }
}
