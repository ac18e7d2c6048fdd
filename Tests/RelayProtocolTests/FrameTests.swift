import Cryptography
import Testing

@testable import RelayProtocol

private func mailbox(_ octet: UInt8) throws -> MailboxID {
    try #require(MailboxID([UInt8](repeating: octet, count: 32)))
}

private func group(_ octet: UInt8) throws -> GroupID {
    try #require(GroupID([UInt8](repeating: octet, count: 32)))
}

private let hash = [UInt8](repeating: 7, count: 32)

private func clientFrame() throws -> ClientFrame {
    let operations: [RelayProtocol.Operation] = [
        .open(
            Opening(
                counter: .max, signature: [UInt8](repeating: 1, count: 64),
                creation: .home(admissionToken: [1, 2]))),
        .open(
            Opening(
                counter: 1, signature: [UInt8](repeating: 1, count: 64),
                creation: .fresh(ticket: [3], permitHash: hash, permitUses: 2))),
        .open(
            Opening(
                counter: 1, signature: [UInt8](repeating: 1, count: 64),
                creation: .fresh(ticket: [3], permitHash: nil, permitUses: 0))),
        .drawTickets(count: 5),
        .stockShelf(ShelfStock(packages: [[1], [2]], lastResort: [3], withdraw: true)),
        .claimKeyPackage(shelf: try mailbox(9)),
        .createGroup(
            GroupCreation(
                groupID: try group(1), epoch: 1, commitHash: hash,
                members: [Member(mailbox: try mailbox(2), permit: JoinPermit(), role: .owner)],
                welcomes: [WelcomeDelivery(mailbox: try mailbox(2), content: [1, 2, 3])],
                deadline: Day(rawValue: 20_000))),
        .commit(
            CommitRequest(
                groupID: try group(1), epoch: .max, content: [4, 5],
                adds: [
                    Member(
                        mailbox: try mailbox(3), permit: JoinPermit(), role: .guest,
                        expires: Day(rawValue: 3))
                ],
                removes: [try mailbox(4)],
                welcomes: [WelcomeDelivery(mailbox: try mailbox(3), content: [])])),
        .send(MessageRequest(groupID: try group(1), epoch: 3, content: [1])),
        .close(MessageRequest(groupID: try group(1), epoch: 3, content: [1])),
        .confirm(try group(1)), .inspectGroup(try group(2)), .retire,
    ]
    var frame = ClientFrame(hello: Hello(nonce: [UInt8](repeating: 8, count: 32)))
    for (index, operation) in operations.enumerated() {
        frame.requests.append(
            Request(
                mailbox: try mailbox(1), id: RequestID(rawValue: UInt64(index)),
                confirmed: RequestID(rawValue: 3), operation: operation))
    }
    frame.acknowledgements = [
        Acknowledgement(
            mailbox: try mailbox(1),
            deliveries: [DeliveryID(high: 1, low: .max), DeliveryID(high: 0, low: 0)])
    ]
    return frame
}

private func relayFrame() throws -> RelayFrame {
    let outcomes: [Outcome] = [
        .opened(
            Opened(
                lastCounter: 3, shelf: ShelfState(packages: 1, lastResortClaims: 2),
                lastRequest: RequestID(rawValue: 4), waiting: 5)),
        .opened(Opened(lastCounter: 0, lastRequest: .opening)),
        .done, .tickets([[1], [2]]), .shelf(ShelfState(packages: 0, lastResortClaims: 0)),
        .keyPackage(sealed: [1, 2], lastResort: true),
        .committed(epoch: 4, commitHash: hash), .staleEpoch(epoch: 5, commitHash: hash),
        .groupState(
            GroupState(
                epoch: 1, commitHash: hash, closed: true, deadline: Day(rawValue: 9),
                members: [Member(mailbox: try mailbox(1), role: .guest)], waiting: 6)),
        .erased(receipts: [[1], [2, 3]]), .refused(.rate, retryAfterSeconds: 3),
        .refused(Refusal(rawValue: 15), retryAfterSeconds: 0), .refusedCounter(last: 77),
    ]
    var frame = RelayFrame(
        challenge: try RelayIntroduction.make(
            identity: SigningKey(), clientNonce: hash, relayNonce: hash,
            incarnation: [UInt8](repeating: 1, count: 16), limits: PublishedLimits()))
    for (index, outcome) in outcomes.enumerated() {
        frame.replies.append(
            Reply(
                mailbox: try mailbox(2), id: RequestID(rawValue: UInt64(index)), outcome: outcome))
    }
    frame.deliveries = [
        Delivery(
            mailbox: try mailbox(1), id: DeliveryID(high: 1, low: 2), kind: .message,
            groupID: try group(1), content: [1, 2]),
        Delivery(
            mailbox: try mailbox(1), id: DeliveryID(high: 1, low: 2), kind: .receipt, groupID: nil,
            content: []),
    ]
    frame.notices = [.displaced(try mailbox(5)), .goodbye("stopping")]
    return frame
}

