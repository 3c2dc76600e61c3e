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
	AskVariables = "semi-sync variables"
	AskCounters  = "status counters"
	AskReplicas  = "replicas"
	AskDumps     = "binlog dump threads"
	AskHeartbeat = "replication heartbeats"
)

// Questions returns what a probe asks, each answered by one result set. The
// ones without which there is no probe come first, since a server stops at the
// first that fails.
func (d Dialect) Questions() []Question {
	list := []Question{
		{Name: AskServer, SQL: d.server()},
		{Name: AskStatus, SQL: d.Status},
		{Name: AskVariables, SQL: "SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%'"},
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

func (d Dialect) server() string {
	variables := []string{
		"server_id", "hostname", "port", "report_host", "report_port", "read_only", "log_bin", "binlog_format",
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
			"Rpl_semi_sync_"+words[0]+"_clients")
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
