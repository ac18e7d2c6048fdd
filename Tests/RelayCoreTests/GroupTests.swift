import Cryptography
import RelayCore
import RelayProtocol
import RelayTestSupport
import Testing

private let notAllowed = Outcome.refused(.notAllowed, retryAfterSeconds: 0)

struct GroupTests {
    let world: RelayWorld
    let talk: TestConsultation

    init() throws {
        world = try RelayWorld()
        talk = try TestConsultation(world)
    }

    private func line(_ mailbox: TestMailbox) throws -> RelayLine { try #require(mailbox.line) }

    @Test func `a Welcome comes first, then messages in order`() throws {
        for body in 0..<5 { #expect(try talk.send([UInt8(body)], from: talk.patient) == .done) }
        let came = try line(talk.doctor).drain()
        #expect(came.map(\.kind) == [.welcome] + [DeliveryKind](repeating: .message, count: 5))
        #expect(came.dropFirst().map { $0.content.last } == [0, 1, 2, 3, 4])
        #expect(came.allSatisfy { $0.groupID == talk.group && $0.mailbox == talk.doctor.id })
        #expect(try line(talk.patient).drain().isEmpty)
    }

    @Test func `a stranger and an unknown group are refused alike`() throws {
        let stranger = try line(talk.patient).makeFresh(from: talk.patientHome)
        #expect(try talk.send([1], from: stranger) == notAllowed)
        #expect(try stranger.ask(talk.commit(epoch: 1)) == notAllowed)
        #expect(try stranger.ask(talk.closing()) == notAllowed)
        #expect(try stranger.ask(.confirm(talk.group)) == notAllowed)
        #expect(try stranger.ask(.inspectGroup(talk.group)) == notAllowed)
        let unknown = try #require(GroupID(Random.bytes(32)))
        #expect(try talk.patient.ask(.inspectGroup(unknown)) == notAllowed)
    }

    @Test func `a past or future epoch is answered with the current one`() throws {
        #expect(try talk.patient.ask(talk.commit(epoch: 1)).isCommitted(epoch: 2))
        guard case .staleEpoch(2, _) = try talk.send([1], from: talk.doctor, epoch: 1) else {
            Issue.record("a past epoch was taken")
            return
        }
        guard case .staleEpoch(2, _) = try talk.send([1], from: talk.doctor, epoch: 3) else {
            Issue.record("a future epoch was taken")
            return
        }
        #expect(try talk.send([1], from: talk.doctor, epoch: 2) == .done)
    }

    @Test func `of two commits for one epoch the first wins, and both hear of it`() throws {
        _ = try line(talk.doctor).drain()
        let winner = talk.commit(epoch: 1)
        let outcome = try talk.patient.ask(winner)
        guard case .commit(let request) = winner else {
            Issue.record("no commit")
            return
        }
        let hash = Hash.sha256(request.content)
        #expect(outcome == .committed(epoch: 2, commitHash: hash))
        #expect(
            try talk.doctor.ask(talk.commit(epoch: 1)) == .staleEpoch(epoch: 2, commitHash: hash))
        #expect(try line(talk.patient).drain().map(\.content) == [request.content])
        #expect(try line(talk.doctor).drain().map(\.content) == [request.content])
    }

    @Test func `commits can't fill the disk`() throws {
        var taken = 0
        var last = Outcome.done
        while last != .refused(.rate, retryAfterSeconds: 30), taken < 1_000 {
            last = try talk.patient.ask(talk.commit(epoch: UInt64(1 + taken)))
            if case .committed = last { taken += 1 }
        }
        #expect(taken == 128)
        // Neither does the other owner get more out of the same group.
        #expect(
            try talk.doctor.ask(talk.commit(epoch: 129)) == .refused(.rate, retryAfterSeconds: 30))
        #expect(try talk.send([1], from: talk.doctor, epoch: 129) == .done)
        world.advance(seconds: 60)
        let large = talk.commit(
            epoch: 129, body: [UInt8](repeating: 0, count: world.limits.commitByteCount))
        #expect(try talk.patient.ask(large) == .refused(.tooLarge, retryAfterSeconds: 0))
        #expect(try talk.patient.ask(talk.commit(epoch: 129)).isCommitted(epoch: 130))
    }

