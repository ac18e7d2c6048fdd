import ArgumentParser
import Consultations
import Credentials
import Cryptography
import Foundation
import Terminal

/// The consultation that a command is about.
struct ConsultationArgument: ParsableArguments {
    @Argument(help: "The consultation's id, or an unambiguous beginning of it.")
    var id: String
}

struct RequestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "request", abstract: "Patients: ask a doctor for a consultation.",
        discussion: """
            Prints the consultation's id. The doctor may be offline and answers later; 'curtain \
            sync' fetches the answer.

            Not for emergencies: in danger, call your emergency number.
            """)

    @Argument(
        help: "The doctor's card: a file, the 'curtain-card:' text, or '-'.", completion: .file())
    var doctor: String

    @Option(
        help: ArgumentHelp(
            "When: '2026-11-22 14:30', '14:30', 'tomorrow 9:00', '+2h', or RFC 3339.",
            valueName: "time"))
    var at: TimeArgument

    @Option(help: ArgumentHelp("How long it should take.", valueName: "n"))
    var minutes = 20

    @Option(help: ArgumentHelp("Why you ask; the doctor reads it first.", valueName: "text"))
    var reason = ""

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...1440).contains(minutes) else {
            throw ValidationError("'--minutes' takes 1 to 1440")
        }
        guard at.date > Date().addingTimeInterval(-3600) else {
            throw ValidationError("'--at' lies in the past")
        }
    }

    func run() async throws {
        let text: String
        if doctor.hasPrefix("curtain-card:") {
            text = doctor
        } else {
            text = String(decoding: try Files.read(doctor), as: UTF8.self)
        }
        let card = try Card(text)
        let output = output.output
        try await session.withDevice(showing: output) { device in
            let id = try await device.request(card, at: at.date, minutes: minutes, reason: reason)
                .id
            let later = try await device.deliver("the request")
            let made = try await device.consultation(id)
            if output.isJSON {
                try output.json(ConsultationRow(made))
            } else {
                try output.line(id.description)
            }
            if case .failed(let trouble) = made.state { throw Explanation.trouble(trouble) }
            if let later { throw later }
        }
    }
}

struct ConsultationsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "consultations", abstract: "List all consultations, as last synced.")

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let consultations = try await session.withDevice { try await $0.consultations() }
        let output = output.output
        if output.isJSON {
            for consultation in consultations { try output.json(ConsultationRow(consultation)) }
        } else if consultations.isEmpty {
            Diagnostic.warn("there are no consultations yet; 'curtain sync' fetches what came")
        } else {
            try output.table(ConsultationTable.table(consultations))
        }
    }
}

struct AcceptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "accept", abstract: "Doctors: accept a requested consultation.")

    @OptionGroup var consultation: ConsultationArgument
    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await session.decide(on: consultation, "the answer", output: output.output) {
            try await $0.accept($1)
        }
    }
}

struct DeclineCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decline", abstract: "Doctors: decline a requested consultation.")

    @OptionGroup var consultation: ConsultationArgument

    @Option(help: ArgumentHelp("Why; the patient reads it.", valueName: "text"))
    var reason: String?

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await session.decide(on: consultation, "the answer", output: output.output) {
            try await $0.decline($1, reason: reason)
        }
    }
}

