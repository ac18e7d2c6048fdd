public import RelayCore

/// What can be seen of a running relay from outside.
public struct RelayHealth: Equatable, Sendable {
    /// When the last batch was durable.
    public var lastBatchMilliseconds: UInt64 = 0
    /// What would grow is refused.
    public var isFull = false
    /// Erasure by deadline is paused.
    public var isClockDoubted = false
    /// Connections.
    public var connections = 0
    /// Mailboxes kept.
    public var mailboxes = 0
    /// Groups kept.
    public var groups = 0
    /// Messages kept.
    public var messages = WaitingMessages()
    /// What blobs take.
    public var blobs = BlobUsage()
    /// What happened so far.
    public var counters = RelayCounters()
    /// What its batches were like.
    public var batches = BatchFigures()
    /// What of its store changes slowly.
    public var survey = StoreSurvey()
    /// For how long something erased couldn't be removed from the log, in seconds.
    public var erasureDelaySeconds: UInt64 = 0
}
