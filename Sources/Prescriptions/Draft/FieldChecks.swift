internal import Credentials

/// The rules for the fields of a prescription; the same for one to be signed and one received.
struct FieldChecks {
    private(set) var problems: [FieldProblem] = []

    /// Everything that is wrong with a document.
    static func problems(of document: PrescriptionDocument) -> [FieldProblem] {
        var checks = FieldChecks()
        checks.check(document.patient)
        checks.check(document.prescriber)
        checks.check(document.medication)
        checks.check(document.dose)
        checks.check(document.quantity, "quantity")
        checks.check(document.repeats, in: 0...99, "repeats")
        let days = document.validUntil.daysSince1970 - document.authoredOn.daysSince1970
        checks.check(days, in: 1...730, "validDays")
        checks.check(document.note, "note", mayBeEmpty: true, maximumByteCount: 500)
        return checks.problems
    }

    private mutating func report(_ field: String, _ problem: String) {
        problems.append(FieldProblem(field: field, problem: problem))
    }

    private mutating func check(
        _ text: String, _ field: String, mayBeEmpty: Bool = false, maximumByteCount: Int = 200
    ) {
        if text.isEmpty {
            if !mayBeEmpty { report(field, "is missing") }
        } else if text.utf8.count > maximumByteCount {
            report(field, "is longer than \(maximumByteCount) octets")
        } else if !Text.isValid(text, maximumByteCount: maximumByteCount) {
            report(field, "has characters that can't be shown, or white space at its ends")
        }
    }

    private mutating func check(_ number: Int, in range: ClosedRange<Int>, _ field: String) {
        if !range.contains(number) {
            report(field, "is not between \(range.lowerBound) and \(range.upperBound)")
        }
    }

    private mutating func check(_ quantity: PrescriptionDraft.Quantity, _ field: String) {
        if !Self.isAmount(quantity.amount) {
            report("\(field).amount", "is no number above 0 such as 2 or 0.5")
        }
        check(quantity.unit, "\(field).unit", maximumByteCount: 40)
    }

    /// Digits without a leading zero, at most nine, and at most six decimals; above zero.
    static func isAmount(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), (1...9).contains(parts[0].count),
            parts.count == 1 || (1...6).contains(parts[1].count),
            parts.allSatisfy({
                $0.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            }),
            parts[0].count == 1 || parts[0].first != UInt8(ascii: "0")
        else { return false }
        return parts.contains { $0.contains { $0 != UInt8(ascii: "0") } }
    }

    private mutating func check(_ patient: PrescriptionDocument.Patient) {
        check(patient.name, "patient.name")
        check(patient.reference, "patient.reference", mayBeEmpty: true)
        check(patient.address, "patientAddress", mayBeEmpty: true)
    }

    private mutating func check(_ prescriber: PrescriptionDocument.Prescriber) {
        check(prescriber.name, "prescriber.name")
        check(prescriber.licence, "prescriber.licence")
        check(prescriber.specialty, "prescriber.specialty")
        let practice = prescriber.practice
        check(practice.address, "practice.address")
        if practice.country.utf8.count != 2
            || !practice.country.utf8.allSatisfy({
                (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
            })
        {
            report("practice.country", "is no country code of two capital letters")
        }
        check(practice.telephone, "practice.telephone", maximumByteCount: 40)
        if !practice.telephone.hasPrefix("+")
            || !practice.telephone.utf8.allSatisfy({ "+0123456789 ()-/.".utf8.contains($0) })
        {
            report("practice.telephone", "is no number with + and country prefix")
        }
        check(practice.email, "practice.email")
        let parts = practice.email.split(separator: "@", omittingEmptySubsequences: false)
        if parts.count != 2 || parts.contains(where: \.isEmpty) || practice.email.contains(" ") {
            report("practice.email", "is no e-mail address")
        }
        check(practice.registration, "practice.registration", mayBeEmpty: true)
    }

    private mutating func check(_ medication: PrescriptionDraft.Medication) {
        check(medication.name, "medication.name")
        check(medication.form, "medication.form", maximumByteCount: 80)
        check(medication.codes.count, in: 1...8, "medication.codes")
        for (index, code) in medication.codes.enumerated() {
            if !code.system.isWellFormed(code.code) {
                report("medication.codes[\(index)].code", "is no \(code.system.rawValue) code")
            }
        }
        check(medication.ingredients.count, in: 1...16, "medication.ingredients")
        for (index, ingredient) in medication.ingredients.enumerated() {
            let path = "medication.ingredients[\(index)]"
            check(ingredient.name, "\(path).name")
            check(ingredient.amount, path)
            check(ingredient.per, "\(path).per")
        }
    }

    private mutating func check(_ dose: PrescriptionDraft.Dose) {
        check(dose.amount, "dose")
        check(dose.frequency, in: 1...24, "dose.frequency")
        check(dose.period, in: 1...365, "dose.period")
        if let days = dose.durationDays { check(days, in: 1...3650, "dose.durationDays") }
        check(dose.route, "dose.route", mayBeEmpty: true, maximumByteCount: 80)
        check(dose.asNeeded, "dose.asNeeded", mayBeEmpty: true)
        check(dose.text, "dose.text", maximumByteCount: 500)
    }
}
