-- One row: whose file this is, and which entry of the raft log it is at.
CREATE TABLE meta (
    only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
    ledger_id     TEXT    NOT NULL,
    node_id       TEXT    NOT NULL,
    applied_index INTEGER NOT NULL DEFAULT 0,
    applied_term  INTEGER NOT NULL DEFAULT 0
);

-- The records of the ledger, one table for each family; a record is JSON, so
-- that "sqlite3 state.db" can be asked with ->> and json_each.
CREATE TABLE header        (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE clusters      (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE servers       (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE recoveries    (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE confirmations (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
