import Cryptography
import Foundation
import RelayProtocol
import WebSockets

/// Durable messages through a real relay process: accepted after fsync, delivered, acknowledged.
enum RelayBenchmarks {
    static func run() async throws {
        let relay = try RelayProcess()
        defer { relay.end() }
        let runs = 5
        let pairs = 50
        let window = 16

        let single = try await Load(pairs: 1, on: relay)
        let singles = try await single.measure(runs: runs, window: 1, seconds: 1.5)
        await single.close()
        let many = try await Load(pairs: pairs, on: relay)
        let loads = try await many.measure(runs: runs, window: window, seconds: 2)
        await many.close()

        // What else goes on at the disk changes from second to second: the limit is taken beside
        // each run.
        let sync = median((singles + loads).map(\.sync))
        let echo = try await Floors.echoMilliseconds()
        let report = Report(
            "Relay, 1 KiB messages on loopback without TLS, recipients that don't sync",
            "median of \(runs) runs")
        report.line(
            "1 pair, 1 unanswered: accepted after, median",
            Figure(value: median(singles.map(\.median)), unit: "ms"),
            limit: Figure(value: sync + echo, unit: "ms"), of: "1 fdatasync + 1 bare echo")
        report.line(
            "1 pair, 1 unanswered: messages",
            Figure(value: median(singles.map(\.perSecond)), unit: "/s"),
            limit: Figure(value: 1000 / sync, unit: "/s"), of: "fdatasync per second")
        report.line(
            "\(pairs) pairs, \(window) unanswered: messages",
            Figure(value: median(loads.map(\.perSecond)), unit: "/s"),
            limit: Figure(value: 1000 / sync, unit: "/s"), of: "fdatasync per second")
        report.line(
            "\(pairs) pairs, \(window) unanswered: accepted after, median",
            Figure(value: median(loads.map(\.median)), unit: "ms"))
        report.line(
            "\(pairs) pairs, \(window) unanswered: accepted after, 99th percentile",
            Figure(value: median(loads.map(\.high)), unit: "ms"))
        report.line("one append of 1 KiB with fdatasync", Figure(value: sync, unit: "ms"))
        report.line("one bare WebSocket echo of 1 KiB", Figure(value: echo, unit: "ms"))
    }
}

/// What one run of a load gave.
struct LoadResult {
    let perSecond: Double
    let median: Double
    let high: Double
    /// Milliseconds of an fdatasync just before the run.
    let sync: Double
}

/// Pairs of mailboxes, each pair in a group of its own, on connections of their own.
struct Load {
    private struct Pair {
        let writer: LoadConnection
        let reader: LoadConnection
        let mailbox: MailboxID
        let group: GroupID
    }

    private let loop: EventLoop
    private let folder: String
    private var pairs: [Pair] = []

    init(pairs count: Int, on relay: RelayProcess) async throws {
        loop = try EventLoop(name: "load")
        folder = relay.folder
        for _ in 0..<count { pairs.append(try await Self.pair(on: relay, loop: loop)) }
    }

    /// Runs the load several times.
    func measure(runs: Int, window: Int, seconds: Double) async throws -> [LoadResult] {
        var results: [LoadResult] = []
        for _ in 0...runs {
            let sync = try Floors.fdatasyncMilliseconds(in: folder)
            let before = await received()
            let start = ContinuousClock.now
            let deadline = start + .milliseconds(Int64(seconds * 1000))
            let latencies = try await withThrowingTaskGroup(of: [Double].self) { group in
                for pair in pairs {
                    group.addTask {
                        try await pair.writer.write(
                            to: pair.group, as: pair.mailbox, window: window, until: deadline
                        ).latencies
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            // Everything accepted must arrive, in order: the readers check that.
            let sent = latencies.count
            var arrived = await received() - before
            while arrived < sent {
                guard ContinuousClock.now < deadline + .seconds(20) else {
                    throw BenchmarkError.unexpected("\(sent - arrived) messages never came")
                }
                try await Task.sleep(for: .milliseconds(1))
                arrived = await received() - before
            }
            let time = (ContinuousClock.now - start).seconds
            for pair in pairs {
                if let failure = await pair.reader.failure { throw failure }
            }
            results.append(
                LoadResult(
                    perSecond: Double(arrived) / time, median: median(latencies),
                    high: quantile(0.99, of: latencies), sync: sync))
        }
        // The first run warms up.
        return Array(results.dropFirst())
    }

    func close() async {
        for pair in pairs {
            await pair.writer.close()
            await pair.reader.close()
        }
        await loop.shutdownAndWait()
    }

    private func received() async -> Int {
        var sum = 0
        for pair in pairs { sum += await pair.reader.received() }
        return sum
    }

    private static func pair(on relay: RelayProcess, loop: EventLoop) async throws -> Pair {
        let writer = LoadConnection(on: loop)
        let reader = LoadConnection(on: loop)
        let (writing, _) = try await mailbox(on: writer, of: relay, permit: nil)
        let permit = JoinPermit()
        let (reading, _) = try await mailbox(on: reader, of: relay, permit: permit)
        guard let group = GroupID(Random.bytes(GroupID.byteCount)) else {
            throw BenchmarkError.unexpected("a group id")
        }
        await reader.read(from: group, as: reading)
        let outcome = try await writer.ask(
            .createGroup(
                GroupCreation(
                    groupID: group, epoch: LoadMessage.epoch, commitHash: Random.bytes(32),
                    members: [Member(mailbox: reading, permit: permit, role: .owner)],
                    welcomes: [], deadline: Day(unixSeconds: relay.now).adding(days: 20))),
            as: writing)
        guard case .done = outcome else {
            throw BenchmarkError.unexpected("a group: \(outcome)")
        }
        return Pair(writer: writer, reader: reader, mailbox: writing, group: group)
    }

    /// A fresh mailbox, made with a ticket that a home mailbox of its own has drawn.
    private static func mailbox(
        on connection: LoadConnection, of relay: RelayProcess, permit: JoinPermit?
    ) async throws -> (MailboxID, SigningKey) {
        let challenge = try await connection.connect(to: relay.url)
        let home = try SigningKey()
        let token = try AdmissionToken(
            relayKey: VerifyingKey(challenge.relayKey), serial: Random.bytes(16),
            expires: relay.now + 3600, clinicRoot: relay.clinicRoot)
        try await connection.open(home, creation: .home(admissionToken: token.encoded()))
        let key = try SigningKey()
        guard let homeMailbox = MailboxID(home.publicKey.bytes),
            let mailbox = MailboxID(key.publicKey.bytes)
        else { throw BenchmarkError.unexpected("a mailbox") }
        let drawn = try await connection.ask(.drawTickets(count: 1), as: homeMailbox)
        guard case .tickets(let tickets) = drawn, let ticket = tickets.first else {
            throw BenchmarkError.unexpected("tickets: \(drawn)")
        }
        try await connection.open(
            key,
            creation: .fresh(
                ticket: ticket, permitHash: permit?.hash, permitUses: permit == nil ? 0 : 1))
        return (mailbox, key)
    }
}
