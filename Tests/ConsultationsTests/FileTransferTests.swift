import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing
import Vault

@testable import Consultations

/// How files travel: several pieces at a time and in their order, with a pause where there is no
/// room.
struct FileTransferTests {
    /// Delivers everything; answers the most things about files that were under way to a device.
    private func mostUnderWay(_ world: World, of device: TestDevice) throws -> Int {
        var (asked, answered, most) = (Set<RequestID>(), Set<RequestID>(), 0)
        world.tamper = { frame, receiver in
            if receiver === device { answered.formUnion(frame.replies.map(\.id)) }
            return frame
        }
        repeat {
            for message in device.toRelay {
                for request in try ClientFrame(decoding: message).requests {
                    switch request.operation {
                    case .putPiece, .readPiece: asked.insert(request.id)
                    default: break
                    }
                }
            }
            most = max(most, asked.subtracting(answered).count)
        } while try world.step()
        return most
    }

    @Test(arguments: 1...3)
    func `several pieces are under way, few, and in their order`(_ seed: UInt64) async throws {
        let world = try World(seed: seed)
        let (patient, doctor) = try await world.open()
        let content = Random.bytes(2_000_000)
        try patient.send(content, named: "scan.pdf")
        #expect(try (3...8).contains(mostUnderWay(world, of: patient)))
        try doctor.send(content, named: "answer.pdf")
        #expect(try (3...8).contains(mostUnderWay(world, of: patient)))
        #expect(try doctor.content(of: "scan.pdf") == content)
        #expect(try patient.content(of: "answer.pdf") == content)
        // Nothing was asked for a second time.
        #expect(try patient.only().files.allSatisfy { $0.failures == 0 })
    }

    @Test func `a relay that answers slowly has less to answer, and everybody a turn`() throws {
        var transfers = Transfers()
        let consultation = Vault.ConsultationNumber(rawValue: 1)
        var last: UInt64 = 0
        func fill(_ mailbox: MailboxID, at now: UInt64) -> [RequestID] {
            var ids: [RequestID] = []
            while transfers.hasRoom(for: mailbox) {
                last += 1
                ids.append(RequestID(rawValue: last))
                let request = Request(
                    mailbox: mailbox, id: RequestID(rawValue: last),
                    confirmed: RequestID(rawValue: 0), operation: .retire)
                transfers.add(
                    PendingTransfer(request, file: 1, attempt: 0, of: consultation, at: now))
            }
            return ids
        }
        let one = try #require(MailboxID([UInt8](repeating: 1, count: 32)))
        let other = try #require(MailboxID([UInt8](repeating: 2, count: 32)))
        var now: UInt64 = 1_000_000
        for _ in 0..<20 {
            for id in fill(one, at: now) { #expect(transfers.take(id, of: one, at: now) != nil) }
        }
        let most = fill(one, at: now)
        #expect(most.count == 8)
        #expect(fill(other, at: now).count == 1)
        #expect(transfers.take(most[0], of: other, at: now) == nil)
        now += 5_000
        for id in most { #expect(transfers.take(id, of: one, at: now) != nil) }
        // One is the other's.
        #expect(fill(one, at: now).count == 1)
    }

    @Test(arguments: [true, false])
    func `a fresh group gets only the files that the other lacks`(
        _ byPatient: Bool
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        var contents: [String: [UInt8]] = [:]
        for (device, name) in [(patient, "a"), (doctor, "b"), (patient, "c"), (doctor, "d")] {
            contents[name] = Random.bytes(100_000)
            try device.send(contents[name] ?? [], named: name)
            if name == "b" {
                try world.settle()
                // Of what comes from now on both know, and fetch nothing.
                world.tamper = { frame, _ in
                    var frame = frame
                    frame.replies = frame.replies.map { reply in
                        guard reply.outcome.isPiece else { return reply }
                        return Reply(
                            mailbox: reply.mailbox, id: reply.id,
                            outcome: .refused(.noBlob, retryAfterSeconds: 0))
                    }
                    return frame
                }
            }
        }
        try world.settle()
        #expect(try patient.messages().suffix(4).allSatisfy { $0.body.isFile })
        #expect(try patient.receivedFiles().map(\.isComing) == [false, true])
        world.tamper = nil
        let old = try patient.only().groupID
        try (byPatient ? patient : doctor).reopen()
        try world.settle()
        for _ in 0..<3 { try world.pass(seconds: 61) }
        #expect(try patient.only().groupID != old)
        for (name, content) in contents {
            for device in [patient, doctor] { #expect(try device.content(of: name) == content) }
        }
        // The others went with the old group.
        #expect(world.relay.store.groupCount == 1)
        #expect(world.relay.store.blobUsage.count == 2)
        // And both know that nothing is to be put any more.
        for device in [patient, doctor] {
            let consultation = try device.only()
            #expect(!consultation.files.contains { consultation.isToBePut($0) })
        }
    }

    @Test func `a full disk holds up the file and nothing else, and says so once`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let content = Random.bytes(500_000)
        try patient.send(content, named: "scan.pdf")
        var isFull = true
        var hasPiece = false
        world.tamper = { frame, device in
            hasPiece = device === doctor && frame.replies.contains(where: \.outcome.isPiece)
            return frame
        }
        doctor.engine.checkpoint = { checkpoint in
            guard checkpoint == .beforeCommit, isFull, hasPiece else { return }
            hasPiece = false
            throw VaultError.diskFull
        }
        try world.settle()
        try patient.say("meanwhile")
        for _ in 0..<3 { try world.pass(seconds: 6) }
        #expect(try doctor.texts() == ["meanwhile"])
        #expect(doctor.troubles.isEmpty)
        #expect(doctor.eventTroubles == [.diskFull(name: "scan.pdf")])
        #expect(try doctor.receivedFiles().map(\.lacksRoom) == [true])
        isFull = false
        try world.pass(seconds: 100)
        #expect(try doctor.content(of: "scan.pdf") == content)
        #expect(try doctor.receivedFiles().map(\.lacksRoom) == [false])
        #expect(try doctor.gaps().isEmpty)
    }
}
