internal import Cryptography

/// The FHIR R4 document of a prescription (https://hl7.org/fhir/R4/documents.html): a Bundle of
/// Composition, Patient, Practitioner, MedicationRequest and Medication, minified, members in the
/// order of FHIR's definitions.
extension PrescriptionDocument {
    /// The exact octets that are signed.
    public var fhir: [UInt8] { bundle.minified }

    /// The resources that refer to each other by UUIDs made from the prescription's own.
    private enum Resource: String {
        case composition, patient, practitioner, request, medication
    }

    private func url(_ resource: Resource) -> String {
        let digest = Hash.sha256(
            label: "prescription entry", Array(id.utf8), Array(resource.rawValue.utf8))
        return "urn:uuid:" + UUIDText.format(Array(digest.prefix(16)), version: 8)
    }

    private func reference(_ resource: Resource) -> JSONValue {
        .members(["reference": .string(url(resource))])
    }

    private var bundle: JSONValue {
        func entry(_ resource: Resource, _ content: JSONValue) -> JSONValue {
            .members(["fullUrl": .string(url(resource)), "resource": content])
        }
        return .members([
            "resourceType": .string("Bundle"),
            "identifier": .members([
                "system": .string("urn:ietf:rfc:3986"), "value": .string("urn:uuid:" + id),
            ]),
            "type": .string("document"),
            "timestamp": .string(CalendarDay.instant(unixSeconds: issuedSeconds)),
            "entry": .array([
                entry(.composition, composition), entry(.patient, patientResource),
                entry(.practitioner, practitioner), entry(.request, request),
                entry(.medication, medicationResource),
            ]),
        ])
    }

    private var composition: JSONValue {
        .members([
            "resourceType": .string("Composition"),
            "status": .string("final"),
            "type": .members([
                "coding": .array([
                    .members([
                        "system": .string("http://loinc.org"), "code": .string("57833-6"),
                        "display": .string("Prescription for medication"),
                    ])
                ])
            ]),
            "subject": reference(.patient),
            "date": .string(CalendarDay.instant(unixSeconds: issuedSeconds)),
            "author": .array([reference(.practitioner)]),
            "title": .string("Prescription"),
            "section": .array([
                .members([
                    "text": .members([
                        "status": .string("generated"), "div": .string(narrative),
                    ]),
                    "entry": .array([reference(.request)]),
                ])
            ]),
        ])
    }

