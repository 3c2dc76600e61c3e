-- What operators asked for, and the audit. The key of a downtime and of a rule is
-- the server, of a pause the cluster (empty for all), of an audit entry its id.
CREATE TABLE downtimes (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rules     (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pauses    (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE audit     (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
