import Foundation

/// First figures of the project, each beside the limit that the machine sets in the same run.
@main
struct Benchmarks {
    static func main() async {
        let known = ["mls"]
        let wanted = Array(CommandLine.arguments.dropFirst())
        guard wanted.allSatisfy(known.contains) else {
            print("usage: benchmarks [\(known.joined(separator: " | "))]…")
            exit(64)
        }
        do {
            try MLSBenchmarks.run()
        } catch {
            print("benchmarks: \(error)")
            exit(1)
        }
    }
}

/// Why a benchmark can't say anything.
enum BenchmarkError: Error {
    /// The caller didn't set what `tools/bench` sets.
    case missingSetting(String)
    /// A program under test misbehaved.
    case unexpected(String)
    /// The system refused something.
    case system(String, Int32)
}