    /// The sentence that any FHIR program shows.
    private var narrative: String {
        let sentence = "\(medication.name), \(quantity). \(dose.text)"
        var escaped = ""
        for character in sentence {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            default: escaped.append(character)
            }
        }
        return "<div xmlns=\"http://www.w3.org/1999/xhtml\">\(escaped)</div>"
    }

    private var patientResource: JSONValue {
        .members([
            "resourceType": .string("Patient"),
            "identifier": Self.optional(patient.reference) {
                .array([.members(["value": $0])])
            },
            "name": .array([.members(["text": .string(patient.name)])]),
            "birthDate": .string(patient.born.description),
            "address": Self.optional(patient.address) { .array([.members(["text": $0])]) },
        ])
    }

    private var practitioner: JSONValue {
        func identifier(_ code: String, _ value: JSONValue) -> JSONValue {
            .members([
                "type": .members([
                    "coding": .array([
                        .members([
                            "system": .string("http://terminology.hl7.org/CodeSystem/v2-0203"),
                            "code": .string(code),
                        ])
                    ])
                ]),
                "value": value,
            ])
        }
        let practice = prescriber.practice
        let registration = Self.optional(practice.registration) { identifier("DEA", $0) }
        return .members([
            "resourceType": .string("Practitioner"),
            "identifier": .array(
                [identifier("MD", .string(prescriber.licence)), registration].compactMap { $0 }),
            "name": .array([.members(["text": .string(prescriber.name)])]),
            "telecom": .array([
                .members(["system": .string("phone"), "value": .string(practice.telephone)]),
                .members(["system": .string("email"), "value": .string(practice.email)]),
            ]),
            "address": .array([
                .members([
                    "text": .string(practice.address), "country": .string(practice.country),
                ])
            ]),
            "qualification": .array([
                .members(["code": .members(["text": .string(prescriber.specialty)])])
            ]),
        ])
    }

    private var request: JSONValue {
        .members([
            "resourceType": .string("MedicationRequest"),
            "status": .string("active"),
            "intent": .string("order"),
            "medicationReference": reference(.medication),
            "subject": reference(.patient),
            "authoredOn": .string(authoredOn.description),
            "requester": reference(.practitioner),
            "note": Self.optional(note) { .array([.members(["text": $0])]) },
            "dosageInstruction": .array([dosage]),
            "dispenseRequest": .members([
                "validityPeriod": .members([
                    "start": .string(authoredOn.description),
                    "end": .string(validUntil.description),
                ]),
                "numberOfRepeatsAllowed": .number(String(repeats)),
                "quantity": Self.quantity(quantity),
            ]),
            "substitution": .members(["allowedBoolean": .bool(substitution)]),
        ])
    }

    private var dosage: JSONValue {
        let duration = dose.durationDays.map { days -> JSONValue in
            .members([
                "value": .number(String(days)), "unit": .string("day"),
                "system": .string(UCUM.uri), "code": .string("d"),
            ])
        }
        return .members([
            "text": .string(dose.text),
            "timing": .members([
                "repeat": .members([
                    "boundsDuration": duration,
                    "frequency": .number(String(dose.frequency)),
                    "period": .number(String(dose.period)),
                    "periodUnit": .string(dose.periodUnit.code),
                ])
            ]),
            "asNeededCodeableConcept": Self.optional(dose.asNeeded) { .members(["text": $0]) },
            "route": Self.optional(dose.route) { .members(["text": $0]) },
            "doseAndRate": .array([.members(["doseQuantity": Self.quantity(dose.amount)])]),
        ])
    }

    private var medicationResource: JSONValue {
        .members([
            "resourceType": .string("Medication"),
            "code": .members([
                "coding": .array(
                    medication.codes.map { code in
                        .members([
                            "system": .string(code.system.uri), "code": .string(code.code),
                        ])
                    }),
                "text": .string(medication.name),
            ]),
            "form": .members(["text": .string(medication.form)]),
            "ingredient": .array(
                medication.ingredients.map { ingredient in
                    .members([
                        "itemCodeableConcept": .members(["text": .string(ingredient.name)]),
                        "strength": .members([
                            "numerator": Self.quantity(ingredient.amount),
                            "denominator": Self.quantity(ingredient.per),
                        ]),
                    ])
                }),
        ])
    }

    private static func quantity(_ quantity: PrescriptionDraft.Quantity) -> JSONValue {
        let code = UCUM.codes[quantity.unit]
        return .members([
            "value": .number(quantity.amount),
            "unit": .string(quantity.unit),
            "system": code.map { _ in .string(UCUM.uri) },
            "code": code.map { .string($0) },
        ])
    }

    /// Nothing for an empty text: FHIR has no empty strings.
    private static func optional(
        _ text: String, _ body: (JSONValue) -> JSONValue
    ) -> JSONValue? {
        text.isEmpty ? nil : body(.string(text))
    }
}

/// The units that have a code in the Unified Code for Units of Measure; others are words only.
enum UCUM {
    static let uri = "http://unitsofmeasure.org"
    static let codes = [
        "g": "g", "mg": "mg", "µg": "ug", "μg": "ug", "mcg": "ug", "ml": "mL", "mL": "mL",
        "l": "L", "L": "L", "mmol": "mmol", "IU": "[iU]", "%": "%",
    ]
}

/// UUIDs as text (RFC 9562 §4).
enum UUIDText {
    /// Formats 16 octets, with version and variant put in.
    static func format(_ octets: [UInt8], version: UInt8) -> String {
        let digits = Array("0123456789abcdef")
        var text = ""
        for (index, octet) in octets.prefix(16).enumerated() {
            if [4, 6, 8, 10].contains(index) { text.append("-") }
            let value: UInt8 =
                switch index {
                case 6: octet & 0x0F | version << 4
                case 8: octet & 0x3F | 0x80
                default: octet
                }
            text.append(digits[Int(value >> 4)])
            text.append(digits[Int(value & 15)])
        }
        return text
    }

    /// Whether a text is a UUID in lower case.
    static func isWellFormed(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        return parts.map(\.utf8.count) == [8, 4, 4, 4, 12]
            && text.utf8.allSatisfy { "0123456789abcdef-".utf8.contains($0) }
    }
}
