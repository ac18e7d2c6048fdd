public import Cryptography
import RelayCore
public import RelayProtocol

/// An MLSMessage with a PrivateMessage whose ciphertext is `body`; nothing in it is encrypted.
public func privateMessage(
    _ group: GroupID, epoch: UInt64, contentType: UInt8 = 1, body: [UInt8]
) -> [UInt8] {
    var bytes: [UInt8] = [0, 1, 0, 2, 32] + group.bytes
    bytes += (0..<8).map { UInt8(truncatingIfNeeded: epoch >> UInt64(8 * (7 - $0))) }
    bytes += [contentType, 0, 0]
    if body.count < 64 {
        bytes.append(UInt8(body.count))
    } else if body.count < 16_384 {
        bytes += [UInt8(0x40 | body.count >> 8), UInt8(body.count & 0xff)]
    } else {
        bytes += [
            UInt8(0x80 | body.count >> 24), UInt8(body.count >> 16 & 0xff),
            UInt8(body.count >> 8 & 0xff), UInt8(body.count & 0xff),
        ]
    }
    return bytes + body
}

extension RelayProtocol.Operation {
    /// Sends a message whose ciphertext is `body`.
    public static func sending(_ body: [UInt8], to group: GroupID, epoch: UInt64 = 1) -> Self {
        .send(
            MessageRequest(
                groupID: group, epoch: epoch,
                content: privateMessage(group, epoch: epoch, body: body)))
    }

    /// Makes a group of the asker and `members`.
    public static func making(
        _ group: GroupID, of members: [Member] = [], welcomes: [WelcomeDelivery] = [],
        until deadline: Day
    ) -> Self {
        .createGroup(
            GroupCreation(
                groupID: group, epoch: 1, commitHash: Random.bytes(32), members: members,
                welcomes: welcomes, deadline: deadline))
    }
}

extension TestMailbox {
    /// Makes a group of this mailbox and `members`.
    public func makeGroup(
        of members: [Member] = [], welcomes: [WelcomeDelivery] = [], until deadline: Day
    ) throws -> GroupID {
        guard let group = GroupID(Random.bytes(32)) else { throw RelayWorld.Problem.noReply }
        let outcome = try ask(.making(group, of: members, welcomes: welcomes, until: deadline))
        guard outcome == .done else { throw RelayWorld.Problem.unexpected(outcome) }
        return group
    }
}

/// Two owners in a group, each with a home and a line.
public struct TestConsultation {
    /// Who made the group.
    public let patient: TestMailbox
    /// Who was added.
    public let doctor: TestMailbox
    /// The group.
    public let group: GroupID
    /// Their homes.
    public let patientHome: TestMailbox
    /// Their homes.
    public let doctorHome: TestMailbox

    /// Makes both and the group, and takes the Welcome.
    public init(_ world: RelayWorld, permitUses: UInt32 = 1) throws {
        let patientLine = try world.connect()
        let doctorLine = try world.connect()
        patientHome = try patientLine.makeHome()
        doctorHome = try doctorLine.makeHome()
        patient = try patientLine.makeFresh(from: patientHome, permitUses: 0)
        doctor = try doctorLine.makeFresh(from: doctorHome, permitUses: permitUses)
        group = try patient.makeGroup(
            of: [doctor.member(.owner)],
            welcomes: [WelcomeDelivery(mailbox: doctor.id, content: [1, 2, 3])],
            until: world.now.day.adding(days: 60))
    }

    /// Sends `body` in an epoch.
    @discardableResult public func send(
        _ body: [UInt8], from mailbox: TestMailbox, epoch: UInt64 = 1
    ) throws -> Outcome {
        try mailbox.ask(.sending(body, to: group, epoch: epoch))
    }

    /// A commit that ends `epoch`.
    public func commit(
        epoch: UInt64, body: [UInt8] = Random.bytes(50), adds: [Member] = [],
        removes: [MailboxID] = []
    ) -> RelayProtocol.Operation {
        .commit(
            CommitRequest(
                groupID: group, epoch: epoch,
                content: privateMessage(group, epoch: epoch, contentType: 3, body: body),
                adds: adds, removes: removes,
                welcomes: adds.map { WelcomeDelivery(mailbox: $0.mailbox, content: [9]) }))
    }

    /// Adds a guest by a commit of the patient's that ends `epoch`.
    ///
    /// - Parameter home: whose ticket makes its mailbox, on the same line; else the doctor's.
    public func addGuest(
        of home: TestMailbox? = nil, epoch: UInt64 = 1, expires: Day? = nil
    ) throws -> TestMailbox {
        let home = home ?? doctorHome
        guard let line = home.line else { throw RelayWorld.Problem.noReply }
        let guest = try line.makeFresh(from: home)
        let outcome = try patient.ask(
            commit(epoch: epoch, adds: [guest.member(.guest, expires: expires)]))
        guard case .committed = outcome else { throw RelayWorld.Problem.unexpected(outcome) }
        return guest
    }

    /// Closes the group in an epoch, and both confirm: it is erased.
    public func end(epoch: UInt64 = 1) throws {
        for (mailbox, operation) in [
            (patient, closing(epoch: epoch)), (patient, .confirm(group)),
        ] {
            let outcome = try mailbox.ask(operation)
            guard outcome == .done else { throw RelayWorld.Problem.unexpected(outcome) }
        }
        let outcome = try doctor.ask(.confirm(group))
        guard case .erased = outcome else { throw RelayWorld.Problem.unexpected(outcome) }
    }

    /// The last message.
    public func closing(epoch: UInt64 = 1) -> RelayProtocol.Operation {
        .close(
            MessageRequest(
                groupID: group, epoch: epoch,
                content: privateMessage(group, epoch: epoch, body: [4, 2])))
    }
}
