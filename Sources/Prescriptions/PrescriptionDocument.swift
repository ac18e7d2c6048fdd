public import FoundationEssentials

/// The content of a prescription: what is signed, and exactly what is shown.
///
/// Every value of this type has one FHIR document and every document that is accepted is the one of
/// its value, so nothing can be signed that isn't shown (`protocol/prescriptions.md`).
public struct PrescriptionDocument: Hashable, Sendable {
    /// A random UUID, lower case.
    public let id: String
    /// When it was made, by the prescriber's clock: whole seconds.
    public let issued: Date
    /// The day of signing where the prescriber is.
    public let authoredOn: CalendarDay
    /// The last day on which it may be redeemed.
    public let validUntil: CalendarDay
    /// For whom.
    public let patient: Patient
    /// By whom.
    public let prescriber: Prescriber
    /// The medicine.
    public let medication: PrescriptionDraft.Medication
    /// How it is taken; `text` is never empty.
    public let dose: PrescriptionDraft.Dose
    /// How much is handed out at a time.
    public let quantity: PrescriptionDraft.Quantity
    /// How often it may be handed out again.
    public let repeats: Int
    /// Whether an equivalent product will do.
    public let substitution: Bool
    /// For the pharmacy; may be empty.
    public let note: String

    /// The patient, as the clinic vouches.
    public struct Patient: Hashable, Sendable {
        /// The verified name.
        public let name: String
        /// The verified day of birth.
        public let born: CalendarDay
        /// The clinic's number for the person; may be empty.
        public let reference: String
        /// May be empty.
        public let address: String
    }

    /// The prescriber, as the certificate says.
    public struct Prescriber: Hashable, Sendable {
        /// The verified name.
        public let name: String
        /// The number in the profession's register.
        public let licence: String
        /// The field of medicine.
        public let specialty: String
        /// Where to be reached.
        public let practice: PrescriptionDraft.Practice
    }

    var issuedSeconds: Int64 { Int64(issued.timeIntervalSince1970) }

    /// What a person reads before signing, and later: all of the content, in this order.
    public var lines: [(label: String, value: String)] {
        var lines: [(label: String, value: String)] = [
            ("Prescription", id),
            ("Signed on", authoredOn.description),
            ("Valid until", validUntil.description),
            ("Patient", patient.name),
            ("Born", patient.born.description),
            ("Patient number", patient.reference),
            ("Patient address", patient.address),
            ("Medicine", medication.name),
        ]
        lines += medication.codes.map { ("Code", $0.description) }
        lines.append(("Form", medication.form))
        lines += medication.ingredients.map { ("Substance", $0.description) }
        lines += [
            ("Directions", dose.text),
            ("Dose", dose.sentence),
            ("Quantity", quantity.description),
            ("Repeats", repeats == 0 ? "none" : String(repeats)),
            ("Substitution", substitution ? "allowed" : "not allowed"),
            ("Note", note),
            ("Prescriber", prescriber.name),
            ("Licence", prescriber.licence),
            ("Specialty", prescriber.specialty),
            ("Practice", "\(prescriber.practice.address), \(prescriber.practice.country)"),
            ("Telephone", prescriber.practice.telephone),
            ("E-mail", prescriber.practice.email),
            ("Registration", prescriber.practice.registration),
            ("Made at", CalendarDay.instant(unixSeconds: issuedSeconds)),
        ]
        return lines.filter { !$0.value.isEmpty }
    }
}
