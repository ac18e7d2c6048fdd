/// What an offline verification found, a line for each check, always all of them and in one order.
public struct VerificationReport: Sendable {
    /// One line per check.
    public let lines: [Line]
    /// The prescription, only if nothing failed.
    public let prescription: Prescription?

    /// Whether nothing failed.
    public var isPassed: Bool { prescription != nil }

    /// What is checked.
    public enum Check: String, Hashable, Sendable, CaseIterable {
        /// Compact JWS with exactly the expected header.
        case form
        /// Exactly a FHIR document of this format.
        case document
        /// Certificates up to the clinic's root.
        case certificate
        /// The certificate is for signing prescriptions.
        case purpose
        /// The certificate's holder is a physician.
        case profession
        /// The certificates hold now and held at signing.
        case certificateValidity
        /// Not withdrawn by the clinic.
        case revocation
        /// Made with the certificate's key over exactly these octets.
        case signature
        /// The day in the document is the day of signing.
        case signingDay
        /// The prescriber in the document is the certificate's holder.
        case prescriber
        /// The prescription may be redeemed today.
        case validity
        /// Whether the doctor has cancelled it; only the relay knows.
        case cancellation
        /// Whether it has been redeemed; only the relay knows.
        case redemption

        /// In words.
        public var words: String {
            switch self {
            case .certificateValidity: "certificate validity"
            case .signingDay: "signing day"
            default: rawValue
            }
        }
    }

    /// How a check ended.
    public enum Outcome: Hashable, Sendable {
        /// It holds.
        case pass
        /// It doesn't; says why.
        case fail(String)
        /// Nobody looked; says why.
        case notChecked(String)

        /// `PASS`, `FAIL` or `not checked`.
        public var word: String {
            switch self {
            case .pass: "PASS"
            case .fail: "FAIL"
            case .notChecked: "not checked"
            }
        }
    }

    /// One check and how it ended.
    public struct Line: Hashable, Sendable {
        /// What was checked.
        public let check: Check
        /// How it ended.
        public let outcome: Outcome

        /// What was checked and, unless it passed, why.
        public var text: String {
            switch outcome {
            case .pass: check.words
            case .fail(let reason), .notChecked(let reason): "\(check.words): \(reason)"
            }
        }
    }

    /// Puts the lines in order; what nobody reported wasn't reached.
    init(_ outcomes: [Check: Outcome], _ prescription: Prescription?) {
        lines = Check.allCases.map { check in
            Line(check: check, outcome: outcomes[check] ?? .notChecked("an earlier check failed"))
        }
        let mayBeUnchecked: Set<Check> = [.revocation, .cancellation, .redemption]
        let holds = lines.allSatisfy { line in
            switch line.outcome {
            case .pass: true
            case .fail: false
            case .notChecked: mayBeUnchecked.contains(line.check)
            }
        }
        self.prescription = holds ? prescription : nil
    }
}
