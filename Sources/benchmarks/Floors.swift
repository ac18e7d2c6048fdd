import Foundation
import Glibc
import WebSockets

/// What this machine can do at best, measured in the same run.
enum Floors {
    /// Milliseconds of one append of 1 KiB with fdatasync, in the folder given.
    ///
    /// - Parameter pause: silence before each; a disk and a processor that were left alone answer
    ///   much later than busy ones.
    static func fdatasyncMilliseconds(
        in folder: String, count: Int = 400, pause: Duration = .zero
    ) throws -> Double {
        let path = folder + "/fdatasync"
        let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw BenchmarkError.system("open \(path)", errno) }
        defer {
            close(file)
            unsafe unlink(path)
        }
        let block = [UInt8](repeating: 0x5a, count: 1024)
        var times: [Double] = []
        for _ in 0..<count {
            if pause > .zero { usleep(UInt32(clamping: Int64(pause.microseconds))) }
            let start = ContinuousClock.now
            let written = unsafe block.withUnsafeBytes {
                unsafe write(file, $0.baseAddress, $0.count)
            }
            guard written == block.count, fdatasync(file) == 0 else {
                throw BenchmarkError.system("fdatasync", errno)
            }
            times.append((ContinuousClock.now - start).milliseconds)
        }
        return median(times)
    }

    /// Milliseconds of one round trip of 1 KiB through a bare WebSocket echo on this machine.
    ///
    /// - Parameter pause: silence before each.
    static func echoMilliseconds(
        count: Int = 3000, pause: Duration = .zero
    ) async throws -> Double {
        let serving = try EventLoop(name: "echo")
        let asking = try EventLoop(name: "echo client")
        let servers = Slot<WebSocketServer>()
        let server = try WebSocketServer(
            WebSocketServer.Configuration(subprotocol: "echo"), on: serving
        ) { id, event in
            if case .message(let message) = event { _ = servers.value?.send(message, to: id) }
        }
        servers.value = server
        guard let url = WebSocketURL("ws://\(server.boundAddress)") else {
            throw BenchmarkError.unexpected("\(server.boundAddress)")
        }
        let times = await withCheckedContinuation { continuation in
            let measurement = EchoMeasurement(
                count: count, pause: pause, loop: asking, done: continuation)
            _ = WebSocketClient(
                WebSocketClient.Configuration(url: url, subprotocol: "echo"), on: asking
            ) { client, event in
                measurement.handle(event, of: client)
            }
        }
        await asking.shutdownAndWait()
        await serving.shutdownAndWait()
        guard times.count == count else { throw BenchmarkError.unexpected("the echo stopped") }
        return median(times)
    }
}

/// Something that is set before the first event reads it.
final class Slot<Value: Sendable>: @unchecked Sendable {
    var value: Value?
}

/// Touched by one loop only.
private final class EchoMeasurement: @unchecked Sendable {
    private let message = [UInt8](repeating: 0x5a, count: 1024)
    private let count: Int
    private let pause: Duration
    private let loop: EventLoop
    private let done: CheckedContinuation<[Double], Never>
    private var times: [Double] = []
    private var sentAt = ContinuousClock.now
    private var isDone = false

    init(
        count: Int, pause: Duration, loop: EventLoop,
        done: CheckedContinuation<[Double], Never>
    ) {
        self.count = count
        self.pause = pause
        self.loop = loop
        self.done = done
    }

    func handle(_ event: WebSocketClient.Event, of client: WebSocketClient) {
        switch event {
        case .opened: send(client)
        case .message:
            times.append((ContinuousClock.now - sentAt).milliseconds)
            guard times.count < count else { return finish() }
            guard pause > .zero else { return send(client) }
            loop.schedule(after: pause) { self.send(client) }
        case .drained: break
        case .closed, .failed: finish()
        }
    }

    private func send(_ client: WebSocketClient) {
        sentAt = .now
        if client.send(message) != .queued { finish() }
    }

    private func finish() {
        guard !isDone else { return }
        isDone = true
        done.resume(returning: times)
    }
}
