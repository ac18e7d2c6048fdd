import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

/// What a stranger learns from how long the relay takes to refuse an opening: nothing about which
/// mailboxes there are. Over the real store, for it is its lookups that take time.
@Suite struct `Refused openings` {
    /// Ways to be refused.
    private enum Way: CaseIterable {
        /// Nobody has this mailbox; the signature is its key's.
        case unknown
        /// Nobody has this mailbox; the signature is another key's.
        case unknownForged
        /// There is such a mailbox; the signature is another key's.
        case known
        /// The same, and the signature is no signature at a glance (RFC 8032 §5.1.7: S is not below
        /// the group's order). That this takes another time must show, else the test sees nothing.
        case absurd
    }

    @Test func `take the same time for unknown mailboxes and for wrong signatures`() throws {
        var generator = SeededGenerator(seed: 4)
        let kept = 2_500
        var times: [Way: [Duration]] = [:]
        try StoreWorld().run { world, _ in
            let scene = try Scene(world)
            for round in 0..<kept + 250 {
                for way in Way.allCases.shuffled(using: &generator) {
                    let time = try scene.timeToRefuse(way, round)
                    if round >= 250 { times[way, default: []].append(time) }
                }
            }
        }
        let known = times[.known, default: []]
        try #require(known.count == kept)
        for way in [Way.unknown, .unknownForged] {
            let share = shareBelow(times[way, default: []], known)
            #expect(abs(share - 0.5) < 0.1, "\(way): \(share) are faster than wrong signatures")
        }
        let share = shareBelow(times[.absurd, default: []], known)
        #expect(share > 0.6, "a way that takes another time isn't told apart: \(share)")
    }

    @Test func `say the same, octet by octet, before there is a mailbox and afterwards`() throws {
        try StoreWorld().run { world, _ in
            let scene = try Scene(world)
            let mailbox = try TestMailbox()
            let line = try world.connect()
            let unknown = try scene.answer(to: mailbox, signedBy: mailbox.key)
            let unknownForged = try scene.answer(to: mailbox, signedBy: scene.stranger)
            let made = try line.open(
                mailbox, creation: .home(admissionToken: try world.token()))
            guard case .opened = made else { throw RelayWorld.Problem.unexpected(made) }
            let known = try scene.answer(to: mailbox, signedBy: scene.stranger)
            #expect(!known.isEmpty)
            #expect(unknown == known)
            #expect(unknownForged == known)
        }
    }

    /// The share of pairs in which the first one's is smaller, ties counting half (Mann and
    /// Whitney's U divided by the number of pairs): 0.5 for like distributions. A few outliers, as a
    /// busy machine makes them, hardly change it.
    private func shareBelow(_ some: [Duration], _ others: [Duration]) -> Double {
        let sorted = others.sorted()
        func count(where isBefore: (Duration) -> Bool) -> Int {
            var range = 0..<sorted.count
            while !range.isEmpty {
                let middle = range.lowerBound + range.count / 2
                range =
                    isBefore(sorted[middle])
                    ? middle + 1..<range.upperBound : range.lowerBound..<middle
            }
            return range.lowerBound
        }
        let pairs = some.reduce(0.0) { sum, time in
            let below = count { $0 < time }
            let equal = count { $0 <= time } - below
            return sum + Double(sorted.count - below - equal) + Double(equal) / 2
        }
        return pairs / Double(some.count * sorted.count)
    }

    /// A relay with mailboxes, and a stranger who tries to open them.
    private struct Scene {
        let world: RelayWorld
        let stranger: SigningKey
        private let line: RelayLine
        private let known: [TestMailbox]
        private let unknown: [TestMailbox]

        init(_ world: RelayWorld) throws {
            self.world = world
            world.engine.limits.failedOpenings = .max
            world.engine.limits.openingBurst = 1e9
            stranger = try SigningKey()
            let owner = try world.connect()
            known = try (0..<32).map { _ in try owner.makeHome() }
            unknown = try (0..<32).map { _ in try TestMailbox() }
            line = try world.connect()
        }

        func timeToRefuse(_ way: Way, _ round: Int) throws -> Duration {
            let isKnown = way == .known || way == .absurd
            let mailbox = (isKnown ? known : unknown)[round % known.count]
            let key = way == .unknown ? mailbox.key : stranger
            let octets = try frame(mailbox, key, isAbsurd: way == .absurd)
            let start = ContinuousClock.now
            let decoded = try ClientFrame(decoding: octets)
            try world.batch { try $0.received(decoded, from: line.id) }
            let time = ContinuousClock.now - start
            #expect(line.replies.last?.outcome == .refused(.notAllowed, retryAfterSeconds: 0))
            line.replies = []
            return time
        }

        func answer(to mailbox: TestMailbox, signedBy key: SigningKey) throws -> [UInt8] {
            let decoded = try ClientFrame(decoding: frame(mailbox, key, isAbsurd: false))
            try world.batch { try $0.received(decoded, from: line.id) }
            let answers = world.lastBatch?.connections.filter { $0.connection == line.id } ?? []
            return answers.flatMap { $0.frame.encoded() }
        }

        private func frame(
            _ mailbox: TestMailbox, _ key: SigningKey, isAbsurd: Bool
        ) throws -> [UInt8] {
            let counter = mailbox.counter + UInt64.random(in: 1...1_000_000)
            var signature = try line.proof().sign(with: key, counter: counter, creation: nil)
            if isAbsurd { signature[63] = 0xff }
            let opening = Opening(counter: counter, signature: signature)
            return ClientFrame(requests: [
                Request(mailbox: mailbox.id, id: .opening, operation: .open(opening))
            ]).encoded()
        }
    }
}
