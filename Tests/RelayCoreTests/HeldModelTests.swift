import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

/// A small generator of its own, so that a failing seed can be run again.
private struct Dice {
    var state: UInt64

    mutating func roll(_ count: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % count
    }
}

/// A member's device: stores what it takes before it acknowledges, repeats what wasn't answered.
private final class Member {
    let mailbox: TestMailbox
    var line: RelayLine?
    /// What it has on disk, in the order in which it came; nothing twice.
    var log: [[UInt8]] = []
    var known: Set<[UInt8]> = []
    /// Stored and not yet acknowledged.
    var unacknowledged: [Delivery] = []
    /// Asked and not answered, in order.
    var outbox: [(request: Request, body: [UInt8])] = []
    /// How many it has written.
    var count = 0

    init(_ mailbox: TestMailbox) { self.mailbox = mailbox }
}

/// Four members, and everything that can happen to them and to the relay, at random.
private final class HeldModel {
    let memory = MemoryStore()
    let world: RelayWorld
    let group: GroupID
    var members: [Member] = []
    var dice: Dice
    var epoch: UInt64 = 1
    /// Without crashes of the relay, all see one order.
    let hasCrashes: Bool

    init(seed: UInt64, hasCrashes: Bool) throws {
        dice = Dice(state: seed)
        self.hasCrashes = hasCrashes
        var limits = RelayLimits()
        limits.holdMilliseconds = 15
        limits.windowMessages = 12
        limits.holdByteCount = 1_500
        world = try RelayWorld(memory: memory, limits: limits)
        let talk = try TestConsultation(world)
        group = talk.group
        members = [Member(talk.patient), Member(talk.doctor)]
        for _ in 0..<2 {
            let line = try world.connect()
            let guest = try talk.addGuest(of: line.makeHome(), epoch: epoch)
            epoch += 1
            members.append(Member(guest))
        }
        for member in members {
            member.line = member.mailbox.line
            _ = try member.line?.drain()
        }
    }

    func step() throws {
        world.takesShortWay = dice.roll(2) == 0
        let member = members[dice.roll(members.count)]
        switch dice.roll(100) {
        case 0..<40: try write(member)
        case 40..<70: try take(member)
        case 70..<80:
            world.advance(milliseconds: UInt64(dice.roll(4)))
            try batch { _ in }
        case 80..<84: world.advance(seconds: UInt64(dice.roll(3)))
        case 84..<88: try leave(member)
        case 88..<95: try come(member)
        case 95: try commit()
        case 96: try move(member)
        case 97 where hasCrashes: try crash()
        case 98 where hasCrashes:
            memory.failure = .full
            memory.writesBeforeFailure = dice.roll(4)
        default: break
        }
        try lookAtReplies()
    }

    // MARK: Steps

    /// Runs something that the disk may refuse; then the relay starts again.
    private func attempt(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch StoreError.full {
            try crash()
        }
    }

    private func batch(_ body: (RelayEngine) throws -> Void) throws {
        try attempt { try world.batch(body) }
    }

    private func write(_ member: Member) throws {
        guard let line = member.line, member.outbox.count < 6 else { return }
        member.count += 1
        let index = members.firstIndex { $0 === member } ?? 0
        let body = [UInt8(index), UInt8(member.count >> 8), UInt8(member.count & 0xff)]
        let request = request(body, of: member)
        member.outbox.append((request, body))
        try attempt { try line.send(ClientFrame(requests: [request])) }
    }

    private func request(_ body: [UInt8], of member: Member) -> Request {
        let confirmed = (member.outbox.first?.request.id.rawValue ?? member.mailbox.lastRequest + 1)
        return member.mailbox.request(
            .sending(body, to: group, epoch: epoch),
            confirmed: confirmed - 1)
    }

    /// The device stores what came, and acknowledges some of what it has, oldest first.
    private func take(_ member: Member) throws {
        guard let line = member.line else { return }
        for delivery in line.deliveries {
            let body = Array(delivery.content.suffix(3))
            if delivery.kind == .message, member.known.insert(body).inserted {
                member.log.append(body)
            }
            member.unacknowledged.append(delivery)
        }
        line.deliveries = []
        let count =
            dice.roll(3) > 0
            ? member.unacknowledged.count : dice.roll(member.unacknowledged.count + 2)
        let some = Array(member.unacknowledged.prefix(count))
        member.unacknowledged.removeFirst(some.count)
        guard !some.isEmpty else { return }
        try attempt { try line.acknowledge(some) }
    }