private func randomNumber() -> UInt64 {
    .random(in: 0...(UInt64.max >> 1)) >> UInt64.random(in: 0...63)
}

/// Sends and acknowledgements, with every field at times absent.
private func commonClientFrame() throws -> ClientFrame {
    var frame = ClientFrame()
    for _ in 0..<Int.random(in: 0...3) {
        frame.requests.append(
            Request(
                mailbox: try mailbox(.random(in: .min ... .max)),
                id: RequestID(rawValue: randomNumber()),
                confirmed: RequestID(rawValue: randomNumber()),
                operation: .send(
                    MessageRequest(
                        groupID: try group(.random(in: .min ... .max)), epoch: randomNumber(),
                        content: Random.bytes([0, 1, 127, 128, 1_100].randomElement() ?? 0)))))
    }
    for _ in 0..<Int.random(in: 0...3) {
        let ids = (0..<Int.random(in: 0...20)).map { _ in
            DeliveryID(high: .random(in: .min ... .max), low: .random(in: .min ... .max))
        }
        frame.acknowledgements.append(
            Acknowledgement(mailbox: try mailbox(.random(in: .min ... .max)), deliveries: ids))
    }
    return frame
}

/// Accepted sends and deliveries, with every field at times absent.
private func commonRelayFrame() throws -> RelayFrame {
    var frame = RelayFrame()
    for _ in 0..<Int.random(in: 0...3) {
        frame.replies.append(
            Reply(
                mailbox: try mailbox(.random(in: .min ... .max)),
                id: RequestID(rawValue: randomNumber()), outcome: .done))
    }
    for _ in 0..<Int.random(in: 0...3) {
        frame.deliveries.append(
            Delivery(
                mailbox: try mailbox(.random(in: .min ... .max)),
                id: DeliveryID(high: .random(in: .min ... .max), low: .random(in: .min ... .max)),
                kind: DeliveryKind(rawValue: .random(in: 0...200)),
                groupID: Int.random(in: 0...5) == 0 ? nil : try group(.random(in: .min ... .max)),
                content: Random.bytes([0, 1, 127, 128, 1_100].randomElement() ?? 0)))
    }
    return frame
}

struct FrameTests {
    @Test func `a client frame survives the wire`() throws {
        let frame = try clientFrame()
        #expect(try ClientFrame(decoding: frame.encoded()) == frame)
    }

    @Test func `a request can be stored by itself`() throws {
        for request in try clientFrame().requests {
            #expect(try Request(decoding: request.encoded()) == request)
        }
    }

    @Test func `a relay frame survives the wire`() throws {
        let frame = try relayFrame()
        #expect(try RelayFrame(decoding: frame.encoded()) == frame)
    }

    @Test func `a frame cut anywhere, or with any octet changed, never crashes`() throws {
        let client = try clientFrame().encoded()
        let relay = try relayFrame().encoded()
        for count in 0..<client.count { _ = try? ClientFrame(decoding: Array(client[..<count])) }
        for count in 0..<relay.count { _ = try? RelayFrame(decoding: Array(relay[..<count])) }
        var random = SystemRandomNumberGenerator()
        for index in client.indices {
            var bytes = client
            bytes[index] ^= UInt8.random(in: 1...255, using: &random)
            _ = try? ClientFrame(decoding: bytes)
        }
        for index in relay.indices {
            var bytes = relay
            bytes[index] ^= UInt8.random(in: 1...255, using: &random)
            _ = try? RelayFrame(decoding: bytes)
        }
    }

