import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import RelayTestSupport
import TLSSyntax
import TestSupport
import Testing
import Vault

@testable import Consultations

/// What a hostile relay gains from reopening: nothing silent, and nothing without end.
struct ReopeningAttackTests {
    @Test func `a relay that breaks every fresh group is stopped after a few, and shown`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.spoil(deliveriesTo: patient) { $0.kind == .commit }
        try doctor.refresh()
        try world.settle()
        try #require(try patient.only().record.standing.lock == .reopenedTooOften)
        #expect(patient.stateWords == ["locked"])
        let limit = world.options.reopeningsPerHour
        #expect(try patient.reopenings().count == limit)
        // An hour later it doesn't begin by itself: the person decides.
        for _ in 0..<3 { try world.pass(seconds: 3_600) }
        #expect(patient.stateWords == ["locked"])
        world.tamper = nil
        try patient.reopen()
        try world.settle()
        try patient.say("und weiter")
        try world.settle()
        #expect(try doctor.texts() == ["und weiter"])
        #expect(patient.stateWords == ["open"])
    }

    @Test func `an attempt that the relay kept back changes nothing when it comes late`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        var kept: [Delivery] = []
        var isKeeping = true
        world.tamper = { frame, device in
            var frame = frame
            guard device === doctor, isKeeping else { return frame }
            kept += frame.deliveries.filter { $0.kind != .receipt }
            frame.deliveries = []
            return frame
        }
        try patient.reopen()
        try world.settle()
        isKeeping = false
        try #require(kept.contains { $0.kind == .welcome })
        try patient.reopen()
        try world.settle()
        let group = try doctor.only().groupID
        let count = try doctor.messages().count
        for delivery in kept { try doctor.receive(RelayFrame(deliveries: [delivery])) }
        try world.settle()
        #expect(try doctor.only().groupID == group)
        #expect(try doctor.messages().count == count)
        try doctor.say("noch da")
        try world.settle()
        #expect(try patient.texts() == ["noch da"])
    }

    @Test func `the keys of a fresh group are new, and the shelf's are replaced at once`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        func leaves(_ device: TestDevice) throws -> Set<[UInt8]> {
            Set(try device.only().group?.members.map(\.leafNode.encryptionKey) ?? [])
        }
        let before = try leaves(patient)
        let onShelf = Set(
            try doctor.engine.state.mailboxes.values.compactMap { mailbox in
                try mailbox.package.map {
                    try KeyPackage(decoding: [UInt8]($0.keyPackage)).leafNode.encryptionKey
                }
            })
        try patient.reopen()
        try world.settle()
        let after = try leaves(patient)
        #expect(after.isDisjoint(with: before))
        #expect(after.isDisjoint(with: onShelf))
        #expect(try leaves(doctor) == after)
        #expect(try patient.only().group?.suite == .consultations)
    }

    @Test func `keys of somebody else on the other's shelf lock the consultation`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let other = try await world.addDoctor("Dr. Eve Moss")
        let sealed = try AttackTests.Swap.othersDoctor.package(of: doctor, other: other)
        world.alter(answersTo: patient) { outcome in
            guard case .keyPackage = outcome else { return outcome }
            return .keyPackage(sealed: sealed, lastResort: false)
        }
        try patient.reopen()
        try world.settle()
        #expect(try patient.only().record.standing.lock == .otherKey)
        #expect(try patient.only().group == nil)
        world.tamper = nil
    }

    @Test func `noise in a group that hasn't said what it is for changes nothing`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        var count = 0
        world.tamper = { frame, device in
            var frame = frame
            guard device === doctor else { return frame }
            if let at = frame.deliveries.firstIndex(where: { $0.kind == .welcome }) {
                count += 1
                let welcome = frame.deliveries[at]
                let noise = Delivery(
                    mailbox: welcome.mailbox, id: DeliveryID(high: 3, low: UInt64(count)),
                    kind: .commit, groupID: welcome.groupID, content: Random.bytes(300))
                frame.deliveries.insert(noise, at: at + 1)
            }
            return frame
        }
        try patient.reopen()
        try world.settle()
        try #require(count == 1)
        try patient.say("weiter")
        try world.settle()
        #expect(try doctor.texts() == ["weiter"])
        #expect(doctor.engine.state.consultations.count == 1)
    }

    @Test func `a relay that keeps back the word of a reopening makes no second consultation`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let old = try patient.only().groupID
        var kept = 0
        world.alter(deliveriesTo: doctor) { delivery in
            guard delivery.kind == .message, delivery.groupID?.bytes != old, kept == 0 else {
                return delivery
            }
            kept += 1
            return nil
        }
        try patient.reopen()
        try patient.say("eins")
        try world.settle()
        try #require(kept == 1)
        // Every message says it, until the other has answered.
        #expect(doctor.stateWords == ["open"])
        #expect(try doctor.only().groupID == patient.only().groupID)
        #expect(try doctor.texts() == ["eins"])
        for device in [patient, doctor] {
            #expect(try device.reopenings() == [.byHand])
            #expect(try device.gaps().isEmpty)
        }
    }

    @Test func `a relay that shows each side another commit is found out, and nothing is lost`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let old = try patient.only().groupID
        // Both change the keys at once; the relay tells both that theirs was taken.
        world.tamper = { frame, device in
            var frame = frame
            frame.deliveries.removeAll { $0.kind == .commit && $0.groupID?.bytes == old }
            frame.replies = frame.replies.map { reply in
                guard case .staleEpoch(let epoch, _) = reply.outcome,
                    let commit = try? device.only().commit
                else { return reply }
                return Reply(
                    mailbox: reply.mailbox, id: reply.id,
                    outcome: .committed(epoch: epoch, commitHash: commit.commitHash))
            }
            return frame
        }
        for device in [patient, doctor] { try device.refresh() }
        try world.settle()
        let keys = try [patient, doctor].map { try $0.only().group?.epochAuthenticator }
        try #require(keys[0] != keys[1])
        world.tamper = nil
        for number in 1...3 {
            try patient.say("p\(number)")
            try doctor.say("d\(number)")
            try world.settle()
        }
        for _ in 0..<3 { try world.pass(seconds: 61) }
        for device in [patient, doctor] {
            #expect(
                try device.texts().sorted() == ["d1", "d2", "d3", "p1", "p2", "p3"])
            #expect(try Set(device.reopenings()) == [.unreadable])
            #expect(device.stateWords == ["open"])
            #expect(try device.messages().filter(\.isMine).allSatisfy { $0.state >= .delivered })
        }
        #expect(world.repeatedKeys == 0)
    }

    @Test func `a lock holds whatever the relay says of the mailbox`() async throws {
        let world = try World()
        let (patient, _) = try await world.open()
        let number = try patient.only().number
        try patient.perform { try $0.lock(number, .reopenedTooOften) }
        for outcome in [Outcome.refused(.notAllowed, retryAfterSeconds: 0), .erased(receipts: [])] {
            world.disconnect(patient)
            world.alter(answersTo: patient, at: try patient.only().mailbox) { told in
                if case .opened = told { outcome } else { told }
            }
            try world.connect(patient)
            try world.settle()
            #expect(patient.stateWords == ["locked"])
            #expect(try patient.reopenings().isEmpty)
        }
    }

    @Test func `receipts of groups that were left neither lock nor wipe`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        try patient.say("eins")
        try world.settle()
        for device in [patient, doctor] { try device.reopen() }
        try world.settle()
        try patient.reopen()
        try world.settle()
        #expect(world.relay.store.groupCount == 1)
        for device in [patient, doctor] {
            #expect(device.stateWords == ["open"])
            #expect(try device.texts() == ["eins"])
            #expect(try device.receipts().isEmpty)
            // Nothing of the old groups is kept: home, shelf, and one mailbox in use.
            let used = device.engine.state.mailboxes.values.filter {
                $0.record.kind == .consultation || !$0.closings.isEmpty
            }
            #expect(used.count == 1)
        }
    }
}
