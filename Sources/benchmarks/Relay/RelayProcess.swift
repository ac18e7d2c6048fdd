import Clinic
import Credentials
import Cryptography
import Foundation
import WebSockets

/// The built relay with a clinic made for the occasion, in a temporary folder.
final class RelayProcess: Sendable {
    let folder: String
    let url: WebSocketURL
    let clinicRoot: SigningKey
    private let process: Process

    /// Unix seconds.
    var now: UInt64 { UInt64(max(0, Date().timeIntervalSince1970)) }

    init() throws {
        folder = NSTemporaryDirectory() + "curtain-bench-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let root = try ClinicRoot(name: "Benchmark", at: Date(), days: 2)
        clinicRoot = root.key
        let rootFile = folder + "/root.pem"
        try Data(root.certificate.pem.utf8).write(to: URL(fileURLWithPath: rootFile))

        process = Process()
        process.executableURL = URL(fileURLWithPath: try program("curtain-relay"))
        process.arguments = [
            "serve", "--data", folder + "/relay", "--clinic-root", rootFile, "--listen",
            "127.0.0.1:0", "--requests-per-second", "1000000",
        ]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        var ready = ""
        while !ready.contains("\n") {
            let more = output.fileHandleForReading.availableData
            guard !more.isEmpty else { throw BenchmarkError.unexpected("the relay ended") }
            ready += String(decoding: more, as: UTF8.self)
        }
        guard let address = ready.firstMatch(of: /127\.0\.0\.1:[0-9]+/),
            let url = WebSocketURL("ws://\(address.0)")
        else { throw BenchmarkError.unexpected("the ready line: \(ready)") }
        self.url = url
    }

    func end() {
        process.terminate()
        process.waitUntilExit()
        try? FileManager.default.removeItem(atPath: folder)
    }
}
