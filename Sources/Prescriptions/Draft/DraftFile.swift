/// The JSON form of a draft, for `prescribe --from FILE` (`protocol/prescriptions.md`).
extension PrescriptionDraft {
    /// Reads a draft strictly: unknown and doubled members and wrong types are refused with their path.
    ///
    /// - Throws: `.invalid`; ranges are checked on preparing.
    public init(json octets: [UInt8]) throws(PrescriptionError) {
        let json: JSONValue
        do throws(JSONParser.Failure) {
            json = try JSONParser.parse(octets)
        } catch {
            throw .invalid([FieldProblem(field: "file", problem: error.words)])
        }
        let form = DraftForm()
        let root = form.object(
            json, "",
            allowed: [
                "medication", "dose", "quantity", "repeats", "substitution", "validDays",
                "practice", "patientAddress", "note",
            ])
        let medication = form.object(
            root["medication"], "medication", allowed: ["name", "codes", "form", "ingredients"])
        let dose = form.object(
            root["dose"], "dose",
            allowed: [
                "amount", "unit", "frequency", "period", "periodUnit", "durationDays", "route",
                "asNeeded", "text",
            ])
        let practice = form.object(
            root["practice"], "practice",
            allowed: ["address", "country", "telephone", "email", "registration"])
        let unit = form.text(dose["periodUnit"], "dose.periodUnit", otherwise: "day")
        if PeriodUnit(rawValue: unit) == nil {
            form.report("dose.periodUnit", "is hour, day or week")
        }
        let draft = PrescriptionDraft(
            medication: Medication(
                name: form.text(medication["name"], "medication.name"),
                codes: form.elements(medication["codes"], "medication.codes").map(form.code),
                form: form.text(medication["form"], "medication.form"),
                ingredients: form.elements(medication["ingredients"], "medication.ingredients")
                    .map(form.ingredient)),
            dose: Dose(
                amount: form.quantity(dose, "dose"),
                frequency: form.integer(dose["frequency"], "dose.frequency"),
                period: form.integer(dose["period"], "dose.period", otherwise: 1),
                periodUnit: PeriodUnit(rawValue: unit) ?? .day,
                durationDays: dose["durationDays"].map {
                    form.integer($0, "dose.durationDays")
                },
                route: form.text(dose["route"], "dose.route", otherwise: ""),
                asNeeded: form.text(dose["asNeeded"], "dose.asNeeded", otherwise: ""),
                text: form.text(dose["text"], "dose.text", otherwise: "")),
            quantity: form.quantity(
                form.object(root["quantity"], "quantity", allowed: ["amount", "unit"]), "quantity"),
            repeats: form.integer(root["repeats"], "repeats", otherwise: 0),
            substitution: form.truth(root["substitution"], "substitution", otherwise: true),
            validDays: form.integer(root["validDays"], "validDays", otherwise: 28),
            practice: Practice(
                address: form.text(practice["address"], "practice.address"),
                country: form.text(practice["country"], "practice.country"),
                telephone: form.text(practice["telephone"], "practice.telephone"),
                email: form.text(practice["email"], "practice.email"),
                registration: form.text(
                    practice["registration"], "practice.registration", otherwise: "")),
            patientAddress: form.text(root["patientAddress"], "patientAddress", otherwise: ""),
            note: form.text(root["note"], "note", otherwise: ""))
        guard form.problems.isEmpty else { throw .invalid(form.problems) }
        self = draft
    }

    /// A complete file, to start from.
    public static let exampleJSON = """
        {
          "medication": {
            "name": "Amoxicillin 500 mg capsules",
            "codes": [{"system": "ATC", "code": "J01CA04"}],
            "form": "capsule",
            "ingredients": [
              {"name": "amoxicillin", "amount": 500, "unit": "mg",
               "per": {"amount": 1, "unit": "capsule"}}
            ]
          },
          "dose": {
            "amount": 1, "unit": "capsule", "frequency": 3, "period": 1, "periodUnit": "day",
            "durationDays": 7, "route": "by mouth"
          },
          "quantity": {"amount": 21, "unit": "capsule"},
          "repeats": 0,
          "substitution": true,
          "validDays": 28,
          "practice": {
            "address": "Example Street 1, 10115 Berlin", "country": "DE",
            "telephone": "+49 30 1234567", "email": "practice@example.org"
          }
        }

        """
}

