import Cryptography
import Foundation
import MLS

/// The library's operations, each beside the primitives that it can't do without.
///
/// `MLS_BENCH_SUITES` and `MLS_BENCH_SIZES` (comma-separated) narrow it down.
enum MLSBenchmarks {
    static func run() throws {
        if try MemoryBenchmark.runAsChild() { return }
        let suites: [(CipherSuite, String)] = [
            (.x25519ChaCha20, "0x0003"), (.x25519AES128, "0x0001"), (.xwingAES256, "X-Wing"),
        ]
        let environment = ProcessInfo.processInfo.environment
        let wanted = environment["MLS_BENCH_SUITES"]?.split(separator: ",").map(String.init)
        let sizes =
            environment["MLS_BENCH_SIZES"]?.split(separator: ",").compactMap { Int($0) }
            ?? [2, 8, 64, 1000]
        for (suite, name) in suites where wanted?.contains(name) ?? true {
            try SuiteBenchmarks(
                suite: suite,
                report: Report("MLS, suite \(name)", "processor time, medians; one thread"),
                price: Primitives(suite: suite)
            ).run(sizes: sizes)
        }
    }
}

/// All figures of one suite.
private struct SuiteBenchmarks {
    let suite: CipherSuite
    let report: Report
    let price: Primitives

    /// Octets of an encoded leaf, about, and of what is signed for it.
    private var leafOctets: Int {
        (CipherAlgorithms(suite)?.publicKeyByteCount ?? 0) + 220
    }
    private var keyPackageOctets: Int { 2 * leafOctets - 100 }

    func run(sizes: [Int]) throws {
        try messages()
        try joining()
        for count in sizes {
            let began = processorMicroseconds()
            let populated = try BenchmarkGroup.populated(suite, count: count)
            let elapsed = (processorMicroseconds() - began) / 1000
            try commits(in: populated, "populated")
            report.line(
                "\(count) members: all joined by external commits",
                Figure(value: elapsed, unit: "ms"))
            try commits(in: BenchmarkGroup.fresh(suite, count: count), "fresh")
            try state(of: populated)
        }
        if let largest = sizes.max(), largest > 2 { try large(largest) }
    }

    /// What a figure is to reach in suite 0x0003: a factor over its floor, and over the C++ library
    /// mlspp on such a machine (operations per second, measured beforehand) a factor of 2.
    private struct Goal {
        let floorFactor: Double
        var mlspp: Double?

        func verdicts(_ microseconds: Double, floor: Double) -> [String] {
            let ratio = microseconds / floor
            var verdicts = [
                String(format: "%@ (≤ %.1f ×)", ratio <= floorFactor ? "ok" : "MISS", floorFactor)
            ]
            if let mlspp {
                let factor = 1e6 / microseconds / mlspp
                verdicts.append(
                    String(format: "%@ (%.1f × mlspp, ≥ 2)", factor >= 2 ? "ok" : "MISS", factor))
            }
            return verdicts
        }
    }

    private func line(
        _ name: String, _ microseconds: Double, _ floor: Floor, goal: Goal? = nil
    ) {
        let floorPrice = floor.microseconds(price)
        var remarks: [String] = []
        if let goal, suite == .x25519ChaCha20 {
            remarks = goal.verdicts(microseconds, floor: floorPrice)
        }
        remarks.append(floor.text)
        let isLong = microseconds > 5000
        func figure(_ value: Double) -> Figure {
            Figure(value: isLong ? value / 1000 : value, unit: isLong ? "ms" : "µs")
        }
        report.line(
            name, figure(microseconds), limit: figure(floorPrice),
            of: remarks.joined(separator: "; "))
    }

    // MARK: Messages

    /// 1 KiB and what is signed and encrypted with it; sender data; sender data's key and nonce, the
    /// message's, and the ratchet's next secret.
    private static let encrypting = Floor(
        signs: 1, signed: 1200, seals: 2, sealed: 1110, expands: 5)
    private static let decrypting = Floor(
        verifies: 1, verified: 1200, opens: 2, opened: 1110, expands: 5)

