/// What a doctor enters: everything of a prescription but the persons, who come from voucher and
/// certificate. Nothing is checked before `PreparedPrescription`.
public struct PrescriptionDraft: Hashable, Sendable {
    /// The medicine.
    public var medication: Medication
    /// How it is taken.
    public var dose: Dose
    /// How much of it is handed out at a time.
    public var quantity: Quantity
    /// How often it may be handed out again.
    public var repeats: Int
    /// Whether the pharmacy may hand out an equivalent product.
    public var substitution: Bool
    /// How many days after signing it may be redeemed.
    public var validDays: Int
    /// Where the prescriber works.
    public var practice: Practice
    /// The patient's address, where the law asks for it (21 CFR 1306.05); else empty.
    public var patientAddress: String
    /// For the pharmacy, for instance why only this brand; may be empty.
    public var note: String

    /// Puts a draft together.
    public init(
        medication: Medication, dose: Dose, quantity: Quantity, repeats: Int = 0,
        substitution: Bool = true, validDays: Int = 28, practice: Practice,
        patientAddress: String = "", note: String = ""
    ) {
        self.medication = medication
        self.dose = dose
        self.quantity = quantity
        self.repeats = repeats
        self.substitution = substitution
        self.validDays = validDays
        self.practice = practice
        self.patientAddress = patientAddress
        self.note = note
    }

    /// An amount with its unit.
    public struct Quantity: Hashable, Sendable, CustomStringConvertible {
        /// Digits with an optional decimal point, kept as they were written: `0.5`.
        public var amount: String
        /// Such as `mg`, `tablet` or `ml`.
        public var unit: String

        /// Puts an amount together.
        public init(amount: String, unit: String) {
            self.amount = amount
            self.unit = unit
        }

        /// `500 mg`.
        public var description: String { "\(amount) \(unit)" }
    }

    /// A name of the medicine in a catalogue.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        /// Which catalogue.
        public var system: CodeSystem
        /// The code in it.
        public var code: String

        /// Puts a code together.
        public init(system: CodeSystem, code: String) {
            self.system = system
            self.code = code
        }

        /// `ATC J01CA04`.
        public var description: String { "\(system.rawValue) \(code)" }
    }

    /// An active substance and its strength.
    public struct Ingredient: Hashable, Sendable, CustomStringConvertible {
        /// The common name (INN).
        public var name: String
        /// How much of it …
        public var amount: Quantity
        /// … is in how much of the medicine.
        public var per: Quantity

        /// Puts an ingredient together.
        public init(name: String, amount: Quantity, per: Quantity) {
            self.name = name
            self.amount = amount
            self.per = per
        }

        /// `amoxicillin 500 mg per 1 capsule`.
        public var description: String { "\(name) \(amount) per \(per)" }
    }

    /// A medicine.
    public struct Medication: Hashable, Sendable {
        /// As it is called for people.
        public var name: String
        /// At least one.
        public var codes: [Code]
        /// The pharmaceutical form, such as `tablet`.
        public var form: String
        /// At least one.
        public var ingredients: [Ingredient]

        /// Puts a medicine together.
        public init(name: String, codes: [Code], form: String, ingredients: [Ingredient]) {
            self.name = name
            self.codes = codes
            self.form = form
            self.ingredients = ingredients
        }
    }

    /// A unit of time between doses.
    public enum PeriodUnit: String, Hashable, Sendable, CaseIterable {
        /// 60 minutes.
        case hour
        /// 24 hours.
        case day
        /// 7 days.
        case week

        /// UCUM's code.
        var code: String {
            switch self {
            case .hour: "h"
            case .day: "d"
            case .week: "wk"
            }
        }
    }

    /// How a medicine is taken: so much, so many times per so many hours, days or weeks.
    public struct Dose: Hashable, Sendable {
        /// What is taken at a time.
        public var amount: Quantity
        /// How many times in a period.
        public var frequency: Int
        /// How many units make a period.
        public var period: Int
        /// The period's unit.
        public var periodUnit: PeriodUnit
        /// For how many days; nil if it isn't limited.
        public var durationDays: Int?
        /// The way into the body, such as `by mouth`; may be empty.
        public var route: String
        /// When it is taken only as needed, for what; else empty.
        public var asNeeded: String
        /// The sentence for the patient; if empty it is made from the rest.
        public var text: String

        /// Puts a dose together.
        public init(
            amount: Quantity, frequency: Int, period: Int = 1, periodUnit: PeriodUnit = .day,
            durationDays: Int? = nil, route: String = "", asNeeded: String = "", text: String = ""
        ) {
            self.amount = amount
            self.frequency = frequency
            self.period = period
            self.periodUnit = periodUnit
            self.durationDays = durationDays
            self.route = route
            self.asNeeded = asNeeded
            self.text = text
        }

        /// The sentence that the structure gives.
        public var sentence: String {
            let times = frequency == 1 ? "once" : "\(frequency) times"
            let interval =
                period == 1 ? "a \(periodUnit.rawValue)" : "every \(period) \(periodUnit.rawValue)s"
            var parts = ["\(amount) \(times) \(interval)"]
            if let durationDays {
                parts.append("for \(durationDays) \(durationDays == 1 ? "day" : "days")")
            }
            if !route.isEmpty { parts.append(route) }
            if !asNeeded.isEmpty { parts.append("as needed: \(asNeeded)") }
            return parts.joined(separator: ", ")
        }
    }

    /// Where and how the prescriber can be reached (directive 2012/52/EU, annex).
    public struct Practice: Hashable, Sendable {
        /// Street and place.
        public var address: String
        /// ISO 3166-1, two letters.
        public var country: String
        /// With the international prefix.
        public var telephone: String
        /// An e-mail address.
        public var email: String
        /// A registration number, where the law asks for it (21 CFR 1306.05); else empty.
        public var registration: String

        /// Puts the details together.
        public init(
            address: String, country: String, telephone: String, email: String,
            registration: String = ""
        ) {
            self.address = address
            self.country = country
            self.telephone = telephone
            self.email = email
            self.registration = registration
        }
    }
}
