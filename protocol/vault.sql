-- The tables of a vault with one consultation, as Sources/Vault makes them; a test compares.
PRAGMA application_id = 1131763316;
PRAGMA user_version = 1;
CREATE TABLE c1_records (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL,
    key BLOB NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX c1_records_by_key ON c1_records (collection, key);
CREATE TABLE header (id INTEGER PRIMARY KEY CHECK (id = 1), cell BLOB NOT NULL) STRICT;
CREATE TABLE person_records (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL,
    key BLOB NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX person_records_by_key ON person_records (collection, key);
CREATE TABLE slots0 (id INTEGER PRIMARY KEY, cell BLOB NOT NULL) STRICT;
