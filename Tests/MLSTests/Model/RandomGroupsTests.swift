import Cryptography
import Foundation
import TestSupport
import Testing

@testable import MLS

extension ModelGroup {
    /// Lets everything arrive, and checks that those who should agree do, and nobody else.
    mutating func finish() throws {
        for index in participants.indices {
            while !participants[index].handshakes.isEmpty { try deliverHandshake(to: index) }
        }
        let members = upToDate
        guard let first = members.first else { throw fail("nobody is left") }
        let reference = participants[first].group
        guard
            Set(members.map { participants[$0].client.signingKey.publicKey.bytes }).isSubset(
                of: reference.members.map(\.signatureKey))
        else { throw fail("someone is in who is not in the tree") }
        let exported = try reference.export(label: "model", context: [1], count: 32)
        for index in members {
            let group = participants[index].group
            guard group.members == reference.members, group.extensions == reference.extensions,
                group.epochAuthenticator == reference.epochAuthenticator,
                try group.export(label: "model", context: [1], count: 32) == exported
            else { throw fail("members disagree") }
        }
        let message = try participants[first].group.encrypt(
            [1, 2, 3], signingKey: participants[first].client.signingKey)
        sent.append(
            Sent(bytes: message.bytes, plaintext: [1, 2, 3], sender: first, epoch: epoch))
        for index in participants.indices {
            var unread = participants[index].unread + [sent.count - 1]
            participants[index].unread = []
            unread.shuffle(using: &random)
            for number in unread { try read(number, by: index) }
            let hasRead = participants[index].read.contains(sent.count - 1)
            guard hasRead == (members.contains(index) && index != first) else {
                throw fail("the last message: member \(members.contains(index)), read \(hasRead)")
            }
        }
    }
}

private struct Totals {
    var groups = 0
    var commits = 0
    var messages = 0
    var largest = 0
}

private func setting(_ name: String) -> Int? {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
}

/// Random groups against a model. `MLS_MODEL_GROUPS` and `MLS_MODEL_SEED` ask for more, or others.
@Suite struct `Random groups` {
    @Test(arguments: CipherSuite.supported)
    func `agree where they should and nowhere else`(suite: CipherSuite) throws {
        // The hybrid suite is slow where BoringSSL is built without optimisation.
        let share = suite == .xwingAES256 ? 8 : 1
        let count = max(1, (setting("MLS_MODEL_GROUPS") ?? 90) / 3 / share)
        let start = UInt64(setting("MLS_MODEL_SEED") ?? 1)
        var totals = Totals()
        for seed in start..<start + UInt64(count) {
            // Every tenth group may grow to 50 members.
            let largest = seed % 10 == 0 ? 50 : 6
            var model = try ModelGroup(seed: seed, suite: suite, largest: largest)
            do {
                for _ in 0..<(largest == 50 ? 90 : 60) { try model.step() }
                try model.finish()
            } catch {
                Issue.record("seed \(seed), suite \(suite.rawValue): \(error)")
                return
            }
            totals.groups += 1
            totals.commits += model.commits
            totals.messages += model.sent.count
            totals.largest = max(totals.largest, model.memberCount)
        }
        #expect(totals.commits > totals.groups)
        if setting("MLS_MODEL_GROUPS") != nil { print(suite.rawValue, totals) }
    }
}
