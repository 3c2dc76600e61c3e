package dialect

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"switchyard/controller/gtid"
)

// PlainSessions is the table of sessions that every server has.
const PlainSessions = "information_schema.PROCESSLIST"

// Dialect is what one family of servers understands.
type Dialect struct {
	// Name is the family and its first version, as in "mysql-8.0.26".
	Name   string
	Flavor gtid.Flavor
	// From is the first version of the family.
	From [3]int

	// Replica is the word for a replica in statements: REPLICA or SLAVE.
	Replica string
	// Source is the word for a master in the options of the statement that
	// points a replica to it: SOURCE or MASTER.
	Source string
	// Change begins that statement.
	Change string
	// Status prints the state of replication, one row for each channel.
	Status string
	// Replicas lists the registered replicas.
	Replicas string
	// Heartbeat asks for the default channel's heartbeat period; empty where
	// Status shows it.
	Heartbeat string
	// Sessions is the table of sessions that takes the fewest locks.
	Sessions string
	// LogUpdates is the variable that makes a replica log what it applies.
	LogUpdates string
	// QueryTimeout is the session variable that ends long queries; empty where
	// there is none.
	QueryTimeout string

	// SuperReadOnly is whether super_read_only exists.
	SuperReadOnly bool
	// ChannelTables is whether performance_schema has the state of the channels.
	ChannelTables bool
	// PublicKey is whether a replica can ask its source for the key that
	// protects a password without TLS.
	PublicKey bool
	// RetryCount is whether the number of connection attempts is set per replica.
	RetryCount bool
	// KeepsRelayLog is whether a replica whose threads were both stopped still
	// applies, once started, what it had received before. MariaDB drops it.
	KeepsRelayLog bool

	// DelayAlone is whether the applier's delay can be changed with its thread
	// alone stopped.
	DelayAlone bool
	// Boots is whether the server says where the value of a variable comes from.
	Boots bool
	// Roles is the query for who was granted which role; empty without roles.
	Roles string
	// PassReadOnly are the privileges that pass read_only.
	PassReadOnly []string
	// WholeSeconds is whether Wait takes whole seconds only.
	WholeSeconds bool

	wait string // the function that waits for a GTID set, with its arguments
	// SessionSpace is whether each session's temporary tables have a file of their
	// own that shrinks when the session ends.
	SessionSpace  bool
	log           string // shows where the binary log ends
	rolePass      string // what of a role's privileges, as MariaDB stores them, passes read_only
	replicasGrant string // what the list of replicas needs
}

