package dialect

import (
	"strings"

	"switchyard/controller/gtid"
)

// Question is one statement of a probe.
type Question struct {
	// Name is what the answer is called.
	Name string
	SQL  string
	// Optional is whether a probe goes on without the answer; Needs is then
	// what the operator is told to grant.
	Optional bool
	Needs    string
}

// The names of a probe's questions.
const (
	AskServer    = "server"
	AskStatus    = "replication status"
	AskVariables = "variables"
	AskCounters  = "status counters"
	AskReplicas  = "replicas"
	AskDumps     = "binlog dump threads"
	AskHeartbeat = "replication heartbeats"

	// Those that change rarely.
	AskBoots   = "boot settings"
	AskGrants  = "grants"
	AskRoles   = "roles"
	AskGroup   = "group replication"
	AskFilters = "replication filters"
)

// Questions returns what a probe asks, each answered by one result set. The
// ones without which there is no probe come first, since a server stops at the
// first that fails.
func (d Dialect) Questions() []Question {
	list := []Question{
		{Name: AskServer, SQL: d.server()},
		{Name: AskStatus, SQL: d.Status},
		{Name: AskVariables, SQL: d.variables()},
		{Name: AskCounters, SQL: "SHOW GLOBAL STATUS WHERE Variable_name IN (" + d.counters() + ")"},
		{Name: AskReplicas, SQL: d.Replicas, Optional: true, Needs: d.replicasGrant},
		{
			Name: AskDumps, Optional: true, Needs: "PROCESS",
			SQL: d.dumps(),
		},
	}
	if d.ChannelTables {
		list = append(list, Question{
			Name: AskHeartbeat, Optional: true, Needs: "SELECT on performance_schema.*",
			SQL: "SELECT s.CHANNEL_NAME AS channel, s.LAST_HEARTBEAT_TIMESTAMP AS last, " +
				"s.COUNT_RECEIVED_HEARTBEATS AS received, c.HEARTBEAT_INTERVAL AS period " +
				"FROM performance_schema.replication_connection_status s " +
				"JOIN performance_schema.replication_connection_configuration c USING (CHANNEL_NAME)",
		})
	}
	return list
}

// SlowQuestions returns what changes so rarely that it is asked only now and
// then. A probe goes on without any of the answers.
func (d Dialect) SlowQuestions() []Question {
	const grants = "SELECT on mysql.*"
	list := []Question{{Name: AskGrants, SQL: d.grants(), Optional: true, Needs: grants}}
	if d.Roles != "" {
		list = append(list, Question{Name: AskRoles, SQL: d.Roles, Optional: true, Needs: grants})
	}
	if d.Flavor == gtid.MariaDB {
		return append(list, Question{
			Name: AskBoots, Optional: true, Needs: "nothing",
			SQL: "SELECT LOWER(VARIABLE_NAME) AS name, GLOBAL_VALUE_ORIGIN AS origin, GLOBAL_VALUE AS value " +
				"FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME = 'READ_ONLY'",
		})
	}
	if d.ChannelTables {
		list = append(list, Question{
			Name: AskGroup, Optional: true, Needs: "SELECT on performance_schema.*",
			SQL: "SELECT MEMBER_STATE AS state FROM performance_schema.replication_group_members " +
				"WHERE MEMBER_ID = @@global.server_uuid",
		})
	}
	if d.Boots {
		list = append(list, Question{
			Name: AskBoots, Optional: true, Needs: "SELECT on performance_schema.*",
			SQL: "SELECT i.VARIABLE_NAME AS name, i.VARIABLE_SOURCE AS origin, p.VARIABLE_VALUE AS persisted, g.VARIABLE_VALUE AS value " +
				"FROM performance_schema.variables_info i " +
				"JOIN performance_schema.global_variables g ON g.VARIABLE_NAME = i.VARIABLE_NAME " +
				"LEFT JOIN performance_schema.persisted_variables p ON p.VARIABLE_NAME = i.VARIABLE_NAME " +
				"WHERE i.VARIABLE_NAME IN ('read_only', 'super_read_only')",
		}, Question{
			Name: AskFilters, Optional: true, Needs: "SELECT on performance_schema.*",
			SQL: "SELECT FILTER_NAME AS name, FILTER_RULE AS rule FROM performance_schema.replication_applier_global_filters",
		})
	}
	return list
}

