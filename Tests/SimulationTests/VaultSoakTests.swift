import Foundation
import Simulation
import Testing

/// Worlds with real devices in them. They run in a process of their own, in which all random octets
/// come from the seed.
struct VaultSoakTests {
    @Test(.timeLimit(.minutes(5)))
    func `real devices lose, double and misplace nothing`() throws {
        let run = try soak("--seed", "5003", "--steps", "14000", "--vaults", "2")
        #expect(run.status == 0)
        // What didn't happen wasn't tested.
        for happening in [
            "backedUp", "restored", "reopened", "homeFellBack", "recovered", "deviceUnstored",
            "deviceUnsent", "fileSent", "fileShown",
        ] {
            #expect(run.output.contains("\(happening) "), "\(happening) never happened")
        }
    }

    @Test(.timeLimit(.minutes(5)), arguments: Flaw.allCases.filter(\.isOfRestores))
    func `what a restore does wrong on purpose is found`(_ flaw: Flaw) throws {
        // Worlds in which it soon makes a difference.
        let seed = flaw == .keepsIncarnation ? "5010" : "5103"
        let found = try soak(
            "--seed", seed, "--steps", "60000", "--vaults", "2", "--flaw", flaw.rawValue)
        #expect(found.status == 1)
        #expect(found.output.contains("VIOLATION"))
    }

    @Test(arguments: ["0", "1"])
    func `a seed decides everything`(_ vaults: String) throws {
        let once = ["--seed", "7", "--steps", "4000", "--world-steps", "1500", "--vaults", vaults]
        // The first line tells the time it took.
        let first = try soak(once).output.split(separator: "\n").dropFirst()
        let second = try soak(once).output.split(separator: "\n").dropFirst()
        #expect(first == second)
        #expect(!first.isEmpty)
    }

    private func soak(_ arguments: String...) throws -> (status: Int32, output: String) {
        try soak(arguments)
    }

    /// Runs the program that was built beside the tests.
    private func soak(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let binary = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let folder = URL(fileURLWithPath: binary).deletingLastPathComponent()
        let process = Process()
        process.executableURL = folder.appendingPathComponent("soak")
        process.arguments = arguments
        var environment = ProcessInfo.processInfo.environment
        environment["SWIFT_DETERMINISTIC_HASHING"] = "1"
        if FileManager.default.isWritableFile(atPath: "/dev/shm") {
            environment["TMPDIR"] = "/dev/shm"
        }
        process.environment = environment
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        let words = String(decoding: output, as: UTF8.self)
        if process.terminationStatus != 0 { print(words.suffix(4_000)) }
        return (process.terminationStatus, words)
    }
}
