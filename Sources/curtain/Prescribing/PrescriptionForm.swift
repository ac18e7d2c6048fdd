import Consultations
import Cryptography
import Foundation
import Prescriptions
import Terminal
import Vault

/// From a draft to a signed prescription: everything is shown, then the passphrase is asked again.
struct PrescriptionForm: Sendable {
    let device: Device
    let consultation: ConsultationID
    let passphrase: PassphraseOptions
    let output: Output

    /// Prepares, shows, asks and signs.
    ///
    /// - Parameter path: the draft as JSON; nil asks for it, field by field.
    /// - Parameter isCertain: signs without the question; the passphrase is needed either way.
    /// - Returns: the message that carries the prescription, and its document.
    func run(
        from path: String?, isCertain: Bool
    ) async throws -> (message: Message, document: PrescriptionDocument) {
        let prepared: PreparedPrescription
        if let path {
            let draft = try PrescriptionDraft(json: Files.read(path))
            prepared = try await device.preparePrescription(draft, in: consultation)
        } else {
            prepared = try await askUntilComplete()
        }
        try show(prepared)
        if !isCertain {
            guard try Prompt.confirm("Sign exactly this and send it?") else {
                throw Failure(.usage, "nothing was signed")
            }
        }
        return (try await sign(prepared), prepared.document)
    }

    private func askUntilComplete() async throws -> PreparedPrescription {
        var form = DraftForm(answers: try await practice()) { try Prompt.line($0, default: $1) }
        while true {
            let json = try form.fill()
            do {
                let draft = try PrescriptionDraft(json: Array(json.utf8))
                return try await device.preparePrescription(draft, in: consultation)
            } catch {
                guard let problems = Self.problems(in: error), Prompt.isInteractive else {
                    throw error
                }
                for problem in problems { Diagnostic.warn(problem.description) }
                guard try Prompt.confirm("Go through it again? Your answers are kept.") else {
                    throw Failure(.usage, "nothing was signed")
                }
            }
        }
    }

    /// The practice as it stands on the doctor's last prescription, so that it isn't typed again.
    private func practice() async throws -> [String: String] {
        guard let last = try await device.prescriptions().last(where: { $0.isIssuedByMe }) else {
            return [:]
        }
        let practice = try Prescription(sent: last.jws).document.prescriber.practice
        return [
            "address": practice.address, "country": practice.country,
            "telephone": practice.telephone, "email": practice.email,
            "registration": practice.registration,
        ]
    }

    private static func problems(in error: any Error) -> [FieldProblem]? {
        switch error {
        case PrescriptionError.invalid(let problems): problems
        case DeviceError.prescription(.invalid(let problems)): problems
        default: nil
        }
    }

    private func show(_ prepared: PreparedPrescription) throws {
        let fields = prepared.document.lines.map {
            (Sanitiser.line($0.label), Sanitiser.line($0.value))
        }
        // What is signed must be seen in full, so that values wrap and are never cut.
        if output.isJSON {
            for (label, value) in fields { Diagnostic.warn("\(label): \(value)") }
        } else {
            try output.line(output.style.bold("-- This will be signed --"))
            try output.fields(fields)
            try output.line(output.style.bold("-- End --"))
        }
    }

    private func sign(_ prepared: PreparedPrescription) async throws -> Message {
        var attempts = passphrase.isFromFile ? 1 : 3
        while true {
            attempts -= 1
            let secret = try passphrase.existing("Passphrase, to sign")
            do {
                return try await device.prescribe(
                    prepared, in: consultation, passphrase: secret)
            } catch {
                guard error == .vault(.wrongPassphrase), attempts > 0 else { throw error }
                Diagnostic.warn("wrong passphrase; try again")
            }
        }
    }
}