    @Test func `frames of messages are written and read like the generated code does`() throws {
        for round in 0..<400 {
            let (client, relay) = try (commonClientFrame(), commonRelayFrame())
            #expect(client.encoded() == client.encodedUncommon())
            #expect(relay.encoded() == relay.encodedUncommon())
            #expect(ClientFrame(common: client.encoded()) == client, "round \(round)")
            // A receipt belongs to no group, and is read by the generated code.
            if relay.deliveries.allSatisfy({ $0.groupID != nil }) {
                #expect(RelayFrame(common: relay.encoded()) == relay, "round \(round)")
            }
        }
    }

    @Test func `both ways of reading agree on frames that somebody has changed`() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            for octets in [try commonClientFrame().encoded(), try commonRelayFrame().encoded()] {
                var changed = octets
                for _ in 0..<Int.random(in: 1...3, using: &random) where !changed.isEmpty {
                    let place = Int.random(in: changed.indices, using: &random)
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: changed[place] = UInt8.random(in: .min ... .max, using: &random)
                    case 1: changed.remove(at: place)
                    default: changed.insert(UInt8.random(in: 0...40, using: &random), at: place)
                    }
                }
                if let client = ClientFrame(common: changed) {
                    #expect(try ClientFrame(uncommon: changed) == client)
                }
                if let relay = RelayFrame(common: changed) {
                    #expect(try RelayFrame(uncommon: changed) == relay)
                }
            }
        }
    }

    @Test(arguments: 1...11, [0, 1, 2, 0x7f] as [UInt8])
    func `both ways of reading agree on numbers of any length`(length: Int, last: UInt8) throws {
        let name = [10, 32] + [UInt8](repeating: 1, count: 32)
        let message = name + [16, 1, 26, 1, 7]
        let number = [UInt8](repeating: 0x83, count: length - 1) + [last]
        let request = name + [16] + number + [0x82, 1, UInt8(message.count)] + message
        let octets = [18, UInt8(request.count)] + request
        if length > 10 {
            #expect(ClientFrame(common: octets) == nil)
            #expect(throws: RelayProtocolError.notAFrame) { try ClientFrame(decoding: octets) }
        } else {
            let frame = try #require(ClientFrame(common: octets))
            #expect(try ClientFrame(uncommon: octets) == frame)
            #expect(frame.requests.count == 1)
        }
    }

    /// A frame of empty parts: within which fields, and the parts' own number.
    struct Crowd: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let outer: [UInt8]
        let part: UInt8

        init(_ name: String, in outer: [UInt8] = [], _ part: UInt8) {
            (testDescription, self.outer, self.part) = (name, outer, part)
        }

        /// Its octets, with so many fields.
        func make(_ count: Int) -> [UInt8] {
            var octets = [UInt8]((0..<count - outer.count).flatMap { _ in [part << 3 | 2, 0] })
            for number in outer.reversed() {
                let tag: [UInt8] = number < 16 ? [number << 3 | 2] : [number << 3 | 0x82, 1]
                let length = [0, 7, 14].map { UInt8(octets.count >> $0 & 0x7f) }
                octets = tag + [length[0] | 0x80, length[1] | 0x80, length[2]] + octets
            }
            return octets
        }
    }

    @Test(arguments: [
        Crowd("requests", 2), Crowd("acknowledgements", 3), Crowd("unknown fields", 9),
        Crowd("acknowledged ids", in: [3], 2), Crowd("KeyPackages", in: [2, 12], 1),
        Crowd("members", in: [2, 14], 4), Crowd("Welcomes", in: [2, 14], 5),
        Crowd("adds", in: [2, 15], 4), Crowd("removes", in: [2, 15], 5),
        Crowd("Welcomes of a commit", in: [2, 15], 6),
        Crowd("fields of a member", in: [2, 15, 4], 1),
        Crowd("fields of a fresh mailbox", in: [2, 10, 4], 1),
        Crowd("fields of a confirmation", in: [2, 18], 1),
    ])
    func `a frame of too many parts is refused before anything is built of it`(crowd: Crowd) {
        let limit = ProtocolConstants.frameFields
        #expect(FrameShape.fieldCount(crowd.make(limit), .clientFrame) == limit)
        // As many as there may be are read, and refused for what they are, if at all.
        do {
            _ = try ClientFrame(decoding: crowd.make(limit))
        } catch {
            #expect(error != .notAFrame)
        }
        #expect(throws: RelayProtocolError.notAFrame) {
            try ClientFrame(decoding: crowd.make(limit + 1))
        }
    }

    @Test func `too many parts of the common kind are refused, too`() throws {
        let ids = [DeliveryID](
            repeating: DeliveryID(high: 1, low: 2), count: ProtocolConstants.frameFields - 2)
        var frame = ClientFrame(acknowledgements: [
            Acknowledgement(mailbox: try mailbox(1), deliveries: ids)
        ])
        #expect(ClientFrame(common: frame.encoded()) == frame)
        frame.acknowledgements[0].deliveries.append(DeliveryID(high: 3, low: 4))
        #expect(throws: RelayProtocolError.notAFrame) {
            try ClientFrame(decoding: frame.encoded())
        }
        #expect(throws: RelayProtocolError.notAFrame) {
            try RelayFrame(decoding: [UInt8]((0..<20_000).flatMap { _ in [18 as UInt8, 0] }))
        }
    }

    @Test func `a device's parts travel whole, in order, in frames that a relay takes`() throws {
        let requests =
            try (0..<40).flatMap { _ in try clientFrame().requests }
            + (0..<3_000).map { id in
                Request(
                    mailbox: try mailbox(7), id: RequestID(rawValue: id), operation: .retire)
            }
        let acknowledgements = try (0..<20).map { octet in
            Acknowledgement(
                mailbox: try mailbox(octet),
                deliveries: (0..<2_500).map { DeliveryID(high: UInt64(octet), low: $0) })
        }
        let limit = 200_000
        let frames = ClientFrame.pack(acknowledgements, requests, frameByteCount: limit)
        var (gotRequests, gotIDs): ([Request], [DeliveryID]) = ([], [])
        for octets in frames {
            #expect(octets.count <= limit)
            let frame = try ClientFrame(decoding: octets)
            if !frame.acknowledgements.isEmpty { #expect(gotRequests.isEmpty) }
            gotRequests += frame.requests
            gotIDs += frame.acknowledgements.flatMap(\.deliveries)
        }
        #expect(gotRequests == requests)
        #expect(gotIDs == acknowledgements.flatMap(\.deliveries))
        #expect(frames.count < 12)
        #expect(ClientFrame.pack([], [], frameByteCount: limit).isEmpty)
    }

    @Test func `random octets are refused or read, never fatal`() {
        for round in 0..<500 {
            let bytes = Random.bytes(round % 97)
            _ = try? ClientFrame(decoding: bytes)
            _ = try? RelayFrame(decoding: bytes)
        }
        #expect(throws: RelayProtocolError.notAFrame) {
            try ClientFrame(decoding: [0xff, 0xff, 0xff])
        }
    }

    @Test func `a request that can't be carried out keeps its name, so that it is answered`() throws
    {
        // Request { mailbox: 32 octets, id: 7 } with operation 99, which nobody knows.
        let box: [UInt8] = [10, 32] + [UInt8](repeating: 1, count: 32)
        let unknown: [UInt8] = box + [16, 7] + [0x9a, 0x06, 0]
        let badGroup: [UInt8] = box + [16, 8] + [0x9a, 0x01, 3, 10, 1, 5]  // confirm, short id
        let frame = try ClientFrame(
            decoding: [18, UInt8(unknown.count)] + unknown + [18, UInt8(badGroup.count)] + badGroup)
        #expect(frame.requests.map(\.id.rawValue) == [7, 8])
        #expect(
            frame.requests.map(\.operation) == [.unusable(.unsupported), .unusable(.malformed)])
    }

    @Test func `a request without a mailbox fits nobody and ends the connection`() {
        #expect(throws: RelayProtocolError.invalidField("request.mailbox")) {
            try ClientFrame(decoding: [18, 2, 16, 7])
        }
    }

    @Test(arguments: [
        (1, 256), (256, 256), (257, 384), (385, 512), (1_000, 1_024), (1_025, 1_536),
        (100_000, 131_072),
    ])
    func `sizes are padded to few buckets`(size: Int, bucket: Int) {
        #expect(Padding.bucket(for: size) == bucket)
    }
}
