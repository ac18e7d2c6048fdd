import Foundation
import Prescriptions
import Terminal
import Testing

@testable import curtain

struct DraftFormTests {
    @Test(arguments: [
        ("500 mg", "500", "mg"), ("0,5 tablet", "0.5", "tablet"), ("20mg", "20", "mg"),
        ("1  film-coated tablet", "1", "film-coated tablet"),
    ])
    func `amounts are read with their unit`(text: String, number: String, unit: String) {
        let amount = DraftForm.Amount(text)
        #expect(amount?.number == number)
        #expect(amount?.unit == unit)
    }

    @Test(arguments: ["", "mg", "5", "1.2.3 mg", ".5 mg", "5. mg", "007 mg", "-1 mg", "٣ mg"])
    func `what is no amount is refused`(text: String) {
        #expect(DraftForm.Amount(text) == nil)
    }

    @Test(arguments: [
        ("3 per day", 3, 1, "day"), ("1 per 8 hours", 1, 8, "hour"), ("2/week", 2, 1, "week"),
        ("3 times a day", 3, 1, "day"), ("1 every 2 days", 1, 2, "day"),
    ])
    func `frequencies are read as people say them`(
        text: String, count: Int, period: Int, unit: String
    ) {
        let frequency = DraftForm.Frequency(text)
        #expect(frequency?.count == count)
        #expect(frequency?.period == period)
        #expect(frequency?.unit == unit)
    }

    @Test(arguments: ["", "often", "3", "0 per day", "3 per month", "1 2 3 day"])
    func `what is no frequency is refused`(text: String) {
        #expect(DraftForm.Frequency(text) == nil)
    }

    @Test func `the answers make a draft, asked again where not understood`() throws {
        var asked: [String] = []
        let answers = [
            ("Medicine", ["Ibu \"forte\"\u{1B} 400"]), ("Code system", ["nonsense", "pzn"]),
            ("Not understood. Code system", ["pzn"]), ("PZN code", ["01234567"]),
            ("Form", ["tablet"]), ("Ingredient", ["ibuprofen"]), ("Its strength", ["400 mg"]),
            ("In how much", ["1 tablet"]), ("Another", [""]), ("One dose", ["1 tablet"]),
            ("How often", ["3 per day"]), ("For how many", ["7"]), ("Route", ["by mouth"]),
            ("Only as", ["pain"]), ("Quantity", ["21 tablets"]), ("Repeats", ["0"]),
            ("May the", ["n"]), ("Valid", ["28"]), ("Note", [""]), ("Patient's", [""]),
            ("Practice: address", ["Road 1"]), ("Practice: country", ["de"]),
            ("Practice: telephone", ["+49 30"]), ("Practice: e-mail", ["a@example.org"]),
            ("Practice: registration", [""]),
        ]
        var form = DraftForm { label, _ in
            asked.append(label)
            return answers.first { label.hasPrefix($0.0) }?.1.first ?? ""
        }
        let json = try form.fill()
        let object = try #require(
            JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
        let medication = try #require(object["medication"] as? [String: Any])
        #expect(medication["name"] as? String == "Ibu \"forte\"\u{1B} 400")
        #expect((object["dose"] as? [String: Any])?["frequency"] as? Int == 3)
        #expect((object["dose"] as? [String: Any])?["asNeeded"] as? String == "pain")
        #expect(object["substitution"] as? Bool == false)
        #expect((object["practice"] as? [String: Any])?["country"] as? String == "DE")
        #expect(asked.contains { $0.hasPrefix("Not understood. Code system") })
        #expect(form.answers["quantity"] == "21 tablets")
    }
}
