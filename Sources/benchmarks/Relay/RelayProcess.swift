import Clinic
import Credentials
import Cryptography
import Foundation
import Glibc
import WebSockets

/// The built relay with a clinic made for the occasion, in a temporary folder.
final class RelayProcess: Sendable {
    let folder: String
    let url: WebSocketURL
    let clinicRoot: SigningKey
    private let process: Process

    /// Unix seconds.
    var now: UInt64 { UInt64(max(0, Date().timeIntervalSince1970)) }

    /// - Parameter options: added to what every benchmark wants.
    init(_ options: [String] = []) throws {
        folder = NSTemporaryDirectory() + "curtain-bench-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let root = try ClinicRoot(name: "Benchmark", at: Date(), days: 2)
        clinicRoot = root.key
        let rootFile = folder + "/root.pem"
        try Data(root.certificate.pem.utf8).write(to: URL(fileURLWithPath: rootFile))

        process = Process()
        process.executableURL = URL(fileURLWithPath: try program("curtain-relay"))
        process.arguments =
            [
                "serve", "--data", folder + "/relay", "--clinic-root", rootFile, "--listen",
                "127.0.0.1:0", "--limit-requests-per-second", "1000000",
                "--limit-request-burst", "2000000",
                "--limit-connection-requests-per-second", "1000000",
                "--limit-connection-request-burst", "2000000", "--log-level", "warning",
            ] + options
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

    /// Processor time that the relay has used, in seconds.
    func processorSeconds() throws -> Double {
        let text = try String(
            contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)
        // The second field, the program's name, may hold spaces.
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12])
        else { throw BenchmarkError.unexpected("/proc/…/stat") }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Memory that the relay has in use, in KiB.
    func residentKiB() throws -> Double {
        let text = try String(
            contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmRSS:") }),
            let number = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first,
            let value = Double(number)
        else { throw BenchmarkError.unexpected("/proc/…/status") }
        return value
    }

    /// Lets this process and the relay, which it starts afterwards, open that many descriptors.
    static func allowDescriptors(_ count: UInt) throws {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            throw BenchmarkError.system("getrlimit", errno)
        }
        guard limit.rlim_cur < count else { return }
        guard limit.rlim_max >= count else {
            throw BenchmarkError.descriptors(needed: count, allowed: UInt(limit.rlim_max))
        }
        limit.rlim_cur = rlim_t(count)
        guard unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            throw BenchmarkError.system("setrlimit", errno)
        }
    }
}
