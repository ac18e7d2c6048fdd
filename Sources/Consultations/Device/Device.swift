import Cryptography
import FoundationEssentials
import RelayProtocol
import Vault
import WebSockets

/// A person's device: everything that a patient or doctor does with consultations, over a vault in
/// a folder and a relay that it reconnects to by itself.
///
/// What a call promises is durable when it returns, so a process may end at any moment. Calls that
/// need the relay wait for it only where their name or a `timeout` says so.
///
///     let device = try await Device.join(invitation, home: folder, passphrase: passphrase)
///     await device.connect()
///     let card = try Card(text)
///     let consultation = try await device.request(card, at: time, reason: "Headache")
///     for await event in await device.events() {
///         if case .message(let id, let message) = event, case .text(let words) = message.body {
///             print(id, words)
///         }
///     }
///
/// A device is an actor that runs on an event loop's thread; all devices of a process share one.
public actor Device {
    private let engine: Engine
    private let loop: EventLoop
    /// The thread that everything of this device runs on.
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe loop.asUnownedSerialExecutor()
    }

    let options: DeviceOptions
    nonisolated let relayKey: VerifyingKey
    private var isClosed = false
    private var listeners: [Int: AsyncStream<DeviceEvent>.Continuation] = [:]
    private var lastListener = 0
    private var waiters: [Int: Waiter] = [:]
    private var lastWaiter = 0

    // The connection.
    private(set) var isWanted = false
    private var socket: WebSocketClient?
    private var attempt = 0
    private var backoff: Backoff
    private var retryTimer: EventLoopTimer?
    private var wakeTimer: EventLoopTimer?
    /// Whether the home mailbox was opened since `connect`.
    private(set) var hasConnected = false

    /// Where the connection to the relay stands.
    public private(set) var connection = ConnectionState.offline

    init(vault: Vault, options: DeviceOptions) throws(DeviceError) {
        self.options = options
        loop = try SharedLoop.get()
        engine = try Engine(vault: vault, options: options)
        relayKey = engine.state.relayKey
        backoff = Backoff(bounds: options.backoff)
        try engine.dropUnreadFiles(at: Clock.now())
    }

    // MARK: Units of work

    /// Changes the device's state and carries out what follows.
    func perform<Result>(
        _ body: (inout Turn) throws -> Result
    ) throws(DeviceError) -> Result {
        guard !isClosed else { throw .closed }
        defer { carryOut() }
        return try engine.perform(at: Clock.now(), body)
    }

    /// Looks at the state.
    func inspect<Result>(_ body: (DeviceState) throws -> Result) throws(DeviceError) -> Result {
        guard !isClosed else { throw .closed }
        let state = engine.state
        return try Engine.translating { try body(state) }
    }

    /// Looks into the vault.
    func read<Result>(
        _ body: (DeviceState, ReadTransaction) throws -> Result
    ) throws(DeviceError) -> Result {
        guard !isClosed else { throw .closed }
        let state = engine.state
        return try engine.read { try body(state, $0) }
    }

    var vault: Vault { engine.vault }
    var currentState: DeviceState { engine.state }
    var transferCount: Int { engine.transferCount }
    var counts: (received: Int, sent: Int) { (engine.receivedCount, engine.sentCount) }

    private func carryOut() {
        for output in engine.takeOutputs() {
            switch output {
            case .send(let frame):
                if let socket, socket.send(frame) != .queued { socket.close() }
            case .event(.connection(.connected)):
                hasConnected = true
                backoff.reset()
                become(.connected)
            case .event(let event): publish(event)
            case .disconnect(let trouble): stop(for: trouble)
            }
        }
        scheduleWake()
        checkWaiters()
    }

    private func scheduleWake() {
        wakeTimer?.cancel()
        wakeTimer = nil
        guard let time = engine.wakeAt, socket != nil else { return }
        let now = Clock.now()
        let pause = Duration.milliseconds(Int64(clamping: time > now ? time - now : 0))
        wakeTimer = loop.schedule(after: pause) { [weak self] in
            self?.assumeIsolated { $0.wake() }
        }
    }

    private func wake() {
        guard !isClosed else { return }
        do throws(DeviceError) {
            try engine.wake(at: Clock.now())
        } catch {
            stop(for: .ofDisk(error))
        }
        carryOut()
    }

    // MARK: Events

    /// What happens from now on; every call gives a sequence of its own, which ends with `close`.
    public func events() -> AsyncStream<DeviceEvent> {
        let (stream, continuation) = AsyncStream.makeStream(of: DeviceEvent.self)
        guard !isClosed else {
            continuation.finish()
            return stream
        }
        lastListener += 1
        let number = lastListener
        listeners[number] = continuation
        continuation.onTermination = { [weak self] _ in
            guard let self else { return }
            Task { await self.forgetListener(number) }
        }
        return stream
    }

    private func forgetListener(_ number: Int) { listeners[number] = nil }

    private func publish(_ event: DeviceEvent) {
        for listener in listeners.values { listener.yield(event) }
    }

    private func become(_ state: ConnectionState) {
        guard state != connection else { return }
        connection = state
        publish(.connection(state))
        checkWaiters()
    }

    // MARK: The connection

    /// Connects, and stays connected until `disconnect`: what fails is tried again after pauses
    /// that grow and are drawn at random.
    public func connect() {
        guard !isClosed, !isWanted else { return }
        isWanted = true
        hasConnected = false
        dial()
    }

    /// Ends the connection. What waits, waits.
    public func disconnect() {
        isWanted = false
        hangUp()
        become(.offline)
    }

    private func hangUp() {
        retryTimer?.cancel()
        retryTimer = nil
        attempt += 1
        if let socket {
            self.socket = nil
            socket.close()
            try? engine.connectionClosed(at: Clock.now())
        }
        scheduleWake()
    }

    private func dial() {
        guard isWanted, !isClosed, socket == nil else { return }
        let address = options.relay ?? engine.state.profile.relayURL
        guard let url = WebSocketURL(address) else {
            isWanted = false
            return become(.stopped(.unreachable("not a WebSocket URL")))
        }
        // Nothing leaves this machine unless TLS protects it (`protocol/relay.md`, "Transport").
        guard url.isSecure || url.isLoopback else {
            isWanted = false
            return become(.stopped(.tls("ws:// is for this machine only; use wss://")))
        }
        become(.connecting)
        var configuration = WebSocketClient.Configuration(
            url: url, subprotocol: ProtocolConstants.subprotocol)
        if let path = options.authorityPath { configuration.trust = .authority(path: path) }
        attempt += 1
        let attempt = attempt
        socket = WebSocketClient(configuration, on: loop) { [weak self] _, event in
            self?.assumeIsolated { $0.handle(event, of: attempt) }
        }
    }

    private func handle(_ event: WebSocketClient.Event, of attempt: Int) {
        guard attempt == self.attempt, !isClosed else { return }
        do throws(DeviceError) {
            switch event {
            case .opened: try engine.connectionOpened(at: Clock.now())
            case .message(let message): try engine.receive(message, at: Clock.now())
            case .drained: break
            case .closed: try lostConnection(.lost)
            case .failed(let error): try lostConnection(ConnectionTrouble(error))
            }
        } catch {
            // The disk failed: nothing was acknowledged, so nothing is lost by starting again.
            stop(for: .ofDisk(error))
        }
        carryOut()
    }

    private func lostConnection(_ trouble: ConnectionTrouble) throws(DeviceError) {
        socket = nil
        try engine.connectionClosed(at: Clock.now())
        retry(after: trouble)
    }

    private func retry(after trouble: ConnectionTrouble) {
        guard isWanted, !isClosed else { return }
        let pause = backoff.next(random: Random.number(below: .max))
        become(.waiting(retryIn: pause, cause: trouble))
        retryTimer?.cancel()
        retryTimer = loop.schedule(after: pause) { [weak self] in
            self?.assumeIsolated { $0.dial() }
        }
    }

    /// The engine, or the disk, gives up this connection.
    private func stop(for trouble: ConnectionTrouble) {
        hangUp()
        guard isWanted else { return }
        if trouble.isFinal {
            isWanted = false
            become(.stopped(trouble))
        } else {
            retry(after: trouble)
        }
    }

    // MARK: Waiting

    private struct Waiter {
        let condition: (isolated Device) -> Bool
        let continuation: CheckedContinuation<Bool, Never>
        let timer: EventLoopTimer
    }

    /// Waits until the condition holds; false when the time is over first, or the task cancelled.
    func wait(
        for duration: Duration, until condition: @escaping (isolated Device) -> Bool
    ) async -> Bool {
        if condition(self) { return true }
        lastWaiter += 1
        let number = lastWaiter
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard !isClosed, !Task.isCancelled else {
                    return continuation.resume(returning: false)
                }
                let timer = loop.schedule(after: duration) { [weak self] in
                    self?.assumeIsolated { $0.resume(number) }
                }
                waiters[number] = Waiter(
                    condition: condition, continuation: continuation, timer: timer)
            }
        } onCancel: {
            Task { await self.resume(number) }
        }
    }

    private func resume(_ number: Int) {
        guard let waiter = waiters.removeValue(forKey: number) else { return }
        waiter.timer.cancel()
        waiter.continuation.resume(returning: waiter.condition(self))
    }

    private func checkWaiters() {
        for (number, waiter) in waiters where waiter.condition(self) { resume(number) }
    }

    /// Whether the relay has nothing more for this device, and this device nothing for the relay.
    var isSettled: Bool {
        let state = engine.state
        guard connection == .connected, state.openedHome else { return false }
        return state.hasNothingToDo(at: Clock.now())
    }

    // MARK: The end

    /// Disconnects, wipes the keys from memory and releases the vault. Sequences of events end, and
    /// later calls throw `.closed`.
    public func close() {
        guard !isClosed else { return }
        isWanted = false
        hangUp()
        become(.offline)
        isClosed = true
        for number in Array(waiters.keys) { resume(number) }
        for listener in listeners.values { listener.finish() }
        listeners = [:]
        engine.vault.close()
    }
}

