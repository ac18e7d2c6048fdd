import Cryptography

/// `benchmarks mls [largest group] [suite]`: prints a table; see tools/bench.
let arguments = Array(CommandLine.arguments.dropFirst())
let suites: [(CipherSuite, String)] = [
    (.x25519ChaCha20, "0x0003"), (.x25519AES128, "0x0001"), (.xwingAES256, "hybrid"),
]
if arguments.first == "mls" {
    let largest = arguments.dropFirst().first.flatMap { Int($0) } ?? 1_000
    let wanted = arguments.dropFirst(2).first
    print(Measurement.header)
    for (suite, name) in suites where wanted == nil || wanted == name {
        // The large groups are measured with the suite that the goals are stated for.
        let size = suite == .x25519ChaCha20 || wanted == name ? largest : min(largest, 64)
        try MLSBenchmarks(suite: suite, name: name, largest: size).run { print($0.line) }
    }
} else {
    print("usage: benchmarks mls [LARGEST-GROUP] [SUITE]")
}