// grants lists who may pass read_only, who may write, and who we are. The first
// table is read for its grant alone: without it the views show only what concerns
// ourselves, and that would look like an answer.
func (d Dialect) grants() string {
	const writes = "PRIVILEGE_TYPE IN ('INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER')"
	pass := "REPLACE(PRIVILEGE_TYPE, '_', ' ') IN ('" + strings.ReplaceAll(strings.Join(d.PassReadOnly, "', '"), "_", " ") + "')"
	list := "(SELECT CURRENT_USER() AS grantee, 'SELF' AS privilege FROM mysql.user LIMIT 1)" +
		" UNION (SELECT GRANTEE, 'PASS' FROM information_schema.USER_PRIVILEGES WHERE " + pass + ")"
	for _, level := range []string{"USER", "SCHEMA", "TABLE"} {
		list += " UNION (SELECT GRANTEE, 'WRITE' FROM information_schema." + level + "_PRIVILEGES WHERE " + writes + ")"
	}
	if d.rolePass != "" {
		// MariaDB's view of the global privileges leaves out the roles.
		const role, access = "CONCAT('\\'', User, '\\'@\\'\\'')", "CAST(JSON_VALUE(Priv, '$.access') AS UNSIGNED)"
		for _, of := range [][2]string{{"PASS", d.rolePass}, {"WRITE", "(1 << 1 | 1 << 2 | 1 << 3)"}} {
			list += " UNION (SELECT " + role + ", '" + of[0] + "' FROM mysql.global_priv " +
				"WHERE JSON_VALUE(Priv, '$.is_role') = 1 AND " + access + " & " + of[1] + ")"
		}
	}
	return list
}

// variables asks for what a server leaves out where it does not know it.
func (d Dialect) variables() string {
	names := []string{
		"slave_parallel_workers", "replica_parallel_workers", "slave_parallel_threads",
		"slave_preserve_commit_order", "replica_preserve_commit_order", "wsrep_on",
	}
	if d.Flavor == gtid.MariaDB {
		names = append(names, "master_retry_count")
		for _, name := range filterNames() {
			names = append(names, "replicate_"+name)
		}
	}
	return "SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'rpl_semi_sync_%' OR Variable_name IN ('" +
		strings.Join(names, "', '") + "')"
}

func (d Dialect) server() string {
	variables := []string{
		"server_id", "version_comment", "hostname", "port", "report_host", "report_port", "read_only", "log_bin", "binlog_format",
	}
	if d.SuperReadOnly {
		variables = append(variables, "super_read_only")
	}
	if d.Flavor == gtid.MariaDB {
		variables = append(variables, "gtid_binlog_state", "gtid_slave_pos", "gtid_binlog_pos")
	} else {
		variables = append(variables, "server_uuid", "gtid_mode", "gtid_executed")
	}
	columns := make([]string, 0, len(variables)+1)
	for _, v := range variables {
		columns = append(columns, "@@global."+v+" AS "+v)
	}
	columns = append(columns, "@@global."+d.LogUpdates+" AS log_updates")
	return "SELECT " + strings.Join(columns, ", ")
}

// counters lists the status variables of a probe; a server leaves out those
// that it does not have.
func (d Dialect) counters() string {
	names := []string{"Uptime"}
	for _, words := range [][2]string{{"master", "slave"}, {"source", "replica"}} {
		names = append(names, "Rpl_semi_sync_"+words[0]+"_status", "Rpl_semi_sync_"+words[1]+"_status",
			"Rpl_semi_sync_"+words[0]+"_clients", "Rpl_semi_sync_"+words[0]+"_wait_sessions")
	}
	if d.Flavor == gtid.MariaDB {
		// Where the last commit ended. To ask for the end of the log itself would
		// wait behind a commit that is stuck.
		names = append(names, "Binlog_snapshot_file", "Binlog_snapshot_position")
	}
	if d.Flavor == gtid.MySQL && !d.ChannelTables {
		names = append(names, "Slave_received_heartbeats", "Slave_heartbeat_period")
	}
	return "'" + strings.Join(names, "', '") + "'"
}

// dumps lists sessions, the dump threads among them. The information schema's
// table of sessions is made as a temporary one, on disk, each time it is read;
// the statement is not.
func (d Dialect) dumps() string {
	if d.Sessions == PlainSessions {
		return "SHOW PROCESSLIST"
	}
	return "SELECT HOST AS `Host`, COMMAND AS `Command` FROM " + d.Sessions + " WHERE COMMAND LIKE 'Binlog Dump%'"
}
