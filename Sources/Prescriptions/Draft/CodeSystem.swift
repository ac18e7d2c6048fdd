/// The catalogues in which a medication can be named.
public enum CodeSystem: String, Hashable, Sendable, CaseIterable {
    /// Anatomical Therapeutic Chemical classification of the WHO, fifth level: `J01CA04`.
    case atc = "ATC"
    /// RxNorm of the US National Library of Medicine.
    case rxNorm = "RxNorm"
    /// SNOMED CT.
    case snomed = "SNOMED"
    /// Pharmazentralnummer, the German number of a pack.
    case pzn = "PZN"

    /// The system's URI in FHIR.
    var uri: String {
        switch self {
        case .atc: "http://www.whocc.no/atc"
        case .rxNorm: "http://www.nlm.nih.gov/research/umls/rxnorm"
        case .snomed: "http://snomed.info/sct"
        case .pzn: "http://fhir.de/CodeSystem/ifa/pzn"
        }
    }

    /// Whether a code has the form of this catalogue, its check digit included.
    func isWellFormed(_ code: String) -> Bool {
        let octets = Array(code.utf8)
        let digits = octets.compactMap { octet in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet) ? Int(octet) - 48 : nil
        }
        let isNumber = digits.count == octets.count
        switch self {
        case .atc:
            let shape = octets.map { octet -> Character in
                switch octet {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"): "A"
                case UInt8(ascii: "0")...UInt8(ascii: "9"): "9"
                default: "?"
                }
            }
            return String(shape) == "A99AA99"
        case .rxNorm: return isNumber && (1...8).contains(digits.count)
        case .snomed: return isNumber && (6...18).contains(digits.count) && Self.verhoeff(digits)
        case .pzn:
            guard isNumber, digits.count == 8 else { return false }
            let sum = digits.prefix(7).enumerated().reduce(0) { $0 + ($1.offset + 1) * $1.element }
            return sum % 11 == digits[7]
        }
    }

    /// The check of Verhoeff, which SNOMED CT identifiers end with.
    private static func verhoeff(_ digits: [Int]) -> Bool {
        let permutation = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
        var check = 0
        for (position, digit) in digits.reversed().enumerated() {
            var permuted = digit
            for _ in 0..<position % 8 { permuted = permutation[permuted] }
            check = multiply(check, permuted)
        }
        return check == 0
    }

    /// The product of two elements of the dihedral group of order ten.
    private static func multiply(_ left: Int, _ right: Int) -> Int {
        switch (left < 5, right < 5) {
        case (true, true): (left + right) % 5
        case (true, false): (left + right - 5) % 5 + 5
        case (false, true): (left - right) % 5 + 5
        case (false, false): (left - right + 5) % 5
        }
    }
}