    private func messages() throws {
        let pair = try BenchmarkGroup.fresh(suite, count: 2)
        var writer = pair.first
        var reader = pair.last
        let text = [UInt8](repeating: 0x41, count: 1024)
        let perRun = 500
        var encrypting: [Double] = []
        var decrypting: [Double] = []
        for _ in 0..<11 {
            var stack: [[UInt8]] = []
            stack.reserveCapacity(perRun)
            let start = processorMicroseconds()
            for _ in 0..<perRun { stack.append(try writer.encrypt(text)) }
            let middle = processorMicroseconds()
            for message in stack { try reader.read(message, count: text.count) }
            let end = processorMicroseconds()
            encrypting.append((middle - start) / Double(perRun))
            decrypting.append((end - middle) / Double(perRun))
        }
        line("1 KiB encrypt", median(encrypting), Self.encrypting)
        line("1 KiB decrypt", median(decrypting), Self.decrypting)
        line(
            "1 KiB round trip", median(zip(encrypting, decrypting).map { $0 + $1 }),
            Floor(
                signs: 1, signed: 1200, verifies: 1, verified: 1200, seals: 2, sealed: 1110,
                opens: 2, opened: 1110, expands: 10),
            goal: Goal(floorFactor: 1.5, mlspp: 4_590))
        _ = writer.group.takeChanges()
        _ = reader.group.takeChanges()
        let message = try writer.encrypt(text)
        try reader.read(message, count: text.count)
        report.line("1 KiB message on the wire", Figure(value: Double(message.count), unit: "B"))
        report.line("state delta, sender", byteCount(of: writer.group.takeChanges()))
        report.line("state delta, receiver", byteCount(of: reader.group.takeChanges()))
    }

    private func byteCount(of changes: [StateChange]) -> Figure {
        let count = changes.reduce(0) { $0 + $1.key.count + ($1.value?.count ?? 0) }
        return Figure(value: Double(count), unit: "B")
    }

    // MARK: Joining

    private func joining() throws {
        let client = try BenchmarkClient(suite)
        let other = try BenchmarkClient(suite)
        let alone = BenchmarkMember(client: client, group: try client.group())
        let bundle = try other.keyPackage()
        line(
            "key package",
            try processorMicrosecondsPerCall(calls: 200) { _ = try other.keyPackage() },
            Floor(signs: 2, signed: leafOctets + keyPackageOctets, keyPairs: 2))
        line(
            "add + Welcome, 1 to 2",
            try processorMicrosecondsPerCall(calls: 100) {
                var member = alone
                _ = try member.add([bundle])
            },
            // Key package and leaf; new leaf, commit, GroupInfo; leaf and root; the Welcome's two
            // layers and the message's; tree and transcript; key schedule, ratchet and path.
            Floor(
                signs: 3, signed: 4 * leafOctets + keyPackageOctets, verifies: 2,
                verified: leafOctets + keyPackageOctets, seals: 3,
                sealed: 4 * leafOctets + keyPackageOctets, hashes: 8,
                hashed: 5 * leafOctets + keyPackageOctets, expands: 30, keyPairs: 2, hpkeSeals: 1),
            goal: Goal(floorFactor: 2, mlspp: 1_403))
        var member = alone
        let welcome = try member.add([bundle])
        line(
            "join, 1 to 2",
            try processorMicrosecondsPerCall(calls: 100) {
                _ = try Group.join(
                    welcome: welcome, bundle: bundle, existing: [], validator: EveryoneAccepted(),
                    at: BenchmarkClient.now)
            },
            // GroupInfo and the other's leaf; tree and Welcome; the root's key; key schedule.
            Floor(
                verifies: 2, verified: 3 * leafOctets, opens: 1, opened: 2 * leafOctets,
                hashes: 6, hashed: 4 * leafOctets, expands: 20, keyPairs: 1, hpkeOpens: 1),
            goal: Goal(floorFactor: 2, mlspp: 3_018))
    }

    // MARK: Commits

    /// Times `body` on copies, so that each run starts from the same state.
    private func microseconds(_ count: Int, _ body: () throws -> Void) rethrows -> Double {
        try processorMicrosecondsPerCall(runs: 7, calls: count >= 1000 ? 5 : 20, body)
    }

    private func commits(in group: BenchmarkGroup, _ kind: String) throws {
        let name = "\(group.count) members (\(kind) tree): empty commit,"
        let depth = group.depth
        let isFresh = kind == "fresh"
        let hasGoal = !isFresh && group.count == 1000
        // The last member commits; in a fresh tree nobody but the first has set a parent.
        let creating = try microseconds(group.count) {
            var member = group.last
            _ = try member.commit()
        }
        var committer = group.last
        let message = try committer.commit().message
        report.line(name + " size", Figure(value: Double(message.count), unit: "B"))
        let steps = try Self.pathLength(of: group)
        // New leaf and parents; a ciphertext for each copath node; leaf and commit signed; the
        // commit hashed into the transcript, leaf and parents into the tree.
        // In a fresh tree the first member's half has a key, the committer's half only leaves.
        let ciphertexts = isFresh ? group.count - (1 << depth) / 2 : steps
        let hashes = 2 * steps + 3
        let hashed = message.count + leafOctets + steps * (2 * leafOctets)
        line(
            name + " create", creating,
            Floor(
                signs: 2, signed: message.count + leafOctets, seals: 2, sealed: message.count,
                hashes: hashes, hashed: hashed, expands: 2 * depth + 3 * steps + 25,
                keyPairs: steps + 1, hpkeSeals: ciphertexts),
            goal: hasGoal ? Goal(floorFactor: 2, mlspp: 144) : nil)
        let process: (BenchmarkMember) throws -> Double = { member in
            try microseconds(group.count) {
                var copy = member
                _ = try copy.stage(message)
            }
        }
        line(
            name + " process", try process(group.first),
            Floor(
                verifies: 2, verified: message.count + leafOctets, opens: 2,
                opened: message.count, hashes: hashes, hashed: hashed,
                expands: 2 * depth + 23, keyPairs: 1, hpkeOpens: 1),
            goal: hasGoal ? Goal(floorFactor: 3, mlspp: 104) : nil)
        guard !isFresh, group.count > 2 else { return }
        // A neighbour of the committer derives the keys of the whole path.
        committer = group.first
        let near = try committer.commit().message
        line(
            name + " process beside it",
            try microseconds(group.count) {
                var copy = group.second
                _ = try copy.stage(near)
            },
            Floor(
                verifies: 2, verified: near.count + leafOctets, opens: 2, opened: near.count,
                hashes: 2 * depth + 3, hashed: near.count + (2 * depth + 1) * leafOctets,
                expands: 5 * depth + 20, keyPairs: depth, hpkeOpens: 1))
    }

