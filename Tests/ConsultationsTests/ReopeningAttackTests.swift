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

/// What a hostile relay or member gains from reopening: nothing silent, nothing without end, and
/// nobody else's consultation.
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

    @Test func `another person can't go on with a consultation, and both sides stay as they were`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let id = try patient.only().id
        let mallory = try await world.addPatient("Mallory Moss", reference: "P-666")
        try world.connect(mallory)
        try world.settle()
        try mallory.request(try doctor.card())
        try world.settle()
        // Mallory's device names the patient's consultation as the one that it goes on with.
        let number = try mallory.only().number
        try mallory.perform { turn in
            try turn.modify(number) { consultation, _ in
                consultation.record.consultation = Data(id.bytes)
            }
            try turn.reopen(number, because: .byHand)
        }
        try world.settle()
        let held = doctor.engine.state.consultations.values.first { $0.id == id }
        let name = held?.record.other.name
        #expect(name == "Paul Patient")
        let told = doctor.events.contains {
            if case .message(id, let message) = $0 {
                message.body == .notice(.otherKey)
            } else {
                false
            }
        }
        #expect(told)
        try patient.say("nur für Sie")
        try world.settle()
        #expect(try patient.messages().last?.state == .delivered)
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

    @Test func `a KeyPackage that can't be added doesn't stop the device`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let state = patient.engine.state
        let key = try SigningKey().publicKey.bytes
        var leaf = try state.leaf(mailbox: try #require(MailboxID(key)))
        // The doctor shows a certificate, and the patient's leaf says that it can't read those.
        leaf.capabilities.credentials = [.basic]
        let now = world.now / 1_000
        let bundle = try KeyPackageBundle(
            suite: .consultations, leaf: leaf, signingKey: state.identity,
            lifetime: Lifetime(notBefore: now - 10, notAfter: now + 1_000))
        let entry = try ShelfEntry(
            keyPackage: bundle.keyPackage.encoded(), mailbox: key, permit: JoinPermit().secret)
        let sealed = try entry.sealed(shelfKey: state.shelfKey, shelf: state.home.bytes)
        var claims = 0
        world.alter(answersTo: doctor) { outcome in
            guard case .keyPackage = outcome else { return outcome }
            claims += 1
            return .keyPackage(sealed: sealed, lastResort: false)
        }
        try doctor.reopen()
        try world.settle()
        #expect(claims == 1)
        #expect(doctor.troubles.isEmpty)
        #expect(try doctor.only().record.phase == .reopening)
        world.tamper = nil
        try world.pass(seconds: 61)
        try doctor.say("jetzt")
        try world.settle()
        #expect(try patient.texts() == ["jetzt"])
    }

    @Test func `nobody makes a second consultation under the name of another`() async throws {
        let world = try World()
        let (_, doctor) = try await world.open()
        let id = try doctor.only().id
        let mallory = try await world.addPatient("Mallory Moss", reference: "P-666")
        try world.connect(mallory)
        try world.settle()
        let card = try doctor.card()
        func request() throws {
            try mallory.perform { turn in
                let number = try turn.request(
                    card, time: world.now / 1_000 + 3_600, minutes: 20, reason: "")
                try turn.modify(number) { consultation, _ in
                    let rest = Random.bytes(GroupID.byteCount - id.bytes.count)
                    consultation.record.groupID = Data(id.bytes + rest)
                }
            }
            try world.settle()
        }
        try request()
        #expect(doctor.engine.state.consultations.count == 1)
        #expect(try doctor.only().record.other.name == "Paul Patient")
        // Nor does it come back when it has ended here.
        try doctor.perform { turn in
            let number = try #require(turn.state.consultations.keys.first)
            try turn.lock(number, .removed)
            try turn.end(number)
        }
        try request()
        #expect(doctor.engine.state.consultations.isEmpty)
    }

    @Test func `ending one consultation leaves the mailbox that others have to them`()
        async throws
    {
        let world = try World()
        world.options.shelfTarget = 1
        let doctor = try await world.addDoctor()
        try world.connect(doctor)
        try world.settle()
        let card = try doctor.card()
        world.disconnect(doctor)
        for number in 1...3 {
            let patient = try await world.addPatient("Patient \(number)", reference: "P-\(number)")
            try world.connect(patient)
            try world.settle()
            try patient.request(card)
            try world.settle()
        }
        try world.connect(doctor)
        try world.settle()
        let shared = Dictionary(
            grouping: doctor.engine.state.consultations.values, by: \.mailbox
        ).first { $0.value.count == 2 }
        let (id, served) = try #require(shared)
        try doctor.perform { turn in
            for consultation in served { try turn.lock(consultation.number, .removed) }
            try turn.takeOffShelf(try #require(turn.state.mailboxes[id]))
            try turn.end(served[0].number)
        }
        try doctor.crash()
        #expect(doctor.engine.state.mailboxes[id] != nil)
        #expect(doctor.engine.state.consultations[served[1].number]?.mailbox == id)
        try doctor.perform { try $0.end(served[1].number) }
        try doctor.crash()
        #expect(doctor.engine.state.mailboxes[id] == nil)
    }

    @Test(arguments: [true, false])
    func `a consultation that can't be reopened ends, by hand or on its last day`(
        _ isByHand: Bool
    ) async throws {
        let world = try World()
        let (patient, _) = try await world.open()
        world.alter(answersTo: patient) { outcome in
            guard case .keyPackage = outcome else { return outcome }
            return .refused(.shelfEmpty, retryAfterSeconds: 0)
        }
        try patient.reopen()
        try world.settle()
        try patient.end()
        try world.settle()
        // It is tried for a while: the other is to know that it is over.
        #expect(try patient.only().record.phase == .reopening)
        if isByHand {
            try patient.end()
            try world.settle()
        } else {
            for _ in 0..<2 { try world.pass(seconds: 32 * 86_400) }
        }
        #expect(patient.engine.state.consultations.isEmpty)
        let erased = patient.events.contains { if case .erased = $0 { true } else { false } }
        #expect(erased)
        for _ in 0..<2 { try world.pass(seconds: 61) }
        try patient.crash()
        try world.connect(patient)
        try world.settle()
        // Only the old group's mailbox is left, for the receipt.
        let left = patient.engine.state.mailboxes.values.filter { $0.record.kind == .consultation }
        #expect(left.allSatisfy { !$0.closings.isEmpty })
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

    @Test func `an attempt from tomorrow's tomorrow is turned away`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let group = try doctor.only().groupID
        let number = try patient.only().number
        for ahead in [UInt64.max, world.now + 3 * 86_400_000] {
            try patient.perform { turn in
                try turn.reopen(number, because: .byHand)
                try turn.modify(number) { consultation, _ in
                    consultation.record.reopening.beganAt = ahead
                }
            }
            try world.settle()
            #expect(try doctor.only().groupID == group)
            try patient.perform { turn in
                try turn.modify(number) { consultation, _ in
                    consultation.record.reopening.beganAt = world.now
                }
            }
        }
        try patient.reopen()
        try world.settle()
        try patient.say("nun")
        try world.settle()
        #expect(try doctor.texts() == ["nun"])
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

    @Test func `what one side has ended isn't brought back by the other's reopening`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let id = try patient.only().id
        world.disconnect(patient)
        try patient.reopen()
        try doctor.end()
        try world.settle()
        try world.connect(patient)
        try world.settle()
        for _ in 0..<3 { try world.pass(seconds: 61) }
        for device in [patient, doctor] {
            #expect(device.engine.state.consultations.isEmpty)
        }
        #expect(try patient.receipts().map(\.id) == [id])
        #expect(try doctor.receipts().map(\.id).contains(id))
        #expect(world.relay.store.groupCount == 0)
    }
}
