internal import Cryptography

/// Standard input by lines, for everyone in the process who reads lines from it.
final class StandardInput: Sendable {
    static let shared = StandardInput()

    private struct State {
        var buffer: [UInt8] = []
        var hasEnded = false
    }
    private let state = Lock(State())
    private let descriptor: Descriptor

    init(_ descriptor: Descriptor = .standardInput) {
        self.descriptor = descriptor
    }

    /// Octets of the longest line; what is longer arrives in pieces.
    private static let maximumByteCount = 1 << 20

    /// The next line without its end, nil after the last one. One caller at a time.
    ///
    /// - Throws: `CancellationError` when `wake` becomes readable.
    func line(wake: Int32) throws -> String? {
        while true {
            if let line = state.withLock({ Self.takeLine(from: &$0) }) { return line }
            if state.withLock({ $0.hasEnded }) { return nil }
            switch try descriptor.read(wake: wake, limit: 65_536) {
            case .bytes(let bytes): state.withLock { $0.buffer += bytes }
            case .end:
                // Ctrl-D on a terminal ends one question, not all that follow.
                let hasRest = state.withLock { state in
                    state.hasEnded = !descriptor.isTerminal
                    return !state.buffer.isEmpty
                }
                if !hasRest || descriptor.isTerminal { return nil }
            case .woken: throw CancellationError()
            case .timedOut: continue
            }
        }
    }

    private static func takeLine(from state: inout State) -> String? {
        var line: [UInt8]
        if let end = state.buffer.firstIndex(of: UInt8(ascii: "\n")) {
            line = Array(state.buffer[..<end])
            state.buffer.removeSubrange(...end)
        } else if state.buffer.count >= maximumByteCount || state.hasEnded, !state.buffer.isEmpty {
            line = state.buffer
            state.buffer = []
        } else {
            return nil
        }
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        return String(decoding: line, as: UTF8.self)
    }
}
