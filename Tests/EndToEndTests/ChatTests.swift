import Foundation
import Testing

@Suite struct `Two chats through pipes` {
    @Test(.timeLimit(.minutes(10)))
    func `each sees what the other types, across a death of the relay`() async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)
            let left = try doctor.start("chat", id)
            let right = try patient.start("chat", id)
            left.type("how are you — wie geht’s, 元気ですか?")
            try await right.line { $0.contains("how are you — wie geht’s, 元気ですか?") }
            right.type("better")
            try await left.line { $0.contains("better") }

            try await stage.killRelay()
            left.type("said while the relay was away")
            right.type("so was this")
            try await Task.sleep(for: .milliseconds(300))
            try await stage.startRelay()
            try await right.line { $0.contains("said while the relay was away") }
            try await left.line { $0.contains("so was this") }

            for chat in [left, right] {
                chat.closeInput()
                #expect(try await chat.wait() == .exited(0))
            }
            // In each chat the two texts of the break stand once.
            for chat in [left, right] {
                for text in ["said while the relay was away", "so was this"] {
                    #expect(chat.lines.count { $0.contains(text) } <= 1, "\(chat.output)")
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(8)))
    func `control characters of the other side are shown and not obeyed`() async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)
            let text = "a\u{1b}[2Jb\u{7}c\u{202e}d\u{9b}e\rf"
            try await patient.curtain("send", id, text)
            try await doctor.curtain("sync")
            let chat = try doctor.start("chat", id)
            try await chat.line { $0.contains("[2Jb") }
            chat.closeInput()
            try await chat.wait()
            let outputs = [
                chat.output, try await doctor.curtain("read", id).output,
                try await doctor.curtain("consultations").output,
            ]
            for output in outputs {
                for scalar in output.unicodeScalars {
                    #expect(
                        scalar == "\n" || !scalar.properties.generalCategory.isControl,
                        "U+\(String(scalar.value, radix: 16)) in \(output.debugDescription)")
                }
            }
            // In JSON the text is exact.
            #expect(try await doctor.texts(id) == [text])
        }
    }

    @Test(.timeLimit(.minutes(8)))
    func `what is typed as end closes and erases the consultation`() async throws {
        try await Stage.with { stage in
            let doctor = try await stage.doctor("Dr. Ada Weiss")
            let patient = try await stage.patient("Jonas Feld")
            let id = try await stage.consultation(of: patient, with: doctor)
            try await patient.curtain("send", id, "MARKER-text")
            let waiting = try patient.start("sync", "--wait", "200")
            let chat = try doctor.start("chat", id)
            try await chat.line { $0.contains("MARKER-text") }
            chat.type("/end yes")
            // It goes on until the other side has confirmed and the receipt is there.
            #expect(try await chat.wait() == .exited(0))
            waiting.kill()
            try await waiting.wait()
            try await patient.curtain("sync")
            try await doctor.curtain("sync")
            for person in [doctor, patient] {
                #expect(try await person.state(of: id) == "erased")
                #expect(ByteSearch.hits(ofTexts: ["MARKER"], below: person.home).isEmpty)
            }
        }
    }
}

extension Unicode.GeneralCategory {
    /// Whether a terminal could obey such a character, or be misled by it.
    fileprivate var isControl: Bool { self == .control || self == .format }
}
