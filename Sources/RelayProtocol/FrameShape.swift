/// Counts the fields of a frame before anything is built of it (`protocol/relay.md`, "Transport"):
/// an empty field takes two octets on the wire, and a hundred in memory.
enum FrameShape {
    /// A message that holds messages of which there may be many.
    enum Message {
        case clientFrame, request, opening, creation, commit
        case relayFrame, challenge, reply, opened, groupState
        /// Its fields are counted, and none is looked into.
        case plain

        /// What a field of it holds; `nil` for octets, numbers and what isn't known.
        fileprivate func content(of field: UInt64) -> Message? {
            switch (self, field) {
            case (.clientFrame, 2): .request
            case (.clientFrame, 1), (.clientFrame, 3): .plain
            case (.request, 10): .opening
            case (.request, 14): .creation
            case (.request, 15): .commit
            case (.request, 11...24): .plain
            case (.opening, 4): .plain
            case (.creation, 4...5): .plain
            case (.commit, 4), (.commit, 6): .plain
            case (.relayFrame, 1): .challenge
            case (.relayFrame, 2): .reply
            case (.relayFrame, 3...4): .plain
            case (.challenge, 5): .plain
            case (.reply, 10): .opened
            case (.reply, 17): .groupState
            case (.reply, 11...21): .plain
            case (.opened, 2): .plain
            case (.groupState, 5): .plain
            default: nil
            }
        }
    }

    /// How many fields the octets are; `nil` if they are none, or more than a frame may have.
    static func fieldCount(_ octets: [UInt8], _ message: Message) -> Int? {
        var walk = Walk(octets: octets)
        guard walk.count(message, upTo: octets.count) else { return nil }
        return ProtocolConstants.frameFields - walk.allowance
    }

    private struct Walk {
        let octets: [UInt8]
        var position = 0
        var allowance = ProtocolConstants.frameFields

        init(octets: [UInt8]) { self.octets = octets }

        /// Passes the fields of one message; as deep as the schema is, and no deeper.
        mutating func count(_ message: Message, upTo end: Int) -> Bool {
            while position < end {
                guard allowance > 0, let tag = number(upTo: end), tag <= UInt32.max else {
                    return false
                }
                allowance -= 1
                switch tag & 7 {
                case 0: guard number(upTo: end) != nil else { return false }
                case 1: guard pass(8, upTo: end) else { return false }
                case 5: guard pass(4, upTo: end) else { return false }
                case 2:
                    guard let length = number(upTo: end), let byteCount = Int(exactly: length),
                        byteCount <= end - position
                    else { return false }
                    if let inner = message.content(of: tag >> 3) {
                        guard count(inner, upTo: position + byteCount) else { return false }
                    } else {
                        position += byteCount
                    }
                default: return false  // Groups, which this schema never had.
                }
            }
            return true
        }

        private mutating func pass(_ byteCount: Int, upTo end: Int) -> Bool {
            guard byteCount <= end - position else { return false }
            position += byteCount
            return true
        }

        private mutating func number(upTo end: Int) -> UInt64? {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while position < end, shift < 70 {
                let octet = octets[position]
                position += 1
                value |= UInt64(octet & 0x7f) << shift
                if octet < 0x80 { return value }
                shift += 7
            }
            return nil
        }
    }
}
