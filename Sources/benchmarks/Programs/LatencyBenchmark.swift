import Foundation
import Glibc

/// From Enter in one chat to the text on the screen of the other: two real `curtain chat` processes
/// on pipes, over a real relay with its disk.
enum LatencyBenchmark {
    static func run() async throws {
        let id = try setting("CURTAIN_CONSULTATION")
        let stage = try setting("CURTAIN_STAGE")
        let doctor = try Chat(Seat(of: "doctor"), consultation: id)
        let patient = try Chat(Seat(of: "patient"), consultation: id)
        defer {
            doctor.end()
            patient.end()
        }
        // Until both are connected, messages take the long way.
        for number in 0..<5 {
            try doctor.type("warm \(number) from the doctor")
            try patient.wait(for: "warm \(number) from the doctor", within: .seconds(60))
            try patient.type("warm \(number) from the patient")
            try doctor.wait(for: "warm \(number) from the patient", within: .seconds(60))
        }
        let runs = 200
        let pause = Duration.milliseconds(20)
        var times: [Double] = []
        var syncs: [Double] = []
        for number in 0..<runs {
            if number % 20 == 0 {
                syncs.append(try Floors.fdatasyncMilliseconds(in: stage, count: 20, pause: pause))
            }
            let (writer, reader) = number % 2 == 0 ? (doctor, patient) : (patient, doctor)
            let text = "message number \(number) of a talk."
            let start = ContinuousClock.now
            try writer.type(text)
            try reader.wait(for: text, within: .seconds(20))
            times.append((ContinuousClock.now - start).milliseconds)
            // People don't answer within a millisecond: read marks and acknowledgements settle.
            try await Task.sleep(for: pause)
        }
        let sync = median(syncs)
        let echo = try await Floors.echoMilliseconds(count: 100, pause: pause)
        let report = Report(
            "From Enter to shown on the other side",
            "median of \(runs) messages, 20 ms between them")
        report.line(
            "median", Figure(value: median(times), unit: "ms"),
            limit: Figure(value: 3 * sync + echo, unit: "ms"),
            of: "3 fdatasync (outbox, relay, receiver) + 1 echo")
        report.line("99th percentile", Figure(value: quantile(0.99, of: times), unit: "ms"))
        report.line("one fdatasync after 20 ms of silence", Figure(value: sync, unit: "ms"))
        report.line(
            "one bare WebSocket echo after 20 ms of silence", Figure(value: echo, unit: "ms"))
    }
}

/// A `curtain chat` on pipes.
private final class Chat {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private var seen = Data()

    init(_ seat: Seat, consultation: String) throws {
        process.executableURL = URL(fileURLWithPath: try program("curtain"))
        process.arguments = ["chat", consultation]
        process.environment = seat.environment
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    func type(_ text: String) throws {
        try input.fileHandleForWriting.write(contentsOf: Data((text + "\n").utf8))
    }

    /// Reads on until the text has been shown.
    func wait(for text: String, within limit: Duration) throws {
        let deadline = ContinuousClock.now + limit
        while true {
            if let found = seen.firstRange(of: Data(text.utf8)) {
                seen = Data(seen[found.upperBound...])
                return
            }
            var descriptor = pollfd(
                fd: output.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0)
            guard ContinuousClock.now < deadline else {
                throw BenchmarkError.unexpected("“\(text)” was never shown")
            }
            if unsafe poll(&descriptor, 1, 100) > 0 {
                let more = output.fileHandleForReading.availableData
                guard !more.isEmpty else { throw BenchmarkError.unexpected("a chat ended") }
                seen.append(more)
            }
        }
    }

    func end() {
        try? input.fileHandleForWriting.close()
        process.terminate()
        process.waitUntilExit()
    }
}
