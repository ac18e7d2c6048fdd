import Cryptography
import Foundation

/// Cold start of a one-shot command: from starting the process to its end.
enum StartBenchmark {
    static func run() throws {
        let environment = try Seat(of: "patient").environment
        let curtain = try program("curtain")
        let runs = 21
        let me = try milliseconds(runs, curtain, ["me"], environment)
        let version = try milliseconds(runs, curtain, ["--help"], environment)
        let bare = try milliseconds(runs, "/bin/true", [], environment)
        let cost = PasswordHash.Cost.interactive
        let salt = Random.bytes(PasswordHash.saltByteCount)
        let passphrase = SecretBytes(Array("passphrase".utf8))
        var hashing: [Double] = []
        for _ in 0..<5 {
            let start = ContinuousClock.now
            _ = try PasswordHash.deriveKey(from: passphrase, salt: salt, cost: cost)
            hashing.append((ContinuousClock.now - start).milliseconds)
        }
        let report = Report("Cold start", "median of \(runs) runs")
        report.line(
            "curtain me", Figure(value: me, unit: "ms"),
            limit: Figure(value: median(hashing) + bare, unit: "ms"),
            of: "Argon2id at the vault's cost + starting /bin/true")
        report.line(
            "curtain --help", Figure(value: version, unit: "ms"),
            limit: Figure(value: bare, unit: "ms"), of: "starting /bin/true")
    }

    private static func milliseconds(
        _ runs: Int, _ path: String, _ arguments: [String], _ environment: [String: String]
    ) throws -> Double {
        var times: [Double] = []
        for _ in 0..<runs {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: path)
            process.arguments = arguments
            process.environment = environment
            process.standardOutput = FileHandle.nullDevice
            process.standardInput = FileHandle.nullDevice
            let start = ContinuousClock.now
            try process.run()
            process.waitUntilExit()
            times.append((ContinuousClock.now - start).milliseconds)
            guard process.terminationStatus == 0 else {
                throw BenchmarkError.unexpected("\(path) ended with \(process.terminationStatus)")
            }
        }
        return median(times)
    }
}

/// A person's home on the stage that `tools/bench` has set.
struct Seat {
    let environment: [String: String]

    init(of who: String) throws {
        let stage = try setting("CURTAIN_STAGE")
        environment = ProcessInfo.processInfo.environment.merging([
            "CURTAIN_HOME": "\(stage)/\(who)",
            "CURTAIN_PASSPHRASE_FILE": "\(stage)/\(who).pass",
        ]) { $1 }
    }
}