    @Test func `a commit whose answer was lost is answered again, and not made twice`() throws {
        let request = talk.patient.request(talk.commit(epoch: 1))
        let outcome = try line(talk.patient).ask(request)
        #expect(outcome.isCommitted(epoch: 2))
        try world.restart()
        let again = try world.connect()
        try again.open(talk.patient)
        #expect(try again.ask(request) == outcome)
        #expect(try again.drain().count == 1)
    }

    @Test func `what the header says must fit the request`() throws {
        let other = try #require(GroupID(Random.bytes(32)))
        let bodies: [[UInt8]] = [
            privateMessage(other, epoch: 1, body: [1]),
            privateMessage(talk.group, epoch: 2, body: [1]),
            privateMessage(talk.group, epoch: 1, contentType: 3, body: [1]),
            privateMessage(talk.group, epoch: 1, contentType: 4, body: [1]),
            privateMessage(talk.group, epoch: 1, body: [1]) + [0], [], [0, 1, 0, 2],
        ]
        for content in bodies {
            let outcome = try talk.patient.ask(
                .send(MessageRequest(groupID: talk.group, epoch: 1, content: content)))
            #expect(outcome == .refused(.malformed, retryAfterSeconds: 0))
        }
        let commit = CommitRequest(
            groupID: talk.group, epoch: 1, content: privateMessage(talk.group, epoch: 1, body: [1]))
        #expect(
            try talk.patient.ask(.commit(commit)) == .refused(.malformed, retryAfterSeconds: 0))
    }

    @Test func `nobody is added without the permit, and a permit is used once`() throws {
        let guest = try line(talk.patient).makeFresh(from: talk.patientHome)
        let refused = Outcome.refused(.permit, retryAfterSeconds: 0)
        let missing = Member(mailbox: guest.id, role: .guest)
        #expect(try talk.patient.ask(talk.commit(epoch: 1, adds: [missing])) == refused)
        let wrong = guest.member(.guest, permit: JoinPermit())
        #expect(try talk.patient.ask(talk.commit(epoch: 1, adds: [wrong])) == refused)
        let nobody = try TestMailbox().member(.guest)
        #expect(try talk.patient.ask(talk.commit(epoch: 1, adds: [nobody])) == refused)
        let home = talk.doctorHome.member(.guest)
        #expect(try talk.patient.ask(talk.commit(epoch: 1, adds: [home])) == refused)
        let good = guest.member(.guest)
        #expect(
            try talk.patient.ask(talk.commit(epoch: 1, adds: [good])).isCommitted(epoch: 2))

        let again = try TestConsultation(world)
        #expect(
            try again.patient.ask(again.commit(epoch: 1, adds: [guest.member(.guest)])) == refused)
    }

    @Test func `a guest reads and sends but doesn't commit, close or confirm`() throws {
        let guestLine = try world.connect()
        let home = try guestLine.makeHome()
        let guest = try guestLine.makeFresh(from: home)
        #expect(
            try talk.patient.ask(talk.commit(epoch: 1, adds: [guest.member(.guest)]))
                .isCommitted(epoch: 2))
        #expect(try guestLine.drain().map(\.kind) == [.welcome])
        #expect(try guest.ask(talk.commit(epoch: 2)) == notAllowed)
        #expect(try guest.ask(talk.closing(epoch: 2)) == notAllowed)
        #expect(try guest.ask(.confirm(talk.group)) == notAllowed)
        #expect(try talk.send([7], from: guest, epoch: 2) == .done)
        #expect(try line(talk.doctor).drain().last?.content.last == 7)
        guard case .groupState(let state) = try guest.ask(.inspectGroup(talk.group)) else {
            Issue.record("a guest may not look")
            return
        }
        #expect(state.members.map(\.role) == [.owner, .owner, .guest])
        #expect(state.members.allSatisfy { $0.permit == nil })
    }

    @Test func `owners can't add owners, remove each other or themselves`() throws {
        #expect(
            try talk.patient.ask(talk.commit(epoch: 1, removes: [talk.doctor.id])) == notAllowed)
        #expect(
            try talk.patient.ask(talk.commit(epoch: 1, removes: [talk.patient.id])) == notAllowed)
        let other = try line(talk.patient).makeFresh(from: talk.patientHome)
        #expect(
            try talk.patient.ask(talk.commit(epoch: 1, adds: [other.member(.owner)]))
                == .refused(.malformed, retryAfterSeconds: 0))
    }

    @Test func `a removed guest gets its removal as the last thing`() throws {
        let guestLine = try world.connect()
        let guest = try talk.addGuest(of: guestLine.makeHome())
        try talk.send([1], from: talk.doctor, epoch: 2)
        #expect(
            try talk.doctor.ask(talk.commit(epoch: 2, removes: [guest.id])).isCommitted(epoch: 3))
        try talk.send([2], from: talk.doctor, epoch: 3)
        #expect(try guestLine.drain().map(\.kind) == [.welcome, .message, .commit])
        #expect(try talk.send([3], from: guest, epoch: 3) == notAllowed)
        try world.restart()
        let again = try world.connect()
        try again.open(guest)
        #expect(try again.drain().isEmpty)
        // Its place can be taken again.
        let other = try again.makeFresh(from: again.makeHome())
        let owner = try world.connect()
        try owner.open(talk.patient)
        #expect(
            try talk.patient.ask(talk.commit(epoch: 3, adds: [other.member(.guest)]))
                .isCommitted(epoch: 4))
    }

    @Test func `an expired guest gets nothing and may do nothing`() throws {
        let guestLine = try world.connect()
        let guest = try talk.addGuest(of: guestLine.makeHome(), expires: world.now.day)
        _ = try guestLine.drain()
        world.advance(days: 1)
        try world.sweep()
        try talk.send([1], from: talk.doctor, epoch: 2)
        #expect(try guestLine.drain().isEmpty)
        #expect(try talk.send([3], from: guest, epoch: 2) == notAllowed)
    }

    @Test func `an expired guest that is removed leaves its place`() throws {
        let guestLine = try world.connect()
        let (home, shared) = (try guestLine.makeHome(), try guestLine.makeHome())
        let guest = try guestLine.makeFresh(from: home)
        try talk.patient.ask(
            talk.commit(epoch: 1, adds: [guest.member(.guest, expires: world.now.day)]))
        try talk.send([1], from: talk.doctor, epoch: 2)
        world.advance(days: 1)
        try world.sweep()
        #expect(try guest.ask(.retire) == notAllowed)
        let other = try guestLine.makeFresh(from: shared)
        #expect(
            try talk.patient.ask(talk.commit(epoch: 2, removes: [guest.id]))
                .isCommitted(epoch: 3))
        #expect(try guest.ask(.retire) == .done)
        // Whoever takes its place gets nothing that was for it.
        #expect(
            try talk.patient.ask(talk.commit(epoch: 3, adds: [other.member(.guest)]))
                .isCommitted(epoch: 4))
        try talk.send([2], from: talk.doctor, epoch: 4)
        let came = try guestLine.drain().filter { $0.mailbox == other.id }
        #expect(came.map(\.kind) == [.welcome, .message])
        #expect(came.last?.content.last == 2)
    }

    @Test func `a clock that is wrong for a while ends no membership`() throws {
        let guestLine = try world.connect()
        let guest = try guestLine.makeFresh(from: guestLine.makeHome())
        try talk.patient.ask(
            talk.commit(epoch: 1, adds: [guest.member(.guest, expires: world.now.day)]))
        _ = try guestLine.drain()
        world.now.unixSeconds += 35 * 86_400
        #expect(try talk.patient.ask(talk.commit(epoch: 2)).isCommitted(epoch: 3))
        try world.sweep()
        #expect(try talk.patient.ask(talk.commit(epoch: 3)).isCommitted(epoch: 4))
        #expect(try talk.send([1], from: talk.doctor, epoch: 4) == .done)
        world.now.unixSeconds -= 35 * 86_400
        #expect(try guestLine.drain().map(\.kind) == [.commit, .commit, .message])
        #expect(try talk.send([3], from: guest, epoch: 4) == .done)
    }

    @Test func `a clock that is set back makes nobody a member again`() throws {
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory)
        let talk = try TestConsultation(world)
        let guestLine = try world.connect()
        let guest = try guestLine.makeFresh(from: guestLine.makeHome())
        try talk.patient.ask(
            talk.commit(epoch: 1, adds: [guest.member(.guest, expires: world.now.day)]))
        world.advance(days: 1)
        try world.sweep()
        #expect(try talk.send([3], from: guest, epoch: 2) == notAllowed)
        world.now.unixSeconds -= 86_400
        #expect(try talk.send([3], from: guest, epoch: 2) == notAllowed)
        for _ in 0..<2 {
            try world.sweep()
            try world.restart(
                clock: ClockGuard(
                    at: world.now, lastHour: memory.clockMark(), isConfirmed: false))
            try world.connect().open(guest)
            #expect(try talk.send([3], from: guest, epoch: 2) == notAllowed)
        }
    }

    @Test func `a group id is taken once, with members and deadline in bounds`() throws {
        let mailbox = try line(talk.patient).makeFresh(from: talk.patientHome, permitUses: 0)
        let home = talk.patientHome
        func create(
            _ id: GroupID, by creator: TestMailbox, members: [Member] = [], days: UInt32 = 10
        ) throws -> Outcome {
            try creator.ask(.making(id, of: members, until: world.now.day.adding(days: days)))
        }
        let id = try #require(GroupID(Random.bytes(32)))
        #expect(try create(talk.group, by: mailbox) == .refused(.exists, retryAfterSeconds: 0))
        #expect(try create(id, by: home) == notAllowed)
        #expect(try create(id, by: mailbox, days: 0) == .refused(.malformed, retryAfterSeconds: 0))
        #expect(try create(id, by: mailbox, days: 401) == .refused(.limit, retryAfterSeconds: 0))
        let many = try (0..<16).map { _ in try TestMailbox().member(.guest) }
        #expect(
            try create(id, by: mailbox, members: many) == .refused(.limit, retryAfterSeconds: 0))
        #expect(try create(id, by: mailbox) == .done)
    }

    @Test(arguments: [35, -500])
    func `a clock that is wrong for a while refuses no group`(days: Int64) throws {
        let today = world.now.day
        func create(days: UInt32) throws -> Outcome {
            let mailbox = try line(talk.patientHome).makeFresh(
                from: talk.patientHome, permitUses: 0)
            let id = try #require(GroupID(Random.bytes(32)))
            return try mailbox.ask(.making(id, of: [], until: today.adding(days: days)))
        }
        func shift(_ days: Int64) {
            world.now.unixSeconds = UInt64(Int64(world.now.unixSeconds) + days * 86_400)
        }
        shift(days)
        try world.sweep()
        #expect(try create(days: 1) == .done)
        #expect(try create(days: 400) == .done)
        #expect(try create(days: 436) == .refused(.limit, retryAfterSeconds: 0))
        shift(-days)
        #expect(try create(days: 1) == .done)
        // A clock that was ahead and believed: its day stays the trusted one.
        try world.restart(
            clock: ClockGuard(
                at: world.now, lastHour: UInt64(today.rawValue + 35) * 24, isConfirmed: false))
        try world.connect().open(talk.patientHome)
        #expect(try create(days: 1) == .done)
        #expect(try create(days: 0) == .refused(.malformed, retryAfterSeconds: 0))
    }

    @Test func `a closing under a clock that is behind waits as long as any other`() throws {
        world.now.unixSeconds -= 40 * 86_400
        #expect(try talk.patient.ask(talk.closing()) == .done)
        world.now.unixSeconds += 40 * 86_400
        try world.sweep()
        #expect(try line(talk.doctor).drain().last?.kind == .closing)
        world.advance(days: 29)
        try world.sweep()
        #expect(try talk.doctor.ask(.confirm(talk.group)) == .done)
        world.advance(days: 1)
        try world.sweep()
        #expect(try talk.patient.ask(.confirm(talk.group)) == notAllowed)
    }

    @Test func `a mailbox makes one group and goes with it, so each group costs a ticket`() throws {
        func create(by creator: TestMailbox) throws -> Outcome {
            let id = try #require(GroupID(Random.bytes(32)))
            return try creator.ask(.making(id, until: world.now.day.adding(days: 10)))
        }
        // Neither beside another group, nor with a permit that keeps the mailbox when it ends.
        #expect(try create(by: talk.patient) == notAllowed)
        let line = try line(talk.patient)
        #expect(try create(by: line.makeFresh(from: talk.patientHome, permitUses: 1)) == notAllowed)
        try talk.end()
        #expect(try create(by: talk.patient) == notAllowed)
    }

    @Test func `what waits is counted once, whatever is asked of it`() throws {
        let memory = MemoryStore()
        let world = try RelayWorld(memory: memory)
        let line = try world.connect()
        let shared = try line.makeFresh(from: line.makeHome(), permitUses: 3)
        let sender = try world.connect()
        let home = try sender.makeHome()
        var talks: [(maker: TestMailbox, group: GroupID)] = []
        for count in 1...3 {
            let maker = try sender.makeFresh(from: home, permitUses: 0)
            let group = try maker.makeGroup(
                of: [shared.member(.guest)], until: world.now.day.adding(days: 9))
            talks.append((maker, group))
            for number in 0..<UInt8(count) {
                try maker.ask(.sending([number], to: group))
            }
        }
        let before = memory.backlogCount
        for (index, talk) in talks.enumerated() {
            for _ in 0..<20 {
                guard case .groupState(let state) = try shared.ask(.inspectGroup(talk.group)) else {
                    Issue.record("not a member")
                    return
                }
                #expect(state.waiting == index + 1)
            }
        }
        // Whoever was removed acknowledges what came before, and is let go after the last of it.
        let (maker, group) = talks[2]
        let content = privateMessage(group, epoch: 1, contentType: 3, body: [1])
        #expect(
            try maker.ask(
                .commit(
                    CommitRequest(
                        groupID: group, epoch: 1, content: content, adds: [],
                        removes: [shared.id], welcomes: []))
            ).isCommitted(epoch: 2))
        #expect(try memory.mailbox(shared.id)?.1.memberships.count == 3)
        #expect(try line.drain().count == 1 + 2 + 3 + 1)
        #expect(try memory.mailbox(shared.id)?.1.memberships.count == 2)
        #expect(memory.backlogCount <= before + 3)
    }

    @Test func `a full mailbox refuses messages and takes commits and closings`() throws {
        var limits = RelayLimits()
        limits.mailboxMessages = 3
        let world = try RelayWorld(limits: limits)
        let talk = try TestConsultation(world)
        let doctorLine = try #require(talk.doctor.line)
        try world.hangUp(doctorLine)
        #expect(try talk.send([1], from: talk.patient) == .done)
        #expect(try talk.send([2], from: talk.patient) == .done)
        #expect(
            try talk.send([3], from: talk.patient) == .refused(.mailboxFull, retryAfterSeconds: 60))
        #expect(try talk.patient.ask(talk.commit(epoch: 1)).isCommitted(epoch: 2))
        #expect(try talk.patient.ask(talk.closing(epoch: 2)) == .done)
        let again = try world.connect()
        guard case .opened(let opened) = try again.open(talk.doctor) else {
            Issue.record("not opened")
            return
        }
        #expect(opened.waiting == 5)
        #expect(
            try again.drain().map(\.kind) == [.welcome, .message, .message, .commit, .closing])
    }
}

extension Outcome {
    func isCommitted(epoch: UInt64) -> Bool {
        guard case .committed(epoch, _) = self else { return false }
        return true
    }
}
