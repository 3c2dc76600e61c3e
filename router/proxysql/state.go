package proxysql

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Server is one server in one hostgroup, the key of ProxySQL's tables.
type Server struct {
	Hostgroup int
	Host      string
	Port      uint16
}

// String returns "host:port in hostgroup n".
func (s Server) String() string {
	return fmt.Sprintf("%s:%d in hostgroup %d", s.Host, s.Port, s.Hostgroup)
}

func (s Server) compare(o Server) int {
	return cmp.Or(cmp.Compare(s.Hostgroup, o.Hostgroup), cmp.Compare(s.Host, o.Host), cmp.Compare(s.Port, o.Port))
}

// Row is one row of mysql_servers, in any of its layers.
type Row struct {
	Server
	GTIDPort          int
	Status            string
	Weight            int
	Compression       int
	MaxConnections    int
	MaxReplicationLag int
	UseSSL            int
	MaxLatency        int
	Comment           string
}

// The states of a server.
const (
	Online = "ONLINE"
	// Shunned is what ProxySQL sets itself for a while, and then takes back.
	Shunned = "SHUNNED"
	// OfflineHard is how the runtime shows a row that was deleted.
	OfflineHard = "OFFLINE_HARD"
)

// Session is a client's session that holds a connection to a server.
type Session struct {
	ID     uint64
	Server Server
}

// Pool is how many connections to a server are in use.
type Pool struct {
	Server Server
	Used   int
}

// Pair is a row of mysql_replication_hostgroups.
type Pair struct{ Writer, Reader int }

// State is what a proxy shows of a slot, and of what may stand in its way.
type State struct {
	// Memory and Runtime are those layers, with everybody's rows; Disk has the
	// rows of the slot's hostgroups alone.
	Memory, Runtime, Disk []Row
	// Sessions are those with a connection to a server, in any hostgroup, and
	// Pool is of the slot's hostgroups.
	Sessions []Session
	Pool     []Pool
	// QueryRetries is mysql-query_retries_on_failure, and ClusterDiffs
	// admin-cluster_mysql_servers_diffs_before_sync.
	QueryRetries, ClusterDiffs int
	// Interfaces is where clients connect, as mysql-interfaces says it.
	Interfaces []string
	// Peers are the members of a ProxySQL Cluster.
	Peers []string
	Pairs []Pair
}

// Columns of mysql_servers, in the order in which they are written.
const columns = "hostgroup_id, hostname, port, gtid_port, status, weight, compression, max_connections, " +
	"max_replication_lag, use_ssl, max_latency_ms, comment"

// The variables that are read.
const (
	retriesVariable    = "mysql-query_retries_on_failure"
	interfacesVariable = "mysql-interfaces"
	diffsVariable      = "admin-cluster_mysql_servers_diffs_before_sync"
)

// ReadBack returns the queries whose answers ParseState reads. There are few of
// them, as each costs a round trip, and a proxy may be far away.
func ReadBack(s Slot) []string {
	return []string{
		"SELECT 'memory' AS layer, " + columns + " FROM mysql_servers" +
			" UNION ALL SELECT 'runtime', " + columns + " FROM runtime_mysql_servers" +
			fmt.Sprintf(" UNION ALL SELECT 'disk', %s FROM disk.mysql_servers WHERE hostgroup_id %s", columns, s.within()),
		"SELECT SessionID, hostgroup, srv_host, srv_port FROM stats_mysql_processlist",
		"SELECT hostgroup, srv_host, srv_port, ConnUsed FROM stats_mysql_connection_pool WHERE hostgroup " + s.within(),
		"SELECT 'variable' AS kind, variable_name AS a, variable_value AS b FROM runtime_global_variables" +
			fmt.Sprintf(" WHERE variable_name IN ('%s', '%s', '%s')", retriesVariable, interfacesVariable, diffsVariable) +
			" UNION ALL SELECT 'pair', writer_hostgroup, reader_hostgroup FROM runtime_mysql_replication_hostgroups" +
			" UNION ALL SELECT 'peer', hostname, port FROM runtime_proxysql_servers",
	}
}

// Answer is the rows of one query, each by column name; NULL is missing.
type Answer []map[string]string

