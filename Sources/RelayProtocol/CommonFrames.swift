// The frames that make up nearly all traffic, read and written without the generated code: sends
// and acknowledgements one way, accepted sends and deliveries the other. Tests hold both ways of
// reading and writing against each other.

extension ClientFrame {
    private static let requestTag: UInt8 = 2 << 3 | 2
    private static let acknowledgementTag: UInt8 = 3 << 3 | 2

    /// Reads a frame of sends and acknowledgements, laid out as they usually are; `nil` is any other.
    init?(common octets: [UInt8]) {
        var scanner = ProtobufScanner(octets)
        self.init()
        while !scanner.isAtEnd {
            if scanner.pass(Self.requestTag) {
                guard let request = scanner.message({ Request(common: &$0) }) else { return nil }
                requests.append(request)
            } else if scanner.pass(Self.acknowledgementTag) {
                guard let item = scanner.message({ Acknowledgement(common: &$0) }) else {
                    return nil
                }
                acknowledgements.append(item)
            } else {
                return nil
            }
        }
    }

    /// The frame's octets. An `.unusable` operation is left out.
    public func encoded() -> [UInt8] {
        var capacity = 16
        guard hello == nil else { return encodedUncommon() }
        for request in requests {
            guard case .send(let message) = request.operation else { return encodedUncommon() }
            capacity += message.content.count + 128
        }
        for item in acknowledgements { capacity += 48 + item.deliveries.count * 18 }
        var writer = ProtobufWriter(capacity: capacity)
        for request in requests {
            guard case .send(let message) = request.operation else { continue }
            writer.write(tag: Self.requestTag)
            request.write(message, to: &writer)
        }
        for item in acknowledgements {
            writer.write(tag: Self.acknowledgementTag)
            item.write(to: &writer)
        }
        return writer.octets
    }
}

extension Request {
    private static let mailboxTag: UInt8 = 1 << 3 | 2
    private static let idTag: UInt8 = 2 << 3
    private static let confirmedTag: UInt8 = 3 << 3
    private static let sendTag: (UInt8, UInt8) = (0x80 | (16 << 3 & 0x7f) | 2, 16 >> 4)

    fileprivate init?(common scanner: inout ProtobufScanner) {
        guard let mailbox = scanner.words(after: Self.mailboxTag),
            let id = scanner.number(after: Self.idTag),
            let confirmed = scanner.number(after: Self.confirmedTag),
            scanner.pass(Self.sendTag.0, Self.sendTag.1),
            let message = scanner.message({ MessageRequest(common: &$0) })
        else { return nil }
        self.init(
            mailbox: MailboxID(mailbox), id: RequestID(rawValue: id),
            confirmed: RequestID(rawValue: confirmed), operation: .send(message))
    }

    fileprivate func write(_ message: MessageRequest, to writer: inout ProtobufWriter) {
        let byteCount = message.byteCount
        writer.write(
            length: 34 + ProtobufWriter.fieldByteCount(of: id.rawValue)
                + ProtobufWriter.fieldByteCount(of: confirmed.rawValue) + 2
                + ProtobufWriter.byteCount(of: UInt64(clamping: byteCount)) + byteCount)
        writer.write(mailbox.words, tag: Self.mailboxTag)
        writer.write(id.rawValue, tag: Self.idTag)
        writer.write(confirmed.rawValue, tag: Self.confirmedTag)
        writer.write(tag: Self.sendTag.0)
        writer.write(tag: Self.sendTag.1)
        message.write(byteCount, to: &writer)
    }
}

extension MessageRequest {
    private static let groupTag: UInt8 = 1 << 3 | 2
    private static let epochTag: UInt8 = 2 << 3
    private static let contentTag: UInt8 = 3 << 3 | 2

    fileprivate init?(common scanner: inout ProtobufScanner) {
        guard let group = scanner.words(after: Self.groupTag),
            let epoch = scanner.number(after: Self.epochTag),
            let content = scanner.octets(after: Self.contentTag)
        else { return nil }
        self.init(groupID: GroupID(group), epoch: epoch, content: content)
    }

    fileprivate var byteCount: Int {
        34 + ProtobufWriter.fieldByteCount(of: epoch)
            + ProtobufWriter.fieldByteCount(ofOctets: content.count)
    }

    fileprivate func write(_ byteCount: Int, to writer: inout ProtobufWriter) {
        writer.write(length: byteCount)
        writer.write(groupID.words, tag: Self.groupTag)
        writer.write(epoch, tag: Self.epochTag)
        writer.write(content, tag: Self.contentTag)
    }
}

extension Acknowledgement {
    private static let mailboxTag: UInt8 = 1 << 3 | 2
    private static let deliveryTag: UInt8 = 2 << 3 | 2

