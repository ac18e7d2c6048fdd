import RelayCore
import RelayProtocol

/// The relay's store on a simulated disk: what was written, what was committed, and what is durable.
///
/// Transactions are atomic, as SQLite's are. A commit that wasn't synced is lost by a crash, or
/// isn't. Places are used again for other mailboxes and groups as soon as possible, so that whoever
/// holds on to an old one shows.
final class SimulatedStore: RelayStore {
    struct State {
        var mailboxes: [Int64: MailboxRecord] = [:]
        var mailboxNumbers: [MailboxID: Int64] = [:]
        var answers: [Int64: [UInt64: [UInt8]]] = [:]
        var shelves: [Int64: [[UInt8]]] = [:]
        var lastResorts: [Int64: [UInt8]] = [:]
        var spent: [[UInt8]: Day] = [:]
        var groups: [Int64: GroupRecord] = [:]
        var groupNumbers: [GroupID: Int64] = [:]
        /// By group, in the order of their numbers.
        var messages: [Int64: [StoredMessage]] = [:]
        var groupsOfMessages: [UInt64: Int64] = [:]
        var receipts: [UInt64: (mailbox: MailboxID, until: Day, content: [UInt8])] = [:]
        var receiptsOf: [MailboxID: [UInt64]] = [:]
        var freePlaces: [Int64] = []
        var nextPlace: Int64 = 1
        var nextMessage: UInt64 = 1
        var nextReceipt: UInt64 = 1
        var clockMark: UInt64?
    }

    private enum Change {
        case mailbox(Int64, MailboxRecord)
        case eraseMailbox(Int64, MailboxID)
        case answer(Int64, UInt64, [UInt8])
        case forgetAnswers(Int64, through: UInt64)
        case shelf(Int64, [UInt8])
        case lastResort(Int64, [UInt8])
        case takeFromShelf(Int64)
        case clearShelf(Int64)
        case spend([UInt8], Day)
        case group(Int64, GroupRecord)
        case eraseGroup(Int64, GroupID)
        case reserve(UInt64)
        case message(StoredMessage, Int64)
        case acknowledge(UInt64, MemberSet, isLast: Bool)
        case clearWaiting(Int64, MemberSet)
        case receipt([UInt8], MailboxID, Day)
        case forgetReceipt(UInt64, MailboxID)
        case prune(Day)
        case clock(UInt64)
    }

    /// How this disk lies, for tests that show that a lie is found.
    var flaw = Flaw.none
    /// Writes that this batch can still make before the disk is full; `nil`: it isn't.
    var writesLeft: Int?

    private(set) var volatile = State()
    private(set) var durable = State()
    private var batch: [Change] = []
    private var unsynced: [[Change]] = []
    private var lastSynced: (before: State, Void)?

    // MARK: Transactions

    func begin() { batch = [] }

    /// The batch is whole. Answers whether it has to be synced before it is let go: acknowledgements
    /// alone needn't be.
    func commit() -> Bool {
        let mustSync = batch.contains {
            if case .acknowledge = $0 { false } else { true }
        }
        unsynced.append(batch)
        batch = []
        return mustSync
    }

    /// Commits that a crash may lose.
    var unsyncedCount: Int { unsynced.count }

    /// What was committed is on the disk.
    func sync() {
        if flaw == .losesSynced { lastSynced = (durable, ()) }
        for changes in unsynced { for change in changes { Self.apply(change, to: &durable) } }
        unsynced = []
    }

    /// The machine stops: what wasn't synced is there or isn't, all of it or a beginning.
    func crash(keeping count: Int) {
        for changes in unsynced.prefix(count) {
            for change in changes { Self.apply(change, to: &durable) }
        }
        if flaw == .tearsBatches, let torn = unsynced.dropFirst(count).first {
            for change in torn.prefix(torn.count / 2) { Self.apply(change, to: &durable) }
        }
        if flaw == .losesSynced, let lastSynced { durable = lastSynced.before }
        unsynced = []
        batch = []
        volatile = durable
    }