    private func leave(_ member: Member) throws {
        guard let line = member.line else { return }
        member.line = nil
        member.unacknowledged = []
        try attempt { try world.hangUp(line) }
    }

    private func come(_ member: Member) throws {
        guard member.line == nil else { return }
        try attempt {
            let line = try world.connect()
            try line.open(member.mailbox)
            member.line = line
            try line.send(ClientFrame(requests: member.outbox.map(\.request)))
        }
    }

    /// The mailbox is opened on another connection, and the older one is told.
    private func move(_ member: Member) throws {
        guard let older = member.line else { return }
        member.line = nil
        member.unacknowledged = []
        try come(member)
        if !older.isClosed { try attempt { try world.hangUp(older) } }
    }

    private func commit() throws {
        guard let line = members[0].line, members[0].outbox.isEmpty else { return }
        let mailbox = members[0].mailbox
        let content = privateMessage(group, epoch: epoch, contentType: 3, body: Random.bytes(9))
        let commit = CommitRequest(
            groupID: group, epoch: epoch, content: content, adds: [], removes: [], welcomes: [])
        let request = mailbox.request(.commit(commit), confirmed: mailbox.lastRequest)
        try attempt {
            guard try line.ask(request).isCommitted(epoch: epoch + 1) else { return }
            epoch += 1
        }
    }

    private func crash() throws {
        memory.failure = nil
        memory.writesBeforeFailure = 0
        for member in members {
            member.line = nil
            member.unacknowledged = []
        }
        try world.restart()
    }

    // MARK: What must hold

    /// A success says that each of the others has the message, or that the disk has it for them.
    private func lookAtReplies() throws {
        for member in members {
            guard let line = member.line else { continue }
            let replies = line.replies
            line.replies = []
            for reply in replies {
                guard let place = member.outbox.firstIndex(where: { $0.request.id == reply.id })
                else { continue }
                let body = member.outbox[place].body
                switch reply.outcome {
                case .done:
                    let stored = memory.messageContents.contains { $0.suffix(3) == body[...] }
                    for other in members where other !== member {
                        #expect(stored || other.known.contains(body))
                    }
                    member.outbox.remove(at: place)
                case .staleEpoch(let current, _):
                    epoch = max(epoch, current)
                    try repeatInNewEpoch(member, from: place)
                default: Issue.record("\(reply.outcome)")
                }
            }
        }
    }

    /// What the commit overtook is encrypted again, in the same order.
    private func repeatInNewEpoch(_ member: Member, from place: Int) throws {
        let bodies = member.outbox[place...].map(\.body)
        member.outbox.removeSubrange(place...)
        for body in bodies {
            member.outbox.append((request(body, of: member), body))
        }
        guard let line = member.line else { return }
        try attempt {
            try line.send(ClientFrame(requests: member.outbox[place...].map(\.request)))
        }
    }

    func finish() throws {
        memory.failure = nil
        for _ in 0..<60 {
            for member in members {
                try come(member)
                try take(member)
                try lookAtReplies()
            }
            world.advance(milliseconds: 20)
            try batch { _ in }
            try lookAtReplies()
        }
        #expect(members.allSatisfy { $0.outbox.isEmpty })
        #expect(memory.messageCount == 0)
        #expect(world.engine.heldMessages == (0, 0))
        for (index, member) in members.enumerated() {
            for (sender, other) in members.enumerated() where other !== member {
                let numbers = member.log.filter { $0[0] == UInt8(sender) }.map {
                    Int($0[1]) << 8 | Int($0[2])
                }
                #expect(numbers == Array(0..<other.count).map { $0 + 1 }, "\(sender) to \(index)")
            }
        }
        guard !hasCrashes else { return }
        // What two others both got from the rest, they got in the same order.
        for left in members.indices {
            for right in members.indices where left < right {
                let common = { (log: [[UInt8]]) in
                    log.filter { $0[0] != UInt8(left) && $0[0] != UInt8(right) }
                }
                #expect(common(members[left].log) == common(members[right].log))
            }
        }
    }
}

struct HeldModelTests {
    @Test(arguments: 1...24 as ClosedRange<UInt64>, [false, true])
    func `nothing accepted is lost, doubled or out of order`(
        seed: UInt64, hasCrashes: Bool
    ) throws {
        let model = try HeldModel(seed: seed, hasCrashes: hasCrashes)
        for _ in 0..<500 { try model.step() }
        try model.finish()
        let counters = model.world.engine.counters
        if !hasCrashes { #expect(counters.accepted > 0 && counters.acceptedStored > 0) }
    }
}
