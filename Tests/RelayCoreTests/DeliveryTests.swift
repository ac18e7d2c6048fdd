import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

struct DeliveryTests {
    @Test func `what wasn't acknowledged comes again under the same id`() throws {
        let world = try RelayWorld()
        let talk = try TestConsultation(world)
        try talk.send([1], from: talk.patient)
        let line = try #require(talk.doctor.line)
        let first = line.deliveries
        #expect(first.count == 2)
        try line.acknowledge([first[0]])
        try world.hangUp(line)
        let again = try world.connect()
        try again.open(talk.doctor)
        #expect(again.deliveries == [first[1]])
        try world.restart()
        let third = try world.connect()
        try third.open(talk.doctor)
        #expect(third.deliveries == [first[1]])
        _ = try third.drain()
        try world.restart()
        let last = try world.connect()
        try last.open(talk.doctor)
        #expect(last.deliveries.isEmpty)
    }

    @Test func `a mailbox of many groups reads hardly more than it hands out`() throws {
        let memory = MemoryStore()
        var limits = RelayLimits()
        limits.windowMessages = 32
        let world = try RelayWorld(memory: memory, limits: limits)
        let line = try world.connect()
        let home = try line.makeHome()
        let shared = try line.makeFresh(from: home, permitUses: 8)
        let groups = try (0..<8).map { _ in
            let owner = try line.makeFresh(from: home, permitUses: 0)
            let id = try #require(GroupID(Random.bytes(32)))
            let creation = GroupCreation(
                groupID: id, epoch: 1, commitHash: Random.bytes(32),
                members: [shared.member(.owner)], welcomes: [],
                deadline: world.now.day.adding(days: 60))
            #expect(try owner.ask(.createGroup(creation)) == .done)
            return (owner, id)
        }
        let other = try world.connect()
        try other.open(shared)
        try world.hangUp(other)
        for round in 0..<40 as Range<UInt8> {
            for (owner, id) in groups {
                let content = privateMessage(id, epoch: 1, body: [round])
                let message = MessageRequest(groupID: id, epoch: 1, content: content)
                #expect(try owner.ask(.send(message)) == .done)
            }
        }
        for _ in 0..<2 {
            let before = memory.readMessageCount
            let again = try world.connect()
            try again.open(shared)
            #expect((16...32).contains(again.deliveries.count))
            #expect(memory.readMessageCount - before <= 32 + 8)
        }
        let last = try world.connect()
        try last.open(shared)
        let came = try last.drain()
        #expect(came.count == 8 * 40)
        for (_, id) in groups {
            let rounds = came.filter { $0.groupID == id }.compactMap(\.content.last)
            #expect(rounds == Array(0..<40))
        }
    }

