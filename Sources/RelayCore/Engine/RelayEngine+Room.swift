import RelayProtocol

/// Shares of what all use together. Nothing tells the relay which mailboxes and groups are one
/// person's, and nothing may; so what each may take shrinks with what is left, such that no number of
/// them fills it: others always have room, if only for something small.
extension RelayEngine {
    /// What one may have of room that all share: its limit while there is plenty, a quarter of it when
    /// half is taken by others, a sixteenth when three quarters are.
    ///
    /// - Parameters:
    ///   - free: octets that nobody has taken.
    ///   - own: octets that this one has.
    ///   - taken: octets that all have, this one included.
    static func share(of limit: Int, free: Int, own: Int, taken: Int) -> Int {
        let others = Double(max(0, taken - own))
        guard others > 0 else { return limit }
        let left = Double(max(0, free)) + Double(own)
        let part = left / (left + others)
        // Below the limit, and so an integer, because the part is below one.
        return min(limit, Int((Double(min(limit, 1 << 60)) * part * part).rounded(.up)))
    }

    /// Octets of the messages that may wait for a mailbox.
    func messageRoom(with own: Int) -> Int { room(of: limits.mailboxByteCount, with: own) }

    /// The same when the next one is a commit: messages leave them room of their own.
    func commitRoom(with own: Int) -> Int {
        room(of: limits.mailboxByteCount + Self.commitReserve, with: own)
    }

    private static let commitReserve = 64 << 20

    private func room(of limit: Int, with own: Int) -> Int {
        guard let spare else { return limit }
        return Self.share(
            of: limit, free: spare.messages, own: own, taken: store.waitingByteCount)
    }

    /// Whether a group's blobs may grow by so many octets, to so many with all that is begun. Of all
    /// blobs only what is stored counts: what is begun takes nothing from others.
    func hasRoom(forBlobs byteCount: Int, makingOfGroup own: Int) -> Bool {
        let taken = store.blobUsage.byteCount
        guard !refusesBlobs, taken + byteCount <= limits.allBlobByteCount else { return false }
        let free = min(limits.allBlobByteCount - taken, spare?.blobs ?? .max)
        let limit = min(limits.groupBlobByteCount, limits.allBlobByteCount)
        return own <= Self.share(of: limit, free: free, own: min(own, taken), taken: taken)
    }
}
