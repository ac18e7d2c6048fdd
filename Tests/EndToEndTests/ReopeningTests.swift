import Foundation
import Testing

@Suite struct `Reopening after a restore` {
    /// The relay comes back with what it had before anybody asked for the consultation: with its own
    /// trail, or on a new disk that knows nothing of what happened since.
    @Test(.timeLimit(.minutes(10)), arguments: [true, false])
    func `loses no word of a consultation that it has never heard of`(
        _ keepsTrail: Bool
    ) async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let backup = stage.folder + "/relay.backup"
            _ = try await stage.run(
                .relay, ["backup", "--data", stage.relayFolder, "--out", backup])
            let id = try await stage.consultation(of: patient, with: doctor)
            try await patient.curtain("send", id, "before, and read")
            try await doctor.curtain("sync")
            try await doctor.curtain("send", id, "before, on the relay only")

            try await stage.stopRelay()
            if !keepsTrail { try FileManager.default.removeItem(atPath: stage.relayFolder) }
            _ = try await stage.run(
                .relay, ["restore", "--from", backup, "--data", stage.relayFolder])
            try await stage.startRelay()

            _ = try? await patient.curtain("send", id, "after", exits: nil)
            try await eventually("everything has come", within: .seconds(90)) {
                try await doctor.curtain("sync", exits: nil)
                try await patient.curtain("sync", exits: nil)
                let all = ["before, and read", "before, on the relay only", "after"].sorted()
                let theirs = try await doctor.texts(id).sorted()
                return try await patient.texts(id).sorted() == all && theirs == all
            }
            for person in [patient, doctor] {
                #expect(try await person.state(of: id) == "open")
                let messages = try await person.messages(id)
                #expect(messages.contains { $0["kind"] == "notice" })
                #expect(!messages.contains { $0["kind"] == "gap" })
            }
            // It ends as ever.
            try await doctor.curtain("end", id)
            try await patient.curtain("sync")
            try await doctor.curtain("sync")
            #expect(try await patient.state(of: id) == "erased")
            #expect(try await doctor.state(of: id) == "erased")
        }
    }
}