    @Test func `an acknowledgement from before a reconnect counts at once`() throws {
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory)
        let talk = try TestConsultation(world)
        try talk.send([1], from: talk.patient)
        let came = try #require(talk.doctor.line).deliveries
        try world.restart()
        let line = try world.connect()
        try line.open(talk.doctor)
        try world.restart()
        let again = try world.connect()
        try again.open(talk.doctor)
        try again.acknowledge(came)
        #expect(memory.messageCount == 0)
    }

    @Test func `nobody acknowledges what is another's`() throws {
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory)
        let talk = try TestConsultation(world)
        let doctorLine = try #require(talk.doctor.line)
        let came = doctorLine.deliveries
        #expect(came.count == 1)
        let patientLine = try #require(talk.patient.line)
        // Another's mailbox, and another's delivery id under one's own mailbox.
        try patientLine.acknowledge(came)
        try patientLine.send(
            ClientFrame(acknowledgements: [
                Acknowledgement(
                    mailbox: talk.patient.id,
                    deliveries: came.map(\.id) + [
                        DeliveryID(high: 0, low: 0), DeliveryID(high: .max, low: .max),
                    ])
            ]))
        #expect(memory.messageCount == 1)
    }

    @Test func `a message is kept until its last recipient has it`() throws {
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory)
        let talk = try TestConsultation(world)
        _ = try #require(talk.doctor.line).drain()
        try talk.patient.ask(talk.commit(epoch: 1))
        #expect(memory.messageCount == 1)
        _ = try #require(talk.patient.line).drain()
        #expect(memory.messageCount == 1)
        _ = try #require(talk.doctor.line).drain()
        #expect(memory.messageCount == 0)
    }

    @Test(arguments: [1, 7, 64, 300])
    func `a window bounds what is on its way, and everything comes in order`(count: Int) throws {
        var limits = RelayLimits()
        limits.windowMessages = 8
        limits.windowByteCount = 3_000
        let world = try RelayWorld(limits: limits)
        let talk = try TestConsultation(world)
        let line = try #require(talk.doctor.line)
        _ = try line.drain()
        for number in 0..<count {
            let body = [UInt8(number & 0xff), UInt8(number >> 8)]
            try talk.send([UInt8](repeating: 0, count: number % 700) + body, from: talk.patient)
        }
        #expect(line.deliveries.count <= 8)
        var came: [Int] = []
        while !line.deliveries.isEmpty {
            #expect(line.deliveries.count <= 8)
            let some = Array(line.deliveries.prefix(3))
            line.deliveries.removeFirst(some.count)
            came += some.map {
                Int($0.content[$0.content.count - 2]) | Int($0.content[$0.content.count - 1]) << 8
            }
            try line.acknowledge(some)
        }
        #expect(came == Array(0..<count))
    }

    @Test func `one ciphertext over the window still comes`() throws {
        var limits = RelayLimits()
        limits.windowByteCount = 100
        limits.connectionByteCount = 100
        let world = try RelayWorld(limits: limits)
        let talk = try TestConsultation(world)
        let line = try #require(talk.doctor.line)
        _ = try line.drain()
        for _ in 0..<3 {
            try talk.send([UInt8](repeating: 1, count: 5_000), from: talk.patient)
        }
        #expect(try line.drain().count == 3)
    }

    @Test func `a connection's bound starves none of its mailboxes for good`() throws {
        var limits = RelayLimits()
        limits.connectionByteCount = 4_000
        let world = try RelayWorld(limits: limits)
        let line = try world.connect()
        let home = try line.makeHome()
        var talks: [TestConsultation] = []
        for _ in 0..<3 {
            let talk = try TestConsultation(world)
            try world.hangUp(try #require(talk.doctor.line))
            for _ in 0..<20 { try talk.send(Random.bytes(900), from: talk.patient) }
            talks.append(talk)
        }
        for talk in talks { try line.open(talk.doctor) }
        let came = try line.drain()
        #expect(came.count == 3 * 21)
        for talk in talks { #expect(came.count { $0.mailbox == talk.doctor.id } == 21) }
        _ = home
    }

    @Test func `a mailbox in several groups gets everything in the order it was taken`() throws {
        var limits = RelayLimits()
        limits.windowMessages = 4
        let world = try RelayWorld(limits: limits)
        let line = try world.connect()
        let shared = try line.makeFresh(from: line.makeHome(), permitUses: 3)
        try world.hangUp(line)
        let sender = try world.connect()
        let home = try sender.makeHome()
        var expected: [[UInt8]] = []
        var groups: [(TestMailbox, GroupID)] = []
        for _ in 0..<3 {
            let mailbox = try sender.makeFresh(from: home, permitUses: 0)
            let group = try mailbox.makeGroup(
                of: [shared.member(.owner)], until: world.now.day.adding(days: 9))
            groups.append((mailbox, group))
        }
        for number in 0..<40 {
            let (mailbox, group) = groups[(number * 7 + number / 3) % 3]
            let content = privateMessage(group, epoch: 1, body: [UInt8(number)])
            try mailbox.ask(.send(MessageRequest(groupID: group, epoch: 1, content: content)))
            expected.append(content)
        }
        let again = try world.connect()
        try again.open(shared)
        #expect(try again.drain().map(\.content) == expected)
    }
}
