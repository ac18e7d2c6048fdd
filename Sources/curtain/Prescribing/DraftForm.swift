import Foundation
import Terminal

/// The questions of `curtain prescribe`, and the draft in JSON that the answers make: the same
/// format as `--from FILE`, so that both go through one door and its checks.
struct DraftForm {
    /// Earlier answers, which the questions offer again.
    private(set) var answers: [String: String]
    /// Asks one question; a parameter, so that tests can answer.
    private let ask: (_ label: String, _ preset: String?) throws -> String

    init(
        answers: [String: String] = [:], ask: @escaping (String, String?) throws -> String
    ) {
        self.answers = answers
        self.ask = ask
    }

    /// An amount with its unit: `0.5 tablet`.
    struct Amount: Equatable {
        let number: String
        let unit: String

        /// Reads `500 mg`, `500mg` or `0,5 tablet`; nil without a number or a unit.
        init?(_ text: String) {
            let digits = text.prefix { "0123456789.,".contains($0) }
            let rest = text.dropFirst(digits.count).drop(while: \.isWhitespace)
            let plain = digits.replacing(",", with: ".")
            guard Self.isNumber(plain), !rest.isEmpty else { return nil }
            number = String(plain)
            unit = String(rest)
        }

        /// A decimal number as JSON writes it, not too long to be one.
        static func isNumber(_ text: some StringProtocol) -> Bool {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard (1...2).contains(parts.count), text.count <= 12 else { return false }
            guard parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(\.isNumber) }) else {
                return false
            }
            return parts[0] == "0" || parts[0].first != "0"
        }

        var json: String { "{\"amount\": \(number), \"unit\": \(DraftForm.quoted(unit))}" }
    }

    /// How often: `3 per day`, `1 per 8 hours`, `2/week`.
    struct Frequency: Equatable {
        let count: Int
        let period: Int
        let unit: String

        init?(_ text: String) {
            let words = text.lowercased().replacing("/", with: " ")
                .split(whereSeparator: \.isWhitespace)
                .filter { !["per", "times", "x", "every", "a", "in"].contains($0) }
            guard (2...3).contains(words.count), let count = Int(words[0]),
                let period = words.count == 3 ? Int(words[1]) : 1, let last = words.last
            else { return nil }
            let unit = last.hasSuffix("s") ? last.dropLast() : last[...]
            guard ["hour", "day", "week"].contains(unit), (1...99).contains(count),
                (1...99).contains(period)
            else { return nil }
            (self.count, self.period, self.unit) = (count, period, String(unit))
        }
    }

    /// Asks everything and returns the draft's JSON.
    mutating func fill() throws -> String {
        let medication = try medicationJSON()
        let dose = try doseJSON()
        let quantity = try amount("quantity", "Quantity in all, e.g. '21 capsules'").json
        let repeats = try number("repeats", "Repeats", preset: "0", range: 0...99)
        let substitution = try yesOrNo("substitution", "May the pharmacy substitute?", preset: "y")
        let validDays = try number(
            "validDays", "Valid for how many days", preset: "28", range: 1...999)
        let note = try text("note", "Note (optional)", isOptional: true)
        let address = try text("patientAddress", "Patient's address (optional)", isOptional: true)
        let practice = try practiceJSON()
        return """
            {
              "medication": \(medication),
              "dose": \(dose),
              "quantity": \(quantity),
              "repeats": \(repeats),
              "substitution": \(substitution),
              "validDays": \(validDays),
              "note": \(Self.quoted(note)),
              "patientAddress": \(Self.quoted(address)),
              "practice": \(practice)
            }
            """
    }

    private mutating func medicationJSON() throws -> String {
        let name = try text("name", "Medicine as printed, e.g. 'Amoxicillin 500 mg capsules'")
        let system = try choice(
            "system", "Code system", ["ATC", "RxNorm", "SNOMED", "PZN"], preset: "ATC")
        let code = try text("code", "\(system) code")
        let form = try text("form", "Form, e.g. 'capsule'")
        var ingredients: [String] = []
        repeat {
            let number = ingredients.count
            let hint = number == 0 ? "Ingredient" : "Another ingredient (none: Enter)"
            let name = try text("ingredient\(number)", hint, isOptional: number > 0)
            if name.isEmpty { break }
            let strength = try amount("strength\(number)", "Its strength, e.g. '500 mg'")
            let per = try amount("per\(number)", "In how much", preset: "1 " + form)
            ingredients.append(
                "{\"name\": \(Self.quoted(name)), \"amount\": \(strength.number), "
                    + "\"unit\": \(Self.quoted(strength.unit)), \"per\": \(per.json)}")
        } while ingredients.count < 8
        return """
            {"name": \(Self.quoted(name)), \
            "codes": [{"system": \(Self.quoted(system)), "code": \(Self.quoted(code))}], \
            "form": \(Self.quoted(form)), "ingredients": [\(ingredients.joined(separator: ", "))]}
            """
    }

    private mutating func doseJSON() throws -> String {
        let amount = try amount("dose", "One dose, e.g. '1 capsule'")
        let often = try parsed("often", "How often, e.g. '3 per day', '1 per 8 hours'") {
            Frequency($0)
        }
        let days = try number(
            "days", "For how many days (no end: Enter)", preset: "", range: 1...999)
        let route = try text("route", "Route", preset: "by mouth")
        let asNeeded = try text("asNeeded", "Only as needed, for (optional)", isOptional: true)
        var members = [
            "\"amount\": \(amount.number)", "\"unit\": \(Self.quoted(amount.unit))",
            "\"frequency\": \(often.count)", "\"period\": \(often.period)",
            "\"periodUnit\": \(Self.quoted(often.unit))", "\"route\": \(Self.quoted(route))",
        ]
        if !days.isEmpty { members.append("\"durationDays\": \(days)") }
        if !asNeeded.isEmpty { members.append("\"asNeeded\": \(Self.quoted(asNeeded))") }
        return "{" + members.joined(separator: ", ") + "}"
    }

    private mutating func practiceJSON() throws -> String {
        let address = try text("address", "Practice: address")
        let country = try text("country", "Practice: country, two letters")
        let telephone = try text("telephone", "Practice: telephone")
        let email = try text("email", "Practice: e-mail")
        let registration = try text(
            "registration", "Practice: registration number (optional)", isOptional: true)
        var members = [
            "\"address\": \(Self.quoted(address))",
            "\"country\": \(Self.quoted(country.uppercased()))",
            "\"telephone\": \(Self.quoted(telephone))", "\"email\": \(Self.quoted(email))",
        ]
        if !registration.isEmpty {
            members.append("\"registration\": \(Self.quoted(registration))")
        }
        return "{" + members.joined(separator: ", ") + "}"
    }

    // MARK: Questions

    /// Asks until `read` can make something of the answer.
    private mutating func parsed<Value>(
        _ key: String, _ label: String, preset: String? = nil, _ read: (String) -> Value?
    ) throws -> Value {
        var question = label
        while true {
            let answer = try ask(question, answers[key] ?? preset)
            if let value = read(answer) {
                answers[key] = answer
                return value
            }
            question = "Not understood. " + label
        }
    }

    private mutating func text(
        _ key: String, _ label: String, preset: String? = nil, isOptional: Bool = false
    ) throws -> String {
        try parsed(key, label, preset: preset) { answer in
            // A dash takes an earlier answer back.
            if isOptional, answer == "-" { return "" }
            return isOptional || !answer.isEmpty ? answer : nil
        }
    }

    private mutating func amount(
        _ key: String, _ label: String, preset: String? = nil
    ) throws -> Amount {
        try parsed(key, label, preset: preset) { Amount($0) }
    }

    private mutating func number(
        _ key: String, _ label: String, preset: String, range: ClosedRange<Int>
    ) throws -> String {
        try parsed(key, label, preset: preset) { answer in
            if answer.isEmpty, preset.isEmpty { return "" }
            guard let number = Int(answer), range.contains(number) else { return nil }
            return String(number)
        }
    }

    private mutating func yesOrNo(_ key: String, _ label: String, preset: String) throws -> Bool {
        try parsed(key, label + " (y/n)", preset: preset) { answer in
            switch answer.lowercased() {
            case "y", "yes": true
            case "n", "no": false
            default: nil
            }
        }
    }

    private mutating func choice(
        _ key: String, _ label: String, _ choices: [String], preset: String
    ) throws -> String {
        let hint = "\(label) (\(choices.joined(separator: ", ")))"
        return try parsed(key, hint, preset: preset) { answer in
            choices.first { $0.lowercased() == answer.lowercased() }
        }
    }

    /// A JSON string.
    static func quoted(_ text: String) -> String {
        guard let bytes = try? JSONEncoder().encode(text) else { return "\"\"" }
        return String(decoding: bytes, as: UTF8.self)
    }
}
