-- The datacenters that are marked down; the key is the name.
CREATE TABLE datacenters (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
