package admin

import "fmt"

// table is one table of the configuration. It exists in the memory layer and on disk, and in the runtime layer under
// its name with the prefix runtime_.
type table struct {
	name, columns string
	// noun is what the LOAD and SAVE statements call it.
	noun string
}

const status = `VARCHAR CHECK (UPPER(status) IN ('ONLINE','SHUNNED','OFFLINE_SOFT','OFFLINE_HARD')) NOT NULL DEFAULT 'ONLINE'`

// tables are the configuration, with the columns of the original that matter to who sets up routing.
func tables() []table {
	return []table{
		{"mysql_servers", `hostgroup_id INT CHECK (hostgroup_id >= 0) NOT NULL DEFAULT 0, hostname VARCHAR NOT NULL,
			port INT CHECK (port >= 0 AND port <= 65535) NOT NULL DEFAULT 3306, gtid_port INT NOT NULL DEFAULT 0,
			status ` + status + `, weight INT CHECK (weight >= 0 AND weight <= 10000000) NOT NULL DEFAULT 1,
			compression INT CHECK (compression IN (0, 1)) NOT NULL DEFAULT 0,
			max_connections INT CHECK (max_connections >= 0) NOT NULL DEFAULT 1000,
			max_replication_lag INT NOT NULL DEFAULT 0, use_ssl INT CHECK (use_ssl IN (0, 1)) NOT NULL DEFAULT 0,
			max_latency_ms INT NOT NULL DEFAULT 0, comment VARCHAR NOT NULL DEFAULT '',
			PRIMARY KEY (hostgroup_id, hostname, port)`, "MYSQL SERVERS"},
		{"mysql_replication_hostgroups", `writer_hostgroup INT CHECK (writer_hostgroup >= 0) NOT NULL PRIMARY KEY,
			reader_hostgroup INT NOT NULL CHECK (reader_hostgroup <> writer_hostgroup AND reader_hostgroup >= 0),
			check_type VARCHAR NOT NULL DEFAULT 'read_only', comment VARCHAR NOT NULL DEFAULT '',
			UNIQUE (reader_hostgroup)`, "MYSQL SERVERS"},
		{"mysql_users", `username VARCHAR NOT NULL, password VARCHAR, active INT CHECK (active IN (0, 1)) NOT NULL DEFAULT 1,
			use_ssl INT NOT NULL DEFAULT 0, default_hostgroup INT NOT NULL DEFAULT 0, default_schema VARCHAR,
			schema_locked INT NOT NULL DEFAULT 0, transaction_persistent INT NOT NULL DEFAULT 1,
			fast_forward INT NOT NULL DEFAULT 0, backend INT NOT NULL DEFAULT 1, frontend INT NOT NULL DEFAULT 1,
			max_connections INT NOT NULL DEFAULT 10000, attributes VARCHAR NOT NULL DEFAULT '',
			comment VARCHAR NOT NULL DEFAULT '', PRIMARY KEY (username, backend)`, "MYSQL USERS"},
		{"proxysql_servers", `hostname VARCHAR NOT NULL, port INT NOT NULL DEFAULT 6032, weight INT NOT NULL DEFAULT 0,
			comment VARCHAR NOT NULL DEFAULT '', PRIMARY KEY (hostname, port)`, "PROXYSQL SERVERS"},
		{"global_variables", `variable_name VARCHAR NOT NULL PRIMARY KEY, variable_value VARCHAR NOT NULL`, "VARIABLES"},
	}
}

// stats are the tables of the statistics. They are filled when somebody reads them.
func stats() []table {
	return []table{
		{"stats_mysql_processlist", `ThreadID INT NOT NULL, SessionID INTEGER PRIMARY KEY, user VARCHAR, db VARCHAR,
			cli_host VARCHAR, cli_port INT, hostgroup INT, l_srv_host VARCHAR, l_srv_port INT, srv_host VARCHAR,
			srv_port INT, command VARCHAR, time_ms INT NOT NULL, info VARCHAR, status_flags INT, extended_info VARCHAR`, ""},
		{"stats_mysql_connection_pool", `hostgroup INT, srv_host VARCHAR, srv_port INT, status VARCHAR, ConnUsed INT,
			ConnFree INT, ConnOK INT, ConnERR INT, MaxConnUsed INT, Queries INT, Queries_GTID_sync INT,
			Bytes_data_sent INT, Bytes_data_recv INT, Latency_us INT`, ""},
	}
}

// schema creates all tables of all layers.
func schema() []string {
	var list []string
	for _, t := range tables() {
		list = append(list, fmt.Sprintf("CREATE TABLE main.%s (%s)", t.name, t.columns),
			fmt.Sprintf("CREATE TABLE main.runtime_%s (%s)", t.name, t.columns),
			fmt.Sprintf("CREATE TABLE IF NOT EXISTS disk.%s (%s)", t.name, t.columns))
	}
	for _, t := range stats() {
		list = append(list, fmt.Sprintf("CREATE TABLE stats.%s (%s)", t.name, t.columns))
	}
	return list
}

// variables are the global variables with their defaults.
func variables() map[string]string {
	return map[string]string{
		"mysql-auto_increment_delay_multiplex":            "5",
		"mysql-auto_increment_delay_multiplex_timeout_ms": "10000",
		"mysql-connect_retries_delay":                     "1",
		"mysql-connect_retries_on_failure":                "10",
		"mysql-connect_timeout_server":                    "1000",
		"mysql-connect_timeout_server_max":                "10000",
		"mysql-default_schema":                            "information_schema",
		"mysql-interfaces":                                "",
		"mysql-max_transaction_idle_time":                 "14400000",
		"mysql-max_transaction_time":                      "14400000",
		"mysql-monitor_enabled":                           "false",
		"mysql-monitor_password":                          "monitor",
		"mysql-monitor_username":                          "monitor",
		"mysql-ping_interval_server_msec":                 "10000",
		"mysql-poll_timeout":                              "2000",
		"mysql-query_retries_on_failure":                  "1",
		"mysql-server_version":                            "8.0.30",
		"mysql-shun_on_failures":                          "5",
		"mysql-shun_recovery_time_sec":                    "10",
		"mysql-threads":                                   "4",

		"admin-admin_credentials":                         "admin:admin",
		"admin-checksum_mysql_servers":                    "true",
		"admin-cluster_mysql_servers_diffs_before_sync":   "3",
		"admin-cluster_mysql_servers_save_to_disk":        "true",
		"admin-cluster_mysql_users_diffs_before_sync":     "3",
		"admin-cluster_mysql_variables_diffs_before_sync": "3",
		"admin-cluster_password":                          "",
		"admin-cluster_username":                          "",
		"admin-mysql_ifaces":                              "",
		"admin-version":                                   Version,
	}
}

// Version is what the stand-in calls itself, so that nobody takes it for the original.
const Version = "2.7.2-standin"
