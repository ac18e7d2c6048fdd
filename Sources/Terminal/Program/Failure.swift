/// Why a command didn't do what was asked, in words for the person at the terminal.
///
/// Printed as `curtain: what happened; what to do`. The words are ours: a peer's text inside them
/// goes through `Sanitiser` like everything else that is printed.
public struct Failure: Error, Equatable, Sendable {
    /// What the shell will see.
    public let status: ExitStatus
    /// What happened: lower case, no full stop. Empty if all has been said already.
    public let happened: String
    /// What to do about it, if anything is known to help.
    public let advice: String?

    /// Explains a failure.
    public init(_ status: ExitStatus, _ happened: String, advice: String? = nil) {
        self.status = status
        self.happened = happened
        self.advice = advice
    }

    /// A failure whose reasons stand on standard output already: only the exit status is missing.
    public static func quiet(_ status: ExitStatus) -> Failure {
        Failure(status, "")
    }

    /// `what happened; what to do`.
    public var message: String {
        guard let advice else { return happened }
        return "\(happened); \(advice)"
    }
}

/// The reader of standard output went away, as `head` does. Nobody is left to tell.
public struct BrokenPipe: Error, Equatable, Sendable {
    /// Makes the error.
    public init() {}
}
