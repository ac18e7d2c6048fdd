import Cryptography

/// Starts programs that have one folder for their home, and keeps what each of them says.
final class Launcher: Sendable {
    private let home: String
    private let logPrefix: String
    private let count = Lock(0)

    /// - Parameter logPrefix: what the names of the files of output begin with; numbers follow.
    init(home: String, logPrefix: String) {
        self.home = home
        self.logPrefix = logPrefix
    }

    /// Starts a program and lets it run.
    func start(
        _ program: Program, _ arguments: [String], environment: [String: String] = [:],
        keepsInput: Bool = false
    ) throws -> Child {
        let number = count.withLock { count in
            count += 1
            return count
        }
        return try Child(
            program, arguments,
            environment: environment.merging(["HOME": home]) { own, _ in own },
            outputPrefix: "\(logPrefix)\(number)", keepsInput: keepsInput)
    }
}
