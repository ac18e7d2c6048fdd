import Foundation
import Testing

@Suite struct `A home in other hands` {
    @Test(.timeLimit(.minutes(8)))
    func `a stolen home without its passphrase shows no text, no name and no address`() async throws
    {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(
                of: patient, with: doctor, reason: "MARKER-reason")
            try await patient.curtain("send", id, "MARKER-patient")
            try await doctor.curtain("sync")
            try await doctor.curtain("send", id, "MARKER-doctor")
            try await patient.curtain("sync")

            let secrets = [
                "MARKER", "Jonas Feld", "Ada Weiss", "General practice", "DE-4711",
                "127.0.0.1", "Clinic on the Hill",
            ]
            for person in [doctor, patient] {
                let hits = ByteSearch.hits(ofTexts: secrets, below: person.home)
                #expect(hits.isEmpty, "\(hits)")
            }
        }
    }

    @Test(.timeLimit(.minutes(8)))
    func `of two copies of a home only the one that went on may send`() async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)
            let copy = try Person(copyOf: patient, folder: "copy")

            try await patient.curtain("send", id, "from the true home")
            try await copy.curtain("send", id, "from the copy", exits: 77)
            try await copy.curtain("sync", exits: 77)
            try await doctor.curtain("sync")
            #expect(try await doctor.texts(id) == ["from the true home"])

            // The true home isn't harmed by it.
            try await patient.curtain("send", id, "still the true home")
            try await doctor.curtain("sync")
            #expect(
                try await doctor.texts(id) == ["from the true home", "still the true home"])

            // The person goes on with the copy: the doctor sees it, and the other one is out.
            // What it had written waits until the doctor's device has said what it knows.
            let recovered = try await copy.curtain("recover", "--yes", "--json", exits: 75)
            #expect(try recovered.objects.first?.flag("copied") == false)
            #expect(recovered.errors.contains("Dr. Ada Weiss's device"))
            let waiting = try await copy.curtain("sync", exits: 75)
            #expect(waiting.errors.contains("Dr. Ada Weiss's device"))
            try await doctor.curtain("sync")
            try await copy.curtain("sync")
            try await copy.curtain("send", id, "from the copy, on purpose")
            try await doctor.curtain("sync")
            #expect(try await doctor.texts(id).last == "from the copy, on purpose")
            let notices = try await doctor.messages(id).filter { $0["kind"] == "notice" }
            #expect(notices.count == 1)
            try await patient.curtain("send", id, "too late", exits: 77)
        }
    }
}
