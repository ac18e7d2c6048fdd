import Credentials
import Cryptography
import Foundation
import RelayProtocol
import Terminal
import Testing

@testable import Consultations
@testable import Vault
@testable import curtain

/// Values of the client library, made up.
enum Sample {
    static let noon = Date(timeIntervalSince1970: 1_795_262_400)

    static func person(_ name: String, isVerified: Bool = false) throws -> Person {
        let key = try SigningKey().publicKey
        return Person(
            id: PersonID(identityKey: key), name: name, role: .doctor, identityKey: key,
            isVerified: isVerified, isVouched: true, licence: "L-1", specialty: "cardiology",
            born: nil, reference: nil)
    }

    static func consultation(
        _ state: Consultation.State = .open, isVerified: Bool = false, name: String = "Dr. Ada",
        awaitsOther: Bool = false, waitingFiles: Int = 0
    ) throws -> Consultation {
        let other = try person(name, isVerified: isVerified)
        return Consultation(
            id: try #require(ConsultationID("aaaabbbbccccddddeeeeffffge")), state: state,
            other: other, members: [other], isMine: true, time: noon, minutes: 20,
            reason: "cough", createdAt: noon, unread: 2, waiting: 1,
            waitingFiles: waitingFiles, suite: .x25519ChaCha20, epoch: 3, lastMessageAt: nil,
            declined: false, reopening: nil, awaitsOther: awaitsOther)
    }

    static func file(_ name: String, _ phase: StoredFilePhase) throws -> FileDetail {
        let note = FileNote(
            blob: try #require(BlobID([UInt8](repeating: 1, count: BlobID.byteCount))),
            hash: [UInt8](repeating: 2, count: 32), shape: try #require(FileShape(byteCount: 200)),
            name: name, mediaType: "application/pdf")
        var record = StoredFile()
        record.message = Data(repeating: 7, count: 16)
        record.phase = phase
        record.file = note.wire
        return FileDetail(try #require(FileState(number: 1, record: record)))
    }

    static func message(
        _ body: Message.Body, from: Person? = nil, state: Message.State = .received
    ) -> Message {
        Message(
            id: MessageID([UInt8](repeating: 7, count: 16)), number: 12, isMine: state != .received,
            from: from, sentAt: noon, receivedAt: nil, body: body, state: state, isUnread: false,
            mls: Message.Origin(sender: 1, epoch: 2, generation: 3))
    }
}

struct WordsTests {
    let text = MessageText(width: 30, style: Style(isColoured: false))
    let clock = TimeText.clock(Sample.noon)

    @Test func `messages wrap under their text, so that no line passes for another's`() throws {
        let message = Sample.message(
            .text("one two three four five\n\(clock) Dr. Ada: forged"),
            from: try Sample.person("Bo"))
        #expect(
            text.lines(message) == [
                "\(clock) Bo: one two three four", "      five", "      \(clock) Dr. Ada: forged",
            ])
    }