    /// The batch failed: it never was.
    func rollback() {
        batch = []
        volatile = durable
        for changes in unsynced { for change in changes { Self.apply(change, to: &volatile) } }
    }

    /// What a backup would hold.
    var image: State { durable }

    /// Puts a backup in place of everything.
    func restore(_ image: State) {
        durable = image
        volatile = image
        unsynced = []
        batch = []
    }

    private func write(_ change: Change) throws(StoreError) {
        if let left = writesLeft {
            guard left > 0 else { throw .full }
            writesLeft = left - 1
        }
        note(change)
    }

    private func note(_ change: Change) {
        batch.append(change)
        Self.apply(change, to: &volatile)
    }

    private static func apply(_ change: Change, to state: inout State) {
        switch change {
        case .mailbox(let place, let record):
            if state.mailboxes[place] == nil { take(place, &state) }
            state.mailboxes[place] = record
            state.mailboxNumbers[record.id] = place
        case .eraseMailbox(let place, let id):
            state.mailboxes[place] = nil
            state.mailboxNumbers[id] = nil
            state.answers[place] = nil
            state.shelves[place] = nil
            state.lastResorts[place] = nil
            state.freePlaces.append(place)
        case .answer(let place, let id, let content):
            state.answers[place, default: [:]][id] = content
        case .forgetAnswers(let place, let last):
            state.answers[place] = state.answers[place]?.filter { $0.key > last }
        case .shelf(let place, let package): state.shelves[place, default: []].append(package)
        case .lastResort(let place, let package): state.lastResorts[place] = package
        case .takeFromShelf(let place):
            if state.shelves[place]?.isEmpty == false { state.shelves[place]?.removeFirst() }
        case .clearShelf(let place):
            state.shelves[place] = nil
            state.lastResorts[place] = nil
        case .spend(let hash, let day): state.spent[hash] = day
        default: applyToGroups(change, &state)
        }
    }

    private static func applyToGroups(_ change: Change, _ state: inout State) {
        switch change {
        case .group(let place, let record):
            if state.groups[place] == nil { take(place, &state) }
            state.groups[place] = record
            state.groupNumbers[record.id] = place
        case .eraseGroup(let place, let id):
            state.groups[place] = nil
            state.groupNumbers[id] = nil
            for message in state.messages[place] ?? [] {
                state.groupsOfMessages[message.number.rawValue] = nil
            }
            state.messages[place] = nil
            state.freePlaces.append(place)
        case .reserve(let count): state.nextMessage += count
        case .message(let message, let place):
            var list = state.messages[place] ?? []
            let index = list.lastIndex { $0.number < message.number }.map { $0 + 1 } ?? 0
            list.insert(message, at: index)
            state.messages[place] = list
            state.groupsOfMessages[message.number.rawValue] = place
        case .acknowledge(let number, let member, let isLast):
            // The real store takes the engine's word for it, too.
            acknowledge(number, isLast ? .max : member, &state)
        case .clearWaiting(let place, let members):
            for message in state.messages[place] ?? [] {
                acknowledge(message.number.rawValue, members, &state)
            }
        case .receipt(let content, let mailbox, let day):
            state.receipts[state.nextReceipt] = (mailbox, day, content)
            state.receiptsOf[mailbox, default: []].append(state.nextReceipt)
            state.nextReceipt += 1
        case .forgetReceipt(let number, let mailbox):
            state.receipts[number] = nil
            state.receiptsOf[mailbox]?.removeAll { $0 == number }
        case .prune(let day):
            state.spent = state.spent.filter { $0.value >= day }
            for (number, receipt) in state.receipts where receipt.until < day {
                state.receipts[number] = nil
                state.receiptsOf[receipt.mailbox]?.removeAll { $0 == number }
            }
        case .clock(let hour): state.clockMark = hour
        default: break
        }
    }

    private static func take(_ place: Int64, _ state: inout State) {
        if state.freePlaces.last == place { state.freePlaces.removeLast() }
        state.nextPlace = max(state.nextPlace, place + 1)
    }

