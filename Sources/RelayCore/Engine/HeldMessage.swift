import RelayProtocol

/// An application message that its recipients have been handed and that isn't stored: it waits a few
/// milliseconds for their acknowledgements, and is accepted when all have come.
///
/// It is stored instead when its time is up, and before anything that has to be behind it. Nobody
/// was promised it until then: a crash loses it, and its sender repeats it.
final class HeldMessage {
    let number: MessageNumber
    let group: LiveGroup
    /// Emptied when it is settled.
    private(set) var content: [UInt8]
    /// Who hasn't acknowledged it.
    var waiting: MemberSet
    let sender: LiveMailbox
    let request: RequestID
    /// Where the answer goes.
    let connection: Connection
    /// When it is stored, by the monotonic clock.
    let deadline: UInt64
    /// Accepted, stored or dropped; nothing is to be done any more.
    private(set) var isSettled = false

    init(
        number: MessageNumber, group: LiveGroup, content: [UInt8], waiting: MemberSet,
        sender: LiveMailbox, request: RequestID, connection: Connection, deadline: UInt64
    ) {
        self.number = number
        self.group = group
        self.content = content
        self.waiting = waiting
        self.sender = sender
        self.request = request
        self.connection = connection
        self.deadline = deadline
    }

    func settle() {
        isSettled = true
        content = []
    }
}

/// Held messages in the order in which their time is up.
struct HeldQueue {
    private var messages: [HeldMessage] = []
    private var head = 0
    /// How many are there.
    private(set) var count = 0
    /// Their octets.
    private(set) var byteCount = 0

    mutating func add(_ message: HeldMessage) {
        messages.append(message)
        count += 1
        byteCount += message.content.count
    }

    /// Takes a message out of the count; it leaves the queue when its turn comes.
    mutating func settle(_ message: HeldMessage) {
        guard !message.isSettled else { return }
        count -= 1
        byteCount -= message.content.count
        message.settle()
        guard count == 0 else { return }
        messages.removeAll(keepingCapacity: messages.count <= 4_096)
        head = 0
    }

    /// The one whose time is up first.
    mutating func first() -> HeldMessage? {
        while head < messages.count {
            if !messages[head].isSettled { return messages[head] }
            head += 1
            if head >= 1_024, head * 2 >= messages.count {
                messages.removeFirst(head)
                head = 0
            }
        }
        return nil
    }

    /// When the first one's time is up.
    var deadline: UInt64? {
        messages[head...].first { !$0.isSettled }?.deadline
    }
}
