package dialect

import (
	"fmt"
	"strings"

	"switchyard/controller/gtid"
)

// Beat is what a write probe says, in a schema of our own. None of it is logged:
// a write that comes to its end late, on a master that was given up meanwhile,
// must leave no transaction there that the others lack, or that server could not
// be rejoined.
type Beat struct {
	schema, writer string
	d              Dialect
}

// Beat returns the words of the probe of one writer.
func (d Dialect) Beat(schema, writer string) (Beat, error) {
	quoted, err := Quote("writer", writer)
	if err != nil {
		return Beat{}, err
	}
	if schema == "" || strings.ContainsAny(schema, "`\x00/\\.") {
		return Beat{}, fmt.Errorf("schema %q: want a plain name", clip(schema, 64))
	}
	return Beat{schema: "`" + schema + "`", writer: quoted, d: d}, nil
}

// Prepare makes a session that logs nothing.
func (b Beat) Prepare() string { return "SET SESSION sql_log_bin = 0, autocommit = 1" }

// Create makes the schema and the table where they are missing.
func (b Beat) Create() string {
	return "CREATE DATABASE IF NOT EXISTS " + b.schema + "; CREATE TABLE IF NOT EXISTS " + b.schema +
		".heartbeat (writer VARCHAR(128) CHARACTER SET utf8 NOT NULL PRIMARY KEY, written DATETIME(6) NOT NULL) ENGINE = InnoDB"
}

// Write writes the writer's row, on a server that is writable: our account passes
// read_only, so the statement looks itself. The answer has the column written,
// which is 0 where nothing was.
func (b Beat) Write() string {
	return "INSERT INTO " + b.schema + ".heartbeat (writer, written) SELECT " + b.writer +
		", NOW(6) FROM DUAL WHERE @@global.read_only = 0 ON DUPLICATE KEY UPDATE written = NOW(6); SELECT ROW_COUNT() AS written"
}

// Log asks where the binary log ends, which waits behind whoever is stuck in
// writing to it.
func (b Beat) Log() string { return b.d.log }

// Space takes some new space in the file system of the data directory and gives
// it back; empty where the server has no cheap way. The heartbeat itself, however
// large it is made, takes space once and uses it again ever after. MySQL's
// temporary tables grow a file that shrinks when the session ends; MariaDB's file
// of them never shrinks, so there a table is emptied, which makes its file anew.
func (b Beat) Space() []string {
	switch {
	case b.d.Flavor == gtid.MariaDB:
		table := b.schema + ".space"
		return []string{
			"CREATE TABLE IF NOT EXISTS " + table + " (filler LONGBLOB) ENGINE = InnoDB",
			"TRUNCATE TABLE " + table, "INSERT INTO " + table + " VALUES (REPEAT('x', 500000))",
		}
	case b.d.SessionSpace:
		table := b.schema + ".space"
		return []string{
			"CREATE TEMPORARY TABLE " + table + " (filler LONGBLOB) ENGINE = InnoDB",
			"INSERT INTO " + table + " VALUES (REPEAT('x', 500000))",
		}
	}
	return nil
}

// Vitals asks, in one round trip, for what may keep clients from writing though
// the server answers: whether it is writable, its connections, and its semi-sync.
func (d Dialect) Vitals() string {
	counters := []string{"Threads_connected"}
	for _, word := range []string{"master", "source"} {
		for _, name := range []string{"status", "clients", "wait_sessions", "yes_tx"} {
			counters = append(counters, "Rpl_semi_sync_"+word+"_"+name)
		}
	}
	return "SELECT @@global.read_only AS read_only, @@global.max_connections AS max_connections; " +
		"SHOW GLOBAL STATUS WHERE Variable_name IN ('" + strings.Join(counters, "', '") + "'); " +
		"SHOW GLOBAL VARIABLES WHERE Variable_name IN " +
		"('rpl_semi_sync_master_wait_for_slave_count', 'rpl_semi_sync_source_wait_for_replica_count')"
}
