CREATE TABLE answer (
    slot INTEGER NOT NULL,
    request INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (slot, request)
) WITHOUT ROWID;
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
CREATE TABLE group_name (
    hash INTEGER NOT NULL PRIMARY KEY,
    slot INTEGER NOT NULL
);
CREATE TABLE group_slot (
    number INTEGER NOT NULL PRIMARY KEY,
    content BLOB NOT NULL,
    key BLOB NOT NULL
);
CREATE TABLE mailbox_name (
    hash INTEGER NOT NULL PRIMARY KEY,
    slot INTEGER NOT NULL
);
CREATE TABLE mailbox_slot (
    number INTEGER NOT NULL PRIMARY KEY,
    content BLOB NOT NULL,
    key BLOB NOT NULL
);
CREATE TABLE message (
    number INTEGER NOT NULL PRIMARY KEY,
    slot INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL,
    content BLOB NOT NULL
);
CREATE INDEX message_by_group ON message (slot, number, waiting, size);
CREATE TABLE piece (
    number INTEGER NOT NULL PRIMARY KEY,
    content BLOB NOT NULL
);
CREATE TABLE receipt (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    mailbox BLOB NOT NULL,
    until INTEGER NOT NULL,
    content BLOB NOT NULL
);
CREATE INDEX receipt_by_mailbox ON receipt (mailbox);
CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
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
