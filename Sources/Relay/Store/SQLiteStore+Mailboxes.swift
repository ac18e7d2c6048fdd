import RelayCore
import RelayProtocol

/// Mailboxes with their answers and shelves, and what was spent to make them.
extension SQLiteStore {
    var mailboxCount: Int { mailboxes.count }

    func mailbox(_ id: MailboxID) throws(StoreError) -> (MailboxNumber, MailboxRecord)? {
        guard let slot = try mailboxes.slot(named: hash(id)) else { return nil }
        let number = MailboxNumber(rawValue: slot)
        guard let record = try mailbox(number), record.id == id else { return nil }
        return (number, record)
    }

    func mailbox(_ number: MailboxNumber) throws(StoreError) -> MailboxRecord? {
        guard let content = try mailboxes.content(of: number.rawValue) else { return nil }
        return try MailboxSlot.decode(content)
    }

    func addMailbox(_ record: MailboxRecord) throws(StoreError) -> MailboxNumber {
        switch record.kind {
        case .home: effects.homes += 1
        case .consultation: effects.mailboxes += 1
        }
        return MailboxNumber(
            rawValue: try mailboxes.add(MailboxSlot.encode(record), named: hash(record.id)))
    }

    func updateMailbox(_ number: MailboxNumber, _ record: MailboxRecord) throws(StoreError) {
        try mailboxes.update(number.rawValue, MailboxSlot.encode(record))
    }

    func eraseMailbox(_ number: MailboxNumber, _ id: MailboxID) throws(StoreError) {
        effects.note(.mailboxErased(hash: try receiptHash(id)))
        try mailboxes.erase(number.rawValue, named: hash(id))
        try sql.removeAnswers.run([number.rawValue, Int64.max])
        try sql.clearShelf.run([number.rawValue])
        try blobs.drop(ofMailbox: number.rawValue)
    }

    /// The places of at most `limit` mailboxes after `number`, and where to go on.
    func mailboxes(
        after number: MailboxNumber?, limit: Int
    ) throws(StoreError) -> (found: [(MailboxNumber, MailboxRecord)], next: MailboxNumber?) {
        var found: [(MailboxNumber, MailboxRecord)] = []
        var seen = 0
        var last: Int64 = 0
        try mailboxes.scan(after: number?.rawValue ?? 0, limit: limit) {
            slot, content throws(StoreError) in
            seen += 1
            last = slot
            if let record = try MailboxSlot.decode(content) {
                found.append((MailboxNumber(rawValue: slot), record))
            }
        }
        return (found, seen < limit ? nil : MailboxNumber(rawValue: last))
    }

    // MARK: Answers

    func answer(_ mailbox: MailboxNumber, _ request: RequestID) throws(StoreError) -> [UInt8]? {
        let stored = try sql.readAnswer.first([
            mailbox.rawValue, Int64(bitPattern: request.rawValue),
        ]) { $0.octets(0) }
        return try stored.map { content throws(StoreError) in
            try open(content, mailboxes.key(of: mailbox.rawValue), request.rawValue)
        }
    }

    func addAnswer(
        _ mailbox: MailboxNumber, _ request: RequestID, _ content: [UInt8]
    ) throws(StoreError) {
        let sealed = try seal(content, mailboxes.key(of: mailbox.rawValue), request.rawValue)
        try sql.addAnswer.run([
            mailbox.rawValue, Int64(bitPattern: request.rawValue), sealed,
        ])
    }

    func removeAnswers(
        _ mailbox: MailboxNumber, through request: RequestID
    ) throws(StoreError) {
        try sql.removeAnswers.run([mailbox.rawValue, Int64(clamping: request.rawValue)])
    }

