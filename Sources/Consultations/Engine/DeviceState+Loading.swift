import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import SwiftProtobuf
import Vault

extension DeviceState {
    /// Reads everything from the vault.
    ///
    /// - Throws: `VaultError`, or `.vault(.damaged(.record))` for what isn't a record of ours.
    init(reading transaction: ReadTransaction) throws {
        guard
            let profile = try ProfileRecord(reading: transaction),
            let identity = try transaction.secret(for: KeyName.identity, of: .keys, in: .person),
            let shelf = try transaction.secret(for: KeyName.shelf, of: .keys, in: .person),
            let home = try MailboxState(reading: transaction, in: .person)
        else { throw VaultError.damaged(.record) }
        self.profile = profile
        root = try ClinicCertificate(der: [UInt8](profile.clinicRoot))
        relayKey = try VerifyingKey([UInt8](profile.relayKey))
        self.identity = try SigningKey(seed: identity)
        shelfKey = shelf
        self.home = home.id
        guard let role = PersonRole(rawValue: UInt8(clamping: profile.role)) else {
            throw VaultError.damaged(.record)
        }
        self.role = role
        self.name = profile.name
        mailboxes = [home.id: home]
        consultations = [:]
        tickets = try transaction.records(of: .tickets, in: .person).map {
            HeldTicket(number: $0.number, bytes: $0.value)
        }
        verified = [:]
        for record in try transaction.namedRecords(of: .verified, in: .person) {
            let person = try StoredPerson(serializedBytes: record.value)
            let key = try VerifyingKey([UInt8](person.identityKey))
            verified[PersonID(identityKey: key)] = person
        }
        try readScopes(transaction)
    }

    private mutating func readScopes(_ transaction: ReadTransaction) throws {
        var mailboxByScope: [Vault.ConsultationNumber: MailboxID] = [:]
        let numbers = try transaction.consultations()
        for number in numbers {
            guard let mailbox = try MailboxState(reading: transaction, in: .consultation(number))
            else { continue }
            mailboxes[mailbox.id] = mailbox
            mailboxByScope[number] = mailbox.id
        }
        for number in numbers {
            let scope = Vault.Scope.consultation(number)
            guard let record = try ConsultationRecord(reading: transaction, in: scope) else {
                continue
            }
            let mailboxScope = Vault.ConsultationNumber(rawValue: record.mailboxScope)
            // One without a mailbox mustn't keep the person from all the others: it is reopened
            // (`Turn.reopenHomeless`). Until then it goes by a name that no mailbox has.
            let nobody = MailboxID(Hash.sha256(label: "no mailbox", [UInt8](record.groupID)))
            guard let mailbox = mailboxByScope[mailboxScope] ?? nobody else {
                throw VaultError.damaged(.record)
            }
            consultations[number] = try ConsultationState(
                reading: transaction, number: number, record: record, mailbox: mailbox)
            let pending = try PendingRequest(
                reading: transaction, in: scope, consultation: number)
            if let pending { mailboxes[mailbox]?.pending = pending }
        }
    }
}

extension MailboxState {
    /// The mailbox that this scope holds; `nil` if it holds none.
    init?(reading transaction: ReadTransaction, in scope: Vault.Scope) throws {
        guard
            let record = try transaction.record(StoredMailbox.self, of: .mailbox, in: scope),
            let seed = try transaction.secret(at: 0, of: .mailboxKey, in: scope)
        else { return nil }
        let key = try SigningKey(seed: seed)
        guard let id = MailboxID(key.publicKey.bytes) else { return nil }
        self.init(id: id, scope: scope, key: key, record: record)
        package = try transaction.record(of: .shelfPackage, in: scope)
        for record in try transaction.namedRecords(of: .closings, in: scope) {
            closings[record.key] = try StoredClosing(serializedBytes: record.value)
        }
        pending = try PendingRequest(reading: transaction, in: scope, consultation: nil)
        let handled = try transaction.allRecords(StoredHandled.self, of: .handled, in: scope)
        for (number, record) in handled {
            self.handled.insert(
                number: number, name: [UInt8](record.delivery), digest: [UInt8](record.digest))
        }
    }
}

extension PendingRequest {
    init?(
        reading transaction: ReadTransaction, in scope: Vault.Scope,
        consultation: Vault.ConsultationNumber?
    ) throws {
        guard
            let stored = try transaction.record(
                StoredPendingRequest.self, of: .pending, in: scope)
        else { return nil }
        let frame = try ClientFrame(decoding: [UInt8](stored.frame))
        guard let request = frame.requests.first else { throw VaultError.damaged(.record) }
        self.init(
            request: request, scope: scope, consultation: consultation,
            message: stored.message == 0 ? nil : stored.message)
    }
}

extension ConsultationState {
    init(
        reading transaction: ReadTransaction, number: Vault.ConsultationNumber,
        record: ConsultationRecord, mailbox: MailboxID
    ) throws {
        self.init(number: number, mailbox: mailbox, record: record)
        let scope = Vault.Scope.consultation(number)
        var entries: [[UInt8]: SecretBytes] = [:]
        for entry in try transaction.namedRecords(of: .group, in: scope) {
            entries[entry.key] = SecretBytes(entry.value)
        }
        if !entries.isEmpty { group = try Group(entries: entries) }
        if let stored = try transaction.secret(at: 0, of: .pendingCommit, in: scope) {
            commit = try PendingCommit(serialized: stored)
        }
        for ledger in record.traffic.ledgers {
            let member = [UInt8](ledger.member)
            ledgers[member] = Ledger(
                received: ledger.received, missing: ledger.missing, read: ledger.read)
            progress[member] = Progress(
                received: ledger.theirs, missing: ledger.theirsMissing, read: ledger.theirsRead)
        }
        for (number, stored) in try transaction.allRecords(StoredFile.self, of: .files, in: scope) {
            guard let file = FileState(number: number, record: stored) else {
                throw VaultError.damaged(.record)
            }
            files.append(file)
        }
        let messages = try transaction.allRecords(StoredMessage.self, of: .messages, in: scope)
        for (number, message) in messages where message.mine {
            switch message.state {
            case .waiting: outbox.append(number)
            case .relayed, .delivered:
                unsettled.append(
                    Unsettled(number: number, counter: message.counter, state: message.state))
            default: break
            }
        }
    }

    /// The record with the ledgers as they are now.
    var currentRecord: ConsultationRecord {
        var record = record
        let members = Set(ledgers.keys).union(progress.keys)
        record.traffic.ledgers = members.sorted { $0.lexicographicallyPrecedes($1) }.map { member in
            var stored = StoredLedger()
            stored.member = Data(member)
            if let ledger = ledgers[member] {
                stored.received = ledger.received
                stored.missing = ledger.missing
                stored.read = ledger.read
            }
            if let progress = progress[member] {
                stored.theirs = progress.received
                stored.theirsMissing = progress.missing
                stored.theirsRead = progress.read
            }
            return stored
        }
        return record
    }
}
