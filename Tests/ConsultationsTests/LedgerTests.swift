import Testing

@testable import Consultations

/// Counters, gaps and marks (`protocol/payloads.md`).
struct LedgerTests {
    @Test func `counters in order leave no gap`() {
        var ledger = Ledger()
        let findings = [1, 2].map { ledger.note($0) }
        #expect(findings == [.next, .next])
        #expect(ledger.missing.isEmpty)
    }

    @Test func `a skipped counter is a gap until it comes`() {
        var ledger = Ledger()
        let findings = [1, 4, 2, 2].map { ledger.note($0) }
        #expect(findings == [.next, .gap([2, 3]), .filled, .repeated])
        #expect(ledger.missing == [3])
    }

    @Test func `marks reveal a lost last message`() {
        var ledger = Ledger(received: 3)
        let gaps = [3, 5].map { ledger.noteSent(upTo: $0) }
        #expect(gaps == [[], [4, 5]])
        let finding = ledger.note(5)
        #expect(finding == .filled)
    }

    @Test(arguments: [UInt64.max, UInt64.max - 1, 1 << 40])
    func `a hostile counter costs a bounded amount of memory`(_ counter: UInt64) {
        var ledger = Ledger(received: 7)
        guard case .gap(let gap) = ledger.note(counter) else {
            Issue.record("no gap")
            return
        }
        #expect(gap.count == Ledger.missingLimit)
        #expect(gap.last == counter - 1)
        #expect(ledger.missing.count == Ledger.missingLimit)
        let rest = ledger.noteSent(upTo: .max)
        #expect(rest.count <= Ledger.missingLimit)
        let zero = ledger.note(0)
        #expect(zero == .repeated)
    }

    @Test func `reading reaches no further than what came, and never goes back`() {
        var ledger = Ledger(received: 3)
        let news = [9, 2].map { ledger.noteRead(upTo: $0) }
        #expect(news == [true, false])
        #expect(ledger.read == 3)
    }

    @Test func `nobody can have more than was sent`() {
        var progress = Progress()
        progress.update(received: .max, missing: [2], read: .max, sent: 3)
        #expect(progress.received == 3)
        #expect((1...4).map { progress.has($0) } == [true, false, true, false])
        #expect(progress.hasRead(3))
        progress.update(received: 1, missing: [], read: 0, sent: 3)
        #expect(progress.received == 3)
    }

    @Test func `the pause before reconnecting doubles, is drawn at random and has a ceiling`() {
        var backoff = Backoff(bounds: .milliseconds(100) ... .milliseconds(350))
        var pauses = [UInt32.max, .max, .max, 0].map { backoff.next(random: $0) }
        backoff.reset()
        pauses.append(backoff.next(random: .max))
        #expect(pauses == [100, 200, 350, 175, 100].map { .milliseconds($0) })
    }
}
