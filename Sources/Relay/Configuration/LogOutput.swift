private import Cryptography
private import Foundation
public import Logging

/// Where all lines of the log go: standard error, one line per event, for people or for programs.
///
/// What may stand in a line: what happened and figures. No mailbox, group, key, content, name, or
/// address of a peer, at any level.
public final class LogOutput: Sendable {
    private let format: LogFormat
    private let state: Lock<LogLevel>
    private let write: @Sendable (String) -> Void

    /// To standard error.
    public convenience init(_ format: LogFormat, _ level: LogLevel) {
        self.init(format, level) { line in
            try? FileHandle.standardError.write(contentsOf: Data(line.utf8))
        }
    }

    init(_ format: LogFormat, _ level: LogLevel, write: @escaping @Sendable (String) -> Void) {
        self.format = format
        self.state = Lock(level)
        self.write = write
    }

    /// From which level on there are lines.
    public var level: LogLevel {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }

    /// A logger that writes here.
    public func logger() -> Logger {
        Logger(label: "curtain-relay") { _ in Handler(output: self) }
    }

    fileprivate func put(_ event: LogEvent, _ fields: [(name: String, value: LogField)]) {
        let time = Date().formatted(
            Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        switch format {
        case .text:
            let words = fields.map { " \($0.name)=\($0.value.word)" }.joined()
            write(Self.oneLine("\(time) \(event.level) \(event.message)\(words)") + "\n")
        case .json:
            var object: [String: LogField] = [
                "time": .text(time), "level": .text(event.level.rawValue),
                "message": .text(event.message.description),
            ]
            for (name, value) in fields { object[name] = value }
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            guard let data = try? encoder.encode(object) else { return }
            write(String(decoding: data, as: UTF8.self) + "\n")
        }
    }

    /// A line of the log is a line, whatever an operator's path has in it.
    private static func oneLine(_ text: String) -> String {
        String(text.map { $0.isNewline ? " " : $0 })
    }
}

/// What a line tells besides its sentence: a number stays one in JSON.
private enum LogField: Encodable {
    case text(String)
    case number(Int64)

    init(_ value: Logger.MetadataValue) {
        if case .stringConvertible(let number as any BinaryInteger) = value {
            self = .number(Int64(clamping: number))
        } else {
            self = .text(value.description)
        }
    }

    /// As a word of a line, in quotation marks if it is none.
    var word: String {
        switch self {
        case .number(let number): return "\(number)"
        case .text(let text):
            let isWord = !text.isEmpty && !text.contains { $0.isWhitespace || $0 == "\"" }
            return isWord ? text : "\"\(text.replacing("\"", with: "\\\""))\""
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let text): try container.encode(text)
        case .number(let number): try container.encode(number)
        }
    }
}

/// A logger's way to the one output.
private struct Handler: LogHandler {
    let output: LogOutput
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    /// The output's level; a logger of its own can't be louder.
    var logLevel: Logger.Level {
        get { output.level.level }
        set {}
    }

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        output.put(event, all.map { ($0.key, LogField($0.value)) }.sorted { $0.0 < $1.0 })
    }
}

extension LogLevel {
    fileprivate var level: Logger.Level {
        switch self {
        case .debug: .debug
        case .info: .info
        case .warning: .warning
        case .error: .error
        }
    }
}
