private import Foundation
private import RelayCore
private import RelayProtocol
private import WebSockets
private import Yams

/// Where a value was written.
enum SettingPlace: Sendable {
    case file(String, line: Int)
    case environment(String)
    case flag(String)
    case nowhere

    /// `relay.yaml line 3: listen`, `CURTAIN_RELAY_LISTEN`, `--listen`.
    func naming(_ name: String) -> String {
        switch self {
        case .file(let path, let line): "\(path) line \(line): \(name)"
        case .environment(let variable): variable
        case .flag(let name): "--\(name)"
        case .nowhere: name
        }
    }
}

/// Settings as they are read, and all that is wrong with them.
public struct SettingsReading: Sendable {
    /// What was written well; the rest has its default.
    public private(set) var settings = RelaySettings()
    /// One sentence each, with the place and what to do, in the order in which it was read.
    public private(set) var problems: [String] = []
    private var places: [String: SettingPlace] = [:]
    /// Settings of which a value was refused.
    private var refused: Set<String> = []
    /// What seems to be missing may stand in a file that can't be read.
    private var isFileRead = true

    mutating func take(_ name: String, _ value: String, from place: SettingPlace) {
        guard let setting = Setting.named(name) else {
            return problems.append(
                "\(place.naming(name)) is no setting; \(Self.advice(for: name))")
        }
        if let expected = setting.read(value, &settings) {
            problems.append("\(place.naming(name)) can't be \"\(value)\"; write \(expected)")
            refused.insert(name)
        } else {
            places[name] = place
        }
    }

    /// Where a setting was written, and its name.
    func naming(_ name: String) -> String { (places[name] ?? .nowhere).naming(name) }

    /// Whether what a setting says is what was written, or its default.
    func isGood(_ name: String) -> Bool { isFileRead && !refused.contains(name) }

    private static func advice(for name: String) -> String {
        let candidates = Setting.all.filter { !$0.isHidden }.map {
            ($0.name, EditDistance.between($0.name, name))
        }
        if let nearest = candidates.min(by: { $0.1 < $1.1 }), nearest.1 <= 1 + name.count / 5 {
            return "did you mean \(nearest.0)?"
        }
        return "see curtain-relay serve --help"
    }

    // MARK: - The file

    mutating func readFile(_ path: String) {
        do {
            guard let root = try DoubledNames.compose(try Self.text(of: path)) else { return }
            guard let mapping = root.mapping else {
                throw SettingsError(problems: [
                    "\(path) line 1 is no setting; write one \"name: value\" per line"
                ])
            }
            var names: Set<String> = []
            for (key, value) in mapping { take(key, value, path, &names) }
        } catch {
            isFileRead = false
            switch error {
            case let error as SettingsError: problems += error.problems
            case let error as YamlError: problems.append(Self.explain(error, path))
            default: problems.append("\(path) is no YAML; write one \"name: value\" per line")
            }
        }
    }

    private static func text(of path: String) throws(SettingsError) -> String {
        guard let content = FileManager.default.contents(atPath: path) else {
            throw SettingsError(problems: [
                "\(path) can't be read; name a readable YAML file with --config"
            ])
        }
        if let text = String(data: content, encoding: .utf8) { return text }
        let lines = content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let line = lines.firstIndex { String(data: $0, encoding: .utf8) == nil } ?? 0
        throw SettingsError(problems: [
            "\(path) line \(line + 1) is no text in UTF-8; write it anew"
        ])
    }

    private mutating func take(
        _ key: Node, _ value: Node, _ path: String, _ names: inout Set<String>
    ) {
        let line = key.mark?.line ?? value.mark?.line ?? 0
        let place = SettingPlace.file(path, line: line)
        guard let name = key.string.map(DoubledNames.original) else {
            return problems.append("\(path) line \(line) is no setting; write \"name: value\"")
        }
        guard names.insert(name).inserted else {
            refused.insert(name)
            return problems.append("\(place.naming(name)) stands there twice; strike one")
        }
        if let text = value.scalar?.string {
            take(name, value.tag == .implicit || text != "~" ? text : "", from: place)
        } else if let entries = value.sequence, Setting.named(name)?.takesList == true,
            entries.allSatisfy({ $0.scalar != nil })
        {
            take(name, entries.compactMap(\.scalar?.string).joined(separator: ","), from: place)
        } else {
            problems.append(
                "\(place.naming(name)) wants one value; write it in quotes, on the same line")
        }
    }

