public import Credentials
public import Cryptography
public import FoundationEssentials

/// A prescription that is checked and complete, to be shown to the doctor before signing. What
/// `preview` shows is what `sign` signs.
public struct PreparedPrescription: Sendable {
    /// How long after preparing it may be signed.
    public static let previewSeconds: TimeInterval = 15 * 60

    /// The content.
    public let document: PrescriptionDocument
    private let doctor: VerifiedDoctor

    /// Fills in patient and prescriber and checks every field.
    ///
    /// - Parameters:
    ///   - patient: whom the clinic vouches for, with a day of birth.
    ///   - chain: the prescription certificate's, DER, leaf first, without root.
    ///   - dayOffsetSeconds: how far the doctor's clock on the wall is ahead of UTC.
    /// - Throws: `.invalid` with all problems, or `.credential`.
    public init(
        _ draft: PrescriptionDraft, patient: VerifiedPerson, chain: [[UInt8]],
        root: ClinicCertificate, at date: Date, dayOffsetSeconds: Int = 0
    ) throws(PrescriptionError) {
        do throws(CredentialError) {
            doctor = try DoctorCertificate.verify(
                chain: chain.filter { $0 != root.der }, for: .prescription, root: root,
                at: date)
        } catch { throw .credential(error) }
        let seconds = date.timeIntervalSince1970.rounded(.down)
        var problems: [FieldProblem] = []
        func report(_ field: String, _ problem: String) {
            problems.append(FieldProblem(field: field, problem: problem))
        }
        if patient.role != .patient { report("patient", "the voucher is for another role") }
        let born = CalendarDay(patient.born)
        if born == nil { report("patient.born", "the voucher names no day of birth") }
        let today = seconds >= 0 ? CalendarDay(date, offsetSeconds: dayOffsetSeconds) : nil
        if today == nil { report("authoredOn", "this machine's clock is wrong") }
        if !(1...730).contains(draft.validDays) {
            report("validDays", "is not between 1 and 730")
        }
        guard let born, let today, problems.isEmpty else { throw .invalid(problems) }
        var dose = draft.dose
        if dose.text.isEmpty { dose.text = dose.sentence }
        document = PrescriptionDocument(
            id: UUIDText.format(Random.bytes(16), version: 4),
            issued: Date(timeIntervalSince1970: seconds), authoredOn: today,
            validUntil: today.adding(days: draft.validDays),
            patient: PrescriptionDocument.Patient(
                name: patient.name, born: born, reference: patient.reference,
                address: draft.patientAddress),
            prescriber: PrescriptionDocument.Prescriber(
                name: doctor.name, licence: doctor.licence, specialty: doctor.specialty,
                practice: draft.practice),
            medication: draft.medication, dose: dose, quantity: draft.quantity,
            repeats: draft.repeats, substitution: draft.substitution, note: draft.note)
        problems = FieldChecks.problems(of: document)
        if let lastDay = CalendarDay(doctor.notAfter), document.validUntil > lastDay {
            report("validDays", "the certificate ends on \(lastDay), before the prescription does")
        }
        guard problems.isEmpty else { throw .invalid(problems) }
    }

    /// All of the content, a line for each field.
    public var preview: String {
        let lines = document.lines
        let width = lines.map(\.label.count).max() ?? 0
        return lines.map { line in
            let gap = String(repeating: " ", count: width - line.label.count)
            return "\(line.label):\(gap) \(line.value)\n"
        }.joined()
    }

    /// Signs what `preview` shows.
    ///
    /// - Throws: `.wrongKey` unless it is the certificate's, `.previewTooOld` outside of 15 minutes.
    public func sign(
        with key: SigningKey, at date: Date
    ) throws(PrescriptionError) -> Prescription {
        guard key.publicKey == doctor.key else { throw .wrongKey }
        let age = date.timeIntervalSince(document.issued)
        guard age >= -1, age <= Self.previewSeconds else { throw .previewTooOld }
        let header = PrescriptionHeader(issuedAt: document.issuedSeconds, chain: doctor.chain)
        let jws: CompactJWS
        do throws(CryptographyError) {
            jws = try CompactJWS(header: header.encoded, payload: document.fhir, key: key)
        } catch { throw .cryptography(error) }
        // Reads back what was made, so that nothing leaves that others would refuse.
        return try Prescription(sent: jws.bytes)
    }
}