extension JSONParser.Failure {
    fileprivate var words: String {
        switch self {
        case .tooLong: "is longer than \(JSONParser.maximumByteCount) octets"
        case .tooDeep: "is nested too deeply"
        case .notUTF8: "is no UTF-8"
        case .doubledName: "has an object in which one name occurs twice"
        case .unexpected(let offset): "is no JSON at octet \(offset)"
        }
    }
}

/// Reads fields and collects what is wrong with all of them, so that a person corrects them at once.
private final class DraftForm {
    private(set) var problems: [FieldProblem] = []

    func report(_ field: String, _ problem: String) {
        problems.append(FieldProblem(field: field, problem: problem))
    }

    func object(_ value: JSONValue?, _ path: String, allowed: Set<String>) -> JSONValue {
        guard case .object(let members)? = value else {
            report(path.isEmpty ? "file" : path, value == nil ? "is missing" : "is no object")
            return .object([])
        }
        for member in members where !allowed.contains(member.name) {
            report(path.isEmpty ? member.name : "\(path).\(member.name)", "is not known")
        }
        return .object(members)
    }

    func elements(_ value: JSONValue?, _ path: String) -> [(value: JSONValue, path: String)] {
        guard let elements = value?.elements else {
            report(path, value == nil ? "is missing" : "is no list")
            return []
        }
        return elements.enumerated().map { ($0.element, "\(path)[\($0.offset)]") }
    }

    func text(_ value: JSONValue?, _ path: String, otherwise: String? = nil) -> String {
        guard let value else {
            if otherwise == nil { report(path, "is missing") }
            return otherwise ?? ""
        }
        if value.text == nil { report(path, "is no text") }
        return value.text ?? ""
    }

    func integer(_ value: JSONValue?, _ path: String, otherwise: Int? = nil) -> Int {
        guard let value else {
            if otherwise == nil { report(path, "is missing") }
            return otherwise ?? 1
        }
        if value.integer == nil { report(path, "is no whole number") }
        return value.integer ?? 1
    }

    func truth(_ value: JSONValue?, _ path: String, otherwise: Bool) -> Bool {
        guard let value else { return otherwise }
        if value.truth == nil { report(path, "is neither true nor false") }
        return value.truth ?? otherwise
    }

    func quantity(_ object: JSONValue, _ path: String) -> PrescriptionDraft.Quantity {
        let amount = object["amount"].flatMap { $0.digits ?? $0.text }
        if amount == nil { report("\(path).amount", "is missing or no number") }
        return PrescriptionDraft.Quantity(
            amount: amount ?? "1", unit: text(object["unit"], "\(path).unit"))
    }

    func code(_ element: (value: JSONValue, path: String)) -> PrescriptionDraft.Code {
        let object = object(element.value, element.path, allowed: ["system", "code"])
        let name = text(object["system"], "\(element.path).system")
        let system = CodeSystem.allCases.first { $0.rawValue.lowercased() == name.lowercased() }
        if system == nil { report("\(element.path).system", "is ATC, RxNorm, SNOMED or PZN") }
        return PrescriptionDraft.Code(
            system: system ?? .atc, code: text(object["code"], "\(element.path).code"))
    }

    func ingredient(_ element: (value: JSONValue, path: String)) -> PrescriptionDraft.Ingredient {
        let fields = object(
            element.value, element.path, allowed: ["name", "amount", "unit", "per"])
        let per = object(fields["per"], "\(element.path).per", allowed: ["amount", "unit"])
        return PrescriptionDraft.Ingredient(
            name: text(fields["name"], "\(element.path).name"),
            amount: quantity(fields, element.path), per: quantity(per, "\(element.path).per"))
    }
}