// ParseState reads the answers to the queries of ReadBack, in their order.
func ParseState(s Slot, answers []Answer) (State, error) {
	queries := ReadBack(s)
	if len(answers) != len(queries) {
		return State{}, fmt.Errorf("proxysql: %d answers to read back: want %d", len(answers), len(queries))
	}
	var state State
	for i, read := range []func(*reader){
		func(r *reader) { state.server(r) },
		func(r *reader) {
			if session := r.session(); session.Server.Host != "" {
				state.Sessions = append(state.Sessions, session)
			}
		},
		func(r *reader) {
			state.Pool = append(state.Pool, Pool{Server: r.at("hostgroup", "srv_host", "srv_port"), Used: r.number("ConnUsed")})
		},
		func(r *reader) { state.setting(r) },
	} {
		for _, row := range answers[i] {
			r := &reader{row: row}
			if read(r); r.err != nil {
				return State{}, fmt.Errorf("proxysql: %q: %w", queries[i], r.err)
			}
		}
	}
	if len(state.Interfaces) == 0 {
		return State{}, fmt.Errorf("proxysql: %q did not say where clients connect", queries[3])
	}
	return state, nil
}

func (s *State) server(r *reader) {
	switch layer := r.row["layer"]; layer {
	case "memory":
		s.Memory = append(s.Memory, r.server())
	case "runtime":
		s.Runtime = append(s.Runtime, r.server())
	case "disk":
		s.Disk = append(s.Disk, r.server())
	default:
		r.err = fmt.Errorf("column layer: %q", layer)
	}
}

func (s *State) setting(r *reader) {
	switch kind, name := r.row["kind"], r.row["a"]; {
	case kind == "pair":
		s.Pairs = append(s.Pairs, Pair{Writer: r.number("a"), Reader: r.number("b")})
	case kind == "peer":
		s.Peers = append(s.Peers, name+":"+r.row["b"])
	case name == retriesVariable:
		s.QueryRetries = r.number("b")
	case name == diffsVariable:
		s.ClusterDiffs = r.number("b")
	case name == interfacesVariable:
		s.Interfaces = strings.FieldsFunc(r.row["b"], func(c rune) bool { return c == ';' || c == ' ' })
	}
}

// reader reads one row, and keeps the first thing that was wrong with it.
type reader struct {
	row map[string]string
	err error
}

func (r *reader) number(column string) int {
	n, err := strconv.Atoi(r.row[column])
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("column %s: %w", column, err)
	}
	return n
}

func (r *reader) at(hostgroup, host, port string) Server {
	n := r.number(port)
	if n < 0 || n > 65535 {
		r.err = fmt.Errorf("column %s: %d is no port", port, n)
	}
	return Server{Hostgroup: r.number(hostgroup), Host: r.row[host], Port: uint16(n)}
}

func (r *reader) server() Row {
	return Row{
		Server: r.at("hostgroup_id", "hostname", "port"), GTIDPort: r.number("gtid_port"), Status: r.row["status"],
		Weight: r.number("weight"), Compression: r.number("compression"), MaxConnections: r.number("max_connections"),
		MaxReplicationLag: r.number("max_replication_lag"), UseSSL: r.number("use_ssl"), MaxLatency: r.number("max_latency_ms"),
		Comment: r.row["comment"],
	}
}

// session is without a server where it holds no connection.
func (r *reader) session() Session {
	if r.row["srv_host"] == "" {
		return Session{}
	}
	id, err := strconv.ParseUint(r.row["SessionID"], 10, 64)
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("column SessionID: %w", err)
	}
	return Session{ID: id, Server: r.at("hostgroup", "srv_host", "srv_port")}
}

// live are the rows of the hostgroup, less those that the runtime shows only
// because they were deleted.
func live(rows []Row, hostgroup int) []Row {
	var out []Row
	for _, row := range rows {
		if row.Hostgroup == hostgroup && row.Status != OfflineHard {
			out = append(out, row)
		}
	}
	return out
}

// Serving returns the servers that the proxy opens new connections to.
func (s State) Serving(slot Slot) []Server {
	var out []Server
	for _, row := range live(s.Runtime, slot.Hostgroup) {
		if row.Status == Online && row.Weight > 0 {
			out = append(out, row.Server)
		}
	}
	slices.SortFunc(out, Server.compare)
	return out
}

// InUse counts the connections to servers that sessions hold in the slot's
// hostgroup of the writer.
func (s State) InUse(slot Slot) int {
	sum := 0
	for _, pool := range s.Pool {
		if pool.Server.Hostgroup == slot.Hostgroup {
			sum += pool.Used
		}
	}
	return sum
}
