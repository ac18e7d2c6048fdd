/// Words to the person that aren't the command's result: standard error, `curtain: lower case`.
public enum Diagnostic {
    /// Prints `curtain: text`; control characters in `text` are shown, not obeyed.
    public static func warn(_ text: String) {
        var lines = Sanitiser.lines("curtain: " + text)
        if let columns = Descriptor.standardError.windowSize?.columns {
            lines = lines.flatMap { TextLayout.wrap($0, width: columns) }
        }
        write(lines.joined(separator: "\n") + "\n")
    }

    /// Whether a person sees standard error.
    public static var isTerminal: Bool { Descriptor.standardError.isTerminal }

    /// Shows how far something is, on a line that the next such call, or anything else, replaces.
    public static func progress(_ text: String) {
        let columns = Descriptor.standardError.windowSize?.columns ?? 80
        let line = TextLayout.wrap(Sanitiser.line(text), width: max(1, columns - 1)).first ?? ""
        write("\r\u{1B}[K" + line)
    }

    /// Prints a failure, unless it is a quiet one.
    static func report(_ failure: Failure) {
        if !failure.message.isEmpty { warn(failure.message) }
    }

    /// Writes to standard error; if even that fails there is nobody to tell.
    static func write(_ text: String) {
        try? Descriptor.standardError.write(Array(text.utf8))
    }
}
