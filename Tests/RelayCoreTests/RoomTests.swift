import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

/// Room that all share: nobody knows how many mailboxes and groups one person has, and no number of
/// them may fill it.
@Suite struct `Shared room` {
    private let storage = Outcome.refused(.storage, retryAfterSeconds: 3_600)
    private let full = Outcome.refused(.mailboxFull, retryAfterSeconds: 60)

    /// Puts as much as is taken, in smaller and smaller blobs.
    private func fill(_ talk: TestConsultation) throws -> Int {
        var taken = 0
        for byteCount in [4_000, 2_000, 1_000, 500, 200, 100] {
            while true {
                let blob = try TestBlob(of: talk, byteCount: byteCount)
                guard try blob.begin(by: talk.patient) == .done,
                    try blob.put(0, by: talk.patient) == .done
                else { break }
                taken += byteCount
            }
        }
        return taken
    }

    private func blobLimits() -> RelayLimits {
        var limits = RelayLimits()
        limits.groupBlobByteCount = 8_000
        limits.allBlobByteCount = 64_000
        limits.unfinishedBlobs = 100
        return limits
    }

    @Test(arguments: [true, false])
    func `for blobs isn't filled by any number of groups`(isDisk: Bool) throws {
        let memory = MemoryStore()
        var limits = blobLimits()
        if isDisk { limits.allBlobByteCount = 1 << 40 }
        let world = try RelayWorld(memory: memory, limits: limits)
        for number in 0..<40 {
            if isDisk { world.engine.spare = (.max, 64_000 - memory.blobUsage.byteCount) }
            let taken = try fill(TestConsultation(world))
            if number == 0 {
                #expect(taken == 8_000, "an empty relay gives all that a group may have")
            }
            #expect(taken >= 100, "group \(number)")
        }
        #expect(memory.blobUsage.byteCount > 48_000)
    }

    @Test func `isn't kept by blobs that were begun while there was plenty`() throws {
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory, limits: blobLimits())
        let early = try TestConsultation(world)
        let blobs = try (0..<8).map { _ in try TestBlob(of: early, byteCount: 1_000) }
        for blob in blobs { #expect(try blob.begin(by: early.patient) == .done) }
        #expect(try blobs[0].put(0, by: early.patient) == .done)
        let others = try (0..<12).map { _ in try TestConsultation(world) }
        for other in others { _ = try fill(other) }
        #expect(try blobs[1].put(0, by: early.patient) == storage)
        for other in others {
            try other.patient.ask(other.closing())
            try other.patient.ask(.confirm(other.group))
            try other.doctor.ask(.confirm(other.group))
        }
        // What was dropped counts until it is deleted.
        try world.sweep()
        #expect(try blobs[1].put(0, by: early.patient) == .done)
    }

    @Test func `for messages isn't filled by any number of mailboxes`() throws {
        let memory = MemoryStore()
        var limits = RelayLimits()
        limits.mailboxByteCount = 8_000
        let world = try RelayWorld(memory: memory, limits: limits)
        for number in 0..<40 {
            let talk = try TestConsultation(world)
            try world.hangUp(#require(talk.doctor.line))
            var taken = 0
            for byteCount in [1_900, 900, 400, 10] {
                repeat {
                    world.engine.spare = (64_000 - memory.waitingByteCount, .max)
                    let body = [UInt8](repeating: 1, count: byteCount)
                    guard try talk.send(body, from: talk.patient) == .done else { break }
                    taken += byteCount
                } while taken < 8_000
            }
            if number == 0 {
                #expect(taken > 7_000, "an empty disk gives all that a mailbox may have")
            }
            #expect(taken >= 10, "mailbox \(number)")
        }
    }

    @Test func `for commits is more than messages can take, and ends`() throws {
        var limits = RelayLimits()
        limits.mailboxByteCount = 100
        limits.commitByteCount = 8 << 20
        limits.published.messageByteCount = 9 << 20
        let world = try RelayWorld(limits: limits)
        let talk = try TestConsultation(world)
        try world.hangUp(#require(talk.doctor.line))
        while try talk.send([1], from: talk.patient) == .done {}
        #expect(try talk.send([1], from: talk.patient) == full)
        let body = [UInt8](repeating: 1, count: (8 << 20) - 1_000)
        for epoch in 1...8 as ClosedRange<UInt64> {
            #expect(
                try talk.patient.ask(talk.commit(epoch: epoch, body: body))
                    .isCommitted(epoch: epoch + 1))
            _ = try talk.patient.line?.drain()
        }
        #expect(try talk.patient.ask(talk.commit(epoch: 9, body: body)) == full)
        #expect(try talk.patient.ask(talk.closing(epoch: 9)) == .done)
    }
}
