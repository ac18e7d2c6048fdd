/// Why a scene couldn't go on, with all that a reader of the log needs.
enum StageError: Error, CustomStringConvertible {
    case system(String, Int32)
    case stillRunning(String, Duration, output: String, errors: String)
    case missingLine(String, output: String, errors: String)
    case unexpectedEnding(String, Ending, expected: Int32, output: String, errors: String)
    case unexpectedOutput(String, output: String)
    case neverHappened(String)

    var description: String {
        switch self {
        case .system(let call, let code): "\(call) failed with error \(code)"
        case .stillRunning(let name, let limit, let output, let errors):
            "\(name): still running after \(limit)\n\(Self.streams(output, errors))"
        case .missingLine(let name, let output, let errors):
            "\(name): the awaited line never came\n\(Self.streams(output, errors))"
        case .unexpectedEnding(let name, let ending, let expected, let output, let errors):
            "\(name): \(ending), expected \(expected)\n\(Self.streams(output, errors))"
        case .unexpectedOutput(let name, let output): "\(name): can't be read:\n\(output)"
        case .neverHappened(let what): "never happened: \(what)"
        }
    }

    private static func streams(_ output: String, _ errors: String) -> String {
        "--- standard output\n\(output.suffix(4000))\n--- standard error\n\(errors.suffix(4000))"
    }
}