/// The loop that all devices of a process share; it ends with the process.
private enum SharedLoop {
    static let loop: Result<EventLoop, EventLoopError> = {
        do throws(EventLoopError) {
            return .success(try EventLoop(name: "devices"))
        } catch {
            return .failure(error)
        }
    }()

    static func get() throws(DeviceError) -> EventLoop {
        switch loop {
        case .success(let loop): return loop
        case .failure: throw .resources
        }
    }
}

/// The wall clock.
enum Clock {
    /// Unix milliseconds.
    static func now() -> UInt64 { Date.now.milliseconds }
}

extension ConnectionTrouble {
    init(_ error: ConnectError) {
        switch error {
        case .unreachable(let text): self = .unreachable(text)
        case .timedOut: self = .unreachable("no answer")
        case .tlsRefused(let text): self = .tls(text)
        case .trust(let text): self = .tls(text)
        case .upgradeRefused(let status): self = .unreachable("HTTP status \(status)")
        case .subprotocolRefused: self = .unreachable("not a Curtain relay")
        case .cancelled: self = .lost
        case .library: self = .unreachable("the WebSocket library failed")
        }
    }

    /// What a failed unit of work means for the connection.
    static func ofDisk(_ error: DeviceError) -> Self {
        error == .vault(.diskFull) ? .diskFull : .disk
    }

    /// Whether trying again can't help.
    var isFinal: Bool {
        switch self {
        case .untrusted, .displaced, .copied: true
        case .rejected(let refusal): refusal == .token || refusal == .notAllowed
        default: false
        }
    }
}