    private static func acknowledge(
        _ number: UInt64, _ members: MemberSet, _ state: inout State
    ) {
        guard let place = state.groupsOfMessages[number],
            let index = state.messages[place]?.firstIndex(where: { $0.number.rawValue == number })
        else { return }
        let left = (state.messages[place]?[index].waiting ?? 0) & ~members
        if left == 0 {
            state.messages[place]?.remove(at: index)
            state.groupsOfMessages[number] = nil
        } else {
            state.messages[place]?[index].waiting = left
        }
    }

    private var place: Int64 { volatile.freePlaces.last ?? volatile.nextPlace }

    // MARK: RelayStore

    var mailboxCount: Int { volatile.mailboxes.count }
    var groupCount: Int { volatile.groups.count }

    func mailbox(_ id: MailboxID) throws(StoreError) -> (MailboxNumber, MailboxRecord)? {
        guard let place = volatile.mailboxNumbers[id], let record = volatile.mailboxes[place] else {
            return nil
        }
        return (MailboxNumber(rawValue: place), record)
    }

    func mailbox(_ number: MailboxNumber) throws(StoreError) -> MailboxRecord? {
        volatile.mailboxes[number.rawValue]
    }

    func addMailbox(_ record: MailboxRecord) throws(StoreError) -> MailboxNumber {
        let place = place
        try write(.mailbox(place, record))
        return MailboxNumber(rawValue: place)
    }

    func updateMailbox(_ number: MailboxNumber, _ record: MailboxRecord) throws(StoreError) {
        try write(.mailbox(number.rawValue, record))
    }

    func eraseMailbox(_ number: MailboxNumber, _ id: MailboxID) throws(StoreError) {
        try write(.eraseMailbox(number.rawValue, id))
    }

    func answer(_ mailbox: MailboxNumber, _ request: RequestID) throws(StoreError) -> [UInt8]? {
        volatile.answers[mailbox.rawValue]?[request.rawValue]
    }

    func addAnswer(
        _ mailbox: MailboxNumber, _ request: RequestID, _ content: [UInt8]
    ) throws(StoreError) {
        try write(.answer(mailbox.rawValue, request.rawValue, content))
    }

    func removeAnswers(
        _ mailbox: MailboxNumber, through request: RequestID
    ) throws(StoreError) {
        note(.forgetAnswers(mailbox.rawValue, through: request.rawValue))
    }

    func shelfCount(_ mailbox: MailboxNumber) throws(StoreError) -> Int {
        volatile.shelves[mailbox.rawValue]?.count ?? 0
    }

    func addToShelf(
        _ mailbox: MailboxNumber, _ package: [UInt8], isLastResort: Bool
    ) throws(StoreError) {
        let place = mailbox.rawValue
        try write(isLastResort ? .lastResort(place, package) : .shelf(place, package))
    }

    func takeFromShelf(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        guard let package = volatile.shelves[mailbox.rawValue]?.first else { return nil }
        note(.takeFromShelf(mailbox.rawValue))
        return package
    }

    func lastResort(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        volatile.lastResorts[mailbox.rawValue]
    }

    func clearShelf(_ mailbox: MailboxNumber) throws(StoreError) {
        note(.clearShelf(mailbox.rawValue))
    }

    func spend(_ hash: [UInt8], until day: Day) throws(StoreError) -> Bool {
        guard volatile.spent[hash] == nil else { return false }
        try write(.spend(hash, day))
        return true
    }

    func group(_ id: GroupID) throws(StoreError) -> (GroupNumber, GroupRecord)? {
        guard let place = volatile.groupNumbers[id], let record = volatile.groups[place] else {
            return nil
        }
        return (GroupNumber(rawValue: place), record)
    }

    func group(_ number: GroupNumber) throws(StoreError) -> GroupRecord? {
        volatile.groups[number.rawValue]
    }

    func addGroup(_ record: GroupRecord) throws(StoreError) -> GroupNumber {
        let place = place
        try write(.group(place, record))
        return GroupNumber(rawValue: place)
    }

