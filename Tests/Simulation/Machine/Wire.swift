import RelayCore

/// One connection: two queues of frames, and what each end believes of it.
///
/// A WebSocket delivers in order and once, or ends: what is lost is the end of what was sent. So
/// frames come twice or out of order only through another connection.
final class Wire {
    struct Frame {
        var content: [UInt8]
        var dueAt: Int
    }

    let number: Int
    let client: Int
    var toRelay: [Frame] = []
    var toDevice: [Frame] = []
    var lastToRelay = 0
    var lastToDevice = 0
    /// The device uses it.
    var isOpenAtDevice = true
    /// The relay was told of it and not of its end.
    var isOpenAtRelay = false
    /// Nothing that is sent from now on arrives.
    var isDead = false

    init(number: Int, client: Int) {
        self.number = number
        self.client = client
    }

    var id: ConnectionID { ConnectionID(rawValue: UInt64(number)) }
}
