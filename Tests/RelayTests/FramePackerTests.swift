import Cryptography
import RelayProtocol
import Testing

@testable import Relay

@Suite struct FramePackerTests {
    @Test func `whatever a batch sends travels in frames that a device takes`() throws {
        let mailbox = try #require(MailboxID(Random.bytes(32)))
        let member = Member(
            mailbox: mailbox, role: .guest, expires: Day(rawValue: 20_000))
        let state = GroupState(
            epoch: .max, commitHash: Random.bytes(32), closed: true, deadline: Day(rawValue: 9),
            members: [Member](repeating: member, count: ProtocolConstants.groupMembers),
            waiting: .max)
        let opened = Opened(
            lastCounter: .max, shelf: ShelfState(packages: 1, lastResortClaims: 2),
            lastRequest: RequestID(rawValue: 4), waiting: 5)
        let outcomes: [Outcome] = [
            .opened(opened), .groupState(state),
            .tickets([[UInt8]](repeating: Random.bytes(52), count: 10_000)),
            .erased(receipts: [[UInt8]](repeating: Random.bytes(143), count: 16)),
            .committed(epoch: .max, commitHash: Random.bytes(32)),
        ]
        for outcome in outcomes {
            var frame = RelayFrame()
            for number in 0..<2_000 {
                if number > 20, case .tickets = outcome { break }
                frame.replies.append(
                    Reply(
                        mailbox: mailbox, id: RequestID(rawValue: .max - UInt64(number)),
                        outcome: outcome))
            }
            for number in 0..<4_000 {
                frame.deliveries.append(
                    Delivery(
                        mailbox: mailbox, id: DeliveryID(high: 1, low: UInt64(number)),
                        kind: .welcome, groupID: GroupID(Random.bytes(32)), content: [1]))
            }
            frame.notices = [Notice](repeating: .displaced(mailbox), count: 9_000)
            var taken = RelayFrame()
            for octets in FramePacker.encode(frame) {
                let part = try RelayFrame(decoding: octets)
                taken.replies += part.replies
                taken.deliveries += part.deliveries
                taken.notices += part.notices
            }
            #expect(taken == frame)
        }
    }
}
