public import FoundationEssentials

/// Why a certificate was revoked (RFC 5280 §5.3.1).
public enum RevocationReason: UInt8, Hashable, Sendable, CaseIterable {
    /// Not told; treated like a compromise.
    case unspecified = 0
    /// The private key is, or may be, in foreign hands.
    case keyCompromise = 1
    /// The issuer's key is, or may be, in foreign hands.
    case authorityCompromise = 2
    /// The holder has left the clinic.
    case affiliationChanged = 3
    /// A newer certificate replaces this one.
    case superseded = 4
    /// The holder has stopped working.
    case cessationOfOperation = 5
    /// Suspended.
    case certificateHold = 6
    /// The licence was withdrawn.
    case privilegeWithdrawn = 9

    /// Whether what was signed before the revocation date keeps its worth. After a compromise it
    /// does not, for the thief can date signatures back.
    public var sparesEarlierSignatures: Bool {
        switch self {
        case .affiliationChanged, .superseded, .cessationOfOperation, .privilegeWithdrawn: true
        case .unspecified, .keyCompromise, .authorityCompromise, .certificateHold: false
        }
    }

    /// The name that people type and read, as in RFC 5280.
    public var word: String {
        switch self {
        case .unspecified: "unspecified"
        case .keyCompromise: "keyCompromise"
        case .authorityCompromise: "cACompromise"
        case .affiliationChanged: "affiliationChanged"
        case .superseded: "superseded"
        case .cessationOfOperation: "cessationOfOperation"
        case .certificateHold: "certificateHold"
        case .privilegeWithdrawn: "privilegeWithdrawn"
        }
    }

    /// Reads a name of RFC 5280, in any case and with or without hyphens.
    public init?(word: String) {
        let plain = word.lowercased().filter { $0 != "-" }
        guard let reason = Self.allCases.first(where: { $0.word.lowercased() == plain }) else {
            return nil
        }
        self = reason
    }
}

/// One certificate that the clinic has revoked.
public struct Revocation: Hashable, Sendable {
    /// The certificate's serial number without leading zeros.
    public let serial: [UInt8]
    /// When it was revoked.
    public let date: Date
    /// Why.
    public let reason: RevocationReason

    /// Takes a serial number in any of its forms.
    public init(serial: [UInt8], date: Date, reason: RevocationReason) {
        self.serial = SerialNumber.normalised(serial)
        self.date = date
        self.reason = reason
    }
}

/// The clinic's revocations, verified; there is no other way to make them.
public struct Revocations: Hashable, Sendable {
    /// When the list was made.
    public let thisUpdate: Date
    /// When the next one is due.
    public let nextUpdate: Date
    /// Rises with every list; an older list than the last seen is to be refused.
    public let number: UInt64
    /// What was revoked.
    public let entries: [Revocation]
    private let bySerial: [[UInt8]: Revocation]

    init(thisUpdate: Date, nextUpdate: Date, number: UInt64, entries: [Revocation]) {
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
        self.number = number
        self.entries = entries
        bySerial = Dictionary(entries.map { ($0.serial, $0) }) { first, second in
            first.reason.sparesEarlierSignatures ? second : first
        }
    }

    /// Whether a certificate is worth nothing for a signature of `date`.
    public func isRevoked(serial: [UInt8], at date: Date) -> Bool {
        guard let revocation = bySerial[SerialNumber.normalised(serial)] else { return false }
        return !revocation.reason.sparesEarlierSignatures || date >= revocation.date
    }
}
