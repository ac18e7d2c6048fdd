public import ArgumentParser
private import Foundation

/// `--json`, shared by all commands that print something.
public struct OutputOptions: ParsableArguments {
    /// Whether standard output is for programs.
    @Flag(name: .long, help: "Print one JSON object per line.")
    public var json = false

    /// For ArgumentParser.
    public init() {}

    /// Standard output, as the options want it.
    public var output: Output { Output(isJSON: json) }
}

/// Standard output: words for people, or one JSON object per line for programs.
public struct Output: Sendable {
    /// Whether it is for programs.
    public let isJSON: Bool
    /// Colours, if the terminal has them and the person wants them.
    public let style: Style
    /// Columns of the terminal; practically endless if standard output is no terminal, so that
    /// nothing is shortened in a pipe or a file.
    public let width: Int

    /// Looks at standard output and the environment.
    public init(isJSON: Bool = false) {
        let isTerminal = Descriptor.standardOutput.isTerminal
        self.isJSON = isJSON
        style = Style(isTerminal: isTerminal && !isJSON)
        width = isTerminal ? Descriptor.standardOutput.windowSize?.columns ?? 80 : Self.endless
    }

    static let endless = 1_000_000

    /// Prints one line. A peer's text in it must have gone through `Sanitiser`.
    ///
    /// - Throws: `BrokenPipe` if nobody reads any more.
    public func line(_ text: String = "") throws {
        try Descriptor.standardOutput.write(Array((text + "\n").utf8))
    }

    /// Prints a sentence, broken between words where the terminal ends.
    public func sentence(_ text: String) throws {
        for row in TextLayout.wrap(text, width: width) { try line(row) }
    }

    /// Prints one object on a line of its own.
    ///
    /// Property names are the keys; dates become RFC 3339 in UTC, `Data` base64url. What a terminal
    /// might obey is escaped, which changes nothing for whoever reads the JSON.
    public func json(_ value: some Encodable) throws {
        try line(JSONText.encode(value))
    }

    /// Prints a table that fits the terminal.
    public func table(_ table: Table) throws {
        for row in table.render(width: width, style: style) { try line(row) }
    }

    /// Prints `name:  value` lines with the values below one another.
    public func fields(_ fields: [(String, String)]) throws {
        for row in FieldList.render(fields, width: width, style: style) { try line(row) }
    }
}

/// Colours and weights, which vanish where they aren't wanted.
public struct Style: Sendable {
    /// Whether anything is coloured at all.
    public let isColoured: Bool

    /// Plain or coloured by choice, for tests and files.
    public init(isColoured: Bool) {
        self.isColoured = isColoured
    }

    /// Coloured on a terminal, unless `NO_COLOR` (no-color.org) or a dumb terminal say otherwise.
    init(isTerminal: Bool) {
        let environment = ProcessInfo.processInfo.environment
        let noColour = environment["NO_COLOR"].map { !$0.isEmpty } ?? false
        isColoured = isTerminal && !noColour && environment["TERM"] != "dumb"
    }

    /// Bold.
    public func bold(_ text: String) -> String { wrap(text, "1") }
    /// Faint.
    public func dim(_ text: String) -> String { wrap(text, "2") }
    /// Red: something failed.
    public func red(_ text: String) -> String { wrap(text, "31") }
    /// Green: something holds.
    public func green(_ text: String) -> String { wrap(text, "32") }
    /// Yellow: look here.
    public func yellow(_ text: String) -> String { wrap(text, "33") }
    /// Cyan: a name.
    public func cyan(_ text: String) -> String { wrap(text, "36") }
    /// Dark on light.
    func reverse(_ text: String) -> String { wrap(text, "7") }

    private func wrap(_ text: String, _ code: String) -> String {
        isColoured && !text.isEmpty ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}
