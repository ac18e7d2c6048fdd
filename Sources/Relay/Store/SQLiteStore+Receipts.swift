import GRDB
import RelayCore
import RelayProtocol

/// Receipts, kept under hashes of mailboxes for devices that come late.
extension SQLiteStore {
    func addReceipt(
        _ content: [UInt8], for mailbox: MailboxID, until day: Day
    ) throws(StoreError) -> UInt64 {
        let hash = try receiptHash(mailbox)
        effects.note(.receipt(mailbox: hash, content: content, until: day))
        try sql.addReceipt.run([hash, Int64(day.rawValue), content])
        return UInt64(bitPattern: database.lastInsertedRowID)
    }

    func receipts(for mailbox: MailboxID) throws(StoreError) -> [StoredReceipt] {
        var receipts: [StoredReceipt] = []
        try sql.readReceipts.each([try receiptHash(mailbox), ProtocolConstants.receiptsTold]) {
            row in
            receipts.append(
                StoredReceipt(number: UInt64(bitPattern: row.integer(0)), content: row.octets(1)))
            return true
        }
        return receipts
    }

    func receiptCount(for mailbox: MailboxID) throws(StoreError) -> Int {
        try Int(sql.countReceipts.first([receiptHash(mailbox)]) { $0.integer(0) } ?? 0)
    }

    func removeReceipt(_ number: UInt64, of mailbox: MailboxID) throws(StoreError) {
        try sql.removeReceipt.run([
            Int64(bitPattern: number), try receiptHash(mailbox),
        ])
    }
}
