import ArgumentParser
import Relay

/// The settings that aren't limits, as flags.
struct SettingOptions: ParsableArguments {
    @Option(help: .setting("data"), completion: .directory) var data: String?
    @Option(help: .setting("clinic-root"), completion: .file()) var clinicRoot: String?
    @Option(help: .setting("listen")) var listen: String?
    @Option(help: .setting("tls-cert"), completion: .file()) var tlsCert: String?
    @Option(help: .setting("tls-key"), completion: .file()) var tlsKey: String?
    @Option(help: .setting("metrics-listen")) var metricsListen: String?
    @Option(help: .setting("trail-mirror"), completion: .directory) var trailMirror: String?
    @Option(help: .setting("clock-ahead")) var clockAhead: String?
    @Option(help: .setting("log-format"), completion: .list(["text", "json"])) var logFormat:
        String?
    @Option(help: .setting("log-level"), completion: .list(["debug", "info", "warning", "error"]))
    var logLevel: String?
    @Option(help: .setting("trusted-proxies")) var trustedProxies: String?
    @Option(help: .setting("ping-seconds")) var pingSeconds: String?
    @Option(help: .setting("pong-seconds")) var pongSeconds: String?
    @Flag(help: .setting("accept-clock")) var acceptClock = false

    /// What was given, by the settings' names.
    var values: [String: String] {
        FlagValues.given(in: self).merging(acceptClock ? ["accept-clock": "true"] : [:]) { $1 }
    }
}

/// The limits, as flags.
struct LimitOptions: ParsableArguments {
    @Option(help: .setting("limit-exempt-addresses")) var limitExemptAddresses: String?
    @Option(help: .setting("limit-connections")) var limitConnections: String?
    @Option(help: .setting("limit-connections-per-address")) var limitConnectionsPerAddress: String?
    @Option(help: .setting("limit-handshakes-per-second")) var limitHandshakesPerSecond: String?
    @Option(help: .setting("limit-handshakes-per-second-per-address"))
    var limitHandshakesPerSecondPerAddress: String?
    @Option(help: .setting("limit-handshake-seconds")) var limitHandshakeSeconds: String?
    @Option(help: .setting("limit-opening-seconds")) var limitOpeningSeconds: String?
    @Option(help: .setting("limit-frame-bytes")) var limitFrameBytes: String?
    @Option(help: .setting("limit-frame-seconds")) var limitFrameSeconds: String?
    @Option(help: .setting("limit-message-bytes")) var limitMessageBytes: String?
    @Option(help: .setting("limit-commit-bytes")) var limitCommitBytes: String?
    @Option(help: .setting("limit-hold-milliseconds")) var limitHoldMilliseconds: String?
    @Option(help: .setting("limit-hold-bytes")) var limitHoldBytes: String?
    @Option(help: .setting("limit-connection-mailboxes")) var limitConnectionMailboxes: String?
    @Option(help: .setting("limit-failed-openings")) var limitFailedOpenings: String?
    @Option(help: .setting("limit-openings-per-second")) var limitOpeningsPerSecond: String?
    @Option(help: .setting("limit-opening-burst")) var limitOpeningBurst: String?
    @Option(help: .setting("limit-connection-requests-per-second"))
    var limitConnectionRequestsPerSecond: String?
    @Option(help: .setting("limit-connection-request-burst")) var limitConnectionRequestBurst:
        String?
    @Option(help: .setting("limit-requests-per-second")) var limitRequestsPerSecond: String?
    @Option(help: .setting("limit-request-burst")) var limitRequestBurst: String?
    @Option(help: .setting("limit-outstanding-requests")) var limitOutstandingRequests: String?
    @Option(help: .setting("limit-window-messages")) var limitWindowMessages: String?
    @Option(help: .setting("limit-window-bytes")) var limitWindowBytes: String?
    @Option(help: .setting("limit-connection-window-bytes")) var limitConnectionWindowBytes: String?
    @Option(help: .setting("limit-unread-bytes")) var limitUnreadBytes: String?
    @Option(help: .setting("limit-unsent-bytes")) var limitUnsentBytes: String?
    @Option(help: .setting("limit-mailboxes")) var limitMailboxes: String?
    @Option(help: .setting("limit-groups")) var limitGroups: String?
    @Option(help: .setting("limit-mailbox-messages")) var limitMailboxMessages: String?
    @Option(help: .setting("limit-mailbox-bytes")) var limitMailboxBytes: String?
    @Option(help: .setting("limit-commits-per-hour")) var limitCommitsPerHour: String?
    @Option(help: .setting("limit-commit-burst")) var limitCommitBurst: String?
    @Option(help: .setting("limit-group-members")) var limitGroupMembers: String?
    @Option(help: .setting("limit-group-days")) var limitGroupDays: String?
    @Option(help: .setting("limit-blob-bytes")) var limitBlobBytes: String?
    @Option(help: .setting("limit-group-blobs")) var limitGroupBlobs: String?
    @Option(help: .setting("limit-group-blob-bytes")) var limitGroupBlobBytes: String?
    @Option(help: .setting("limit-all-blob-bytes")) var limitAllBlobBytes: String?
    @Option(help: .setting("limit-unfinished-blobs")) var limitUnfinishedBlobs: String?
    @Option(help: .setting("limit-unfinished-blob-days")) var limitUnfinishedBlobDays: String?
    @Option(help: .setting("limit-pieces-per-second")) var limitPiecesPerSecond: String?
    @Option(help: .setting("limit-piece-burst")) var limitPieceBurst: String?
    @Option(help: .setting("limit-tickets-per-day")) var limitTicketsPerDay: String?
    @Option(help: .setting("limit-ticket-days")) var limitTicketDays: String?
    @Option(help: .setting("limit-shelf-packages")) var limitShelfPackages: String?
    @Option(help: .setting("limit-package-bytes")) var limitPackageBytes: String?
    @Option(help: .setting("limit-claims-per-hour")) var limitClaimsPerHour: String?
    @Option(help: .setting("limit-shelf-claims-per-hour")) var limitShelfClaimsPerHour: String?
    @Option(help: .setting("limit-shelf-clearings-per-hour")) var limitShelfClearingsPerHour:
        String?
    @Option(help: .setting("limit-permit-uses")) var limitPermitUses: String?