    fileprivate init?(common scanner: inout ProtobufScanner) {
        guard let mailbox = scanner.words(after: Self.mailboxTag) else { return nil }
        self.init(mailbox: MailboxID(mailbox), deliveries: [])
        while !scanner.isAtEnd {
            guard let id = scanner.deliveryID(after: Self.deliveryTag) else { return nil }
            deliveries.append(id)
        }
    }

    fileprivate func write(to writer: inout ProtobufWriter) {
        writer.write(length: 34 + deliveries.count * 18)
        writer.write(mailbox.words, tag: Self.mailboxTag)
        for id in deliveries { writer.write(id, tag: Self.deliveryTag) }
    }
}

extension RelayFrame {
    private static let replyTag: UInt8 = 2 << 3 | 2
    private static let deliveryTag: UInt8 = 3 << 3 | 2

    /// Reads a frame of deliveries and answers without content, laid out as they usually are; `nil`
    /// is any other.
    init?(common octets: [UInt8]) {
        var scanner = ProtobufScanner(octets)
        self.init()
        while !scanner.isAtEnd {
            if scanner.pass(Self.replyTag) {
                guard let reply = scanner.message({ Reply(common: &$0) }) else { return nil }
                replies.append(reply)
            } else if scanner.pass(Self.deliveryTag) {
                guard let delivery = scanner.message({ Delivery(common: &$0) }) else {
                    return nil
                }
                deliveries.append(delivery)
            } else {
                return nil
            }
        }
    }

    /// The frame's octets.
    public func encoded() -> [UInt8] {
        guard challenge == nil, notices.isEmpty else { return encodedUncommon() }
        for reply in replies {
            guard case .done = reply.outcome else { return encodedUncommon() }
        }
        var writer = ProtobufWriter(
            capacity: deliveries.reduce(replies.count * 52) { $0 + $1.content.count + 100 })
        for reply in replies {
            writer.write(tag: Self.replyTag)
            reply.writeDone(to: &writer)
        }
        for delivery in deliveries {
            writer.write(tag: Self.deliveryTag)
            delivery.write(to: &writer)
        }
        return writer.octets
    }
}

extension Reply {
    private static let mailboxTag: UInt8 = 1 << 3 | 2
    private static let idTag: UInt8 = 2 << 3
    private static let doneTag: UInt8 = 11 << 3 | 2

    fileprivate init?(common scanner: inout ProtobufScanner) {
        guard let mailbox = scanner.words(after: Self.mailboxTag),
            let id = scanner.number(after: Self.idTag),
            scanner.pass(Self.doneTag, 0)
        else { return nil }
        self.init(
            mailbox: MailboxID(mailbox), id: RequestID(rawValue: id), outcome: .done)
    }

    fileprivate func writeDone(to writer: inout ProtobufWriter) {
        writer.write(length: 34 + ProtobufWriter.fieldByteCount(of: id.rawValue) + 2)
        writer.write(mailbox.words, tag: Self.mailboxTag)
        writer.write(id.rawValue, tag: Self.idTag)
        writer.write(message: [], tag: Self.doneTag)
    }
}

extension Delivery {
    private static let mailboxTag: UInt8 = 1 << 3 | 2
    private static let idTag: UInt8 = 2 << 3 | 2
    private static let kindTag: UInt8 = 3 << 3
    private static let groupTag: UInt8 = 4 << 3 | 2
    private static let contentTag: UInt8 = 5 << 3 | 2

    fileprivate init?(common scanner: inout ProtobufScanner) {
        guard let mailbox = scanner.words(after: Self.mailboxTag),
            let id = scanner.deliveryID(after: Self.idTag),
            let number = scanner.number(after: Self.kindTag), let kind = UInt8(exactly: number),
            let group = scanner.words(after: Self.groupTag),
            let content = scanner.octets(after: Self.contentTag)
        else { return nil }
        self.init(
            mailbox: MailboxID(mailbox), id: id, kind: DeliveryKind(rawValue: kind),
            groupID: GroupID(group), content: content)
    }

    fileprivate func write(to writer: inout ProtobufWriter) {
        writer.write(
            length: 34 + 18 + ProtobufWriter.fieldByteCount(of: UInt64(kind.rawValue))
                + (groupID == nil ? 0 : 34)
                + ProtobufWriter.fieldByteCount(ofOctets: content.count))
        writer.write(mailbox.words, tag: Self.mailboxTag)
        writer.write(id, tag: Self.idTag)
        writer.write(UInt64(kind.rawValue), tag: Self.kindTag)
        if let groupID { writer.write(groupID.words, tag: Self.groupTag) }
        writer.write(content, tag: Self.contentTag)
    }
}
