import Credentials
import Cryptography
import MLS
import RelayProtocol
import Vault

/// Everything that a device knows, as a value: a unit of work changes a copy, and the copy becomes
/// the state only when the vault has committed the same changes.
struct DeviceState {
    var profile: ProfileRecord
    let root: ClinicCertificate
    let relayKey: VerifyingKey
    let identity: SigningKey
    let shelfKey: SecretBytes
    let home: MailboxID
    let role: PersonRole
    let name: String

    var mailboxes: [MailboxID: MailboxState]
    var consultations: [Vault.ConsultationNumber: ConsultationState]
    var tickets: [HeldTicket]
    var verified: [PersonID: StoredPerson]

    // What lasts only as long as the connection.
    var session: RelaySession?
    var openedHome = false
    /// It goes on with this vault, whatever another copy has done meanwhile.
    var overtakes = false
    /// Drawing tickets was refused; not before this time again (Unix milliseconds).
    var drawingPausedUntil: UInt64 = 0
    /// What is asked about files and not answered yet.
    var transfers = Transfers()
    /// Own files that the relay didn't take, by their messages' ids, since the device was opened.
    var refusedFiles: [[UInt8]: Refusal] = [:]
}

/// A ticket in the vault.
struct HeldTicket {
    let number: Int64
    let bytes: [UInt8]
}

/// One mailbox of this device.
struct MailboxState {
    /// Its state on the present connection.
    enum Link {
        case closed
        case opening
        case open
        /// The relay doesn't know it, or has erased it.
        case gone
    }

    let id: MailboxID
    let scope: Vault.Scope
    let key: SigningKey
    var record: StoredMailbox
    /// A doctor's KeyPackage that names this mailbox.
    var package: StoredShelfPackage?
    /// Consultations that are gone here and wait for the receipt, by group id.
    var closings: [[UInt8]: StoredClosing] = [:]
    /// The one request whose answer is awaited.
    var pending: PendingRequest?
    var handled = HandledDeliveries()

    var link = Link.closed
    /// Deliveries that waited at the relay when it was opened and haven't come yet.
    var expected = 0
    /// The relay asked for patience until then (Unix milliseconds).
    var pausedUntil: UInt64 = 0
    /// Why, as the person was told.
    var delay: Refusal?
    /// The relay didn't let go of it on this connection.
    var isRetained = false

    /// Whether a KeyPackage names it.
    var isOnShelf: Bool { record.kind == .shelf || record.kind == .lastResort }
    /// Whether its KeyPackage is, or was, a last-resort one: only those serve more than once.
    var isLastResort: Bool { record.permitUses > 1 }
    /// Whether this relay doesn't know it, and another backup may.
    var isSetAside: Bool { link == .gone && !record.refusedBy.isEmpty }
    /// Whether mail for it can still be of use.
    var isWanted: Bool { link != .gone }
}

/// A request that is stored and may have been sent.
struct PendingRequest {
    let request: Request
    /// Whose scope holds it.
    let scope: Vault.Scope
    /// The consultation that it is for.
    let consultation: Vault.ConsultationNumber?
    /// The message that it carries.
    let message: Int64?
}

/// One live consultation.
struct ConsultationState {
    /// A message of one's own that not everybody has read.
    struct Unsettled: Equatable {
        let number: Int64
        let counter: UInt64
        var state: StoredDelivery
    }

    let number: Vault.ConsultationNumber
    var mailbox: MailboxID
    var record: ConsultationRecord
    var group: Group?
    /// A commit whose fate isn't known.
    var commit: PendingCommit?
    /// Numbers of the messages that the relay doesn't have.
    var outbox: [Int64] = []
    var unsettled: [Unsettled] = []
    /// Sent and received, in the order in which they became known.
    var files: [FileState] = []
    var ledgers: [[UInt8]: Ledger] = [:]
    var progress: [[UInt8]: Progress] = [:]

    /// The relay named this epoch; nothing is encrypted before it is reached.
    var awaitedEpoch: UInt64 = 0
    /// When to ask the relay what it knows of the group.
    var inspection = Inspection.none
    /// How often its answer didn't fit.
    var mismatches = 0
    /// The messages of the group that the relay said were still to come when it was asked last.
    var waiting: UInt32 = 0
    /// Reopening failed for now; not before this time again (Unix milliseconds).
    var retryAt: UInt64 = 0
    /// How often.
    var failures = 0

    var id: ConsultationID {
        ConsultationID(
            groupID: record.core.consultation.isEmpty
                ? record.groupID : record.core.consultation)
    }
    var groupID: [UInt8] { [UInt8](record.groupID) }
    var scope: Vault.Scope { .consultation(number) }
    /// Whether anything may still be written to the group.
    var isLive: Bool {
        record.phase == .active && record.standing.lock == .none && !record.standing.closed
            && !record.standing.closeSent && !record.standing.relayClosed
    }
}

/// What has come already, so that nothing is taken twice: by the relay's name for a delivery, and by
/// a digest of its content, in case the same comes under another name.
struct HandledDeliveries {
    /// More than the relay ever has on its way to one mailbox.
    static let limit = 512

    private var names: Set<[UInt8]> = []
    private var digests: Set<[UInt8]> = []
    private var order: [(number: Int64, name: [UInt8], digest: [UInt8])] = []

    func containsDelivery(_ name: [UInt8]) -> Bool { names.contains(name) }
    func containsContent(_ digest: [UInt8]) -> Bool { digests.contains(digest) }

    mutating func insert(number: Int64, name: [UInt8], digest: [UInt8]) {
        names.insert(name)
        digests.insert(digest)
        order.append((number, name, digest))
    }

    /// Forgets the oldest ones beyond the limit, many at a time; answers their numbers.
    mutating func prune() -> [Int64] {
        guard order.count > Self.limit + Self.limit / 4 else { return [] }
        let old = order.prefix(order.count - Self.limit)
        for entry in old {
            names.remove(entry.name)
            digests.remove(entry.digest)
        }
        order.removeFirst(old.count)
        return old.map(\.number)
    }
}
