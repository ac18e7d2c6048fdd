public import RelayProtocol

/// Where the connection to the relay stands.
public enum ConnectionState: Hashable, Sendable {
    /// Nobody asked to connect.
    case offline
    /// Under way.
    case connecting
    /// The home mailbox is open.
    case connected
    /// It failed and will be tried again by itself.
    case waiting(retryIn: Duration, cause: ConnectionTrouble)
    /// It failed in a way that trying again won't heal.
    case stopped(ConnectionTrouble)
}

/// Why there is no connection.
public enum ConnectionTrouble: Hashable, Sendable {
    /// Network: the relay can't be reached.
    case unreachable(String)
    /// Network or relay: the TLS certificate isn't trusted.
    case tls(String)
    /// The relay isn't the one that the invitation names.
    case untrusted
    /// Network: the connection broke.
    case lost
    /// This device's mailbox was opened elsewhere: there is a copy of this vault.
    case displaced
    /// This vault is a copy or an old backup.
    case copied
    /// The relay refused this device.
    case rejected(Refusal)
    /// The relay broke its own protocol.
    case protocolViolation
    /// This device's disk failed while answering the relay.
    case disk
    /// This device's disk has no room for what came; nothing of it is lost.
    case diskFull
}

/// What happens on a device.
public enum DeviceEvent: Hashable, Sendable {
    /// The connection's state changed.
    case connection(ConnectionState)
    /// A consultation is new or has changed.
    case consultation(Consultation)
    /// A new message, one's own and gaps included.
    case message(ConsultationID, Message)
    /// A message's state changed, or a gap was filled.
    case messageChanged(ConsultationID, Message)
    /// A file has got on, to the relay or from there.
    case transfer(ConsultationID, Transfer)
    /// A prescription was received or issued.
    case prescription(KeptPrescription)
    /// A verified person appeared with another key and is no longer verified.
    case identityChanged(ConsultationID, Person)
    /// It is being erased, and these messages were never read: they are here for the last time.
    case lastWords(ConsultationID, [Message])
    /// This device's side is gone; without a receipt, that is still to come.
    case erased(ConsultationID, KeptReceipt?)
    /// The relay's receipt came.
    case receipt(KeptReceipt)
    /// This vault is a copy or an old backup: nothing is sent any more.
    case copied
    /// Something went wrong with one consultation.
    case trouble(ConsultationID, Trouble)
}