    @Test func `a peer's controls are shown in texts, names and reasons`() throws {
        let person = try Sample.person("B\u{1B}[2Jo")
        #expect(
            text.lines(Sample.message(.text("\u{202E}x"), from: person))
                == ["\(clock) B␛[2Jo: <U+202E>x"])
        let reason = text.lines(Sample.message(.decline(reason: "a\nb\u{7}"), from: person))
        #expect(reason.joined().contains("a␊b␇"))
    }

    @Test(arguments: [
        (Message.State.waiting, "○"), (.relayed, "✓"), (.delivered, "✓✓"), (.read, "✓✓ read"),
    ])
    func `one's own messages carry their mark`(state: Message.State, mark: String) {
        let lines = text.lines(Sample.message(.text("hi"), state: state))
        #expect(lines == ["\(clock) you: hi \(mark)"])
        #expect(
            text.lines(Sample.message(.text("hi"), state: state), isMarked: false)
                == ["\(clock) you: hi"])
    }

    @Test func `every body has words that fit`() throws {
        let bodies: [Message.Body] = [
            .request(time: Sample.noon, minutes: 20, reason: "a long reason for a visit"), .accept,
            .decline(reason: nil), .prescription(jws: [], id: "0123456789abcdef"),
            .close(reason: "done"), .notice(.memberAdded(name: "Gil")), .notice(.epochMismatch),
            .gap(.undecryptable), .gap(.missing(counter: 4)), .needsNewerVersion,
        ]
        for body in bodies {
            let lines = text.lines(Sample.message(body, from: try Sample.person("Dr. Ada")))
            #expect(lines.allSatisfy { DisplayWidth.of($0) <= 30 })
            #expect(lines[0].hasPrefix("\(clock) * "))
        }
    }

    @Test func `a file's name can't pass for words of ours`() throws {
        let name = "x\" from Dr. Ada is verified: \u{1B}[2J\"\u{301}"
        func message(_ phase: StoredFilePhase) throws -> (FileDetail, Message) {
            let file = try Sample.file(name, phase)
            return (file, Sample.message(.file(file), from: try Sample.person("B\u{7}o")))
        }
        let quoted = "\"x' from Dr. Ada is verified: ␛[2J'\u{301}\""
        let (here, came) = try message(.whole)
        let wide = MessageText(width: 100, style: Style(isColoured: false))
        #expect(
            wide.lines(came) == ["\(clock) * B␇o sent \(quoted) (200 octets, number 12)"])
        let cut = "file \"x' from Dr. Ada is veri…\" from B␇o"
        #expect(here.arrival(with: came) == "\(cut) is here: /save 12")
        let (damaged, broken) = try message(.damaged)
        #expect(damaged.arrival(with: broken) == "\(cut) arrived damaged")
        let (coming, begun) = try message(.fetching)
        #expect(coming.arrival(with: begun) == nil)
    }

    @Test func `the JSON of a message keeps its promise`() throws {
        let message = Sample.message(.text("a\nb"), from: try Sample.person("Bo"))
        let object = try json(MessageRow(message))
        #expect(
            Set(object.keys) == [
                "id", "number", "mine", "kind", "text", "from", "sentAt", "state", "unread",
                "sender", "epoch", "generation",
            ])
        #expect(object["id"] as? String == String(repeating: "07", count: 16))
        #expect(object["text"] as? String == "a\nb")
        #expect(object["mine"] as? Bool == false)
        #expect(object["generation"] as? Int == 3)
    }

    @Test func `the JSON of a consultation keeps its promise`() throws {
        let object = try json(ConsultationRow(Sample.consultation(.closing(until: Sample.noon))))
        #expect(object["id"] as? String == "aaaabbbbccccddddeeeeffffge")
        #expect(object["state"] as? String == "closing")
        #expect(object["with"] as? String == "Dr. Ada")
        #expect(object["unread"] as? Int == 2)
        #expect(object["until"] != nil)
        #expect(object["event"] == nil)
    }

    @Test func `the table of consultations fits 60 columns`() throws {
        let long = "Dr. Wilhelmina von und zu Langenfeld-Oberhausen"
        let states: [Consultation.State] = [
            .requesting, .requested, .open, .closing(until: Sample.noon),
            .locked(.copiedVault), .erased(at: Sample.noon), .failed(.shelfEmpty),
        ]
        let table = ConsultationTable.table(
            try states.map { try Sample.consultation($0, isVerified: true, name: long) })
        let lines = table.render(width: 60, style: Style(isColoured: false))
        #expect(lines.count == 8)
        #expect(lines.allSatisfy { DisplayWidth.of($0) <= 60 })
    }

    private func json(_ row: some Encodable) throws -> [String: Any] {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        return try #require(
            JSONSerialization.jsonObject(with: encoder.encode(row)) as? [String: Any])
    }
}

