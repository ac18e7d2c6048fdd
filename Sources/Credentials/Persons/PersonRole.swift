/// What a person is in Curtain, as the clinic vouches for it.
public enum PersonRole: UInt8, Hashable, Sendable, CaseIterable {
    /// Asks for consultations.
    case patient = 1
    /// Holds them; a certificate says so besides.
    case doctor = 2
    /// Takes part in others' consultations: guardian, interpreter, specialist.
    case guest = 3

    /// The word that people type and read.
    public var word: String {
        switch self {
        case .patient: "patient"
        case .doctor: "doctor"
        case .guest: "guest"
        }
    }

    /// Reads the word.
    public init?(word: String) {
        guard let role = Self.allCases.first(where: { $0.word == word }) else { return nil }
        self = role
    }
}
