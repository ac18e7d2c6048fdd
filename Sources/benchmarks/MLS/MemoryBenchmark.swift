import Cryptography
import Foundation
import MLS

/// The memory that a group takes, by the kernel's account of a process that does nothing else.
struct MemoryBenchmark {
    private static let variable = "MLS_BENCH_MEMORY"
    private let snapshot: SecretBytes
    private let commit: [UInt8]

    /// - Parameters:
    ///   - snapshot: a stored group.
    ///   - commit: the next commit to it, of somebody else.
    init(snapshot: SecretBytes, commit: [UInt8]) throws {
        self.snapshot = snapshot
        self.commit = commit
    }

    /// Runs a copy of this program, which loads the group and follows the commit.
    func peakByteCounts() throws -> [(name: String, byteCount: Int)] {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("mls-memory-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try Data(snapshot.exposedCopy()).write(to: folder.appendingPathComponent("snapshot"))
        try Data(commit).write(to: folder.appendingPathComponent("commit"))
        let child = Process()
        child.executableURL = URL(
            fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/self/exe"))
        child.arguments = ["mls"]
        child.environment = [Self.variable: folder.path]
        let output = Pipe()
        child.standardOutput = output
        try child.run()
        let bytes = try output.fileHandleForReading.readToEnd() ?? Data()
        child.waitUntilExit()
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        guard child.terminationStatus == 0, !lines.isEmpty else {
            throw BenchmarkError.unexpected("the memory benchmark's child failed")
        }
        return lines.compactMap { line in
            let fields = line.split(separator: "\t")
            guard fields.count == 2, let byteCount = Int(fields[1]) else { return nil }
            return (String(fields[0]), byteCount)
        }
    }

    /// Does the work, if this process is the child.
    static func runAsChild() throws -> Bool {
        guard let path = ProcessInfo.processInfo.environment[variable] else { return false }
        let folder = URL(fileURLWithPath: path)
        let commit = [UInt8](try Data(contentsOf: folder.appendingPathComponent("commit")))
        let bytes = SecretBytes(try Data(contentsOf: folder.appendingPathComponent("snapshot")))
        let before = try status("VmRSS")
        var group = try Group(serialized: bytes)
        print("loaded\t\(try status("VmRSS") - before)")
        print("peak of loading\t\(try status("VmHWM") - before)")
        guard
            case .commit(let staged) = try group.process(
                commit, validator: EveryoneAccepted(), at: BenchmarkClient.now)
        else { throw BenchmarkError.unexpected("not a commit") }
        try group.merge(staged, at: BenchmarkClient.now)
        print("peak of following a commit\t\(try status("VmHWM") - before)")
        return true
    }

    private static func status(_ field: String) throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(field) }),
            let kibibytes = line.split(whereSeparator: { !$0.isNumber }).first.flatMap({ Int($0) })
        else { throw BenchmarkError.unexpected("/proc/self/status has no \(field)") }
        return kibibytes * 1024
    }
}