    private static func explain(_ error: YamlError, _ path: String) -> String {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            "\(path) line \(mark.line) is no YAML (\(problem)); write \"name: value\""
        case .reader(let problem, let offset?, _, let text):
            "\(path) line \(text.utf8.prefix(offset).count { $0 == UInt8(ascii: "\n") } + 1) is no YAML"
                + " (\(problem)); write \"name: value\""
        case .duplicatedKeysInMapping(let duplicates, let context):
            "\(path) line \(context.mark.line): \(duplicates.first ?? "a name") stands there twice;"
                + " strike one"
        default: "\(path) is no YAML; write one \"name: value\" per line"
        }
    }

    // MARK: - What must fit together

    mutating func compare() {
        if isFileRead, places["data"] == nil || settings.dataFolder.isEmpty {
            problems.append("data is missing; name the relay's folder with --data")
        }
        if isFileRead, places["clinic-root"] == nil || settings.clinicRoot.isEmpty {
            problems.append(
                "clinic-root is missing; name the clinic's root certificate with --clinic-root")
        }
        let tls = settings.tls
        if tls.certificatePath.isEmpty != tls.privateKeyPath.isEmpty {
            let present = tls.certificatePath.isEmpty ? "tls-key" : "tls-cert"
            complain(
                present,
                "needs \(present == "tls-key" ? "tls-cert" : "tls-key") beside it; give both or none"
            )
        }
        if !settings.hasTLS, !settings.listen.isLoopback {
            complain(
                "listen",
                "is no loopback address, and plain ws is for those only; give tls-cert and tls-key")
        }
        if settings.metricsAddress == settings.listen, settings.listen.port != 0 {
            complain("metrics-listen", "is where listen is; give it another port", or: "listen")
        }
        // A mirror that doesn't answer isn't in a folder that does.
        let data = settings.dataFolder
        if let mirror = settings.mirrorPath,
            PatientLook.result({ DataFolder.folder(data, holds: mirror + "/file") }) == true
        {
            complain("trail-mirror", "is in the data folder; a mirror belongs on another disk")
        }
        compareLimits()
    }

    /// Each holds something that the one below or above it would never let come.
    private mutating func compareLimits() {
        // What a frame has beside a content: names, signatures, other requests' small change.
        let room = 64 << 10
        let limits = settings.limits
        let frame = Int(limits.published.frameByteCount)
        let message = Int(limits.published.messageByteCount)
        for (name, content) in [
            ("limit-message-bytes", message), ("limit-commit-bytes", limits.commitByteCount),
            ("limit-package-bytes", limits.packageByteCount),
        ] where content > frame - room {
            complain(name, "must be 64 KiB below limit-frame-bytes", or: "limit-frame-bytes")
        }
        if limits.mailboxByteCount < message {
            complain(
                "limit-mailbox-bytes", "can't be below limit-message-bytes",
                or: "limit-message-bytes")
        }
        if limits.unreadByteCount < frame {
            complain(
                "limit-unread-bytes", "can't be below limit-frame-bytes", or: "limit-frame-bytes")
        }
        if limits.windowByteCount > limits.connectionByteCount {
            complain(
                "limit-window-bytes", "can't be above limit-connection-window-bytes",
                or: "limit-connection-window-bytes")
        }
        if limits.connectionByteCount > limits.unsentByteCount {
            complain(
                "limit-connection-window-bytes", "can't be above limit-unsent-bytes",
                or: "limit-unsent-bytes")
        }
        // Where a group may have no files, the size of one doesn't matter.
        if limits.groupBlobByteCount > 0, limits.blobByteCount > limits.groupBlobByteCount {
            complain(
                "limit-blob-bytes", "can't be above limit-group-blob-bytes",
                or: "limit-group-blob-bytes")
        }
        if limits.groupBlobByteCount > limits.allBlobByteCount {
            complain(
                "limit-group-blob-bytes", "can't be above limit-all-blob-bytes",
                or: "limit-all-blob-bytes")
        }
    }

    /// Says it of the setting that was written, if only one of two was.
    private mutating func complain(_ name: String, _ words: String, or other: String? = nil) {
        let place = places[name] ?? other.flatMap { places[$0] } ?? .nowhere
        let named = places[name] == nil ? other ?? name : name
        let subject = places[name] == nil && other != nil ? ": \(name)" : ""
        problems.append("\(place.naming(named))\(subject) \(words)")
    }
}
