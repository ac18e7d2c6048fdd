import Cryptography
import Foundation
import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing
import Vault

@testable import Consultations

/// Files between two devices: sealed in pieces, put and fetched piece by piece, through whatever
/// breaks.
struct FileTests {
    @Test(arguments: [0, 1, 238, 239, 240, 65_519, 65_520, 200_000, 300_000])
    func `a file arrives as it was, whatever its length`(byteCount: Int) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let content = Random.bytes(byteCount)
        try patient.send(content, named: "scan.pdf")
        try world.settle()
        let file = try #require(try doctor.receivedFiles().first)
        #expect(file.name == "scan.pdf")
        #expect(file.mediaType == "application/pdf")
        #expect(file.byteCount == byteCount)
        #expect(file.place == .here)
        #expect(try doctor.content(of: "scan.pdf") == content)
        #expect(try patient.content(of: "scan.pdf") == content)
        #expect(try patient.messages().last?.state == .delivered)
        // The relay has a bucket's worth of octets, and none that say anything.
        let sizes = world.relay.store.blobUsage
        #expect(sizes.byteCount == Padding.bucket(for: sizes.byteCount))
    }

    @Test func `the relay and both vaults hold no octet of it in the clear`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let marker = Array("the marker of a file, 4711".utf8)
        try patient.send(Array(repeating: marker, count: 5_000).flatMap { $0 }, named: "marker.txt")
        try world.settle()
        #expect(try doctor.receivedFiles().first?.place == .here)
        for octets in world.relay.store.everyBlob {
            #expect(Data(octets).range(of: Data(marker)) == nil)
        }
        for device in [patient, doctor] {
            for name in ["vault.sqlite", "vault.sqlite-wal"] {
                let content = FileManager.default.contents(atPath: "\(device.home)/\(name)")
                #expect(content?.range(of: Data(marker)) == nil)
            }
        }
    }

    @Test func `words overtake a file, and its message comes when the relay has it`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(patient)
        try patient.send(Random.bytes(900_000), named: "long.bin")
        try patient.say("meanwhile")
        #expect(try patient.only().unsentFiles.count == 1)
        #expect(try patient.messages().allSatisfy { $0.body.isText || !$0.isMine || $0.number < 9 })
        try world.connect(patient)
        try world.settle()
        #expect(try doctor.texts().last == "meanwhile")
        #expect(try doctor.messages().last?.body.isFile == true)
        #expect(try doctor.gaps().isEmpty)
        #expect(try doctor.receivedFiles().first?.place == .here)
    }

    @Test(arguments: 1...12)
    func `nothing of a file is lost or doubled whatever breaks`(_ seed: UInt64) async throws {
        let world = try World(seed: seed)
        let (patient, doctor) = try await world.open()
        let contents = [Random.bytes(400_000), Random.bytes(150_000), Random.bytes(70_000)]
        for (index, content) in contents.enumerated() {
            let sender = index == 1 ? doctor : patient
            try sender.send(content, named: "\(index).bin")
        }
        try Turmoil(world, patient, doctor).run(
            steps: 150,
            [
                .disconnect: 4, .connect: 10, .crash: 3, .crashBeforeCommit: 5,
                .crashAfterCommit: 5, .restartRelay: 2, .say: 2,
            ])
        try world.calm()
        for (index, content) in contents.enumerated() {
            for device in [patient, doctor] {
                #expect(try device.content(of: "\(index).bin") == content)
            }
        }
        for device in [patient, doctor] {
            #expect(try device.gaps().isEmpty)
            #expect(try device.messages().count { $0.body.isFile } == 3)
        }
        #expect(world.repeatedKeys == 0)
        #expect(world.relay.store.blobUsage.count == 3)
    }

    @Test func `a fresh group gets the files as well`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let content = Random.bytes(100_000)
        try patient.send(content, named: "early.bin")
        try world.settle()
        // The doctor's device fetches nothing of the second before the group is another one.
        world.disconnect(doctor)
        let later = Random.bytes(150_000)
        try patient.send(later, named: "later.bin")
        try world.settle()
        try patient.reopen()
        try world.settle()
        try world.calm()
        // Whoever asked before it was there asks again.
        try world.pass(seconds: 11)
        #expect(try doctor.content(of: "later.bin") == later)
        #expect(try doctor.content(of: "early.bin") == content)
        #expect(try doctor.messages().count { $0.body.isFile } == 2)
        #expect(try doctor.gaps().isEmpty)
    }

    @Test func `a relay that was set back gets what it lost again`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let backup = world.relay.store.committed
        world.disconnect(doctor)
        let content = Random.bytes(150_000)
        try patient.send(content, named: "lost.bin")
        try world.settle()
        #expect(world.relay.store.blobUsage.count == 1)
        try world.restoreRelay(backup)
        #expect(world.relay.store.blobUsage.count == 0)
        for _ in 0..<3 {
            try world.calm()
            try world.pass(seconds: 61)
        }
        #expect(try doctor.content(of: "lost.bin") == content)
        #expect(try doctor.messages().count { $0.body.isFile } == 1)
    }

    @Test func `a blob that the relay changed is damaged, never shown as whole`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.alter(answersTo: doctor) { outcome in
            guard case .piece(var content) = outcome else { return outcome }
            content[0] ^= 1
            return .piece(content)
        }
        try patient.send(Random.bytes(100_000), named: "scan.pdf")
        try world.settle()
        #expect(try doctor.receivedFiles().first?.place == .damaged)
        #expect(throws: DeviceError.file(.damaged)) { try doctor.content(of: "scan.pdf") }
        #expect(try patient.messages().last?.state == .delivered)
    }

    @Test(arguments: [(4_096, 8_192), (8_192, 4_096), (65_536, 65_792)])
    func `a sender who says another length than the blob's costs its file and nothing else`(
        byteCount: Int, said: UInt64
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let blob = try #require(BlobID(Random.bytes(16)))
        try world.relay.store.addBlob(blob, byteCount: byteCount)
        try patient.claim(blob, byteCount: said)
        try patient.say("and so on")
        try world.settle()
        #expect(doctor.troubles.isEmpty)
        #expect(try doctor.receivedFiles().first?.place == .damaged)
        #expect(try doctor.pieceCount() == 0)
        #expect(try doctor.texts().last == "and so on")
    }

    @Test func `two messages that speak of one blob don't make a device ask for ever`()
        async throws
    {
        let world = try World()
        let (patient, doctor) = try await world.open()
        let content = Random.bytes(1_000)
        try patient.send(content, named: "scan.pdf")
        try doctor.send(content, named: "answer.pdf")
        try world.settle()
        for file in try patient.only().files {
            try patient.claim(file.note.blob, byteCount: UInt64(file.shape.byteCount))
        }
        try world.settle()
        #expect(try doctor.receivedFiles().map(\.place) == [.here, .damaged, .damaged])
        #expect(try doctor.content(of: "scan.pdf") == content)
        #expect(try doctor.content(of: "answer.pdf") == content)
    }

    @Test func `no more is fetched than the longest blob has`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        for megabytes: UInt64 in [768, 512, 256, 1] {
            let blob = try #require(BlobID(Random.bytes(16)))
            try patient.claim(blob, byteCount: megabytes << 20)
        }
        try world.settle()
        #expect(try doctor.receivedFiles().map(\.isComing) == [true, false, true, false])
    }

    @Test func `what came damaged is fetched again in a fresh group`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.alter(answersTo: doctor) { outcome in
            guard case .piece(let content) = outcome else { return outcome }
            return .piece(content.map { $0 ^ 1 })
        }
        let content = Random.bytes(1_000)
        try patient.send(content, named: "scan.pdf")
        try world.settle()
        #expect(try doctor.receivedFiles().first?.place == .damaged)
        world.tamper = nil
        try patient.reopen()
        try world.settle()
        try world.calm()
        try world.pass(seconds: 11)
        #expect(try doctor.content(of: "scan.pdf") == content)
    }

    @Test func `a sender who seals something else than it says is found out`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        // The hash is right, and one piece is sealed under another key.
        try patient.send(Random.bytes(100_000), named: "scan.pdf", foreignPiece: 1)
        try world.settle()
        #expect(try doctor.receivedFiles().first?.place == .here)
        #expect(throws: DeviceError.file(.damaged)) { try doctor.content(of: "scan.pdf") }
    }

    @Test func `a relay without blobs, or with too small ones, says so and nothing waits`()
        async throws
    {
        for refusal in [Refusal.unsupported, .tooLarge, .limit] {
            let world = try World()
            let (patient, doctor) = try await world.open()
            world.alter(answersTo: patient) { outcome in
                if case .blobState = outcome {
                    .refused(refusal, retryAfterSeconds: 0)
                } else {
                    outcome
                }
            }
            try patient.send(Random.bytes(1_000), named: "scan.pdf")
            try world.settle()
            let refused = Trouble.fileRefused(name: "scan.pdf", refusal)
            #expect(patient.eventTroubles == [refused])
            #expect(try patient.only().files.isEmpty)
            #expect(try patient.pieceCount() == 0)
            #expect(try doctor.gaps().isEmpty)
            try patient.say("so be it")
            try world.settle()
            #expect(try doctor.texts().last == "so be it")
            #expect(try doctor.gaps().isEmpty)
        }
    }

    @Test func `a relay without room is asked again later, and words go on`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.alter(answersTo: patient) { outcome in
            if case .blobState = outcome {
                .refused(.storage, retryAfterSeconds: 60)
            } else {
                outcome
            }
        }
        try patient.send(Random.bytes(1_000), named: "scan.pdf")
        try patient.say("meanwhile")
        try world.settle()
        #expect(try doctor.texts().last == "meanwhile")
        world.tamper = nil
        try world.pass(seconds: 61)
        #expect(try doctor.receivedFiles().first?.place == .here)
    }

    @Test func `ending waits for the file that was sent before`() async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(patient)
        try patient.send(Random.bytes(300_000), named: "last.bin")
        try patient.end()
        try world.connect(patient)
        try world.settle()
        #expect(doctor.lastWords.contains { $0.isFile })
        #expect(try patient.receipts().count == 1)
        #expect(world.relay.store.blobUsage.count == 0)
    }

    @Test(arguments: [
        BlobState(byteCount: 512, pieceCount: 1), .init(byteCount: 1_024, pieceCount: 0),
    ])
    func `another's blob of its name holds neither its message nor the end`(
        told: BlobState
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        world.disconnect(doctor)
        try patient.send(Random.bytes(1_000), named: "scan.pdf")
        try world.settle()
        world.alter(answersTo: patient) { outcome in
            if case .blobState = outcome { .blobState(told) } else { outcome }
        }
        try patient.reopen()
        try patient.end()
        try world.settle()
        try world.calm()
        for seconds: UInt64 in [6, 11] { try world.pass(seconds: seconds) }
        #expect(doctor.lastWords.contains { $0.isFile })
        #expect(try patient.receipts().count == 1)
    }

    @Test(arguments: [false, true])
    func `only who doesn't want to wait gives up the files that the end waits for, and is told`(
        isKnown: Bool
    ) async throws {
        let world = try World()
        let (patient, doctor) = try await world.open()
        func holdBlobs() {
            world.alter(answersTo: patient) { outcome in
                if case .blobState = outcome {
                    .refused(.storage, retryAfterSeconds: 3_600)
                } else {
                    outcome
                }
            }
        }
        if isKnown {
            // It was at the relay, and its message has to leave again.
            world.disconnect(doctor)
            try patient.send(Random.bytes(1_000), named: "scan.pdf")
            try world.settle()
            holdBlobs()
            try patient.reopen()
        } else {
            holdBlobs()
            try patient.send(Random.bytes(1_000), named: "scan.pdf")
        }
        try patient.say("meanwhile")
        try world.settle()
        try patient.end()
        try world.settle()
        try world.connect(doctor)
        try world.settle()
        try patient.end()
        try world.settle()
        #expect(try patient.receipts().isEmpty)
        let waiting = try patient.only()
        #expect(patient.engine.state.describe(waiting).waitingFiles == 1)
        try patient.end(givingUp: true)
        try world.settle()
        #expect(try patient.receipts().count == 1)
        let told = patient.eventTroubles.contains(.fileGivenUp(name: "scan.pdf"))
        #expect(told == !isKnown)
        #expect(doctor.lastWords.contains { $0.isText })
        #expect(doctor.lastWords.contains { $0.isFile } == isKnown)
    }

    @Test func `what was being taken in when the process ended is gone`() async throws {
        let world = try World()
        let (patient, _) = try await world.open()
        try patient.begin(Random.bytes(200_000), named: "half.bin")
        #expect(try patient.pieceCount() > 0)
        try patient.crash()
        try patient.engine.dropUnreadFiles(at: world.now)
        #expect(try patient.only().files.isEmpty)
        #expect(try patient.pieceCount() == 0)
    }

    @Test func `a full disk lets a device open, and what it began to take in goes later`()
        async throws
    {
        let world = try World()
        let (patient, _) = try await world.open()
        try patient.begin(Random.bytes(2_400_000), named: "half.bin")
        let count = try patient.pieceCount()
        try patient.crash()
        var commits = 0
        patient.engine.checkpoint = { checkpoint in
            guard checkpoint == .beforeCommit else { return }
            commits += 1
            if commits > 1 { throw VaultError.diskFull }
        }
        try patient.engine.dropUnreadFiles(at: world.now)
        #expect((1..<count).contains(try patient.pieceCount()))
        try patient.crash()
        try patient.engine.dropUnreadFiles(at: world.now)
        #expect(try patient.only().files.isEmpty)
        #expect(try patient.pieceCount() == 0)
    }

    @Test func `what another member says of a file is checked`() {
        func note(_ change: (inout WireFile) -> Void) -> FileNote? {
            var wire = WireFile()
            wire.blob = Data(Random.bytes(16))
            wire.hash = Data(Random.bytes(32))
            wire.key = Data(Random.bytes(32))
            wire.header = Data(Random.bytes(24))
            wire.bytes = 200
            wire.blobBytes = 256
            wire.name = "a"
            change(&wire)
            return FileNote(wire)
        }
        #expect(note { _ in } != nil)
        #expect(note { $0.bytes = 239 } != nil)
        #expect(note { $0.bytes = 240 } == nil)
        #expect(note { $0.bytes = .max } == nil)
        #expect(note { $0.blobBytes = 0 } == nil)
        #expect(note { $0.blobBytes = .max } == nil)
        #expect(note { $0.blobBytes = 65_536 + 16 } == nil)
        #expect(note { $0.blob = Data([1]) } == nil)
        #expect(note { $0.hash = Data([1]) } == nil)
        #expect(note { $0.key = Data([1]) } == nil)
        #expect(note { $0.header = Data() } == nil)
        #expect(note { $0.name = String(repeating: "x", count: 256) } == nil)
        #expect(note { $0.mediaType = String(repeating: "x", count: 256) } == nil)
    }
}
