import Credentials
import Cryptography
import FoundationEssentials
import MLS
import RelayProtocol
import SwiftProtobuf
import Vault

/// One unit of work: a copy of the state, the vault's transaction, and what is to happen once both
/// have been committed.
struct Turn {
    var state: DeviceState
    let transaction: WriteTransaction
    /// Unix milliseconds.
    let now: UInt64
    let options: DeviceOptions

    private(set) var events: [DeviceEvent] = []
    private(set) var wakeAt: UInt64?
    private(set) var trouble: ConnectionTrouble?
    var sealObserver: ((Message.Origin, [UInt8]) -> Void)?
    var hasErased = false
    var receivedCount = 0
    var sentCount = 0
    var transferCount = 0
    private var requests: [Request] = []
    private var acknowledgements: [MailboxID: [DeliveryID]] = [:]
    private var greeting: ClientFrame?

    init(
        state: DeviceState, transaction: WriteTransaction, now: UInt64, options: DeviceOptions
    ) {
        self.state = state
        self.transaction = transaction
        self.now = now
        self.options = options
    }

    /// Unix seconds, as MLS and the credentials count.
    var seconds: UInt64 { now / 1_000 }
    var date: Date { Date(timeIntervalSince1970: Double(now) / 1_000) }

    // MARK: What happens after the commit

    mutating func frame(_ frame: ClientFrame) { greeting = frame }
    mutating func ask(_ request: Request) { requests.append(request) }
    mutating func emit(_ event: DeviceEvent) { events.append(event) }

    mutating func acknowledge(_ delivery: Delivery) {
        acknowledgements[delivery.mailbox, default: []].append(delivery.id)
    }

    mutating func wake(at time: UInt64) { wakeAt = min(wakeAt ?? .max, time) }

    /// Ends the connection after what was to be sent.
    mutating func giveUp(_ trouble: ConnectionTrouble) { self.trouble = self.trouble ?? trouble }

    /// Everything to send, in frames that the relay accepts: acknowledgements first.
    func frames() -> [[UInt8]] {
        if let greeting { return [greeting.encoded()] }
        let limit = Int(state.session?.limits?.frameByteCount ?? 1 << 16)
        let acknowledgements = acknowledgements.sorted {
            $0.key.bytes.lexicographicallyPrecedes($1.key.bytes)
        }.map { Acknowledgement(mailbox: $0.key, deliveries: $0.value) }
        return ClientFrame.pack(acknowledgements, requests, frameByteCount: limit)
    }

    // MARK: Records

    func saveProfile() throws { try state.profile.store(to: transaction) }

    /// Changes a mailbox and stores its record.
    mutating func modifyMailbox(
        _ id: MailboxID, _ body: (inout MailboxState) throws -> Void
    ) throws {
        guard var mailbox = state.mailboxes[id] else { return }
        let before = mailbox.record
        try body(&mailbox)
        if mailbox.record != before {
            try transaction.put(mailbox.record, of: .mailbox, in: mailbox.scope)
        }
        state.mailboxes[id] = mailbox
    }

    /// Changes a consultation and stores its record and what changed in its group.
    mutating func modify<Result>(
        _ number: Vault.ConsultationNumber,
        _ body: (inout ConsultationState, inout Turn) throws -> Result
    ) throws -> Result {
        guard var consultation = state.consultations[number] else {
            throw DeviceError.unknownConsultation
        }
        let before = consultation.currentRecord
        let result = try body(&consultation, &self)
        for change in consultation.group?.takeChanges() ?? [] {
            if let value = change.value {
                try transaction.put(value, for: change.key, of: .group, in: consultation.scope)
            } else {
                try transaction.remove(for: change.key, of: .group, in: consultation.scope)
            }
        }
        consultation.record = consultation.currentRecord
        try consultation.record.store(
            replacing: before, to: transaction, in: consultation.scope)
        state.consultations[number] = consultation
        return result
    }

    /// Drops the keys of past epochs whose time is up, also where nothing happens any more.
    mutating func dropPastEpochs() throws {
        for (number, consultation) in state.consultations {
            guard let end = consultation.group?.pastEpochsEnd, end <= seconds else { continue }
            try modify(number) { $0.group?.prunePastEpochs(at: $1.seconds) }
        }
    }

    /// Tells the person that something about a consultation changed.
    mutating func announce(_ number: Vault.ConsultationNumber) {
        guard let consultation = state.consultations[number], consultation.isShown else { return }
        emit(.consultation(state.describe(consultation)))
    }
}
