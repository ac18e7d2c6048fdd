/// Runs worlds one after the other, each from a seed of its own, until so many steps were made.
public struct Soak: Sendable {
    /// The first world's seed; the next one has the next number.
    public var seed: UInt64
    /// How many events in all.
    public var steps: Int
    /// How many events in one world.
    public var worldSteps = 5_000
    /// Pairs of real devices in every world, beside the light ones. Only for a process that does
    /// nothing else: it makes libsodium's random octets come from the seed.
    public var vaults = 0
    /// What is wrong on purpose.
    public var flaw = Flaw.none
    /// Prints every event.
    public var isLoud = false

    /// A run that finds nothing wrong unless something is.
    public init(seed: UInt64, steps: Int) {
        self.seed = seed
        self.steps = steps
    }

    /// What came of it.
    public struct Report: Sendable {
        /// Events in all.
        public var steps = 0
        /// Worlds.
        public var worlds = 0
        /// Simulated seconds.
        public var seconds = 0
        /// A digest of every event: the same for the same seed.
        public var digest: UInt64 = 0
        /// How often what happened, in the order of the names' declaration.
        public var counts: [(name: String, count: Int)] = []
        /// What didn't hold.
        public var violation: Violation?
    }

    /// Something that didn't hold.
    public struct Violation: Sendable {
        /// In words.
        public var what: String
        /// The world's seed.
        public var seed: UInt64
        /// The event at which it was found.
        public var step: Int
        /// What happened last.
        public var trace: [String]
    }

    /// Runs.
    ///
    /// - Parameter progress: called after every world with the events so far.
    public func run(progress: (Int) -> Void = { _ in }) throws -> Report {
        var report = Report()
        var counts = [Int](repeating: 0, count: Happening.allCases.count)
        // What is made once in a process draws random octets, too: better before the first world.
        if vaults > 0 { try World(seed: ~seed, vaults: vaults).run(steps: 400) }
        while report.steps < steps, report.violation == nil {
            let world = try World(
                seed: seed &+ UInt64(report.worlds), vaults: vaults, flaw: flaw, isLoud: isLoud)
            world.run(steps: min(worldSteps, steps - report.steps))
            report.steps += world.steps
            report.worlds += 1
            report.seconds += world.now / 1_000_000
            report.digest = report.digest &* 31 ^ world.trace.digest
            for (index, count) in world.trace.counts.enumerated() { counts[index] += count }
            if let what = world.violation {
                report.violation = Violation(
                    what: what, seed: world.seed, step: world.steps, trace: world.trace.tail)
            }
            progress(report.steps)
        }
        report.counts = Happening.allCases.map { ("\($0)", counts[Int($0.rawValue)]) }
        return report
    }
}
