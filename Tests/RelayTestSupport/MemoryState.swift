package import RelayCore
package import RelayProtocol

/// What a `MemoryStore` holds, as a value: a backup, or what a disk has of it.
///
/// Places are used again for other mailboxes and groups as soon as possible, so that whoever holds on
/// to an old one shows.
package struct MemoryState {
    package internal(set) var mailboxes: [Int64: MailboxRecord] = [:]
    package internal(set) var mailboxNumbers: [MailboxID: Int64] = [:]
    package internal(set) var answers: [Int64: [UInt64: [UInt8]]] = [:]
    package var shelves: [Int64: [[UInt8]]] = [:]
    package var lastResorts: [Int64: [UInt8]] = [:]
    package internal(set) var spent: [[UInt8]: Day] = [:]
    package internal(set) var groups: [Int64: GroupRecord] = [:]
    package internal(set) var groupNumbers: [GroupID: Int64] = [:]
    /// By group, in the order of their numbers.
    package internal(set) var messages: [Int64: [StoredMessage]] = [:]
    package internal(set) var groupsOfMessages: [UInt64: Int64] = [:]
    package internal(set) var blobs: [Int64: [BlobID: MemoryBlob]] = [:]
    /// What is left of blobs that nobody can find any more: their pieces are deleted by and by.
    package internal(set) var dropped: [DroppedBlob] = []
    package internal(set) var receipts:
        [UInt64: (mailbox: MailboxID, until: Day, content: [UInt8])] = [:]
    package internal(set) var receiptsOf: [MailboxID: [UInt64]] = [:]
    var freePlaces: [Int64] = []
    var nextPlace: Int64 = 1
    var nextMessage: UInt64 = 1
    var nextReceipt: UInt64 = 1
    package internal(set) var clockMark: UInt64?

    package init() {}

    /// Where the next mailbox or group goes.
    var place: Int64 { freePlaces.last ?? nextPlace }

    /// Does one thing that a store did.
    package mutating func apply(_ change: MemoryChange) {
        switch change {
        case .mailbox(let place, let record):
            if mailboxes[place] == nil { take(place) }
            mailboxes[place] = record
            mailboxNumbers[record.id] = place
        case .eraseMailbox(let place, let id):
            mailboxes[place] = nil
            mailboxNumbers[id] = nil
            answers[place] = nil
            shelves[place] = nil
            lastResorts[place] = nil
            dropBlobs { $0.owner == place }
            freePlaces.append(place)
        case .answer(let place, let id, let content):
            answers[place, default: [:]][id] = content
        case .forgetAnswers(let place, let last):
            answers[place] = answers[place]?.filter { $0.key > last }
        case .shelf(let place, let package): shelves[place, default: []].append(package)
        case .lastResort(let place, let package): lastResorts[place] = package
        case .takeFromShelf(let place, let package):
            if let index = shelves[place]?.firstIndex(of: package) {
                shelves[place]?.remove(at: index)
            }
        case .takeLastResort(let place): lastResorts[place] = nil
        case .clearShelf(let place):
            shelves[place] = nil
            lastResorts[place] = nil
        case .spend(let hash, let day): spent[hash] = day
        default: applyToGroups(change)
        }
    }

    private mutating func applyToGroups(_ change: MemoryChange) {
        switch change {
        case .group(let place, let record):
            if groups[place] == nil { take(place) }
            groups[place] = record
            groupNumbers[record.id] = place
        case .eraseGroup(let place, let id):
            groups[place] = nil
            groupNumbers[id] = nil
            for message in messages[place] ?? [] {
                groupsOfMessages[message.number.rawValue] = nil
            }
            messages[place] = nil
            for blob in (blobs.removeValue(forKey: place) ?? [:]).values { drop(blob) }
            freePlaces.append(place)
        case .reserve(let count): nextMessage += count
        case .message(let message, let place):
            var list = messages[place] ?? []
            let index = list.lastIndex { $0.number < message.number }.map { $0 + 1 } ?? 0
            list.insert(message, at: index)
            messages[place] = list
            groupsOfMessages[message.number.rawValue] = place
        case .acknowledge(let number, let member, let isLast):
            // The real store takes the engine's word for it, too.
            acknowledge(number, isLast ? .max : member)
        case .clearWaiting(let place, let members):
            for message in messages[place] ?? [] { acknowledge(message.number.rawValue, members) }
        case .blob(let place, let id, let blob): blobs[place, default: [:]][id] = blob
        case .piece(let place, let id, let content, let day):
            blobs[place]?[id]?.take(content, on: day)
        case .dropBlobs(let day, let other):
            dropBlobs { blob in
                blob.owner != nil && (blob.day < day || blob.pieces.isEmpty && blob.day < other)
            }
        case .clearDropped(let limit):
            guard let blob = dropped.first else { return }
            if blob.pieceCount < limit {
                dropped.removeFirst()
            } else {
                dropped[0].pieceCount -= limit
            }
        case .receipt(let content, let mailbox, let day):
            receipts[nextReceipt] = (mailbox, day, content)
            receiptsOf[mailbox, default: []].append(nextReceipt)
            nextReceipt += 1
        case .forgetReceipt(let number, let mailbox):
            receipts[number] = nil
            receiptsOf[mailbox]?.removeAll { $0 == number }
        case .prune(let day):
            spent = spent.filter { $0.value >= day }
            for (number, receipt) in receipts where receipt.until < day {
                receipts[number] = nil
                receiptsOf[receipt.mailbox]?.removeAll { $0 == number }
            }
        case .clock(let hour): clockMark = hour
        default: break
        }
    }

    private mutating func dropBlobs(_ isGone: (MemoryBlob) -> Bool) {
        for (place, all) in blobs {
            for (id, blob) in all where isGone(blob) {
                drop(blob)
                blobs[place]?[id] = nil
            }
        }
    }

    private mutating func drop(_ blob: MemoryBlob) {
        dropped.append(
            DroppedBlob(
                pieceCount: blob.pieces.count,
                byteCount: blob.pieces.reduce(0) { $0 + $1.count }))
    }

    private mutating func take(_ place: Int64) {
        if freePlaces.last == place { freePlaces.removeLast() }
        nextPlace = max(nextPlace, place + 1)
    }

    private mutating func acknowledge(_ number: UInt64, _ members: MemberSet) {
        guard let place = groupsOfMessages[number],
            let index = messages[place]?.firstIndex(where: { $0.number.rawValue == number })
        else { return }
        let left = (messages[place]?[index].waiting ?? 0) & ~members
        if left == 0 {
            messages[place]?.remove(at: index)
            groupsOfMessages[number] = nil
        } else {
            messages[place]?[index].waiting = left
        }
    }
}