    /// Opens every answer of a mailbox.
    func readAnswers(of mailbox: MailboxNumber) throws(StoreError) {
        let key = try mailboxes.key(of: mailbox.rawValue)
        let statement = try SQLStatement(
            database, "SELECT request, content FROM answer WHERE slot = ?")
        try statement.each([mailbox.rawValue]) { row throws(StoreError) in
            _ = try open(row.octets(1), key, UInt64(bitPattern: row.integer(0)))
            return true
        }
    }

    // MARK: Shelves

    func shelfCount(_ mailbox: MailboxNumber) throws(StoreError) -> Int {
        Int(try sql.countShelf.first([mailbox.rawValue]) { $0.integer(0) } ?? 0)
    }

    func addToShelf(
        _ mailbox: MailboxNumber, _ package: [UInt8], isLastResort: Bool
    ) throws(StoreError) {
        if isLastResort {
            if try shelved(mailbox, isLastResort: true) != nil {
                effects.note(.lastResortReplaced(mailbox: try receiptHash(mailbox)))
            }
            try sql.clearLastResort.run([mailbox.rawValue])
        }
        let sealed = try seal(package, mailboxes.key(of: mailbox.rawValue), Self.shelfContext)
        try sql.addToShelf.run([mailbox.rawValue, isLastResort ? 1 : 0, sealed])
    }

    func takeFromShelf(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        guard let (number, sealed) = try shelved(mailbox, isLastResort: false) else { return nil }
        try sql.removeFromShelf.run([number])
        let package = try open(sealed, mailboxes.key(of: mailbox.rawValue), Self.shelfContext)
        effects.note(.packageTaken(hash: TrailEffect.hash(ofPackage: package)))
        return package
    }

    func lastResort(_ mailbox: MailboxNumber) throws(StoreError) -> [UInt8]? {
        guard let (_, sealed) = try shelved(mailbox, isLastResort: true) else { return nil }
        return try open(sealed, mailboxes.key(of: mailbox.rawValue), Self.shelfContext)
    }

    func clearShelf(_ mailbox: MailboxNumber) throws(StoreError) {
        // What wasn't there can't come back with a backup.
        let hasLastResort = try shelved(mailbox, isLastResort: true) != nil
        let packageCount = try shelfCount(mailbox)
        guard hasLastResort || packageCount > 0 else { return }
        effects.note(.shelfCleared(mailbox: try receiptHash(mailbox)))
        try sql.clearShelf.run([mailbox.rawValue])
    }

    /// Every package on a shelf.
    func packages(
        of mailbox: MailboxNumber
    ) throws(StoreError) -> [(number: Int64, isLastResort: Bool, content: [UInt8])] {
        var rows: [(Int64, Bool, [UInt8])] = []
        let statement = try SQLStatement(
            database, "SELECT number, last_resort, content FROM shelf WHERE slot = ?")
        try statement.each([mailbox.rawValue]) { row in
            rows.append((row.integer(0), row.integer(1) != 0, row.octets(2)))
            return true
        }
        let key = try mailboxes.key(of: mailbox.rawValue)
        var packages: [(number: Int64, isLastResort: Bool, content: [UInt8])] = []
        for (number, isLastResort, sealed) in rows {
            packages.append((number, isLastResort, try open(sealed, key, Self.shelfContext)))
        }
        return packages
    }

    private func shelved(
        _ mailbox: MailboxNumber, isLastResort: Bool
    ) throws(StoreError) -> (Int64, [UInt8])? {
        try sql.readShelf.first([mailbox.rawValue, isLastResort ? 1 : 0]) {
            ($0.integer(0), $0.octets(1))
        }
    }

    /// In place of a request's id, which is never 0.
    private static let shelfContext: UInt64 = 0

    // MARK: Tokens and tickets

    func spend(_ hash: [UInt8], until day: Day) throws(StoreError) -> Bool {
        guard try sql.readSpent.first([hash], { _ in true }) == nil else { return false }
        try sql.addSpent.run([hash, Int64(day.rawValue)])
        effects.note(.spent(hash: hash, until: day))
        return true
    }
}
