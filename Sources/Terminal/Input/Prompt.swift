private import Glibc

/// Questions and their one-line answers. The questions go to standard error, and only if a person
/// sits at the other end; the answers come from standard input either way.
public enum Prompt {
    /// Whether a person answers.
    public static var isInteractive: Bool { Descriptor.standardInput.isTerminal }

    /// Asks for a line; an empty answer means `default`.
    ///
    /// - Throws: status 64 if the input ends, `CancellationError` on Ctrl-C.
    public static func line(_ label: String, default preset: String? = nil) throws -> String {
        if isInteractive {
            let hint = preset.map { $0.isEmpty ? "" : " [\($0)]" } ?? ""
            Diagnostic.write("\(label)\(hint): ")
        }
        guard let answer = try StandardInput.shared.line(wake: Signals.wakeDescriptor) else {
            if isInteractive { Diagnostic.write("\n") }
            throw Failure(.usage, "the input ended before '\(label)' was answered")
        }
        let text = answer.trimmed
        return text.isEmpty ? preset ?? "" : text
    }

    /// Asks a question that only `y` or `yes` answers with yes.
    public static func confirm(_ question: String) throws -> Bool {
        let answer = try line("\(question) [y/N]")
        return ["y", "yes"].contains(answer.lowercased())
    }
}

extension String {
    fileprivate var trimmed: String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
