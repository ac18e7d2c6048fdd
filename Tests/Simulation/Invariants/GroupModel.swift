import RelayProtocol

/// What the model knows of a group, from what was asked and what the relay let out.
final class GroupModel {
    struct Place {
        var mailbox: MailboxID
        var role: Role
        var expires: Day?
    }

    /// What a backup of the relay has of it, too.
    struct History {
        /// Members of each epoch that has begun.
        var members: [UInt64: [Place]]
        /// The commit that ended each epoch.
        var winners: [UInt64: [UInt8]] = [:]
        var epoch: UInt64
        /// Whether anybody was told that it was made.
        var isMade = false
    }

    let id: GroupID
    let number: Int
    private(set) var firstEpoch: UInt64
    private(set) var firstHash: [UInt8]
    private(set) var deadline: Day
    private(set) var history: History
    /// On which day a closing was asked for first.
    var closeAskedOn: Day?
    /// Somebody asked to remove them.
    var mayBeRemoved: Set<MailboxID> = []
    /// Somebody asked to add them.
    var mayBeAdded: Set<MailboxID> = []
    /// The batch that told which commit ended an epoch.
    var wonIn: [UInt64: Int] = [:]
    var isErased = false
    /// The batch that told so.
    var erasedIn: Int?
    var confirmed: Set<MailboxID> = []

    init(_ creation: GroupCreation, by creator: MailboxID, number: Int) {
        id = creation.groupID
        self.number = number
        firstEpoch = creation.epoch
        firstHash = creation.commitHash
        deadline = creation.deadline
        history = Self.beginning(creation, creator)
    }

    private static func beginning(_ creation: GroupCreation, _ creator: MailboxID) -> History {
        let first =
            [Place(mailbox: creator, role: .owner)]
            + creation.members.map {
                Place(mailbox: $0.mailbox, role: $0.role, expires: $0.expires)
            }
        return History(members: [creation.epoch: first], epoch: creation.epoch)
    }

    /// It is asked for again: with others, if it wasn't made with those.
    func ask(_ creation: GroupCreation, by creator: MailboxID) {
        let again = Self.beginning(creation, creator)
        let named = again.members[creation.epoch]?.map(\.mailbox)
        guard !isMade, named != members[firstEpoch]?.map(\.mailbox) else { return }
        (firstEpoch, firstHash) = (creation.epoch, creation.commitHash)
        deadline = creation.deadline
        history = again
    }

    var members: [UInt64: [Place]] { history.members }
    var winners: [UInt64: [UInt8]] { history.winners }
    var epoch: UInt64 { history.epoch }
    var isMade: Bool { history.isMade }

    func noteMade() { history.isMade = true }

    /// The relay was put back to when that was all; without it, to before the group was made.
    func goBack(to earlier: History?) {
        history =
            earlier
            ?? History(
                members: members.filter { $0.key == firstEpoch }, epoch: firstEpoch)
    }

    func place(of mailbox: MailboxID, in epoch: UInt64) -> Place? {
        members[epoch]?.first { $0.mailbox == mailbox }
    }

    var owners: [MailboxID] { (members[epoch] ?? []).filter { $0.role == .owner }.map(\.mailbox) }

    /// The hash that began an epoch; `nil` if nobody was told.
    func beginning(of epoch: UInt64) -> [UInt8]? {
        epoch == firstEpoch ? firstHash : winners[epoch &- 1]
    }

    /// A commit won its epoch.
    func take(_ commit: CommitRequest, hash: [UInt8]) {
        history.winners[commit.epoch] = hash
        guard let before = members[commit.epoch] else { return }
        history.members[commit.epoch + 1] =
            before.filter { !commit.removes.contains($0.mailbox) }
            + commit.adds.map {
                Place(mailbox: $0.mailbox, role: $0.role, expires: $0.expires)
            }
        history.epoch = max(epoch, commit.epoch + 1)
    }
}

/// Something that the relay has said that it has.
struct Accepted {
    let group: GroupModel
    var `for`: [MailboxID]
    let description: String
}

/// What the model knows of a mailbox.
final class BoxModel {
    let client: Int
    let isHostile: Bool
    /// The highest counter that was answered with `Opened`.
    var counter: UInt64 = 0
    /// The counters of the openings that wait for an answer, by wire.
    var openings: [Int: [UInt64]] = [:]
    /// Where the relay has it open.
    var wire: Int?
    var asked: [UInt64: [RelayProtocol.Operation]] = [:]
    /// On which day something was first asked about a blob.
    var askedOn: [UInt64: Day] = [:]
    var answers: [UInt64: Outcome] = [:]
    var confirmed: UInt64 = 0
    /// What was sent, and the device has the answer: only an older home of it sends that again.
    var past: [UInt64: UInt64] = [:]
    /// The relay may have forgotten it, with what it answered.
    var isGone = false
    /// Handed out on this wire and not acknowledged.
    var unacknowledged: [DeliveryID: (name: UInt64, byteCount: Int, group: GroupID?)] = [:]
    var byteCount = 0
    /// Somebody asked to add it for some days only.
    var mayExpire = false
    /// Names of deliveries, while they may come again.
    var idOfName: [UInt64: DeliveryID] = [:]
    /// What they stand for, also after a restore: never for something else.
    var nameOfID: [DeliveryID: UInt64] = [:]
    var acknowledged: Set<UInt64> = []
    /// In which order contents came first.
    var ranks: [UInt64: Int] = [:]
    var lastRank = 0
    /// The rank of the last delivery on this wire.
    var cursor = 0

    /// Whether it is asked to be open on another wire, and so may be already.
    func isMoving(from wire: Int) -> Bool {
        openings.contains { $0.key != wire && !$0.value.isEmpty }
    }

    init(client: Int, isHostile: Bool) {
        self.client = client
        self.isHostile = isHostile
    }

    /// The relay was put back to when it knew this counter.
    func goBack(to counter: UInt64) {
        self.counter = counter
        openings = [:]
        wire = nil
        answers = [:]
        unacknowledged = [:]
        byteCount = 0
        idOfName = [:]
        ranks = [:]
        lastRank = 0
        cursor = 0
    }

    /// Nothing of a group is on its way any more.
    func drop(_ group: GroupID) {
        for (id, item) in unacknowledged where item.group == group {
            unacknowledged[id] = nil
            byteCount -= item.byteCount
        }
    }
}
