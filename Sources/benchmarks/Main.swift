import Foundation

/// First figures of the project, each beside the limit that the machine sets in the same run.
///
/// `tools/bench` builds everything in release and sets the stage that the last two need.
@main
struct Benchmarks {
    static func main() async {
        let known = ["mls", "relay", "latency", "start"]
        let wanted = Array(CommandLine.arguments.dropFirst())
        guard wanted.allSatisfy(known.contains) else {
            print("usage: benchmarks [\(known.joined(separator: " | "))]…")
            exit(64)
        }
        do {
            for name in wanted.isEmpty ? known : wanted {
                switch name {
                case "mls": try MLSBenchmarks.run()
                case "relay": try await RelayBenchmarks.run()
                case "latency": try await LatencyBenchmark.run()
                default: try StartBenchmark.run()
                }
            }
        } catch BenchmarkError.descriptors(let needed, let allowed) {
            print(
                """
                benchmarks: \(needed) open files are needed and \(allowed) allowed; raise the hard \
                limit (ulimit -Hn) and try again
                """)
            exit(1)
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
    /// The shell's hard limit on open files is too low.
    case descriptors(needed: UInt, allowed: UInt)
    /// The system refused something.
    case system(String, Int32)
}

/// What `tools/bench` says about the stage that it set.
func setting(_ name: String) throws -> String {
    guard let value = ProcessInfo.processInfo.environment[name] else {
        throw BenchmarkError.missingSetting("\(name); run tools/bench")
    }
    return value
}

/// A program built beside this one.
func program(_ name: String) throws -> String {
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: own).deletingLastPathComponent().path + "/" + name
}
