/// Why a consultation goes on in a fresh group (`protocol/payloads.md`, "Reopening").
public enum ReopenReason: String, Hashable, Sendable {
    /// A change of keys could not be processed.
    case keyChange
    /// The relay's history of the group isn't this device's.
    case history
    /// The relay doesn't know the group any more: it was restored, or lost it.
    case lost
    /// The relay's list of members isn't the group's own.
    case members
    /// One of the devices goes on from a copy or an old backup of its vault.
    case olderVault
    /// Several messages in a row could not be decrypted.
    case unreadable
    /// The person asked for it.
    case byHand
    /// A reason of a newer version.
    case unknown
}

extension ReopenReason {
    init(_ stored: StoredReopenReason) {
        switch stored {
        case .keyChange: self = .keyChange
        case .history: self = .history
        case .lost: self = .lost
        case .members: self = .members
        case .olderVault: self = .olderVault
        case .unreadable: self = .unreadable
        case .byHand: self = .byHand
        case .unspecified, .UNRECOGNIZED: self = .unknown
        }
    }
}
