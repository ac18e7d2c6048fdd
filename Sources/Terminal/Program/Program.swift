public import ArgumentParser
private import Foundation

/// A command that takes SIGINT, SIGTERM and SIGHUP over by itself. Until it does, each of them does
/// what it does to any process.
public protocol TakesSignals: ParsableCommand {}

/// Runs a program's commands: parses arguments, turns errors into words and exit statuses, and lets
/// signals end it cleanly.
public enum Program {
    /// Runs the command that the arguments name, then ends the process.
    ///
    /// SIGINT, SIGTERM and SIGHUP cancel the command's task: one that then returns has ended well,
    /// one that throws ends by the signal. A second signal, or three seconds, end the process at
    /// once; terminal modes are restored in every case. A command that `TakesSignals` is left to
    /// do with them what it wants.
    ///
    /// - Parameter beforeSignal: called, on any thread, before a signal ends the process: removes what
    ///   isn't finished.
    /// - Parameter explain: words and status for the errors of the program's libraries; nil for
    ///   those that it doesn't know, which are reported as a bug.
    public static func run<Root: ParsableCommand>(
        _ root: Root.Type, beforeSignal: @escaping @Sendable () -> Void = {},
        explain: @escaping @Sendable (any Error) -> Failure? = { _ in nil }
    ) async -> Never {
        Descriptor.reserveStandard()
        _ = signal(SIGPIPE, SIG_IGN)
        let command: any ParsableCommand
        do {
            command = try root.parseAsRoot()
        } catch {
            exit(reportUsage(error, of: root).rawValue)
        }
        Signals.beforeEnd(beforeSignal)
        if !(command is any TakesSignals) { Signals.install() }
        let work = Task { await perform(command, in: root, explain: explain) }
        Signals.onInterruption { work.cancel() }
        let outcome = await work.value
        TerminalMode.restoreAll()
        switch outcome {
        case .ended(let status): exit(status.rawValue)
        case .interrupted: Signals.end(by: Signals.interruption ?? SIGINT)
        }
    }

    enum Outcome: Equatable, Sendable {
        case ended(ExitStatus)
        case interrupted
    }

    private static func perform<Root: ParsableCommand>(
        _ command: any ParsableCommand, in root: Root.Type,
        explain: @Sendable (any Error) -> Failure?
    ) async -> Outcome {
        do {
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                var command = command
                try command.run()
            }
            return .ended(.done)
        } catch {
            return outcome(of: error, in: root, explain: explain)
        }
    }

    /// What an error means for the person and the shell.
    static func outcome<Root: ParsableCommand>(
        of error: any Error, in root: Root.Type, explain: (any Error) -> Failure?
    ) -> Outcome {
        // What fails because the person interrupted it is no failure of the command's.
        if error is CancellationError || Task.isCancelled { return .interrupted }
        if error is BrokenPipe { return .ended(.inputOutput) }
        if let failure = explain(error) ?? error as? Failure {
            Diagnostic.report(failure)
            return .ended(failure.status)
        }
        // Asking for help arrives as an error of ArgumentParser's that only it can name.
        let isRequest = root.exitCode(for: error) == .success
        if isRequest || error is ExitCode || error is ValidationError {
            return .ended(reportUsage(error, of: root))
        }
        // Errors of ours describe themselves without secrets; those of others may not.
        Diagnostic.warn("unexpected \(type(of: error)): \(error); this is a bug, please report it")
        return .ended(.bug)
    }

    /// Prints what ArgumentParser has to say: help to standard output, mistakes to standard error.
    private static func reportUsage<Root: ParsableCommand>(
        _ error: any Error, of root: Root.Type
    ) -> ExitStatus {
        let status = ExitStatus(rawValue: root.exitCode(for: error).rawValue)
        let columns = Descriptor.standardOutput.windowSize?.columns
        var text = root.fullMessage(for: error, columns: columns)
        guard !text.isEmpty else { return status }
        if status == .done {
            do {
                try Descriptor.standardOutput.write(Array((text + "\n").utf8))
            } catch {
                return .inputOutput
            }
            return .done
        }
        if text.hasPrefix("Error: ") { text.removeFirst("Error: ".count) }
        if let first = text.first, text.dropFirst().first?.isUppercase != true {
            text = first.lowercased() + text.dropFirst()
        }
        Diagnostic.warn(text)
        return status
    }
}
