import Foundation
import Glibc

/// What a process holds, as the system sees it.
struct RelayVitals: CustomStringConvertible {
    /// KiB of memory in use.
    let resident: Int
    /// KiB of memory that were ever in use at once.
    let peak: Int
    /// File descriptors.
    let descriptors: Int

    init(of pid: pid_t) throws {
        let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        func number(_ name: String) throws -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            guard
                let number = line?.split(whereSeparator: \.isWhitespace).dropFirst().first
                    .flatMap({ Int($0) })
            else { throw StageError.unexpectedOutput("status of the process", output: status) }
            return number
        }
        resident = try number("VmRSS")
        peak = try number("VmHWM")
        descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
    }

    var description: String {
        "\(resident) KiB, at most \(peak) KiB, \(descriptors) descriptors"
    }
}
