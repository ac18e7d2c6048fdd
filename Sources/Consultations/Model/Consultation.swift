public import Cryptography
public import FoundationEssentials
public import RelayProtocol

/// One appointment, as this device sees it: a value that doesn't change by itself.
public struct Consultation: Sendable, Identifiable, Hashable {
    /// Where a consultation stands.
    public enum State: Hashable, Sendable {
        /// The patient's request isn't on the relay yet.
        case requesting
        /// The request could not be made.
        case failed(Trouble)
        /// The doctor hasn't answered yet.
        case requested
        /// The doctor accepted.
        case open
        /// Nobody writes any more; the relay deletes it at the latest on that day.
        case closing(until: Date)
        /// Nothing can be sent; `Device.end` erases this device's side.
        case locked(Lock)
        /// The relay deleted it then, and the receipt is kept.
        case erased(at: Date)

        /// The state in one lower-case word.
        public var word: String {
            switch self {
            case .requesting: "requesting"
            case .failed: "failed"
            case .requested: "requested"
            case .open: "open"
            case .closing: "closing"
            case .locked: "locked"
            case .erased: "erased"
            }
        }
    }

    /// Why a consultation can't go on.
    public enum Lock: Hashable, Sendable {
        /// The relay says that it erased the group, but nobody closed it.
        case receiptWithoutClose
        /// This vault is a copy or an old backup.
        case copiedVault
        /// A commit could not be processed.
        case undecryptableCommit
        /// This device was removed, or the relay doesn't know it any more.
        case removed
        /// It was reopened too often in a short time.
        case reopenedTooOften
        /// The relay gave keys of somebody else to go on with.
        case otherKey
        /// The other's device didn't go on: the two clocks were more than a day apart.
        case clock
        /// It isn't at the relay any more, and by this device's clock its last day has come.
        case deadline
    }

    /// Its name among its members.
    public let id: ConsultationID
    /// Where it stands.
    public let state: State
    /// The doctor or patient on the other side; `nil` before that is known and after erasure.
    public let other: Person?
    /// Everyone besides this device.
    public let members: [Person]
    /// Whether this device asked for it.
    public let isMine: Bool
    /// When the appointment begins.
    public let time: Date?
    /// How long it is meant to take.
    public let minutes: Int?
    /// Why the patient asks.
    public let reason: String?
    /// When this device first knew of it.
    public let createdAt: Date
    /// Messages that the person hasn't read.
    public let unread: Int
    /// Messages of this device that the relay doesn't have yet.
    public let waiting: Int
    /// Files among them, and files that the relay is to get again; the end waits for them.
    public let waitingFiles: Int
    /// What protects it.
    public let suite: CipherSuite?
    /// How often its keys have changed.
    public let epoch: UInt64?
    /// When the last message came or was written.
    public let lastMessageAt: Date?
    /// Whether it ended because the doctor declined.
    public let declined: Bool
    /// Why it goes on in a fresh group in which the other hasn't said anything yet; `nil` if it
    /// does not.
    public let reopening: ReopenReason?
    /// Whether what waits can't leave before the other's device has answered: this vault is an older
    /// one, and only the other knows what was already sent.
    public let awaitsOther: Bool
}

/// What went wrong with one consultation.
public enum Trouble: Hashable, Sendable {
    /// The doctor has no room at the moment. Trying later may help.
    case shelfEmpty
    /// The relay gave a KeyPackage that isn't the doctor's, is of another suite, was used, or is
    /// too old. Fault: the relay or whoever stocked the shelf.
    case wrongKeyPackage
    /// What the relay gave isn't good at this time: KeyPackages or tickets. Fault: this device's
    /// clock, or the other's device hasn't been connected for weeks.
    case clock
    /// The doctor's certificate doesn't hold. Fault: the card.
    case doctorNotCertified
    /// The clinic doesn't vouch for the patient; it was closed without being shown.
    case patientNotVouched
    /// The relay refused.
    case refused(Refusal)
    /// The relay refused a file of this device, which is gone from the outbox unless the others have
    /// heard of it already.
    case fileRefused(name: String, Refusal)
    /// A file that came isn't fetched for now: this device's disk is full. When there is room, it is.
    case diskFull(name: String)
    /// A file that the person had sent and didn't want to wait for any more: nobody gets it.
    case fileGivenUp(name: String)
    /// The relay refuses for now, and is asked again after so many seconds.
    case delayed(Refusal, seconds: UInt32)
}