struct EndCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "end", abstract: "Close a consultation and erase it.",
        discussion: """
            Nobody can write afterwards. This device erases its messages and keys at once; \
            prescriptions stay in the patient's and the doctor's record. The relay erases when both \
            sides have confirmed, or at its deadline, and signs a receipt. Files that are on their \
            way are sent first, and a consultation that just goes on with fresh keys waits until \
            the other side can be told; --now gives that up.
            """)

    @OptionGroup var consultation: ConsultationArgument

    @Option(
        help: ArgumentHelp(
            "Wait that long for the other side's confirmation.", valueName: "seconds"))
    var wait: Int?

    @Flag(help: "Don't ask before erasing.")
    var yes = false

    @Flag(help: "Give up files that hold up the end, and an other side that can't be told.")
    var now = false

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        try Limits.checkWait(wait)
    }

    struct Row: Encodable {
        let id: String
        let state: String
        let until: Date?
        let receipt: String?
        let erasedAt: Date?
        let prescriptionsKept: Int?

        init(_ consultation: Consultation, _ receipt: KeptReceipt?, kept: Int? = nil) {
            prescriptionsKept = kept
            let row = ConsultationRow(consultation)
            (id, state, until) = (row.id, receipt == nil ? row.state : "erased", row.until)
            self.receipt = receipt.map { Base64URL.encode($0.bytes) }
            erasedAt = receipt?.erasedAt ?? row.erasedAt
        }
    }

    func run() async throws {
        try await session.withDevice(showing: output.output) { device in
            let found = try await device.consultation(matching: consultation.id)
            let kept = try await Self.prescriptions(of: found, on: device)
            if Prompt.isInteractive, !yes {
                try output.output.sentence(Self.keeps(kept))
                if now, found.waitingFiles > 0 {
                    try output.output.sentence(
                        "\(SizeText.files(found.waitingFiles)) that the relay doesn't have will be "
                            + "given up: nobody gets them.")
                }
                let question =
                    "End the consultation with \(found.otherName) and erase it for good?"
                guard try Prompt.confirm(question) else {
                    throw Failure(.usage, "nothing was ended")
                }
            }
            try await end(found, on: device, kept: kept)
        }
    }

    /// How many prescriptions were signed in it; none of one that is erased already.
    static func prescriptions(
        of found: Consultation, on device: Device
    ) async throws -> Int {
        do {
            let messages = try await device.messages(of: found.id)
            return messages.count { message in
                if case .prescription = message.body { true } else { false }
            }
        } catch {
            guard error == .unknownConsultation else { throw error }
            return 0
        }
    }

    /// What stays on either side, for both to see beforehand (`protocol/erasure.md`).
    static func keeps(_ prescriptions: Int) -> String {
        if prescriptions == 0 { return "Both sides keep the relay's receipt, and nothing else." }
        let what = prescriptions == 1 ? "the prescription" : "\(prescriptions) prescriptions"
        return "The patient keeps \(what), the practice a copy of what it signed, and both the "
            + "relay's receipt. Nothing else stays."
    }

    private func end(_ found: Consultation, on device: Device, kept: Int) async throws {
        var receipt: KeptReceipt?
        var later: Failure?
        do {
            receipt = try await device.end(
                found.id, wait: .seconds(wait ?? 3), givingUp: now)
        } catch {
            guard let reason = error.waitingReason else { throw error }
            later = Delivery.waits("the end", because: reason)
        }
        let ended = try await device.consultation(found.id)
        later = later ?? ended.heldUp
        let output = output.output
        if output.isJSON {
            try output.json(Row(ended, receipt, kept: kept))
        } else if let receipt {
            try output.line("erased, here and on the relay")
            try output.fields(receipt.fields)
        } else if case .closing(let date) = ended.state {
            try output.sentence(
                "closing until \(TimeText.stamp(date)): \(found.otherName) has not confirmed yet")
        } else {
            try output.line("\(ended.shortID): \(ended.stateText)")
        }
        if let later { throw later }
    }
}

extension Consultation {
    /// Why its end waits for something that can be given up.
    var heldUp: Failure? {
        guard case .closing = state else { return nil }
        if waitingFiles > 0 {
            return Failure(
                .tryAgain,
                "the end waits for \(SizeText.files(waitingFiles)) on the way to the relay",
                advice: "'curtain sync' goes on, 'curtain end \(shortID) --now' gives up")
        }
        guard reopening != nil else { return nil }
        return Failure(
            .tryAgain, "the end waits until \(otherName) can be told, in the fresh group",
            advice: "'curtain sync' goes on, 'curtain end \(shortID) --now' erases your side")
    }
}

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Compare the safety code with a person, by phone or face to face.",
        discussion: """
            PERSON is a name, a fingerprint, or the id of a consultation with them. On a terminal \
            you are asked whether the codes are the same; a script says so with --matches.
            """)

    @Argument(help: "A name, a fingerprint, or a consultation's id.")
    var person: String

    @Option(
        help: ArgumentHelp("The code that the other side reads out.", valueName: "code"))
    var matches: String?

    @OptionGroup var session: SessionOptions
    @OptionGroup var output: OutputOptions

    private struct Row: Encodable {
        let person: String
        let name: String
        let role: String
        let safetyCode: String
        let verified: Bool
    }

    func run() async throws {
        let output = output.output
        try await session.withDevice { device in
            var person = try await device.person(matching: person)
            let code = try await device.safetyCode(with: person.id).description
            if !output.isJSON {
                try output.fields([
                    ("name", Sanitiser.line(person.name)), ("role", person.role.word),
                    ("safety code", code),
                ])
            }
            if let matches {
                person = try await device.verify(person.id, matching: matches)
            } else if !output.isJSON, Prompt.isInteractive, !person.isVerified {
                if try Prompt.confirm("Does the other side read the same code?") {
                    person = try await device.verify(person.id)
                }
            }
            if output.isJSON {
                try output.json(
                    Row(
                        person: person.id.description, name: person.name,
                        role: person.role.word, safetyCode: code, verified: person.isVerified))
            } else {
                try output.line(
                    person.isVerified ? output.style.green("verified") : "not verified")
            }
        }
    }
}
