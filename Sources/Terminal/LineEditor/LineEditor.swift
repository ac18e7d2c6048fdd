internal import Cryptography
private import Foundation

/// Lines from a person who is being talked to meanwhile.
///
/// On a terminal the input stands at the bottom under an optional status line, can be edited, and
/// what is printed appears above it. Where standard input or output is no terminal, lines are just
/// read and printed. Everything may be called from any thread.
public final class LineEditor: Sendable {
    /// What the person did.
    public enum Event: Equatable, Sendable {
        /// A complete input; it may hold line feeds if it was pasted.
        case line(String)
        /// Ctrl-C on an empty input.
        case interrupted
        /// Ctrl-D on an empty input, the end of the file, or the terminal is gone.
        case endOfInput
    }

    /// The events, in order; one reader. Plain lines are read only when the reader asks for one, so
    /// that what follows a command can be read by whoever carries it out, between `stop` and `start`.
    public let events: Events

    /// Whether there is an editor at all, rather than plain lines.
    public let isInteractive: Bool

    private struct State {
        var editor: EditorState
        var decoder = KeyDecoder()
        var painter = Painter()
        var status: String?
        var mode: TerminalMode?
        var isRunning = false
        var observer: Int?
        var stopRead: Int32 = -1
        var stopWrite: Int32 = -1
        /// Whether the events have reached their end.
        var hasEnded = false
    }
    private let state: Lock<State>
    private let continuation: AsyncStream<Event>.Continuation
    private let prompt: String
    private let style: Style
    private let input: Descriptor
    private let output: Descriptor
    private let hasStopped = DispatchSemaphore(value: 0)

    /// Prepares an editor on standard input and output.
    ///
    /// - Parameter commands: what Tab completes.
    /// - Parameter isPlain: reads and prints plain lines even on a terminal.
    public convenience init(
        prompt: String = "> ", commands: [String] = [], isPlain: Bool = false
    ) {
        self.init(
            prompt: prompt, commands: commands, isPlain: isPlain, input: .standardInput,
            output: .standardOutput)
    }

    init(
        prompt: String, commands: [String], isPlain: Bool, input: Descriptor, output: Descriptor
    ) {
        let isTerminal = !isPlain && input.isTerminal && output.isTerminal
        isInteractive = isTerminal && ProcessInfo.processInfo.environment["TERM"] != "dumb"
        style = Style(isTerminal: isInteractive)
        self.prompt = prompt
        self.input = input
        self.output = output
        state = Lock(State(editor: EditorState(commands: commands)))
        let (stream, continuation) = AsyncStream.makeStream(of: Event.self)
        self.continuation = continuation
        events = Events(stream: stream)
    }

    // MARK: For the program

    /// Begins to read.
    public func start() {
        let stopRead: Int32? = state.withLock { state -> Int32? in
            guard !state.isRunning, !state.hasEnded, let pipe = WakePipe() else { return nil }
            state.isRunning = true
            (state.stopRead, state.stopWrite) = (pipe.read, pipe.write)
            if isInteractive {
                enterRawMode(&state)
                redraw(&state)
            }
            return pipe.read
        }
        guard let stopRead else { return }
        if isInteractive {
            let observer = Signals.observe { [weak self] in self?.take(signal: $0) }
            state.withLock { $0.observer = observer }
        }
        Thread.detachNewThread { [self] in
            if isInteractive { readKeys(stop: stopRead) } else { readLines(stop: stopRead) }
            hasStopped.signal()
        }
    }

    /// Stops reading, removes the input from the screen and restores the terminal. What was typed
    /// is there again after `start`, so that between the two a passphrase or a form can be read.
    public func stop() {
        let wasRunning = state.withLock { state in
            guard state.isRunning else { return false }
            state.isRunning = false
            close(state.stopWrite)
            if isInteractive { emit(state.painter.erase(), &state) }
            state.mode?.restore()
            state.mode = nil
            if let observer = state.observer { Signals.ignore(observer) }
            state.observer = nil
            return true
        }
        guard wasRunning else { return }
        events.release()
        hasStopped.wait()
        state.withLock { state in _ = close(state.stopRead) }
    }

    /// Prints lines above the input.
    ///
    /// - Throws: `BrokenPipe` if nobody reads any more.
    public func print(_ lines: [String]) throws {
        let text = lines.map { $0 + "\n" }.joined()
        let isDrawn = state.withLock { state in
            guard isInteractive, state.isRunning else { return false }
            emit(state.painter.erase() + text, &state)
            redraw(&state)
            return true
        }
        if !isDrawn { try output.write(Array(text.utf8)) }
    }

    /// Shows one line above the input; nil removes it. Plain lines have no status line.
    public func setStatus(_ text: String?) {
        state.withLock { state in
            guard state.status != text else { return }
            state.status = text
            if state.isRunning { redraw(&state) }
        }
    }

