import GRDB

/// The store's statements, prepared once.
struct Statements {
    let readSetting, writeSetting: SQLStatement
    let readAnswer, addAnswer, removeAnswers: SQLStatement
    let countShelf, addToShelf, readShelf, removeFromShelf, clearLastResort,
        clearShelf: SQLStatement
    let readSpent, addSpent, pruneSpent: SQLStatement
    let addMessage, readMessages, readMessage, countMessages, countAll,
        countBacklog: SQLStatement
    let removeMessage, clearMessage, removeServedMessage: SQLStatement
    let removeMessages, clearMessages, removeServedMessages: SQLStatement
    let addReceipt, readReceipts, countReceipts, removeReceipt, pruneReceipts: SQLStatement

    init(_ database: Database) throws {
        func prepare(_ text: String) throws -> SQLStatement { try SQLStatement(database, text) }

        readSetting = try prepare("SELECT value FROM setting WHERE name = ?")
        writeSetting = try prepare("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)")

        readAnswer = try prepare("SELECT content FROM answer WHERE slot = ? AND request = ?")
        addAnswer = try prepare("INSERT INTO answer (slot, request, content) VALUES (?, ?, ?)")
        removeAnswers = try prepare("DELETE FROM answer WHERE slot = ? AND request <= ?")

        countShelf = try prepare(
            "SELECT count(*) FROM shelf WHERE slot = ? AND last_resort = 0")
        addToShelf = try prepare(
            "INSERT INTO shelf (slot, last_resort, content) VALUES (?, ?, ?)")
        readShelf = try prepare(
            """
            SELECT number, content FROM shelf WHERE slot = ? AND last_resort = ?
            ORDER BY number LIMIT 1
            """)
        removeFromShelf = try prepare("DELETE FROM shelf WHERE number = ?")
        clearLastResort = try prepare("DELETE FROM shelf WHERE slot = ? AND last_resort = 1")
        clearShelf = try prepare("DELETE FROM shelf WHERE slot = ?")

        readSpent = try prepare("SELECT 1 FROM spent WHERE hash = ?")
        addSpent = try prepare("INSERT INTO spent (hash, until) VALUES (?, ?)")
        pruneSpent = try prepare("DELETE FROM spent WHERE until < ?")

        addMessage = try prepare(
            """
            INSERT INTO message (number, slot, waiting, kind, size, content)
            VALUES (?, ?, ?, ?, ?, ?)
            """)
        readMessages = try prepare(
            """
            SELECT number, waiting, kind, content, size FROM message INDEXED BY message_by_group
            WHERE slot = ? AND number > ? AND waiting & ? != 0 ORDER BY number
            """)
        readMessage = try prepare("SELECT slot, waiting, size FROM message WHERE number = ?")
        countMessages = try prepare(
            "SELECT count(*), coalesce(sum(size), 0) FROM message WHERE slot = ?")
        countAll = try prepare("SELECT count(*), coalesce(sum(size), 0) FROM message")
        countBacklog = try prepare(
            """
            SELECT count(*), coalesce(sum(size), 0) FROM message
            WHERE slot = ? AND waiting & ? != 0
            """)
        removeMessage = try prepare("DELETE FROM message WHERE number = ?")
        clearMessage = try prepare("UPDATE message SET waiting = waiting & ? WHERE number = ?")
        removeServedMessage = try prepare("DELETE FROM message WHERE number = ? AND waiting = 0")
        removeMessages = try prepare("DELETE FROM message WHERE slot = ?")
        clearMessages = try prepare("UPDATE message SET waiting = waiting & ? WHERE slot = ?")
        removeServedMessages = try prepare(
            "DELETE FROM message WHERE slot = ? AND waiting = 0 RETURNING size")

        addReceipt = try prepare(
            "INSERT INTO receipt (mailbox, until, content) VALUES (?, ?, ?)")
        readReceipts = try prepare(
            """
            SELECT number, content FROM (
                SELECT number, content FROM receipt WHERE mailbox = ?
                ORDER BY number DESC LIMIT ?)
            ORDER BY number
            """)
        countReceipts = try prepare("SELECT count(*) FROM receipt WHERE mailbox = ?")
        removeReceipt = try prepare("DELETE FROM receipt WHERE number = ? AND mailbox = ?")
        pruneReceipts = try prepare("DELETE FROM receipt WHERE until < ?")
    }
}
