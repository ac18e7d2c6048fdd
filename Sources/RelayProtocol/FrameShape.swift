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
        fileprivate func content(of field: UInt32) -> Message? {
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
        var scanner = ProtobufScanner(octets)
        guard pass(message, in: &scanner) else { return nil }
        return ProtocolConstants.frameFields - scanner.allowance
    }

    /// Passes the fields of one message; as deep as the schema is, and no deeper.
    private static func pass(_ message: Message, in scanner: inout ProtobufScanner) -> Bool {
        while !scanner.isAtEnd {
            guard let tag = scanner.tag() else { return false }
            let isPassed =
                switch tag & 7 {
                case 0: scanner.number() != nil
                case 1: scanner.skip(8)
                case 5: scanner.skip(4)
                case 2:
                    if let inner = message.content(of: tag >> 3) {
                        scanner.message { pass(inner, in: &$0) ? true : nil } ?? false
                    } else {
                        scanner.skipOctets()
                    }
                default: false  // Groups, which this schema never had.
                }
            guard isPassed else { return false }
        }
        return true
    }
}