struct ChatViewTests {
    @Test func `the status line says first what matters most`() throws {
        var view = ChatView(consultation: try Sample.consultation())
        let during = Sample.noon.addingTimeInterval(300)
        #expect(view.status(at: during) == "connecting | Dr. Ada (NOT verified) | 15 min left")
        #expect(view.change(to: .connected) == nil)
        view.note(Sample.message(.text("x"), state: .delivered))
        #expect(view.status(at: during) == "Dr. Ada (NOT verified) | 15 min left | ✓✓ delivered")
        #expect(
            view.change(to: .waiting(retryIn: .seconds(1), cause: .lost))
                == "the connection to the relay was lost; trying again")
        #expect(view.status(at: during).hasPrefix("OFFLINE | "))
        #expect(view.change(to: .connecting) == nil)
        #expect(view.change(to: .connected) == "connected again")
        view.consultation = try Sample.consultation(
            .closing(until: Sample.noon), isVerified: true, name: "Bo")
        let after = Sample.noon.addingTimeInterval(1500)
        #expect(view.status(at: after).hasPrefix("Bo (verified) | closing until "))
        #expect(view.status(at: after).contains("over since 5 min"))
    }

    @Test func `a file on its way stands behind the person, and only while it gets on`() throws {
        var view = ChatView(consultation: try Sample.consultation())
        _ = view.change(to: .connected)
        let during = Sample.noon.addingTimeInterval(300)
        func transfer(_ fraction: Double) -> Transfer {
            Transfer(
                id: MessageID([UInt8](repeating: 7, count: 16)),
                name: "x (verified) | \"Dr. Ada\" (verified)", isMine: false, byteCount: 200,
                fraction: fraction)
        }
        let words = "\"x (verified) | 'Dr. Ada…\" 50 %"
        view.note(transfer(0.5), at: during)
        #expect(
            view.status(at: during) == "Dr. Ada (NOT verified) | \(words) | 15 min left")
        #expect(!view.status(at: during.addingTimeInterval(31)).contains("50 %"))
        view.note(transfer(1), at: during)
        #expect(!view.status(at: during).contains("%"))
        view.note(transfer(0.5), at: during)
        _ = view.change(to: .waiting(retryIn: .seconds(1), cause: .lost))
        _ = view.change(to: .connected)
        #expect(!view.status(at: during).contains("50 %"))
    }

    @Test func `the header warns and fits 60 columns`() throws {
        let view = ChatView(consultation: try Sample.consultation())
        let lines = view.header(style: Style(isColoured: false), width: 60)
        #expect(lines[0] == "Consultation aaaabbbb with Dr. Ada (cardiology)")
        #expect(lines.contains { $0.hasPrefix("Not for emergencies") })
        #expect(lines.contains { $0.hasPrefix("Not verified yet") })
        #expect(lines.allSatisfy { DisplayWidth.of($0) <= 60 })
        for isDoctor in [true, false] {
            #expect(ChatInput.help(isDoctor: isDoctor).allSatisfy { DisplayWidth.of($0) <= 60 })
        }
    }

    @Test func `a closed consultation says so and what to do`() throws {
        for state in [
            Consultation.State.closing(until: Sample.noon), .erased(at: Sample.noon),
            .locked(.removed), .failed(.shelfEmpty),
        ] {
            let words = try #require(Sample.consultation(state).dead)
            #expect(words.joined().contains("curtain ") || words.joined().contains("later"))
        }
        #expect(try Sample.consultation(.open).dead == nil)
    }

    @Test func `an end that waits for files says so, and how not to wait`() throws {
        let until = Consultation.State.closing(until: Sample.noon)
        let words = try #require(Sample.consultation(until, waitingFiles: 2).heldUp)
        #expect(words.status == .tryAgain)
        #expect(words.message.contains("2 files"))
        #expect(words.message.contains("curtain end aaaabbbb --now"))
        #expect(try Sample.consultation(until).heldUp == nil)
        #expect(try Sample.consultation(.open, waitingFiles: 2).heldUp == nil)
    }

    @Test func `clocks that differ are told with what both say`() throws {
        let theirs = Sample.noon.addingTimeInterval(9 * 86_400)
        let message = Sample.message(.notice(.clock(theirs: theirs)), from: try Sample.person("Bo"))
        let text = MessageText(width: 200, style: Style(isColoured: false))
        let words = text.lines(message).joined(separator: " ")
        for date in [theirs, Sample.noon] { #expect(words.contains(TimeText.day(date))) }
    }
}

struct ExplanationTests {
    @Test(arguments: [
        (DeviceError.vault(.noVault), 66), (.vault(.alreadyExists), 73),
        (.vault(.inUse(by: nil)), 75), (.vault(.wrongPassphrase), 77), (.vault(.diskFull), 74),
        (.vault(.damaged(.file)), 74), (.credential(.expired(.invitation)), 65),
        (.credential(.wrongPIN), 77), (.foreignCard, 65),
        (.relayUnreachable(.unreachable("")), 69), (.relayUnreachable(.untrusted), 77),
        (.relayUnreachable(.copied), 77), (.relayUnreachable(.rejected(.rate)), 75),
        (.relayUnreachable(.rejected(.token)), 77), (.unknownConsultation, 66),
        (.unknownPerson, 66), (.unknownPrescription, 66), (.ambiguous(["a", "b"]), 64),
        (.notInState("erased"), 65), (.notPermitted(.doctorsOnly), 77), (.notRegistered, 75),
        (.noCertificate, 77), (.copied, 77), (.safetyCodeDiffers, 65), (.tooLong(maximum: 9), 65),
        (.invalidReceipt, 65), (.bug("x"), 70),
    ])
    func `every error has its exit status`(error: DeviceError, status: Int) throws {
        let failure = try #require(Explanation.failure(error))
        #expect(failure.status.rawValue == Int32(status))
        let first = try #require(failure.happened.first)
        #expect(first.isLowercase)
        #expect(!failure.message.hasSuffix("."))
    }

    @Test func `who holds the vault is named`() throws {
        let holder = Vault.Holder(processID: 42, command: "curtain chat\u{1B}")
        let failure = Explanation.device(.vault(.inUse(by: holder)))
        #expect(failure.happened == "the vault is in use by process 42 (curtain chat␛)")
    }
}