// Table returns the families in order: each server belongs to the last one of
// its flavor that begins at or before its version.
func Table() []Dialect {
	old := Dialect{
		Flavor: gtid.MySQL, Replica: "SLAVE", Source: "MASTER", Change: "CHANGE MASTER TO",
		Status: "SHOW SLAVE STATUS", Replicas: "SHOW SLAVE HOSTS",
		log: "SHOW MASTER STATUS", Sessions: PlainSessions, LogUpdates: "log_slave_updates",
		RetryCount: true, KeepsRelayLog: true, replicasGrant: "REPLICATION SLAVE", PassReadOnly: []string{"SUPER"},
	}

	maria := old
	maria.Name, maria.Flavor, maria.From = "mariadb-10.1", gtid.MariaDB, [3]int{10, 1, 0}
	maria.Status, maria.QueryTimeout = "SHOW ALL SLAVES STATUS", "max_statement_time"
	maria.RetryCount, maria.KeepsRelayLog = false, false
	maria.wait = "SELECT MASTER_GTID_WAIT(%s, %s) AS waited"

	maria.Boots = true
	maria.Roles = "SELECT CONCAT('\\'', User, '\\'@\\'', Host, '\\'') AS grantee, CONCAT('\\'', Role, '\\'@\\'\\'') AS role " +
		"FROM mysql.roles_mapping"
	maria105 := maria
	maria105.Name, maria105.From = "mariadb-10.5.2", [3]int{10, 5, 2}
	maria105.replicasGrant = "REPLICATION MASTER ADMIN"
	maria105.PassReadOnly, maria105.rolePass = []string{"SUPER", "READ ONLY ADMIN"}, "(1 << 15 | 1 << 33)"
	// From here on SUPER passes no more.
	maria1011 := maria105
	maria1011.Name, maria1011.From = "mariadb-10.11", [3]int{10, 11, 0}
	maria1011.PassReadOnly, maria1011.rolePass = []string{"READ ONLY ADMIN"}, "(1 << 33)"

	my56 := old
	my56.Name, my56.From = "mysql-5.6", [3]int{5, 6, 0}
	my56.WholeSeconds = true
	my56.Heartbeat = "SELECT VARIABLE_VALUE AS period FROM information_schema.GLOBAL_STATUS " +
		"WHERE VARIABLE_NAME = 'Slave_heartbeat_period'"
	my56.wait = "SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS(%s, %s) AS waited"

	my57 := my56
	my57.Name, my57.From = "mysql-5.7.8", [3]int{5, 7, 8}
	my57.SuperReadOnly, my57.ChannelTables, my57.QueryTimeout = true, true, "max_execution_time"
	my57.WholeSeconds, my57.DelayAlone = false, true
	my57.Heartbeat = "SELECT HEARTBEAT_INTERVAL AS period FROM performance_schema.replication_connection_configuration " +
		"WHERE CHANNEL_NAME = ''"
	my57.wait = "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS waited"

	my80 := my57
	my80.Name, my80.From = "mysql-8.0.11", [3]int{8, 0, 11}
	my80.PublicKey, my80.Boots = true, true
	my80.PassReadOnly = []string{"SUPER", "CONNECTION_ADMIN"}
	my80.Roles = "SELECT CONCAT('\\'', TO_USER, '\\'@\\'', TO_HOST, '\\'') AS grantee, " +
		"CONCAT('\\'', FROM_USER, '\\'@\\'', FROM_HOST, '\\'') AS role FROM mysql.role_edges"

	my8026 := my80
	my8026.Name, my8026.From = "mysql-8.0.26", [3]int{8, 0, 26}
	my8026.Replica, my8026.Source, my8026.Change = "REPLICA", "SOURCE", "CHANGE REPLICATION SOURCE TO"
	my8026.Status, my8026.Replicas = "SHOW REPLICA STATUS", "SHOW REPLICAS"
	my8026.Sessions, my8026.LogUpdates = "performance_schema.processlist", "log_replica_updates"

	my8026.SessionSpace = true
	my82 := my8026
	my82.Name, my82.From, my82.log = "mysql-8.2", [3]int{8, 2, 0}, "SHOW BINARY LOG STATUS"
	return []Dialect{maria, maria105, maria1011, my56, my57, my80, my8026, my82}
}

// Detect chooses the dialect of a server by its @@version and @@version_comment.
func Detect(version, comment string) (Dialect, error) {
	v, err := parseVersion(version)
	if err != nil {
		return Dialect{}, err
	}
	flavor := gtid.MySQL
	if strings.Contains(strings.ToLower(version+" "+comment), "mariadb") {
		flavor = gtid.MariaDB
	}
	var found *Dialect
	for _, d := range Table() {
		if d.Flavor == flavor && compareVersion(d.From, v) <= 0 {
			found = &d
		}
	}
	if found == nil {
		return Dialect{}, fmt.Errorf("server version %q is too old: want MariaDB 10.1, MySQL 5.6 or later", version)
	}
	return *found, nil
}

func parseVersion(text string) (v [3]int, err error) {
	// A server behind some proxies announces itself as 5.5.5-10.11.2-MariaDB.
	m := regexp.MustCompile(`^(?:5\.5\.5-)?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?`).FindStringSubmatch(text)
	if m == nil {
		return v, fmt.Errorf("server version %q: want it to begin with MAJOR.MINOR", clip(text, 64))
	}
	for i, part := range m[1:] {
		v[i], _ = strconv.Atoi(cmp.Or(part, "0")) // at most four digits, by the expression
	}
	return v, nil
}

func compareVersion(a, b [3]int) int { return slices.Compare(a[:], b[:]) }

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