/// A blob in memory.
package struct MemoryBlob: Equatable {
    package let number: Int64
    package let byteCount: Int
    /// Whose mailbox puts pieces; `nil` once it is whole.
    package internal(set) var owner: Int64?
    package internal(set) var day: Day
    package internal(set) var pieces: [[UInt8]] = []

    mutating func take(_ piece: [UInt8], on day: Day) {
        pieces.append(piece)
        self.day = day
        if pieces.count == BlobShape(byteCount: UInt64(byteCount))?.pieceCount { owner = nil }
    }
}

/// What is left of a blob that is gone.
package struct DroppedBlob: Equatable {
    package internal(set) var pieceCount: Int
    /// Counted until the last piece is deleted.
    package let byteCount: Int
}

/// One thing that a `MemoryStore` did.
package enum MemoryChange {
    case mailbox(Int64, MailboxRecord)
    case eraseMailbox(Int64, MailboxID)
    case answer(Int64, UInt64, [UInt8])
    case forgetAnswers(Int64, through: UInt64)
    case shelf(Int64, [UInt8])
    case lastResort(Int64, [UInt8])
    case takeFromShelf(Int64, [UInt8])
    case takeLastResort(Int64)
    case clearShelf(Int64)
    case spend([UInt8], Day)
    case group(Int64, GroupRecord)
    case eraseGroup(Int64, GroupID)
    case reserve(UInt64)
    case message(StoredMessage, Int64)
    case acknowledge(UInt64, MemberSet, isLast: Bool)
    case clearWaiting(Int64, MemberSet)
    case blob(Int64, BlobID, MemoryBlob)
    case piece(Int64, BlobID, [UInt8], Day)
    case dropBlobs(before: Day, empty: Day)
    case clearDropped(limit: Int)
    case receipt([UInt8], MailboxID, Day)
    case forgetReceipt(UInt64, MailboxID)
    case prune(Day)
    case clock(UInt64)
}
