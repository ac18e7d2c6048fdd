import ArgumentParser
import Consultations
import Credentials
import Foundation
import Prescriptions
import Terminal

struct RxCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rx", abstract: "Prescriptions: list, show, export, verify.",
        subcommands: [List.self, Show.self, Export.self, Verify.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the prescriptions received or issued.")

        @OptionGroup var session: SessionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let kept = try await session.withDevice { try await $0.prescriptions() }
            let output = output.output
            guard !kept.isEmpty || output.isJSON else {
                return Diagnostic.warn("there are no prescriptions yet")
            }
            var table = Table(["ID", "SIGNED", "VALID UNTIL", "MEDICINE"])
            for one in kept {
                let document = try Prescription(sent: one.jws).document
                if output.isJSON {
                    try output.json(PrescriptionRow(one, document))
                } else {
                    table.add([
                        String(one.id.prefix(8)), document.authoredOn.description,
                        document.validUntil.description,
                        Sanitiser.line(document.medication.name),
                    ])
                }
            }
            if !output.isJSON { try output.table(table) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Show all of a prescription.")

        @Argument(help: "The prescription's id, or an unambiguous beginning of it.")
        var id: String

        @OptionGroup var session: SessionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let kept = try await session.withDevice { device in
                try await device.prescription(matching: id)
            }
            let document = try Prescription(sent: kept.jws).document
            let output = output.output
            if output.isJSON {
                try output.json(PrescriptionRow(kept, document))
            } else {
                try output.fields(
                    document.lines.map { (Sanitiser.line($0.label), Sanitiser.line($0.value)) })
            }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "export", abstract: "Write a prescription for the pharmacy.",
            discussion: """
                The file is a compact JWS (RFC 7515) that 'curtain rx verify' and any JOSE library \
                check. It is readable by you alone: it is about your health.
                """)

        @Argument(help: "The prescription's id, or an unambiguous beginning of it.")
        var id: String

        @Option(
            help: ArgumentHelp("The file to write, or '-'.", valueName: "file"),
            completion: .file())
        var out: String

        @OptionGroup var session: SessionOptions

        func run() async throws {
            let kept = try await session.withDevice { device in
                try await device.prescription(matching: id)
            }
            try Files.create(out, contents: kept.jws, isPrivate: true)
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify", abstract: "Check a prescription offline; needs no vault.",
            discussion: """
                Prints a line per check, then PASS or FAIL (exit status 65). Offline nobody knows \
                whether it was cancelled or redeemed: that isn't checked.
                """)

        @Argument(help: "The exported prescription, or '-'.", completion: .file())
        var file: String

        @Option(
            help: ArgumentHelp("The clinic's root certificate, the anchor.", valueName: "pem"),
            completion: .file())
        var root: String

        @Option(
            help: ArgumentHelp("The clinic's list of revoked certificates.", valueName: "pem"),
            completion: .file())
        var crl: String?

        @OptionGroup var output: OutputOptions

        private struct Row: Encodable {
            let check: String
            let outcome: String
            let text: String
        }
        private struct Verdict: Encodable {
            let result: String
            let id: String?
        }

        func run() throws {
            let anchor = try ClinicCertificate(pem: Self.text(root))
            let revocations = try crl.map { try CertificateRevocationList(pem: Self.text($0)) }
            let report = Prescription.verify(
                try Files.read(file), root: anchor, revocations: revocations, at: Date())
            let output = output.output
            for line in report.lines {
                if output.isJSON {
                    try output.json(
                        Row(
                            check: line.check.rawValue, outcome: line.outcome.word, text: line.text)
                    )
                } else {
                    try output.line(Self.words(line, style: output.style))
                }
            }
            if output.isJSON {
                try output.json(
                    Verdict(result: report.isPassed ? "PASS" : "FAIL", id: report.prescription?.id))
            } else if let passed = report.prescription, report.isPassed {
                try output.line()
                try output.fields(
                    passed.document.lines.map {
                        (Sanitiser.line($0.label), Sanitiser.line($0.value))
                    })
                try output.line()
                try output.line(output.style.green("PASS"))
            } else {
                try output.line(output.style.red("FAIL"))
            }
            if !report.isPassed { throw Failure.quiet(.badData) }
        }

        private static func text(_ path: String) throws -> String {
            String(decoding: try Files.read(path), as: UTF8.self)
        }

        private static func words(_ line: VerificationReport.Line, style: Style) -> String {
            let word = line.outcome.word
            let mark = word + String(repeating: " ", count: max(1, 13 - word.count))
            let text = Sanitiser.line(line.text)
            switch line.outcome {
            case .pass: return style.green(mark) + text
            case .fail: return style.red(mark) + text
            case .notChecked: return style.yellow(mark) + text
            }
        }
    }
}

/// One prescription as JSON.
struct PrescriptionRow: Encodable {
    let id: String
    let issuedByMe: Bool
    let storedAt: Date
    let authoredOn: String
    let validUntil: String
    let medication: String
    let dose: String
    let quantity: String
    let repeats: Int
    let substitution: Bool
    let patient: String
    let prescriber: String
    let licence: String
    let jws: String

    init(_ kept: KeptPrescription, _ document: PrescriptionDocument) {
        id = kept.id
        issuedByMe = kept.isIssuedByMe
        storedAt = kept.storedAt
        authoredOn = document.authoredOn.description
        validUntil = document.validUntil.description
        medication = document.medication.name
        dose = document.dose.text
        quantity = document.quantity.amount + " " + document.quantity.unit
        repeats = document.repeats
        substitution = document.substitution
        patient = document.patient.name
        prescriber = document.prescriber.name
        licence = document.prescriber.licence
        jws = String(decoding: kept.jws, as: UTF8.self)
    }
}
