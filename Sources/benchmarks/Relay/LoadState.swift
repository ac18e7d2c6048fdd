import RelayProtocol

/// What a writing mailbox has under way.
final class Writing {
    /// How long it goes on.
    enum Extent {
        case until(ContinuousClock.Instant)
        case count(Int)
    }

    let group: GroupID
    var message: LoadMessage
    /// The number of the next message; goes on over several runs.
    var next: UInt64 = 0
    /// Milliseconds from sending to the answer, of those answered in time.
    private(set) var latencies: [Double] = []
    private(set) var unanswered = 0

    private var extent = Extent.count(0)
    private var sent = 0
    /// Where the clock stood when a request left, at the place `id % window`.
    private var sentAt = [ContinuousClock.Instant?](
        repeating: nil, count: Int(ProtocolConstants.requestWindow))
    private var oldest: UInt64?
    private var latest: UInt64 = 0
    private var continuation: CheckedContinuation<[Double], any Error>?

    init(group: GroupID) {
        self.group = group
        message = LoadMessage(group: group)
    }

    func begin(_ extent: Extent, _ continuation: CheckedContinuation<[Double], any Error>) {
        self.extent = extent
        self.continuation = continuation
        latencies = []
        sent = 0
    }

    /// Whether another message is to be sent.
    func goesOn(at now: ContinuousClock.Instant) -> Bool {
        switch extent {
        case .until(let deadline): now < deadline
        case .count(let count): sent < count
        }
    }

    func sending(_ id: RequestID, at now: ContinuousClock.Instant) {
        sentAt[place(id.rawValue)] = now
        if oldest == nil { oldest = id.rawValue }
        latest = id.rawValue
        sent += 1
        unanswered += 1
    }

    /// Everything up to this id has been answered.
    var confirmed: RequestID { RequestID(rawValue: (oldest ?? latest + 1) - 1) }

    /// False if there was no such request.
    func answered(_ id: RequestID, at now: ContinuousClock.Instant) -> Bool {
        guard let since = sentAt[place(id.rawValue)] else { return false }
        sentAt[place(id.rawValue)] = nil
        unanswered -= 1
        latencies.append((now - since).milliseconds)
        while let id = oldest, sentAt[place(id)] == nil {
            oldest = id < latest ? id + 1 : nil
        }
        return true
    }

    func finish() {
        continuation?.resume(returning: latencies)
        continuation = nil
    }

    func fail(_ error: BenchmarkError) {
        continuation?.resume(throwing: error)
        continuation = nil
    }

    private func place(_ id: UInt64) -> Int { Int(id % ProtocolConstants.requestWindow) }
}

/// What a reading mailbox has got.
final class Reading {
    var message: LoadMessage
    var next: UInt64 = 0

    init(group: GroupID) { message = LoadMessage(group: group) }
}
