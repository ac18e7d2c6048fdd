import GRDB

/// The tables, as migrations that are only ever added to.
enum Schema {
    /// How many migrations a database has had, of which these are the names.
    ///
    /// - Throws: `.newerDatabase` if a version to come has been at work.
    static func number(of applied: Set<String>) throws(RelayError) -> Int {
        guard applied.isSubset(of: migrator.migrations) else { throw .newerDatabase }
        return applied.count
    }

    /// How many migrations this version knows.
    static var number: Int { migrator.migrations.count }

    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 mailboxes, groups, messages") { database in
            try database.execute(sql: first)
        }
        migrator.registerMigration("2 blobs") { database in
            try database.execute(sql: second)
        }
        migrator.registerMigration("3 messages are counted in their index") { database in
            try database.execute(sql: third)
        }
        return migrator
    }

    /// Slots are numbered at random among those that are free, so that neighbours mean nothing. A
    /// name's hash is under a key of this store. No column holds a time finer than a day.
    private static let first = """
        CREATE TABLE setting (
            name TEXT NOT NULL PRIMARY KEY,
            value BLOB NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE mailbox_slot (
            number INTEGER NOT NULL PRIMARY KEY,
            content BLOB NOT NULL,
            key BLOB NOT NULL
        );
        CREATE TABLE mailbox_name (
            hash INTEGER NOT NULL PRIMARY KEY,
            slot INTEGER NOT NULL
        );
        CREATE TABLE group_slot (
            number INTEGER NOT NULL PRIMARY KEY,
            content BLOB NOT NULL,
            key BLOB NOT NULL
        );
        CREATE TABLE group_name (
            hash INTEGER NOT NULL PRIMARY KEY,
            slot INTEGER NOT NULL
        );
        CREATE TABLE message (
            number INTEGER NOT NULL PRIMARY KEY,
            slot INTEGER NOT NULL,
            waiting INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            size INTEGER NOT NULL,
            content BLOB NOT NULL
        );
        CREATE INDEX message_by_group ON message (slot);
        CREATE TABLE answer (
            slot INTEGER NOT NULL,
            request INTEGER NOT NULL,
            content BLOB NOT NULL,
            PRIMARY KEY (slot, request)
        ) WITHOUT ROWID;
        CREATE TABLE shelf (
            number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            slot INTEGER NOT NULL,
            last_resort INTEGER NOT NULL,
            content BLOB NOT NULL
        );
        CREATE INDEX shelf_by_mailbox ON shelf (slot, last_resort);
        CREATE TABLE spent (
            hash BLOB NOT NULL PRIMARY KEY,
            until INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE receipt (
            number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
            mailbox BLOB NOT NULL,
            until INTEGER NOT NULL,
            content BLOB NOT NULL
        );
        CREATE INDEX receipt_by_mailbox ON receipt (mailbox);
        """

    /// A blob of slot 0 was dropped, one of owner 0 is whole. The hash of its name is under a key of
    /// this store; a piece's number is the blob's, and 16 bits for its index.
    private static let second = """
        CREATE TABLE blob (
            number INTEGER NOT NULL PRIMARY KEY,
            slot INTEGER NOT NULL,
            hash INTEGER NOT NULL,
            owner INTEGER NOT NULL,
            size INTEGER NOT NULL,
            pieces INTEGER NOT NULL,
            day INTEGER NOT NULL
        );
        CREATE INDEX blob_by_group ON blob (slot, hash, size);
        CREATE INDEX blob_unfinished ON blob (owner) WHERE owner != 0;
        CREATE TABLE piece (
            number INTEGER NOT NULL PRIMARY KEY,
            content BLOB NOT NULL
        );
        """

    /// What is counted, at the start over all groups, needs no look at the messages themselves.
    private static let third = """
        DROP INDEX message_by_group;
        CREATE INDEX message_by_group ON message (slot, number, waiting, size);
        """
}
