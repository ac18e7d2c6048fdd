internal import Cryptography
internal import Glibc

/// A change of a terminal's mode that is taken back when the program ends, however it ends.
struct TerminalMode: Sendable {
    private let key: Int

    private struct Saved {
        var modes: [Int: (descriptor: Int32, original: termios, farewell: String)] = [:]
        var next = 0
    }
    private static let saved = Lock(Saved())

    /// Changes the mode of the terminal behind `descriptor`.
    ///
    /// - Parameter farewell: written to the terminal when the mode is restored, for instance the
    ///   end of bracketed paste.
    /// - Returns: nil if it isn't a terminal.
    static func change(
        _ descriptor: Int32, farewell: String = "", discardingInput: Bool = false,
        _ edit: (inout termios) -> Void
    ) -> TerminalMode? {
        var original = termios()
        guard unsafe tcgetattr(descriptor, &original) == 0 else { return nil }
        var changed = original
        edit(&changed)
        let key = saved.withLock { saved in
            saved.next += 1
            saved.modes[saved.next] = (descriptor, original, farewell)
            return saved.next
        }
        let when = discardingInput ? TCSAFLUSH : TCSADRAIN
        guard unsafe tcsetattr(descriptor, when, &changed) == 0 else {
            saved.withLock { saved in saved.modes[key] = nil }
            return nil
        }
        return TerminalMode(key: key)
    }

    /// Puts the terminal back into the mode that it had.
    func restore() {
        let mode = Self.saved.withLock { saved in saved.modes.removeValue(forKey: key) }
        if let mode { Self.restore(mode) }
    }

    /// Restores everything that is still changed, the latest change first.
    static func restoreAll() {
        let modes = saved.withLock { saved in
            defer { saved.modes = [:] }
            return saved.modes.sorted { $0.key > $1.key }.map(\.value)
        }
        for mode in modes { restore(mode) }
    }

    private static func restore(
        _ mode: (descriptor: Int32, original: termios, farewell: String)
    ) {
        if !mode.farewell.isEmpty {
            try? Descriptor(number: mode.descriptor).write(Array(mode.farewell.utf8))
        }
        var original = mode.original
        unsafe tcsetattr(mode.descriptor, TCSADRAIN, &original)
    }
}
