import Foundation
import TestSupport
import Testing

@testable import Prescriptions

@Suite struct `Fields` {
    @Test(arguments: [
        (CodeSystem.atc, "J01CA04", true), (.atc, "J01CA4", false), (.atc, "j01ca04", false),
        (.atc, "", false), (.rxNorm, "308182", true), (.rxNorm, "3O8182", false),
        (.rxNorm, "123456789", false), (.snomed, "27658006", true), (.snomed, "372687004", true),
        (.snomed, "27658007", false), (.snomed, "27685006", false), (.pzn, "01234562", true),
        (.pzn, "01234563", false), (.pzn, "1234562", false), (.pzn, "\u{0660}1234562", false),
    ])
    func `a code is held against its catalogue's form`(
        system: CodeSystem, code: String, isGood: Bool
    ) {
        #expect(system.isWellFormed(code) == isGood)
    }

    @Test(arguments: [
        ("1", true), ("0.5", true), ("21", true), ("0.50", true), ("123456789.123456", true),
        ("0", false), ("0.0", false), ("01", false), (".5", false), ("1.", false), ("-1", false),
        ("1e3", false), ("", false), ("1,5", false), ("1234567890", false), ("1.2.3", false),
    ])
    func `an amount is a plain number above zero`(text: String, isGood: Bool) {
        #expect(FieldChecks.isAmount(text) == isGood)
    }

    @Test func `days follow the calendar`() throws {
        for (text, number) in [
            ("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-11-21", 20_778),
            ("1900-01-01", -25_567), ("9999-12-31", 2_932_896),
        ] {
            let day = try #require(CalendarDay(text))
            #expect(day.daysSince1970 == number)
            #expect(day.description == text)
        }
        for text in [
            "2026-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "1899-12-31", "2026-1-01",
            "2026-01-011", "", "20260101", "2026-01-0a", "+026-01-01",
        ] {
            #expect(CalendarDay(text) == nil, "\(text)")
        }
        let day = try #require(CalendarDay("2026-12-31"))
        #expect(day.adding(days: 1).description == "2027-01-01")
        let evening = Date(timeIntervalSince1970: 1_795_000_000)
        #expect(CalendarDay(evening)?.description == "2026-11-18")
        #expect(CalendarDay(evening, offsetSeconds: 14 * 3600)?.description == "2026-11-19")
        #expect(CalendarDay(Date(timeIntervalSince1970: .infinity)) == nil)
        #expect(CalendarDay(Date(timeIntervalSince1970: 1e300)) == nil)
    }

    @Test func `an instant reads as it writes`() {
        #expect(CalendarDay.instant(unixSeconds: 1_795_000_000) == "2026-11-18T11:06:40Z")
        #expect(CalendarDay.unixSeconds(instant: "2026-11-18T11:06:40Z") == 1_795_000_000)
        for text in [
            "2026-11-18T24:00:00Z", "2026-11-18T11:60:00Z", "2026-11-18 11:06:40Z",
            "2026-11-18T11:06:40z", "2026-11-18T-1:06:40Z", "2026-11-18T11:06:4:Z",
        ] {
            #expect(CalendarDay.unixSeconds(instant: text) == nil, "\(text)")
        }
    }

    @Test func `the example is a complete draft`() throws {
        let draft = try PrescriptionDraft(json: Array(PrescriptionDraft.exampleJSON.utf8))
        #expect(draft.medication.codes.map(\.description) == ["ATC J01CA04"])
        #expect(draft.dose.sentence == "1 capsule 3 times a day, for 7 days, by mouth")
        #expect(draft.quantity.description == "21 capsule")
    }

    @Test func `everything that is wrong in a file is told at once, by path`() throws {
        let text = """
            {"medication": {"name": 7, "codes": [{"system": "XYZ", "code": "1"}], "form": "f",
              "ingredients": {}}, "dose": {"amount": true, "unit": "x", "frequency": 1.5,
              "colour": "red"}, "quantity": {"unit": "x"}, "repeats": "2", "extra": 1}
            """
        let error = refusal { _ = try PrescriptionDraft(json: Array(text.utf8)) }
        guard case .invalid(let problems) = error else {
            Issue.record("expected invalid, got \(String(describing: error))")
            return
        }
        for field in [
            "medication.name", "medication.codes[0].system", "medication.ingredients",
            "dose.amount", "dose.frequency", "dose.colour", "quantity.amount", "repeats", "extra",
            "practice",
        ] {
            #expect(problems.contains { $0.field == field }, "\(field)")
        }
        let doubled = #"{"repeats": 0, "repeats": 5}"#
        #expect(refusal { _ = try PrescriptionDraft(json: Array(doubled.utf8)) } != nil)
    }

    @Test func `fields out of range are told before anything is signed`() throws {
        let practice = try Practice()
        let changes: [(String, (inout PrescriptionDraft) -> Void)] = [
            ("medication.name", { $0.medication.name = "" }),
            ("medication.name", { $0.medication.name = "a\u{202E}b" }),
            ("medication.name", { $0.medication.name = String(repeating: "a", count: 201) }),
            ("medication.codes", { $0.medication.codes = [] }),
            ("medication.codes[0].code", { $0.medication.codes[0].code = "J01CA4" }),
            ("medication.ingredients", { $0.medication.ingredients = [] }),
            (
                "medication.ingredients[0].amount",
                { $0.medication.ingredients[0].amount.amount = "0" }
            ),
            ("medication.form", { $0.medication.form = "\u{1B}[2J" }),
            ("dose.amount", { $0.dose.amount.amount = "-1" }),
            ("dose.unit", { $0.dose.amount.unit = "" }),
            ("dose.frequency", { $0.dose.frequency = 0 }),
            ("dose.period", { $0.dose.period = 400 }),
            ("dose.durationDays", { $0.dose.durationDays = 0 }),
            ("dose.text", { $0.dose.text = " take" }),
            ("quantity.amount", { $0.quantity.amount = "many" }),
            ("repeats", { $0.repeats = 100 }),
            ("validDays", { $0.validDays = 0 }),
            ("validDays", { $0.validDays = .max }),
            ("validDays", { $0.validDays = 400 }),
            ("practice.country", { $0.practice.country = "Germany" }),
            ("practice.telephone", { $0.practice.telephone = "030 123" }),
            ("practice.email", { $0.practice.email = "practice" }),
            ("practice.address", { $0.practice.address = "" }),
            ("note", { $0.note = "a\nb" }),
        ]
        for (field, change) in changes {
            let error = refusal { _ = try practice.prepare(change) }
            guard case .invalid(let problems) = error else {
                Issue.record("\(field): got \(String(describing: error))")
                continue
            }
            #expect(problems.map(\.field) == [field])
        }
    }
}
