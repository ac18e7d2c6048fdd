public import ArgumentParser
public import Simulation

import func Glibc.getenv

/// Runs simulated worlds and says what happened in them.
@main
struct SoakCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "soak",
        abstract: "Runs relay and devices on a simulated clock, network and disk, from one seed.",
        discussion: """
            Exits 0 if everything held. Exits 1 if something didn't, and says what it was, what \
            happened before, and how to see it again.
            """)

    @Option(help: "The first world's seed; the next world has the next number.")
    var seed: UInt64 = 1
    @Option(help: "How many events in all.")
    var steps = 1_000_000
    @Option(help: "How many events in one world.")
    var worldSteps = 5_000
    @Option(help: "Pairs of real devices in every world: their own code, over vaults in files.")
    var vaults = 0
    @Option(
        help:
            "Something wrong on purpose: \(Flaw.allCases.map(\.rawValue).joined(separator: ", "))."
    )
    var flaw: Flaw = .none
    @Flag(help: "Prints every event.")
    var trace = false

    func validate() throws {
        // Real devices go through dictionaries, whose order is another in every process without it.
        let isOrdered = unsafe getenv("SWIFT_DETERMINISTIC_HASHING") != nil
        guard vaults == 0 || isOrdered else {
            throw ValidationError("--vaults needs SWIFT_DETERMINISTIC_HASHING=1 (see tools/soak)")
        }
        guard steps > 0, worldSteps > 0 else {
            throw ValidationError("--steps and --world-steps are at least 1")
        }
    }

    func run() throws {
        var soak = Soak(seed: seed, steps: steps)
        soak.worldSteps = worldSteps
        soak.vaults = vaults
        soak.flaw = flaw
        soak.isLoud = trace
        let start = ContinuousClock.now
        let report = try soak.run()
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        print(
            """
            seed \(seed): \(report.steps) steps in \(report.worlds) worlds, \
            \(report.seconds / 3_600) simulated hours, in \(Int(seconds.rounded())) s; \
            \(Int(Double(report.steps) / seconds)) steps/s
            digest \(String(report.digest, radix: 16))
            """)
        let counts = report.counts.filter { $0.count > 0 }.map { "\($0.name) \($0.count)" }
        print(counts.joined(separator: ", "))
        guard let violation = report.violation else { return }
        if !trace { for line in violation.trace { print(line) } }
        print(
            """
            VIOLATION at step \(violation.step): \(violation.what)
            again: tools/soak --seed \(violation.seed) --steps \(worldSteps) \
            --world-steps \(worldSteps)\(vaults == 0 ? "" : " --vaults \(vaults)")\(flaw == .none ? "" : " --flaw \(flaw.rawValue)") --trace
            """)
        throw ExitCode(1)
    }
}

extension Flaw: ExpressibleByArgument {}
