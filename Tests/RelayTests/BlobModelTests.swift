import RelayCore
import RelayProtocol
import RelayTestSupport
import TestSupport
import Testing

@testable import Relay

/// The real store's blobs beside those of the store in memory, which simulations use: what is kept
/// and, above all, what is counted is the same after any batches, kept and undone.
struct BlobModelTests {
    @Test(arguments: [UInt64](1...4))
    func `the real store keeps and counts as the model does`(seed: UInt64) throws {
        let place = try StoreWorld()
        let model = MemoryStore()
        var things = Things(random: SeededGenerator(seed: seed))
        // Counted anew at each opening.
        for _ in 0..<4 {
            try place.run { _, real in
                for _ in 0..<40 {
                    let before = things
                    try real.begin()
                    model.begin()
                    for _ in 0..<Int.random(in: 1...5, using: &things.random) {
                        try things.change(real, model)
                    }
                    if Int.random(in: 0..<4, using: &things.random) == 0 {
                        real.rollback()
                        model.rollback()
                        things.restore(before)
                    } else {
                        try real.commit()
                        model.commit()
                    }
                    try things.compare(real, model)
                }
                try things.eraseAll(real, model)
                #expect(real.blobUsage == BlobUsage())
                #expect(model.blobUsage == BlobUsage())
            }
        }
    }
}

/// What lies in both stores, under the same numbers of each.
private struct Things {
    typealias Group = (id: GroupID, real: GroupNumber, model: GroupNumber)
    typealias Mailbox = (id: MailboxID, real: MailboxNumber, model: MailboxNumber)
    var groups: [Group] = []
    var mailboxes: [Mailbox] = []
    var blobs: [BlobID] = []
    var day = Day(rawValue: 20_000)
    var random: SeededGenerator

    init(random: SeededGenerator) { self.random = random }

    /// All but chance is as it was.
    mutating func restore(_ before: Self) {
        let random = self.random
        self = before
        self.random = random
    }

    mutating func change(_ real: SQLiteStore, _ model: MemoryStore) throws {
        guard let group = groups.randomElement(using: &random),
            let mailbox = mailboxes.randomElement(using: &random)
        else { return try add(real, model) }
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<5: try add(real, model)
        case 5..<25:
            let id = try #require(BlobID(random.bytes(BlobID.byteCount)))
            let byteCount = [1, 700, BlobShape.pieceByteCount, 2 * BlobShape.pieceByteCount + 9]
                .randomElement(using: &random)
            try real.addBlob(
                id, in: group.real, byteCount: byteCount ?? 1, by: mailbox.real, on: day)
            try model.addBlob(
                id, in: group.model, byteCount: byteCount ?? 1, by: mailbox.model, on: day)
            blobs.append(id)
        case 25..<75: try put(in: group, real, model)
        case 75..<80:
            _ = try real.eraseGroup(group.real, group.id)
            _ = try model.eraseGroup(group.model, group.id)
            groups.removeAll { $0.id == group.id }
        case 80..<83:
            try real.eraseMailbox(mailbox.real, mailbox.id)
            try model.eraseMailbox(mailbox.model, mailbox.id)
            mailboxes.removeAll { $0.id == mailbox.id }
        case 83..<88:
            day = day.adding(days: UInt32.random(in: 0...4, using: &random))
            try real.dropUnfinishedBlobs(before: day.before(7), empty: day.before(1))
            try model.dropUnfinishedBlobs(before: day.before(7), empty: day.before(1))
        default: _ = try real.clearDroppedBlobs(limit: Int.random(in: 1...4, using: &random))
        }
    }

    private mutating func add(_ real: SQLiteStore, _ model: MemoryStore) throws {
        let id = try #require(GroupID(random.bytes(GroupID.byteCount)))
        let group = GroupRecord(
            id: id, epoch: 1, commitHash: random.bytes(32), deadline: day.adding(days: 90),
            members: [])
        groups.append((id, try real.addGroup(group), try model.addGroup(group)))
        let name = try #require(MailboxID(random.bytes(MailboxID.byteCount)))
        let mailbox = MailboxRecord(id: name, kind: .consultation, counter: 1)
        mailboxes.append((name, try real.addMailbox(mailbox), try model.addMailbox(mailbox)))
    }

    /// The next piece of something that isn't whole.
    private mutating func put(
        in group: Group, _ real: SQLiteStore, _ model: MemoryStore
    ) throws {
        for id in blobs.shuffled(using: &random) {
            guard let mine = try real.blob(id, in: group.real), mine.owner != nil,
                let its = try model.blob(id, in: group.model),
                let count = BlobShape(byteCount: UInt64(mine.byteCount))?
                    .byteCount(ofPiece: mine.pieceCount)
            else { continue }
            let content = [UInt8](
                repeating: UInt8.random(in: 0...255, using: &random), count: count)
            try real.addPiece(content, to: mine, on: day)
            return try model.addPiece(content, to: its, on: day)
        }
    }

    func compare(_ real: SQLiteStore, _ model: MemoryStore) throws {
        for group in groups {
            #expect(try real.blobUsage(in: group.real) == model.blobUsage(in: group.model))
            for id in blobs {
                let mine = try real.blob(id, in: group.real)
                let its = try model.blob(id, in: group.model)
                #expect(mine?.byteCount == its?.byteCount)
                #expect(mine?.pieceCount == its?.pieceCount)
                #expect((mine?.owner == nil) == (its?.owner == nil))
                guard let mine, let its, mine.pieceCount == its.pieceCount else { continue }
                for index in 0..<mine.pieceCount {
                    #expect(try real.piece(index, of: mine) == model.piece(index, of: its))
                }
            }
        }
        for box in mailboxes {
            #expect(try real.unfinishedBlobs(of: box.real) == model.unfinishedBlobs(of: box.model))
        }
        #expect(real.blobUsage.count == model.blobUsage.count)
        let present = model.state.blobs.values.reduce(0) { sum, blobs in
            sum + blobs.values.reduce(0) { $0 + $1.pieces.reduce(0) { $0 + $1.count } }
        }
        #expect(real.blobUsage.byteCount >= present)
    }

    mutating func eraseAll(_ real: SQLiteStore, _ model: MemoryStore) throws {
        try real.begin()
        model.begin()
        for group in groups {
            _ = try real.eraseGroup(group.real, group.id)
            _ = try model.eraseGroup(group.model, group.id)
        }
        (groups, blobs) = ([], [])
        while try real.clearDroppedBlobs(limit: 4) {}
        while try model.clearDroppedBlobs(limit: 4) {}
        try real.commit()
        model.commit()
    }
}
