private import Cryptography

/// Copies of the database in the making, which a process that a signal ends takes with it.
public enum UnfinishedFiles {
    private struct State {
        var paths: Set<String> = []
        /// Nothing is begun or finished any more.
        var isEnding = false
    }

    private static let state = Lock(State())

    /// Erases all of them, for good: whoever makes one is refused from now on. For the end of the
    /// process.
    public static func eraseAll() {
        let paths = state.withLock { state in
            state.isEnding = true
            return state.paths
        }
        for path in paths {
            OwnFile.eraseFolder(path)
            DataFolder.removeDatabase(path)
        }
    }

    /// Notes that a file, or a folder, is being made at a path.
    ///
    /// - Throws: `.backup` if the process ends.
    static func begin(_ path: String) throws(RelayError) {
        try change { $0.insert(path) }
    }

    /// Notes that what is at a path is whole, or gone.
    ///
    /// - Parameter body: gives it its name; called only if the process doesn't end.
    /// - Throws: `.backup` if the process ends, or what `body` throws.
    static func finish(
        _ path: String, _ body: () throws(RelayError) -> Void = {}
    ) throws(RelayError) {
        try change { paths throws(RelayError) in
            try body()
            paths.remove(path)
        }
    }

    private static func change(
        _ body: (inout Set<String>) throws(RelayError) -> Void
    ) throws(RelayError) {
        try state.withLock { state throws(RelayError) in
            guard !state.isEnding else { throw .backup("it was interrupted") }
            try body(&state.paths)
        }
    }
}
