package stack

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Flavor names a kind of database server.
type Flavor string

// The flavors that a stack can start.
const (
	// MariaDB is MariaDB 10.11.
	MariaDB Flavor = "mariadb"
	// MySQL is Oracle MySQL 9.7: only the new statements, only caching_sha2_password.
	MySQL Flavor = "mysql"
	// MySQL56 is Oracle MySQL 5.6: the old statements with Oracle's GTIDs.
	MySQL56 Flavor = "mysql56"
)

// Flavors lists the flavors to test: MariaDB and MySQL 9.7 always, MySQL 5.6 where MYSQL56_DIR names it or the cache
// holds it. No registry has that one, so it cannot be asked for everywhere.
func Flavors() []Flavor {
	flavors := []Flavor{MariaDB, MySQL}
	cache, err := CacheDir()
	if err != nil {
		return flavors
	}
	if _, err := locateMySQL56(cache); err == nil || os.Getenv("MYSQL56_DIR") != "" {
		flavors = append(flavors, MySQL56)
	}
	return flavors
}

// Account is a database account of the stack.
type Account struct {
	User     string
	Password string
}

// ControllerAccount is the account of the controllers, with the privileges that Grants lists.
func ControllerAccount() Account { return Account{User: "switchyard", Password: "stack-controllers"} }

// ReplicationAccount is the account that replicas use on their master.
func ReplicationAccount() Account { return Account{User: "repl", Password: "stack-replication"} }

// AppAccount is the application's account: it may use the schema app, and passes no read-only.
func AppAccount() Account { return Account{User: "app", Password: "stack-application"} }

// AppSchema is the schema that the application's account may use.
const AppSchema = "app"

// Grants are the statements that give the controllers' account the least it needs.
func Grants(flavor Flavor) []string {
	to := " TO 'switchyard'@'%'"
	write := "GRANT CREATE, CREATE TEMPORARY TABLES, DROP, SELECT, INSERT, UPDATE ON `switchyard`.*" + to // the write probe
	switch flavor {
	case MariaDB:
		return []string{
			"GRANT PROCESS, RELOAD, REFERENCES, REPLICATION SLAVE, BINLOG MONITOR, BINLOG ADMIN, REPLICA MONITOR, " +
				"REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, CONNECTION ADMIN, READ_ONLY ADMIN ON *.*" + to,
			"GRANT SELECT ON mysql.*" + to, write,
		}
	case MySQL:
		return []string{
			"GRANT PROCESS, RELOAD, REFERENCES, REPLICATION CLIENT, REPLICATION SLAVE ON *.*" + to,
			"GRANT REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN, BINLOG_ADMIN ON *.*" + to,
			"GRANT SELECT ON mysql.*" + to,
			"GRANT SELECT ON performance_schema.*" + to, write,
		}
	default:
		return []string{
			"GRANT SUPER, PROCESS, RELOAD, REFERENCES, REPLICATION CLIENT, REPLICATION SLAVE ON *.*" + to,
			"GRANT SELECT ON mysql.*" + to, write,
		}
	}
}

// accountStatements make the stack's accounts on a fresh server.
func accountStatements(flavor Flavor) []string {
	create := func(a Account) string {
		return fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY '%s'", a.User, a.Password)
	}
	statements := []string{create(ControllerAccount()), create(ReplicationAccount()), create(AppAccount())}
	statements = append(statements, Grants(flavor)...)
	return append(statements,
		"GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'",
		"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX ON `"+AppSchema+"`.* TO 'app'@'%'")
}

// small keeps a server's start, its copy and its memory small; what makes a commit durable is left alone.
func small(flavor Flavor) map[string]string {
	options := map[string]string{
		"innodb_buffer_pool_size": "64M",
		"max_connections":         "300",
		"table_open_cache":        "256",
		"skip_name_resolve":       "ON",
	}
	switch flavor {
	case MariaDB:
		maps.Copy(options, map[string]string{
			"innodb_log_file_size": "32M", "performance_schema": "OFF",
			"innodb_buffer_pool_dump_at_shutdown": "OFF", "innodb_buffer_pool_load_at_startup": "OFF",
		})
	case MySQL:
		// The replication status of this flavor is in performance_schema, which therefore stays on.
		maps.Copy(options, map[string]string{
			"innodb_redo_log_capacity": "32M", "performance_schema": "ON", "mysqlx": "OFF",
			"innodb_buffer_pool_dump_at_shutdown": "OFF", "innodb_buffer_pool_load_at_startup": "OFF",
			"secure_file_priv": "",
		})
	case MySQL56:
		maps.Copy(options, map[string]string{
			"innodb_log_file_size": "16M", "performance_schema": "OFF", "secure_file_priv": "",
			"explicit_defaults_for_timestamp": "ON",
		})
	}
	if os.Geteuid() == 0 {
		options["user"] = "root"
	}
	return options
}

// replicationOptions are those of a shop that takes its data seriously, in the words of the flavor.
func replicationOptions(flavor Flavor) map[string]string {
	options := map[string]string{
		"log_bin": "binlog", "relay_log": "relay", "relay_log_recovery": "ON",
		"binlog_format": "ROW", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1",
		"read_only": "ON",
	}
	switch flavor {
	case MariaDB:
		options["log_slave_updates"] = "ON"
	case MySQL:
		delete(options, "binlog_format") // ROW is the default, and naming it is deprecated.
		maps.Copy(options, map[string]string{
			"log_replica_updates": "ON", "gtid_mode": "ON", "enforce_gtid_consistency": "ON",
			// While all workers are busy, the applier's coordinator spins and takes a whole processor: let there be
			// more of them than connections that write at once.
			"replica_parallel_workers": "32",
		})
	case MySQL56:
		maps.Copy(options, map[string]string{
			"log_slave_updates": "ON", "gtid_mode": "ON", "enforce_gtid_consistency": "ON",
			"master_info_repository": "TABLE", "relay_log_info_repository": "TABLE",
		})
	}
	return options
}

// semiSyncOptions load what semi-sync needs and let a replica acknowledge. The waiting side is switched on where a
// server becomes master, and waits for as long as it takes: a degraded semi-sync would prove nothing.
func semiSyncOptions(flavor Flavor) map[string]string {
	switch flavor {
	case MariaDB:
		return map[string]string{
			"rpl_semi_sync_slave_enabled": "ON", "rpl_semi_sync_master_timeout": "3600000",
			"rpl_semi_sync_master_wait_point": "AFTER_SYNC", "rpl_semi_sync_master_wait_no_slave": "ON",
		}
	case MySQL:
		return map[string]string{
			"plugin_load_add":               "semisync_source.so;semisync_replica.so",
			"rpl_semi_sync_replica_enabled": "ON", "rpl_semi_sync_source_timeout": "3600000",
			"rpl_semi_sync_source_wait_point": "AFTER_SYNC", "rpl_semi_sync_source_wait_no_replica": "ON",
		}
	default:
		return nil
	}
}

// optionFile renders an option file; the order is fixed so that a template's name can be made from it.
func optionFile(layers ...map[string]string) string {
	merged := map[string]string{}
	for _, layer := range layers {
		maps.Copy(merged, layer)
	}
	var b strings.Builder
	b.WriteString("[mysqld]\n")
	for _, key := range slices.Sorted(maps.Keys(merged)) {
		fmt.Fprintf(&b, "%s = %s\n", key, merged[key])
	}
	return b.String()
}