    func updateGroup(_ number: GroupNumber, _ record: GroupRecord) throws(StoreError) {
        try write(.group(number.rawValue, record))
    }

    func eraseGroup(_ number: GroupNumber, _ id: GroupID) throws(StoreError) -> Int {
        let count = volatile.messages[number.rawValue]?.count ?? 0
        if flaw == .forgetsErasures { return count }
        try write(.eraseGroup(number.rawValue, id))
        return count
    }

    func groups(
        after number: GroupNumber?, limit: Int
    ) throws(StoreError) -> (found: [(GroupNumber, GroupRecord)], next: GroupNumber?) {
        let keys = volatile.groups.keys.filter { $0 > number?.rawValue ?? .min }.sorted()
        let found = keys.prefix(limit).compactMap { key in
            volatile.groups[key].map { (GroupNumber(rawValue: key), $0) }
        }
        return (found, found.count < limit ? nil : found.last?.0)
    }

    func reserveMessageNumbers(_ count: UInt64) throws(StoreError) -> MessageNumber {
        let first = volatile.nextMessage
        try write(.reserve(count))
        return MessageNumber(rawValue: first)
    }

    func addMessage(_ message: StoredMessage, in group: GroupNumber) throws(StoreError) {
        try write(.message(message, group.rawValue))
    }

    func messages(
        in group: GroupNumber, waitingFor member: MemberSet, after number: MessageNumber,
        limit: Int, byteCount: Int
    ) throws(StoreError) -> (found: [StoredMessage], isComplete: Bool) {
        var found: [StoredMessage] = []
        var octets = 0
        for message in volatile.messages[group.rawValue] ?? []
        where message.number > number && message.waiting & member != 0 {
            guard found.count < limit, octets < byteCount else { return (found, false) }
            octets += message.content.count
            found.append(message)
        }
        return (found, true)
    }

    func message(
        _ number: MessageNumber
    ) throws(StoreError) -> (GroupNumber, MemberSet, byteCount: Int)? {
        guard let place = volatile.groupsOfMessages[number.rawValue],
            let message = volatile.messages[place]?.first(where: { $0.number == number })
        else { return nil }
        return (GroupNumber(rawValue: place), message.waiting, message.content.count)
    }

    func acknowledge(
        _ number: MessageNumber, by member: MemberSet, isLast: Bool
    ) throws(StoreError) {
        note(.acknowledge(number.rawValue, member, isLast: isLast))
    }

    func clearWaiting(_ members: MemberSet, in group: GroupNumber) throws(StoreError) {
        note(.clearWaiting(group.rawValue, members))
    }

    func backlog(
        in group: GroupNumber, of member: MemberSet
    ) throws(StoreError) -> (count: Int, byteCount: Int) {
        var sum = (count: 0, byteCount: 0)
        for message in volatile.messages[group.rawValue] ?? []
        where message.waiting & member != 0 {
            sum = (sum.count + 1, sum.byteCount + message.content.count)
        }
        return sum
    }

    func addReceipt(
        _ content: [UInt8], for mailbox: MailboxID, until day: Day
    ) throws(StoreError) -> UInt64 {
        let number = volatile.nextReceipt
        try write(.receipt(content, mailbox, day))
        return number
    }

    func receipts(for mailbox: MailboxID) throws(StoreError) -> [StoredReceipt] {
        (volatile.receiptsOf[mailbox] ?? []).compactMap { number in
            volatile.receipts[number].map { StoredReceipt(number: number, content: $0.content) }
        }
    }

    func removeReceipt(_ number: UInt64, of mailbox: MailboxID) throws(StoreError) {
        if volatile.receipts[number]?.mailbox == mailbox { note(.forgetReceipt(number, mailbox)) }
    }

    func prune(before day: Day) throws(StoreError) { note(.prune(day)) }
    func clockMark() throws(StoreError) -> UInt64? { volatile.clockMark }
    func setClockMark(hour: UInt64) throws(StoreError) { note(.clock(hour)) }
}
