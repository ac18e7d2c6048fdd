import Cryptography
import FoundationEssentials
import SwiftProtobuf
import Vault

/// Where each record of a device lies in its vault. Numbers are never given to another use.
extension Vault.Collection {
    // The person.
    static let profile = Self(rawValue: 1)
    static let keys = Self(rawValue: 2)
    static let tickets = Self(rawValue: 3)
    static let usedPackages = Self(rawValue: 4)
    static let verified = Self(rawValue: 5)
    static let prescriptions = Self(rawValue: 6)
    static let receipts = Self(rawValue: 7)
    static let voucherSerials = Self(rawValue: 8)
    static let ended = Self(rawValue: 9)
    // A mailbox: the home one in the person's scope, every other in a scope of its own.
    static let mailbox = Self(rawValue: 20)
    static let mailboxKey = Self(rawValue: 21)
    static let shelfPackage = Self(rawValue: 22)
    static let bundle = Self(rawValue: 23)
    static let closings = Self(rawValue: 24)
    // A mailbox or a consultation: what is under way.
    static let pending = Self(rawValue: 30)
    static let handled = Self(rawValue: 31)
    // A consultation.
    static let consultation = Self(rawValue: 40)
    static let group = Self(rawValue: 41)
    static let pendingCommit = Self(rawValue: 42)
    static let messages = Self(rawValue: 43)
    static let messageNumbers = Self(rawValue: 44)
    static let files = Self(rawValue: 45)
    static let fileKeys = Self(rawValue: 46)
    static let pieces = Self(rawValue: 47)
}

/// Names within `Vault.Collection.keys`.
enum KeyName {
    static let identity = Array("identity".utf8)
    static let prescription = Array("prescription".utf8)
    static let shelf = Array("shelf".utf8)
    static let opening = Array("opening".utf8)
}

extension ReadTransaction {
    /// Reads a record; a record that isn't one is damage of the disk.
    func record<Record: SwiftProtobuf.Message>(
        _ type: Record.Type = Record.self, at number: Int64 = 0, of collection: Vault.Collection,
        in scope: Vault.Scope
    ) throws -> Record? {
        guard let bytes = try value(at: number, of: collection, in: scope) else { return nil }
        return try Record(serializedBytes: bytes)
    }

    /// The receipts that are kept, oldest first, and whether their consultations were declined.
    func receipts() throws -> [(kept: KeptReceipt, declined: Bool)] {
        try namedRecords(of: .receipts, in: .person).compactMap { record in
            let stored = try StoredKeptReceipt(serializedBytes: record.value)
            return KeptReceipt(stored).map { ($0, stored.declined) }
        }.sorted { ($0.kept.storedAt, $0.kept.id) < ($1.kept.storedAt, $1.kept.id) }
    }

    /// Whether a consultation was ended here: there is its receipt, or a word that it is over.
    func hasEnded(_ id: ConsultationID) throws -> Bool {
        try value(for: id.bytes, of: .receipts, in: .person) != nil
            || value(for: id.bytes, of: .ended, in: .person) != nil
    }

    /// All records of a collection, in their order.
    func allRecords<Record: SwiftProtobuf.Message>(
        _ type: Record.Type = Record.self, of collection: Vault.Collection, in scope: Vault.Scope
    ) throws -> [(number: Int64, record: Record)] {
        try records(of: collection, in: scope).map {
            ($0.number, try Record(serializedBytes: $0.value))
        }
    }
}

extension WriteTransaction {
    /// Replaces a record.
    func put(
        _ record: some SwiftProtobuf.Message, at number: Int64 = 0,
        of collection: Vault.Collection, in scope: Vault.Scope
    ) throws {
        let bytes: [UInt8] = try record.serializedBytes()
        try put(bytes, at: number, of: collection, in: scope)
    }

    /// Replaces a record that has a name.
    func put(
        _ record: some SwiftProtobuf.Message, for key: [UInt8], of collection: Vault.Collection,
        in scope: Vault.Scope
    ) throws {
        let bytes: [UInt8] = try record.serializedBytes()
        try put(bytes, for: key, of: collection, in: scope)
    }

    /// Adds a record behind the others and answers its number.
    func append(
        _ record: some SwiftProtobuf.Message, to collection: Vault.Collection,
        in scope: Vault.Scope
    ) throws -> Int64 {
        let bytes: [UInt8] = try record.serializedBytes()
        return try append(bytes, to: collection, in: scope)
    }
}
