import Foundation

/// SIGHUP before the relay's loop takes it over: it neither ends the process nor is forgotten.
enum HangUp {
    /// Notes it from now on, until somebody else takes it over.
    static func take() { _ = signal(SIGHUP, noteHangUp) }

    /// Whether one has been noted.
    static var hasCome: Bool { unsafe hangUpCame != 0 }
}

nonisolated(unsafe) private var hangUpCame: Int32 = 0

private func noteHangUp(_ number: Int32) { unsafe hangUpCame = 1 }
