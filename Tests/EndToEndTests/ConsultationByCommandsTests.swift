import Foundation
import Testing

@Suite struct `A consultation by commands` {
    @Test(.timeLimit(.minutes(5)))
    func `runs from the invitation to the receipt and leaves only the prescription`() async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let reason = "MARKER-reason a cough that stays"
            let id = try await stage.request(of: patient, to: doctor, reason: reason)
            try await doctor.curtain("sync")
            try await doctor.curtain("accept", id)
            try await patient.curtain("sync")

            // They talk.
            var said = ["MARKER-1 since when?", "MARKER-2 for three weeks — größer, 咳嗽"]
            try await doctor.curtain("send", id, said[0])
            try await patient.curtain("sync")
            try await patient.curtain("send", id, "-", input: [said[1]])
            try await doctor.curtain("sync")
            #expect(try await doctor.texts(id) == said)

            // The doctor is away; what the patient writes waits at the relay, unreadable.
            for number in 3...5 {
                said.append("MARKER-\(number) still coughing")
                try await patient.curtain("send", id, said[number - 1])
            }
            let secrets = said + [reason, "Jonas Feld", "Ada Weiss"]
            #expect(ByteSearch.hits(ofTexts: secrets, below: stage.relayFolder).isEmpty)

            // The relay dies; what is written meanwhile waits in the outbox.
            try await stage.killRelay()
            said.append("MARKER-6 is anybody there?")
            try await patient.curtain("send", id, said[5], exits: 75)
            try await patient.curtain("sync", exits: 69)
            try await stage.startRelay()
            try await patient.curtain("sync")
            try await doctor.curtain("sync")
            #expect(try await doctor.texts(id) == said)
            #expect(try await patient.texts(id) == said)

            let prescription = try await prescribe(doctor, patient, id)

            let doctorBefore = try doctor.vaultEvidence()
            let patientBefore = try patient.vaultEvidence()
            try await end(id, by: doctor, and: patient)

            // Nothing of it is left: no text, no ciphertext, no key.
            #expect(
                ByteSearch.hits(ofTexts: said + [reason], below: stage.folder + "/relay").isEmpty)
            for person in [doctor, patient] {
                #expect(ByteSearch.hits(ofTexts: said + [reason], below: person.home).isEmpty)
            }
            let doctorPieces = doctorBefore.pieces(goneIn: try doctor.vaultEvidence())
            let patientPieces = patientBefore.pieces(goneIn: try patient.vaultEvidence())
            #expect(!doctorPieces.isEmpty && !patientPieces.isEmpty)
            #expect(ByteSearch.hits(of: doctorPieces, below: doctor.home).isEmpty)
            #expect(ByteSearch.hits(of: patientPieces, below: patient.home).isEmpty)

            // The prescription stays, sealed.
            #expect(ByteSearch.hits(ofTexts: ["Amoxicillin"], below: patient.home).isEmpty)
            let shown = try await patient.curtain("rx", "show", prescription)
            #expect(shown.output.contains("Amoxicillin"))
        }
    }

    @Test(.timeLimit(.minutes(8)))
    func `over TLS only a relay with the expected certificate is spoken to`() async throws {
        try await Stage.with(tls: true) { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)
            try await patient.curtain("send", id, "over TLS")
            try await doctor.curtain("sync")
            #expect(try await doctor.texts(id) == ["over TLS"])
            // Without the authority, the certificate is nobody's.
            let distrustful = try await stage.run(
                .curtain, ["sync"],
                environment: doctor.environment.filter { $0.key != "CURTAIN_RELAY_CA" }, exits: 69)
            #expect(distrustful.errors.hasPrefix("curtain: "))
        }
    }

    @Test(.timeLimit(.minutes(8)))
    func `shows what was never read when the other side ends it, whichever command runs`()
        async throws
    {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)
            try await doctor.curtain("send", id, "three times a day")
            try await doctor.curtain("end", id)
            let refused = try await patient.curtain("send", id, "how often?", exits: 65)
            #expect(refused.output.contains("three times a day"))
            #expect(refused.errors.hasPrefix("curtain: this consultation "))
            #expect(try await patient.state(of: id) != "open")
        }
    }

    /// The doctor prescribes; the patient keeps, exports and verifies it. Returns its id.
    private func prescribe(_ doctor: Person, _ patient: Person, _ id: String) async throws -> String
    {
        let order = doctor.home + ".rx.json"
        let example = try await doctor.curtain("prescribe", "--example")
        try Data(example.output.utf8).write(to: URL(fileURLWithPath: order))
        try await doctor.curtain("prescribe", id, "--from", order, "--yes")
        try await patient.curtain("sync")
        let list = try await patient.curtain("rx", "list", "--json").objects
        let prescription = try #require(list.first?["id"])
        let exported = patient.home + ".jws"
        try await patient.curtain("rx", "export", prescription, "--out", exported)
        let root = patient.stage.rootFile
        let passed = try await patient.curtain("rx", "verify", exported, "--root", root)
        #expect(passed.output.contains("PASS"))

        let jws = try String(contentsOfFile: exported, encoding: .utf8)
        for position in [10, jws.count / 2, jws.count - 10] {
            var altered = Array(jws)
            altered[position] = altered[position] == "A" ? "B" : "A"
            let forged = patient.home + ".forged.jws"
            try Data(String(altered).utf8).write(to: URL(fileURLWithPath: forged))
            let failed = try await patient.curtain(
                "rx", "verify", forged, "--root", root, exits: 65)
            #expect(failed.output.contains("FAIL"))
        }
        return prescription
    }

    private func end(_ id: String, by first: Person, and second: Person) async throws {
        try await first.curtain("end", id)
        try await second.curtain("sync")
        try await first.curtain("sync")
        for person in [first, second] {
            #expect(try await person.state(of: id) == "erased")
            let receipts = try await person.curtain("receipts", "--json").objects
            let receipt = try #require(receipts.first { $0["consultation"] == id }?["receipt"])
            let file = person.home + ".receipt"
            try Data(receipt.utf8).write(to: URL(fileURLWithPath: file))
            try await person.curtain("receipts", "verify", file)

            var forged = Array(receipt)
            forged[forged.count / 2] = forged[forged.count / 2] == "A" ? "B" : "A"
            try Data(String(forged).utf8).write(to: URL(fileURLWithPath: file))
            try await person.curtain("receipts", "verify", file, exits: 65)
        }
    }
}
