/// Messages in their order, in little more room than their octets: many of them may be tiny.
struct MessageStore {
    private var octets: [UInt8] = []
    private var head = 0
    /// Where each ends that is there.
    private var ends: [Int] = []
    private var endsHead = 0

    var isEmpty: Bool { endsHead == ends.count }

    /// Octets that it takes in memory.
    var byteCount: Int { octets.capacity + ends.capacity * MemoryLayout<Int>.stride }

    mutating func append(_ message: [UInt8]) {
        octets += message
        ends.append(octets.count)
    }

    /// Takes the first one out.
    mutating func next() -> [UInt8]? {
        guard !isEmpty else { return nil }
        let end = ends[endsHead]
        let message = Array(octets[head..<end])
        head = end
        endsHead += 1
        if isEmpty { self = MessageStore() }
        return message
    }
}
