extension Vault {
    /// What a record belongs to, and so what it is erased with.
    public enum Scope: Hashable, Sendable {
        /// The person: identity, record, settings. Lives as long as the vault.
        case person
        /// One consultation: own tables, own key.
        case consultation(ConsultationNumber)

        /// The key slot of this scope.
        var slot: UInt32 {
            switch self {
            case .person: 0
            case .consultation(let number): number.rawValue
            }
        }
    }

    /// Names a consultation inside this vault, from 1; never used twice, and nothing outside the
    /// vault knows it.
    public struct ConsultationNumber: RawRepresentable, Hashable, Comparable, Sendable {
        /// The number of the key slot.
        public let rawValue: UInt32

        /// Takes a stored number.
        public init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        /// Older consultations come first.
        public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    }

    /// A kind of records; the vault's users define their own. 0xFF00 and above are the vault's.
    public struct Collection: RawRepresentable, Hashable, Sendable {
        /// What stands in the table, in clear.
        public let rawValue: UInt16

        /// Names a kind of records.
        public init(rawValue: UInt16) {
            self.rawValue = rawValue
        }

        static let counters = Collection(rawValue: 0xFFFF)
        static let sequences = Collection(rawValue: 0xFFFE)
        var isReserved: Bool { rawValue >= 0xFF00 }
    }

    /// A record under a number.
    public struct NumberedRecord: Hashable, Sendable {
        /// Its place in the order.
        public let number: Int64
        /// What was put there.
        public let value: [UInt8]
    }

    /// A record under a name.
    public struct NamedRecord: Hashable, Sendable {
        /// Its name; the file shows only a keyed hash of it.
        public let key: [UInt8]
        /// What was put there.
        public let value: [UInt8]
    }

    /// The process that has the vault open.
    public struct Holder: Hashable, Sendable {
        /// The process's id.
        public let processID: Int32
        /// Program and subcommand, never an argument; nil if the system doesn't tell.
        public let command: String?
    }
}
