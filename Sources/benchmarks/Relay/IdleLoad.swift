import RelayProtocol
import WebSockets

/// Workload I: devices that are connected, have opened their mailbox, and say nothing.
struct IdleLoad {
    struct Result {
        /// Memory of the relay for each idle device.
        let kibibytes: Double
        /// Milliseconds of a question's round trip, without and with the idle devices.
        let alone: Double
        let crowded: Double
    }

    let relay: RelayProcess
    let devices: Int

    func run() async throws -> Result {
        let loop = try LoadLoop()
        let crowdLoop = try LoadLoop()
        let population = Population(relay: relay, loop: loop)
        let asking = try await population.connection()
        let writing = try await population.mailboxes(1, on: asking, canBeAdded: false)
        let reading = try await population.mailboxes(1, on: asking, canBeAdded: true)
        let pair = try await population.pair(writing[0], reading[0], on: asking)
        func ping() async throws -> Double {
            _ = try await asking.ping(pair.group, as: pair.writer.id, count: 1_000)
            return median(try await asking.ping(pair.group, as: pair.writer.id, count: 5_000))
        }
        let alone = try await ping()
        let before = try relay.residentKiB()

        let crowd = Population(relay: relay, loop: crowdLoop)
        let idle = try await concurrently(Array(0..<devices)) { _ in
            let connection = try await crowd.connection()
            _ = try await crowd.home(on: connection)
            return connection
        }
        try await Task.sleep(for: .seconds(2))
        let kibibytes = (try relay.residentKiB() - before) / Double(devices)
        let crowded = try await ping()

        for connection in idle {
            if let failure = await connection.failure { throw failure }
        }
        loop.shutdownAndWait()
        crowdLoop.shutdownAndWait()
        return Result(kibibytes: kibibytes, alone: alone, crowded: crowded)
    }
}
