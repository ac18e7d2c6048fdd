/// What the connections of one server hold together. Loop only.
final class ConnectionSums {
    /// Octets of messages that the system hasn't taken.
    var pendingByteCount = 0
    /// Octets of messages whose last part hasn't come, or that a pause holds back.
    var incompleteByteCount = 0
    /// Whoever sends is paused after what it has sent.
    var pausesSenders = false
    /// Who was.
    var pausedSenders: [ConnectionID] = []
}
