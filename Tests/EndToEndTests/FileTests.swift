import Cryptography
import Foundation
import GRDB
import TestSupport
import Testing

/// Files from home to home, by the real programs.
@Suite struct `A file` {
    private func write(_ content: [UInt8], to path: String) throws {
        try Data(content).write(to: URL(fileURLWithPath: path))
    }

    private func read(_ path: String) -> [UInt8]? {
        FileManager.default.contents(atPath: path).map { [UInt8]($0) }
    }

    /// Pieces of the relay's blobs, as they lie in its database.
    private func parts(of octets: [UInt8]) -> [(name: String, octets: [UInt8])] {
        stride(from: 0, to: octets.count - 32, by: octets.count / 16).map {
            ("octet \($0)", Array(octets[$0..<$0 + 32]))
        }
    }

    @Test(.timeLimit(.minutes(10)))
    func `arrives whole though relay and sender are killed midway, and ends with the consultation`()
        async throws
    {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)
            let content = Random.bytes(3 << 20)
            let source = stage.folder + "/scan of the knee.pdf"
            try write(content, to: source)

            // Few pieces per second, so that there is a midway.
            let slow = ["--limit-pieces-per-second", "2", "--limit-piece-burst", "8"]
            try await stage.stopRelay()
            try await stage.startRelay(slow)
            let sending = try patient.start("send", id, "--file", source, keepsInput: false)
            try await eventually("some of the file is at the relay") {
                stage.storedPieces() > 10
            }
            try await stage.killRelay()
            let before = stage.storedPieces()
            try await stage.startRelay(slow)
            try await eventually("it goes on") { stage.storedPieces() > before + 4 }
            sending.kill()
            try await sending.wait()
            #expect(sending.output.isEmpty)
            let midway = stage.storedPieces()
            #expect(midway < 64)
            // What was taken in isn't needed any more.
            try FileManager.default.removeItem(atPath: source)
            try await stage.stopRelay()
            try await stage.startRelay()
            try await patient.curtain("sync")
            let sent = try #require(try await patient.messages(id).last)
            #expect(sent["kind"] == "file")
            #expect(sent["state"] == "relayed")

            try await doctor.curtain("sync")
            let came = try #require(try await doctor.messages(id).last { $0["kind"] == "file" })
            #expect(came["file"] == "scan of the knee.pdf")
            #expect(came["fileState"] == "here")
            #expect(came["id"] == sent["id"])
            let number = try #require(came.number("number"))
            let folder = stage.folder + "/saved/"
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            let taken = folder + "scan of the knee.pdf"
            try write([1, 2, 3], to: taken)
            try await doctor.curtain("save", id, "\(number)", folder)
            #expect(read(taken) == [1, 2, 3], "overwritten")
            #expect(read(folder + "scan of the knee (2).pdf") == content)
            try await doctor.curtain("save", id, "\(number)", taken, exits: 73)
            try await doctor.curtain("save", id, "1", exits: 66)
            // Nothing half written is left beside it.
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 2)

            // At the relay and in both homes: nothing in the clear, and after the receipt nothing.
            let stored = try stage.storedBlobOctets()
            #expect(stored.count > 3 << 20)
            let vaults = try [doctor, patient].map { try $0.vaultEvidence() }
            for place in [stage.relayFolder, doctor.home, patient.home] {
                #expect(ByteSearch.hits(of: parts(of: content), below: place).isEmpty)
            }
            #expect(!ByteSearch.hits(of: parts(of: stored), below: stage.relayFolder).isEmpty)
            try await doctor.curtain("end", id)
            try await patient.curtain("sync")
            try await doctor.curtain("sync")
            #expect(try await doctor.state(of: id) == "erased")
            try await eventually("the pieces are gone") { stage.storedPieces() == 0 }
            try await stage.stopRelay()
            #expect(ByteSearch.hits(of: parts(of: stored), below: stage.relayFolder).isEmpty)
            for (person, before) in zip([doctor, patient], vaults) {
                let pieces = before.pieces(goneIn: try person.vaultEvidence())
                #expect(!pieces.isEmpty)
                let hits = ByteSearch.hits(of: pieces, below: person.home)
                #expect(hits.isEmpty, "\(hits)")
            }
        }
    }

    @Test(.timeLimit(.minutes(6)))
    func `that can't be sent is said, with the status that scripts rely on`() async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)
            try await patient.curtain("send", id, "--file", "/nowhere", exits: 66)
            try await patient.curtain("send", id, "--file", "/dev/null", exits: 66)
            let source = stage.folder + "/a.txt"
            try write(Random.bytes(100_000), to: source)
            try await stage.stopRelay()
            // Without the relay it waits, and goes out later.
            let waiting = try await patient.curtain(
                "send", id, "--file", source, "--json", exits: 75)
            #expect(try waiting.objects.first?["state"] == "waiting")
            try await stage.startRelay(["--limit-blob-bytes", "64KiB"])
            // Larger than this relay takes: gone from the outbox, and nothing is missing elsewhere.
            let refused = try await patient.curtain(
                "send", id, "later", "--file", source, exits: 65)
            #expect(refused.errors.contains("larger than the relay takes"))
            try await doctor.curtain("sync")
            #expect(try await doctor.texts(id) == ["later"])
            #expect(try await doctor.messages(id).allSatisfy { $0["kind"] != "gap" })
        }
    }

    @Test(.timeLimit(.minutes(6)))
    func `is sent and saved within a chat`() async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)
            let source = stage.folder + "/x ray.png"
            let content = Random.bytes(70_000)
            try write(content, to: source)
            let listening = try doctor.start("chat", id, "--json")
            let chat = try patient.start("chat", id)
            chat.type("/file \(source)")
            let line = try await listening.line { $0.contains("\"here\"") }
            let message = try #require(try JSONLine.all(line).first)
            let number = try #require(message.number("number"))
            let target = stage.folder + "/x ray saved.png"
            listening.type("/save \(number) \(target)")
            try await eventually("it is saved") { read(target) == content }
            for process in [chat, listening] {
                process.closeInput()
                #expect(try await process.wait() == .exited(0))
            }
        }
    }
}

extension Stage {
    /// How many pieces of blobs lie in the relay's store.
    ///
    /// - Returns: -1 where it was copied in the middle of something.
    fileprivate func storedPieces() -> Int {
        let count = try? Evidence.copy(of: relayFolder + "/relay.sqlite") { db in
            try Int.fetchOne(db, sql: "SELECT count(*) FROM piece")
        }
        return (count ?? nil) ?? -1
    }

    /// The pieces one behind the other, as they are stored.
    fileprivate func storedBlobOctets() throws -> [UInt8] {
        try Evidence.copy(of: relayFolder + "/relay.sqlite") { db in
            try Data.fetchAll(db, sql: "SELECT content FROM piece ORDER BY number")
                .flatMap { [UInt8]($0) }
        }
    }
}
