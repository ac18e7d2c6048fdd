import Cryptography
import Foundation
import GRDB
import RelayProtocol
import Testing

/// Backups and restores with the real programs, as an operator makes them.
@Suite struct `Backup and restore` {
    /// The groups in a relay's database or a backup of it.
    private func groups(in path: String) throws -> [GroupID] {
        var configuration = Configuration()
        configuration.readonly = true
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        return try queue.read { database in
            try Data.fetchAll(database, sql: "SELECT content FROM group_slot").compactMap {
                $0.first == 1 ? GroupID(Array($0.dropFirst().prefix(32))) : nil
            }
        }
    }

    @Test(.timeLimit(.minutes(6)))
    func `loses nothing accepted before, and brings nothing back that was erased since`()
        async throws
    {
        try await Stage.with { stage in
            let mirror = stage.folder + "/mirror"
            let backup = stage.folder + "/backup"
            try await stage.stopRelay()
            try await stage.startRelay(["--trail-mirror", mirror])
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let other = try await stage.patient("Mara Stein", folder: "other")
            let kept = try await stage.consultation(of: patient, with: doctor)
            let ended = try await stage.consultation(of: other, with: doctor)

            // Two write while the backup is made.
            for number in 0..<3 { try await patient.curtain("send", kept, "before \(number)") }
            async let load: Void = {
                for number in 0..<6 { try await patient.curtain("send", kept, "while \(number)") }
            }()
            async let more: Void = {
                for number in 0..<6 { try await other.curtain("send", ended, "other \(number)") }
            }()
            let made = try await stage.run(
                .relay, ["backup", "--data", stage.relayFolder, "--out", backup, "--json"])
            #expect(try made.objects.first?.flag("verified") == true)
            _ = try await (load, more)
            let inBackup = try groups(in: backup)
            #expect(inBackup.count == 2)

            // After the backup one of the two is ended and erased.
            try await doctor.curtain("sync")
            try await other.curtain("end", ended, exits: nil)
            try await doctor.curtain("sync")
            try await doctor.curtain("end", ended, exits: nil)
            for person in [other, doctor, other] { try await person.curtain("sync", exits: nil) }
            let left = try groups(in: stage.relayFolder + "/relay.sqlite")
            let erased = Set(inBackup).subtracting(left)
            try #require(erased.count == 1)

            let check = try await stage.run(
                .relay, ["check", "--data", stage.relayFolder, "--json"], exits: nil)
            #expect(check.ending == .exited(75), "\(check.output)")

            // The disk is lost; backup and mirror are elsewhere.
            try await stage.killRelay()
            try FileManager.default.removeItem(atPath: stage.relayFolder)
            let restored = try await stage.run(
                .relay,
                [
                    "restore", "--from", backup, "--data", stage.relayFolder, "--trail", mirror,
                    "--json",
                ])
            #expect(try restored.objects.first?.number("groupsErased") == 1)
            try await stage.startRelay(["--trail-mirror", mirror])
            for group in erased {
                let hits = ByteSearch.hits(
                    of: [(name: "group", octets: group.bytes)], below: stage.relayFolder)
                #expect(hits.isEmpty, "\(hits)")
            }
            let verdict = try await stage.run(
                .relay,
                [
                    "audit", "--data", stage.relayFolder, "--verify", "--trail-mirror", mirror,
                    "--json",
                ])
            #expect(try verdict.objects.first?.flag("valid") == true)

            try await doctor.curtain("sync", exits: nil)
            try await patient.curtain("sync", exits: nil)
            try await doctor.curtain("sync", exits: nil)
            let texts = try await doctor.texts(kept)
            for number in 0..<3 { #expect(texts.filter { $0 == "before \(number)" }.count == 1) }
            for number in 0..<6 { #expect(texts.filter { $0 == "while \(number)" }.count <= 1) }
        }
    }

    @Test(.timeLimit(.minutes(6)))
    func `a check tells of a certificate that ends soon, and of damage in store and trail`()
        async throws
    {
        try await Stage.with(tls: true) { stage in
            func check(_ status: Int32) async throws -> [String: String] {
                let outcome = try await stage.run(
                    .relay, ["check", "--data", stage.relayFolder], exits: status)
                return outcome.output.split(separator: "\n").reduce(into: [:]) { points, line in
                    let words = line.split(separator: " ", omittingEmptySubsequences: true)
                    if words.count > 1, let name = words[0].split(separator: ":").first {
                        points[String(name)] = String(words[1])
                    }
                }
            }
            // The stage's certificate is good for two days.
            let points = try await check(75)
            #expect(points["certificate"] == "LOOK")
            #expect(points["store"] == "good" && points["trail"] == "good")
            // Whose tokens are taken.
            let pem = try String(contentsOfFile: stage.folder + "/root.pem", encoding: .utf8)
            let body = pem.split(separator: "\n").filter { !$0.hasPrefix("-") }.joined()
            let fingerprint = Hash.sha256([UInt8](try #require(Data(base64Encoded: body))))
                .map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            let told = try await stage.run(.relay, ["audit", "--data", stage.relayFolder])
            #expect(told.output.contains("clinicRoot=\(fingerprint)"))
            // A file of heads that was never written shows nothing.
            let heads = stage.folder + "/heads"
            let verify = ["audit", "--data", stage.relayFolder, "--verify", "--against", heads]
            try Data().write(to: URL(fileURLWithPath: heads))
            let refused = try await stage.run(.relay, verify, exits: 65)
            #expect(refused.errors.contains("no head"))
            let head = try await stage.run(
                .relay, ["audit", "--data", stage.relayFolder, "--head"])
            try Data(head.output.utf8).write(to: URL(fileURLWithPath: heads))
            let passed = try await stage.run(.relay, verify)
            #expect(passed.output.contains("1 heads kept elsewhere"))
            try await stage.stopRelay()
            let trail = stage.relayFolder + "/trail/00000000000000000000.trail"
            var octets = try #require(FileManager.default.contents(atPath: trail))
            octets[octets.count / 2] ^= 1
            try octets.write(to: URL(fileURLWithPath: trail))
            #expect(try await check(65)["trail"] == "BAD")
            let database = stage.relayFolder + "/relay.sqlite"
            var pages = try #require(FileManager.default.contents(atPath: database))
            for place in stride(from: 8_192, to: pages.count, by: 512) { pages[place] ^= 0xff }
            try pages.write(to: URL(fileURLWithPath: database))
            #expect(try await check(65)["store"] == "BAD")
        }
    }

    @Test(.timeLimit(.minutes(6)))
    func `a backup that can't be written leaves nothing behind, and the relay goes on`()
        async throws
    {
        try await Stage.with { stage in
            let patient = try await stage.patient("Jonas Feld")
            // A limit on files' sizes stands for a disk that is full: every write beyond it fails.
            // ThreadSanitizer dies if that cuts a file which it makes in TMPDIR; it can do without.
            let command = """
                trap '' XFSZ; ulimit -f 24
                TMPDIR=/nowhere exec "$0" backup --data "$1" --out "$2"
                """
            let refused = try await stage.run(
                .shell,
                [
                    "-c", command, Program.relay.path, stage.relayFolder,
                    stage.folder + "/backup",
                ], exits: nil)
            #expect(refused.ending != .exited(0))
            #expect(refused.errors.hasPrefix("curtain: "))
            let names = try FileManager.default.contentsOfDirectory(atPath: stage.folder)
            #expect(!names.contains { $0.hasPrefix("backup") })
            let inside = try FileManager.default.contentsOfDirectory(atPath: stage.relayFolder)
            #expect(!inside.contains { $0.contains("copy") }, "\(inside)")
            try await patient.curtain("me")
            _ = try await stage.run(
                .relay,
                ["backup", "--data", stage.relayFolder, "--out", stage.folder + "/backup"])
            // Over an existing file only when asked to; a damaged one isn't restored.
            _ = try await stage.run(
                .relay,
                ["backup", "--data", stage.relayFolder, "--out", stage.folder + "/backup"],
                exits: 73)
            _ = try await stage.run(
                .relay,
                ["restore", "--from", stage.folder + "/backup", "--data", stage.relayFolder],
                exits: 75)
            _ = try await stage.run(
                .relay,
                [
                    "restore", "--verify", "--from", stage.folder + "/backup", "--data",
                    stage.relayFolder,
                ])
            _ = try await stage.run(.relay, ["check", "--data", stage.relayFolder])
        }
    }
}
