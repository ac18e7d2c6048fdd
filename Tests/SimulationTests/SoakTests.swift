import Simulation
import Testing

/// Relay and devices in worlds in which everything goes wrong that can, each from a seed.
struct SoakTests {
    /// Worlds in which every planted flaw is found, so that what they find nothing in has none.
    private static let worlds = Soak(seed: 2_000, steps: 100_000)

    @Test(.timeLimit(.minutes(10)))
    func `nothing is lost, doubled, misplaced or kept over a hundred thousand steps`() throws {
        let report = try Self.worlds.run()
        let found = report.violation
        #expect(
            found == nil, "seed \(found?.seed ?? 0), step \(found?.step ?? 0): \(found?.what ?? "")"
        )
        #expect(report.steps >= 100_000)
        // What didn't happen wasn't tested.
        let counts = Dictionary(uniqueKeysWithValues: report.counts.map { ($0.name, $0.count) })
        for trouble in Self.troubles {
            #expect(counts[trouble, default: 0] > 0, "\(trouble) never happened")
        }
    }

    /// As in `Tests/Simulation/README.md`, besides what takes real devices.
    private static let troubles = [
        "dropped", "delayed", "redelivered", "repeated", "overtaken", "cut", "halfOpen", "crash",
        "crashUnsynced", "crashUnsaid", "unsyncedLost", "unsyncedKept", "deviceCrash",
        "deviceUnstored", "deviceUnsent", "deviceDiskFull", "diskFull", "batchLost", "nearlyFull",
        "littleRoom", "fileAtRelay", "fileFetched", "fileRefused", "slowDisk", "clockJump", "night",
        "attacked", "attackRefused",
    ]

    @Test(arguments: Flaw.allCases.filter { $0 != .none && !$0.isOfRestores })
    func `what is wrong on purpose is found`(_ flaw: Flaw) throws {
        var soak = Self.worlds
        soak.flaw = flaw
        #expect(try soak.run().violation != nil)
    }
}