    /// Parents that the last member's commit gives new keys: those with someone on the other side.
    private static func pathLength(of group: BenchmarkGroup) throws -> Int {
        var steps = 0
        var width = 1
        let last = group.count - 1
        while width < group.count {
            // The sibling subtree of this level, and whether it starts before the group's end.
            let sibling = (last / width) ^ 1
            if sibling * width < group.count { steps += 1 }
            width *= 2
        }
        return steps
    }

    // MARK: State

    private func state(of group: BenchmarkGroup) throws {
        let snapshot = group.first.group.serialized()
        report.line(
            "\(group.count) members: snapshot", Figure(value: Double(snapshot.count), unit: "B"))
        var writer = group.last
        var reader = group.first
        _ = writer.group.takeChanges()
        _ = reader.group.takeChanges()
        let text = [UInt8](repeating: 0x41, count: 1024)
        try reader.read(writer.encrypt(text), count: text.count)
        report.line(
            "\(group.count) members: state delta, first message",
            byteCount(of: reader.group.takeChanges()))
        try reader.read(writer.encrypt(text), count: text.count)
        report.line(
            "\(group.count) members: state delta, second message",
            byteCount(of: reader.group.takeChanges()))
    }

    // MARK: Large groups

    private func large(_ count: Int) throws {
        let clients = try (1..<count).map { _ in try BenchmarkClient(suite) }
        let bundles = try clients.map { try $0.keyPackage() }
        let client = try BenchmarkClient(suite)
        let alone = BenchmarkMember(client: client, group: try client.group())
        line(
            "add \(count - 1) at once",
            try processorMicrosecondsPerCall(runs: 3, calls: 1) {
                var member = alone
                _ = try member.add(bundles)
            },
            // All key packages and their leaves; a commit with them and a GroupInfo with the tree,
            // each signed, encrypted and hashed; the tree.
            Floor(
                signs: 3, signed: count * (keyPackageOctets + leafOctets),
                verifies: 2 * (count - 1), verified: count * (keyPackageOctets + leafOctets),
                seals: 3, sealed: count * (keyPackageOctets + leafOctets), hashes: 2 * count,
                hashed: count * (keyPackageOctets + 2 * leafOctets + 100), expands: 40,
                keyPairs: 11, hpkeSeals: count - 1))
        var member = alone
        let welcome = try member.add(bundles)
        line(
            "join a group of \(count): parse and verify its tree",
            try processorMicrosecondsPerCall(runs: 5, calls: 1) {
                _ = try Group.join(
                    welcome: welcome, bundle: bundles[0], existing: [],
                    validator: EveryoneAccepted(),
                    at: BenchmarkClient.now)
            },
            // GroupInfo, which holds the tree, and the others' leaves.
            Floor(verifies: count, verified: 2 * count * leafOctets), goal: Goal(floorFactor: 1.3))
        var reader = BenchmarkMember(
            client: clients[0],
            group: try Group.join(
                welcome: welcome, bundle: bundles[0], existing: [], validator: EveryoneAccepted(),
                at: BenchmarkClient.now))
        let commit = try reader.group.commit(
            signingKey: clients[0].signer, validator: EveryoneAccepted(), at: BenchmarkClient.now)
        let memory = try MemoryBenchmark(
            snapshot: member.group.serialized(), commit: commit.message)
        for (name, byteCount) in try memory.peakByteCounts() {
            report.line(
                "a group of \(count): memory, \(name)",
                Figure(value: Double(byteCount) / 1024, unit: "KiB"))
        }
    }
}
