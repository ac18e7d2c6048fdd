internal import FoundationEssentials

/// Reads the document back: picks the fields out, checks them, and takes the document only if it is,
/// octet for octet, the one that these fields give. So there is nothing in it that isn't read.
extension PrescriptionDocument {
    /// Reads signed octets.
    ///
    /// - Throws: `.notAPrescription(.json)` or `(.document)`.
    init(fhir octets: [UInt8]) throws(PrescriptionError) {
        let json: JSONValue
        do {
            json = try JSONParser.parse(octets)
        } catch {
            throw .notAPrescription(.json)
        }
        guard let document = Self.fields(of: json), document.fhir == octets,
            FieldChecks.problems(of: document).isEmpty
        else { throw .notAPrescription(.document) }
        self = document
    }

    private static func fields(of bundle: JSONValue) -> PrescriptionDocument? {
        let prefix = "urn:uuid:"
        guard let identifier = bundle["identifier"]?["value"]?.text, identifier.hasPrefix(prefix),
            UUIDText.isWellFormed(String(identifier.dropFirst(prefix.count))),
            let timestamp = bundle["timestamp"]?.text,
            let issued = CalendarDay.unixSeconds(instant: timestamp),
            let entries = bundle["entry"]?.elements, entries.count == 5,
            let patient = entries[1]["resource"].flatMap(patient),
            let prescriber = entries[2]["resource"].flatMap(prescriber),
            let request = entries[3]["resource"],
            let medication = entries[4]["resource"].flatMap(medication),
            let authoredOn = request["authoredOn"].flatMap(day),
            let dose = request["dosageInstruction"]?[0].flatMap(dose),
            let dispense = request["dispenseRequest"],
            let validUntil = dispense["validityPeriod"]?["end"].flatMap(day),
            let repeats = dispense["numberOfRepeatsAllowed"]?.integer,
            let quantity = dispense["quantity"].flatMap(quantity),
            let substitution = request["substitution"]?["allowedBoolean"]?.truth
        else { return nil }
        return PrescriptionDocument(
            id: String(identifier.dropFirst(prefix.count)),
            issued: Date(timeIntervalSince1970: TimeInterval(issued)), authoredOn: authoredOn,
            validUntil: validUntil, patient: patient, prescriber: prescriber,
            medication: medication, dose: dose, quantity: quantity, repeats: repeats,
            substitution: substitution, note: request["note"]?[0]?["text"]?.text ?? "")
    }

    private static func day(_ value: JSONValue) -> CalendarDay? {
        value.text.flatMap { CalendarDay($0) }
    }

    private static func patient(_ resource: JSONValue) -> Patient? {
        guard let name = resource["name"]?[0]?["text"]?.text,
            let born = resource["birthDate"].flatMap(day)
        else { return nil }
        return Patient(
            name: name, born: born,
            reference: resource["identifier"]?[0]?["value"]?.text ?? "",
            address: resource["address"]?[0]?["text"]?.text ?? "")
    }

    private static func prescriber(_ resource: JSONValue) -> Prescriber? {
        guard let name = resource["name"]?[0]?["text"]?.text,
            let licence = resource["identifier"]?[0]?["value"]?.text,
            let specialty = resource["qualification"]?[0]?["code"]?["text"]?.text,
            let telephone = resource["telecom"]?[0]?["value"]?.text,
            let email = resource["telecom"]?[1]?["value"]?.text,
            let address = resource["address"]?[0]?["text"]?.text,
            let country = resource["address"]?[0]?["country"]?.text
        else { return nil }
        return Prescriber(
            name: name, licence: licence, specialty: specialty,
            practice: PrescriptionDraft.Practice(
                address: address, country: country, telephone: telephone, email: email,
                registration: resource["identifier"]?[1]?["value"]?.text ?? ""))
    }

    private static func medication(_ resource: JSONValue) -> PrescriptionDraft.Medication? {
        guard let name = resource["code"]?["text"]?.text,
            let codings = resource["code"]?["coding"]?.elements,
            let form = resource["form"]?["text"]?.text,
            let ingredients = resource["ingredient"]?.elements
        else { return nil }
        return PrescriptionDraft.Medication(
            name: name,
            codes: codings.compactMap { coding in
                guard let uri = coding["system"]?.text, let code = coding["code"]?.text,
                    let system = CodeSystem.allCases.first(where: { $0.uri == uri })
                else { return nil }
                return PrescriptionDraft.Code(system: system, code: code)
            },
            form: form,
            ingredients: ingredients.compactMap { ingredient in
                guard let name = ingredient["itemCodeableConcept"]?["text"]?.text,
                    let amount = ingredient["strength"]?["numerator"].flatMap(quantity),
                    let per = ingredient["strength"]?["denominator"].flatMap(quantity)
                else { return nil }
                return PrescriptionDraft.Ingredient(name: name, amount: amount, per: per)
            })
    }

    private static func dose(_ dosage: JSONValue) -> PrescriptionDraft.Dose? {
        let timing = dosage["timing"]?["repeat"]
        guard let text = dosage["text"]?.text,
            let amount = dosage["doseAndRate"]?[0]?["doseQuantity"].flatMap(quantity),
            let frequency = timing?["frequency"]?.integer, let period = timing?["period"]?.integer,
            let unit = timing?["periodUnit"]?.text,
            let periodUnit = PrescriptionDraft.PeriodUnit.allCases.first(where: { $0.code == unit })
        else { return nil }
        return PrescriptionDraft.Dose(
            amount: amount, frequency: frequency, period: period, periodUnit: periodUnit,
            durationDays: timing?["boundsDuration"]?["value"]?.integer,
            route: dosage["route"]?["text"]?.text ?? "",
            asNeeded: dosage["asNeededCodeableConcept"]?["text"]?.text ?? "", text: text)
    }

    private static func quantity(_ value: JSONValue) -> PrescriptionDraft.Quantity? {
        guard let amount = value["value"]?.digits, let unit = value["unit"]?.text else {
            return nil
        }
        return PrescriptionDraft.Quantity(amount: amount, unit: unit)
    }
}