    /// What was given, by the settings' names.
    var values: [String: String] { FlagValues.given(in: self) }
}

/// Reads options by their own names, which are those of the settings.
enum FlagValues {
    static func given(in options: some ParsableArguments) -> [String: String] {
        var values: [String: String] = [:]
        for (name, option) in wrappers(in: options) {
            if let value = (option as? Option<String?>)?.wrappedValue { values[name] = value }
        }
        return values
    }

    /// The names under which ArgumentParser offers the options: `_tlsCert` as `tls-cert`.
    static func names(in options: some ParsableArguments) -> [String] {
        wrappers(in: options).map(\.name)
    }

    private static func wrappers(
        in options: some ParsableArguments
    ) -> [(name: String, wrapper: Any)] {
        Mirror(reflecting: options).children.compactMap { child in
            guard let label = child.label, label.hasPrefix("_") else { return nil }
            let name = label.dropFirst().map { $0.isUppercase ? "-\($0.lowercased())" : "\($0)" }
            return (name.joined(), child.value)
        }
    }
}

extension ArgumentHelp {
    /// What the setting of this name says of itself.
    static func setting(_ name: String) -> ArgumentHelp {
        guard let setting = Setting.named(name) else { return .hidden }
        let facts = [
            setting.takes == setting.valueName ? "" : setting.takes,
            setting.defaultText.isEmpty ? "" : "default: \(setting.defaultText)",
        ].filter { !$0.isEmpty }
        let words = setting.meaning + (facts.isEmpty ? "" : " (\(facts.joined(separator: "; ")))")
        return ArgumentHelp(
            words, valueName: setting.valueName,
            visibility: setting.isHidden ? .hidden : .default)
    }
}
