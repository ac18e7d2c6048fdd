/// What the relay's operation adds to the trail, beside what devices cause.
public struct TrailEvent: Equatable, Sendable {
    /// What kind of entry it makes.
    public let kind: TrailEntry.Kind
    /// `name=value` lines; neither holds a line's end.
    public let fields: [Field]

    /// One line.
    public struct Field: Equatable, Sendable {
        /// Before the equals sign.
        public let name: String
        /// Behind it.
        public let value: String
    }

    /// Makes an event; control characters in values are replaced.
    public init(_ kind: TrailEntry.Kind, _ fields: [(String, String)]) {
        self.kind = kind
        self.fields = fields.map { name, value in
            Field(
                name: name,
                value: String(
                    String.UnicodeScalarView(
                        value.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? "?" : $0 })))
        }
    }

    /// That a backup was made.
    ///
    /// - Parameter isLost: that the one of which this was said isn't there after all.
    static func backup(by user: String, isLost: Bool = false) -> TrailEvent {
        TrailEvent(.backup, [("user", user)] + (isLost ? [("result", "failed")] : []))
    }

    /// The entry's content.
    var content: [UInt8] {
        Array(fields.map { "\($0.name)=\($0.value)\n" }.joined().utf8)
    }

    /// Reads an entry's content back; `nil` for entries whose content is no text.
    public init?(_ entry: TrailEntry) {
        switch entry.kind {
        case .head, .erasure: return nil
        default: break
        }
        guard let text = String(validating: entry.content, as: UTF8.self) else { return nil }
        kind = entry.kind
        fields = text.split(separator: "\n").map { line in
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return Field(name: String(parts[0]), value: parts.count > 1 ? String(parts[1]) : "")
        }
    }

    /// A field's value.
    public subscript(name: String) -> String? { fields.first { $0.name == name }?.value }
}

extension TrailEntry.Kind {
    /// Its name for people and programs.
    public var name: String {
        switch self {
        case .head: "head"
        case .started: "started"
        case .stopped: "stopped"
        case .configured: "configured"
        case .activity: "activity"
        case .erasure: "erasure"
        case .summary: "summary"
        case .backup: "backup"
        case .rehearsal: "rehearsal"
        case .restored: "restored"
        case .command: "command"
        case .resumed: "resumed"
        default: "kind\(rawValue)"
        }
    }
}

extension RelaySettings {
    /// What the trail tells of the settings: the limits, where the relay listens, what it shows and
    /// whom it trusts.
    var trailFields: [(String, String)] {
        let names: Set<String> = [
            "listen", "tls-cert", "tls-key", "metrics-listen", "trail-mirror", "trusted-proxies",
            "ping-seconds", "pong-seconds",
        ]
        var settings = self
        // What `auto` comes to.
        settings.metrics = metricsAddress.map { .address($0) } ?? .off
        return limitFields
            + Setting.all.filter { names.contains($0.name) }.map {
                ($0.name, $0.text(in: settings))
            }
    }

    /// The limits in force, by the settings' names, for the trail and for `check`.
    var limitFields: [(String, String)] {
        Setting.all.filter { $0.name.hasPrefix("limit-") }.map { ($0.name, $0.text(in: self)) }
    }
}
