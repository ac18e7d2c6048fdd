public import FoundationEssentials
public import Prescriptions
public import RelayProtocol

/// A prescription that outlives its consultation.
public struct KeptPrescription: Hashable, Sendable, Identifiable {
    /// Its identifier in the document.
    public let id: String
    /// The compact JWS.
    public let jws: [UInt8]
    /// Whether this device signed it.
    public let isIssuedByMe: Bool
    /// When it was received or issued.
    public let storedAt: Date
    /// The prescription, read.
    public let prescription: Prescription
}

/// A relay's signed word that a consultation was erased there.
public struct KeptReceipt: Hashable, Sendable, Identifiable {
    /// The erased consultation.
    public let id: ConsultationID
    /// The receipt as the relay signed it.
    public let bytes: [UInt8]
    /// The hour in which the relay erased.
    public let erasedAt: Date
    /// Why it erased.
    public let reason: ErasureReceipt.Reason
    /// When this device got it.
    public let storedAt: Date

    /// The receipt, read.
    public var receipt: ErasureReceipt? { try? ErasureReceipt(decoding: bytes) }
}

/// What `Device.sync` did.
public struct SyncSummary: Hashable, Sendable {
    /// Messages that came.
    public let received: Int
    /// Messages that left.
    public let sent: Int
    /// Messages still in an outbox.
    public let stillWaiting: Int
    /// Whether nothing was left to do.
    public let isSettled: Bool
}
