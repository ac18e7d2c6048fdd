import Foundation
import Glibc
import RelayProtocol
import TestSupport
import Testing

/// What must be gone, taken down before it is erased.
private struct Remains {
    let stage: Stage
    let people: [Person]
    let texts: [String]
    let group: GroupID
    let wire: [(name: String, octets: [UInt8])]
    let relayKeys: [(name: String, octets: [UInt8])]
    let vaults: [Evidence]

    init(on stage: Stage, of people: [Person], texts: [String], recorder: Recorder) throws {
        self.stage = stage
        self.people = people
        self.texts = texts
        let group = try #require(recorder.delivered.compactMap(\.group).last)
        self.group = group
        wire = recorder.needles(of: group)
        relayKeys = try stage.relayKeys(
            of: [group.bytes]
                + recorder.delivered.filter { $0.group == group }.map(\.mailbox.bytes))
        vaults = try people.map { try $0.vaultEvidence() }
    }

    /// Expects that the relay's memory, while it has the group, holds no text and no name.
    func expectNothingInMemory(_ names: [String]) throws {
        guard ProcessMemory.canBeRead else { return }
        let memory = try ProcessMemory(of: stage.relayProcess)
        // What it must know is seen.
        #expect(memory.names(of: [(name: "group", octets: group.bytes)]) == ["group"])
        let found = memory.names(of: ByteSearch.needles(of: texts + names))
        #expect(found.isEmpty)
    }

    /// Whether the relay has overwritten the group's slot, and not only in its log.
    func isRelayErased() throws -> Bool {
        try stage.relayKeys(of: [group.bytes]).isEmpty
            && ByteSearch.hits(of: relayKeys, below: stage.relayFolder).isEmpty
    }

    /// Expects that nothing is left at the relay: no text, no name, no ciphertext as it travelled,
    /// and none of the keys under which ciphertext is sealed on disk.
    func expectGoneAtRelay() throws {
        #expect(ByteSearch.hits(ofTexts: texts, below: stage.relayFolder).isEmpty)
        #expect(relayKeys.count >= 3 && wire.count > 8)
        let hits = ByteSearch.hits(of: relayKeys + wire, below: stage.relayFolder)
        #expect(hits.isEmpty, "\(hits)")
    }

    /// Expects that nothing is left in this person's home.
    func expectGone(of person: Person) throws {
        let before = try #require(zip(people, vaults).first { $0.0.home == person.home }).1
        #expect(ByteSearch.hits(ofTexts: texts, below: person.home).isEmpty)
        let pieces = before.pieces(goneIn: try person.vaultEvidence())
        #expect(!pieces.isEmpty)
        let hits = ByteSearch.hits(of: pieces + wire, below: person.home)
        #expect(hits.isEmpty, "\(hits)")
    }
}

@Suite struct `Erasure` {
    /// Opens a consultation, fills it from a seed with texts of many sizes, and leaves one message
    /// at the relay unread.
    private func talk(
        _ stage: Stage, seed: UInt64, _ body: (Person, Person, String, Remains) async throws -> Void
    ) async throws {
        var generator = SeededGenerator(seed: seed)
        let doctor = try await stage.doctor("Dr. Ada Weiss")
        let patient = try await stage.patient("Jonas Feld")
        let id = try await stage.consultation(of: patient, with: doctor, reason: "MARKER-reason")
        let recorder = try Recorder(inFrontOf: stage.relayAddress)
        for _ in 0..<4 {
            for person in [doctor, patient] {
                let lines = (0..<Int.random(in: 1...6, using: &generator)).map { _ in
                    "MARKER-"
                        + String(
                            repeating: "x", count: Int.random(in: 1...3000, using: &generator))
                }
                let chat = try person.start("chat", id, "--relay-url", recorder.url)
                for line in lines { chat.type(line) }
                chat.closeInput()
                #expect(try await chat.wait() == .exited(0))
            }
        }
        try await doctor.curtain("sync", "--relay-url", recorder.url)
        try await patient.curtain("send", id, "MARKER-unread")
        let remains = try Remains(
            on: stage, of: [doctor, patient], texts: ["MARKER"], recorder: recorder)
        try remains.expectNothingInMemory(["Ada Weiss", "Jonas Feld"])
        await recorder.close()
        try await body(doctor, patient, id, remains)
    }

