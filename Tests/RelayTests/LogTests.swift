import Cryptography
import Logging
import RelayCore
import Testing

@testable import Relay

@Suite struct `A line of the log` {
    private func lines(
        _ format: LogFormat, _ level: LogLevel = .info, _ body: (Logger) -> Void
    ) -> [String] {
        let lines = Lock<[String]>([])
        let output = LogOutput(format, level) { line in lines.withLock { $0.append(line) } }
        body(output.logger())
        return lines.withLock { $0 }
    }

    private let fields: Logger.Metadata = [
        "setting": "trusted-proxies", "new": "10.0.0.0/8, ::1", "old": "", "path": "a\nb\"c",
        "count": .stringConvertible(7),
    ]

    @Test func `has its fields as words behind the sentence`() throws {
        let line = try #require(lines(.text) { $0.info("changed", metadata: fields) }.first)
        let words = line.split(separator: " ", maxSplits: 1).last.map(String.init)
        #expect(
            words == """
                info changed count=7 new="10.0.0.0/8, ::1" old="" path="a b\\"c" \
                setting=trusted-proxies

                """)
    }

    @Test func `has its fields beside the sentence for programs`() throws {
        let line = try #require(lines(.json) { $0.info("changed", metadata: fields) }.first)
        #expect(
            line.hasPrefix(
                #"{"count":7,"level":"info","message":"changed","new":"10.0.0.0/8, ::1","old":"","path":"a\nb\"c","setting":"trusted-proxies","time":""#
            ))
    }

    @Test func `tells of refusals what is new, by reason, at debug only`() {
        let health = Lock(RelayHealth())
        func tell(_ log: Logger) {
            let refusals = RefusalLog(log, health)
            refusals.tell(connections: ["slow": 3, "handshakes": 0])
            refusals.tell(connections: ["slow": 3, "handshakes": 0])
            health.withLock { $0.counters.refusals = [1: 2] }
            refusals.tell(connections: ["slow": 5, "handshakes": 1])
        }
        let told = lines(.text, .debug, tell).compactMap {
            $0.split(separator: " ", maxSplits: 1).last?.trimmingPrefix("debug ")
        }
        #expect(
            told == [
                "connections refused or cut slow=3\n",
                "connections refused or cut handshakes=1 slow=2\n",
                "requests refused \(RelayMetrics.label(1))=2\n",
            ])
        #expect(lines(.text, .info, tell) == [])
    }
}