    /// Columns that a printed line may take; practically endless without a terminal.
    public var width: Int {
        output.isTerminal ? output.windowSize?.columns ?? 80 : Output.endless
    }

    // MARK: The terminal

    private func enterRawMode(_ state: inout State) {
        state.mode = TerminalMode.change(input.number, farewell: "\u{1B}[?2004l\r\u{1B}[?25h") {
            $0.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
            $0.c_iflag &= ~tcflag_t(ICRNL | INLCR | IXON | ISTRIP | BRKINT)
        }
        emit("\u{1B}[?2004h", &state)
    }

    private func redraw(_ state: inout State) {
        guard isInteractive else { return }
        let size = output.windowSize ?? (80, 24)
        let frame = state.editor.frame(
            prompt: prompt, status: state.status, width: size.columns,
            maximumRows: max(2, size.rows / 2))
        emit(state.painter.paint(frame, style: style), &state)
    }

    /// A terminal that can't be written to is gone; the reading side notices as well.
    private func emit(_ text: String, _ state: inout State) {
        do {
            try output.write(Array(text.utf8))
        } catch {
            finish(&state)
        }
    }

    private func finish(_ state: inout State) {
        guard !state.hasEnded else { return }
        state.hasEnded = true
        continuation.yield(.endOfInput)
        continuation.finish()
    }

    private func take(signal number: Int32) {
        state.withLock { state in
            guard state.isRunning else { return }
            if number == SIGCONT {
                state.mode?.restore()
                state.painter = Painter()
                enterRawMode(&state)
            } else if let size = output.windowSize {
                state.painter.resize(to: size.columns)
            }
            redraw(&state)
        }
    }

    // MARK: The reading thread

    private func readKeys(stop: Int32) {
        while true {
            let isWaiting = state.withLock { $0.decoder.isWaitingForSequence }
            let outcome = try? input.read(wake: stop, timeout: isWaiting ? 50 : -1)
            switch outcome {
            case .bytes(let bytes):
                let keys = state.withLock { $0.decoder.receive(bytes) }
                for key in keys {
                    guard press(key) else { return }
                }
            case .timedOut: state.withLock { $0.decoder.timeOut() }
            case .woken: return
            case .end, nil:
                state.withLock { finish(&$0) }
                return
            }
        }
    }

    /// Carries out one key; false when reading shall stop.
    private func press(_ key: Key) -> Bool {
        let effect: EditorState.Effect? = state.withLock { state in
            guard state.isRunning else { return nil }
            let effect = state.editor.press(key)
            switch effect {
            case .none: break
            case .redraw: redraw(&state)
            case .bell: emit("\u{07}", &state)
            case .clearScreen:
                emit("\u{1B}[H\u{1B}[2J", &state)
                state.painter = Painter()
                redraw(&state)
            case .offer(let commands):
                emit(state.painter.erase() + commands.joined(separator: "  ") + "\n", &state)
                redraw(&state)
            case .suspend:
                emit(state.painter.erase(), &state)
                state.mode?.restore()
                state.mode = nil
            case .endOfInput: finish(&state)
            case .submit(let line):
                redraw(&state)
                continuation.yield(.line(line))
            case .interrupt: continuation.yield(.interrupted)
            }
            return effect
        }
        switch effect {
        case nil, .endOfInput: return false
        case .suspend:
            // Goes on when the shell continues us; SIGCONT then restores editor and screen.
            kill(getpid(), SIGSTOP)
            return true
        default: return true
        }
    }

    private func readLines(stop: Int32) {
        while true {
            events.waitForDemand()
            guard state.withLock({ $0.isRunning }) else { return }
            guard let line = try? StandardInput.shared.line(wake: stop) else { break }
            continuation.yield(.line(line))
        }
        state.withLock { state in
            if state.isRunning { finish(&state) }
        }
    }

    /// The sequence of what the person did.
    public struct Events: AsyncSequence, Sendable {
        /// What the person did.
        public typealias Element = Event
        fileprivate let stream: AsyncStream<Event>
        private let demand = DispatchSemaphore(value: 0)

        fileprivate init(stream: AsyncStream<Event>) {
            self.stream = stream
        }

        fileprivate func waitForDemand() { demand.wait() }
        fileprivate func release() { demand.signal() }

        /// Begins to read.
        public func makeAsyncIterator() -> Iterator {
            Iterator(base: stream.makeAsyncIterator(), demand: demand)
        }

        /// Reads one event after the other.
        public struct Iterator: AsyncIteratorProtocol {
            fileprivate var base: AsyncStream<Event>.Iterator
            fileprivate let demand: DispatchSemaphore

            /// The next event, nil after the last.
            public mutating func next() async -> Event? {
                demand.signal()
                return await base.next()
            }
        }
    }
}