    private func expectReceipt(_ person: Person, _ id: String, reason: String) async throws {
        let receipts = try await person.curtain("receipts", "--json").objects
        let receipt = try #require(receipts.first { $0["consultation"] == id })
        #expect(receipt["reason"] == reason)
        #expect(try await person.state(of: id) == "erased")
    }

    @Test(.timeLimit(.minutes(10)), arguments: [UInt64(1), 2])
    func `by the doctor, confirmed by the patient, leaves nothing anywhere`(seed: UInt64)
        async throws
    {
        try await Stage.with { stage in
            try await talk(stage, seed: seed) { doctor, patient, id, remains in
                try await doctor.curtain("end", id)
                try remains.expectGone(of: doctor)
                #expect(try await doctor.state(of: id) == "closing")
                try await patient.curtain("sync")
                try await doctor.curtain("sync")
                try remains.expectGone(of: patient)
                try remains.expectGoneAtRelay()
                for person in [doctor, patient] {
                    try await expectReceipt(person, id, reason: "confirmed")
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(10)))
    func `by the patient, while the doctor waits for it, prints the receipt`() async throws {
        try await Stage.with { stage in
            try await talk(stage, seed: 3) { doctor, patient, id, remains in
                let waiting = try doctor.start("sync", "--wait", "200")
                let ended = try await patient.curtain("end", id, "--wait", "200", "--json")
                #expect(try ended.objects.contains { $0["state"] == "erased" })
                waiting.signal(SIGTERM)
                try await waiting.wait()
                try await doctor.curtain("sync")
                try remains.expectGone(of: patient)
                try remains.expectGone(of: doctor)
                try remains.expectGoneAtRelay()
                try await expectReceipt(doctor, id, reason: "confirmed")
            }
        }
    }

    @Test(.timeLimit(.minutes(10)))
    func `at the deadline with nobody connected; who comes back late learns of it`() async throws {
        try await Stage.with { stage in
            try await talk(stage, seed: 4) { doctor, patient, id, remains in
                // The patient never comes to confirm: 30 days after the closing the relay erases.
                try await doctor.curtain("end", id)
                try await stage.stopRelay()
                try await stage.startRelay(["--clock-ahead", "32", "--accept-clock"])
                try await eventually("the relay erased at the deadline", within: .seconds(90)) {
                    try remains.isRelayErased()
                }
                try remains.expectGoneAtRelay()

                // The patient's device comes late: it missed the closing, so it keeps what it has,
                // says so, and erases when the person says so.
                try await patient.curtain("sync")
                #expect(try await patient.state(of: id) == "locked")
                try await patient.curtain("send", id, "too late", exits: 65)
                try await patient.curtain("end", id)
                try remains.expectGone(of: patient)
                try await expectReceipt(patient, id, reason: "deadline")
                try await doctor.curtain("sync")
                try await expectReceipt(doctor, id, reason: "deadline")
            }
        }
    }

    @Test(.timeLimit(.minutes(10)))
    func `killed while it erases, a device finishes the erasure when it comes back`() async throws {
        try await Stage.with { stage in
            var generator = SeededGenerator(seed: setting("CURTAIN_CRASH_SEED", default: 5))
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            for _ in 0..<6 {
                let id = try await stage.consultation(
                    of: patient, with: doctor, reason: "MARKER-reason")
                try await patient.curtain("send", id, "MARKER-text")
                try await doctor.curtain("sync")
                let first = Bool.random(using: &generator) ? doctor : patient
                let second = first.home == doctor.home ? patient : doctor
                for (person, arguments) in [(first, ["end", id]), (second, ["sync"])] {
                    let child = try stage.launcher.start(
                        .curtain, arguments,
                        environment: person.environment)
                    try await Task.sleep(
                        for: .milliseconds(Int.random(in: 20...400, using: &generator)))
                    child.kill()
                    try await child.wait()
                }
                if try await first.state(of: id) == "open" { try await first.curtain("end", id) }
                try await first.curtain("sync")
                try await second.curtain("sync")
                try await first.curtain("sync")
                for person in [doctor, patient] {
                    try await expectReceipt(person, id, reason: "confirmed")
                    #expect(ByteSearch.hits(ofTexts: ["MARKER"], below: person.home).isEmpty)
                }
            }
        }
    }
}
