package probe

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/integrations/mysql/dialect"
	"switchyard/integrations/mysql/link"
)

func TestReplicas(t *testing.T) {
	entry := func(host, port string) link.Row { return link.Row{"Host": host, "Port": port} }
	dumps := func(hosts ...string) (rows []link.Row) {
		for _, h := range hosts {
			rows = append(rows, link.Row{"Host": h, "Command": "Binlog Dump GTID"})
		}
		return append(rows, link.Row{"Host": "10.0.0.77:4", "Command": "Query"}, link.Row{"Command": "Daemon"})
	}
	tests := []struct {
		name       string
		registered []link.Row
		dumps      []link.Row
		want       string
		problem    bool
	}{
		{"none", []link.Row{}, nil, "", false},
		{"named", []link.Row{entry("db2", "3307"), entry("db1", "3306")}, dumps("10.0.0.1:999", "10.0.0.2:999"),
			"db1:3306 db2:3307", false},
		{"unnamed", []link.Row{entry("", "3307")}, dumps("10.0.0.1:999"), "10.0.0.1:3307", false},
		{"unnamed without port", []link.Row{entry("", "0")}, dumps("10.0.0.1:999"), "10.0.0.1:3399", false},
		{"IPv6", []link.Row{entry("", "3306")}, dumps("fe80::1:999"), "[fe80::1]:3306", false},
		{"named by address beside unnamed", []link.Row{entry("10.0.0.1", "3306"), entry("", "3306")},
			dumps("10.0.0.1:5", "10.0.0.2:6"), "10.0.0.1:3306 10.0.0.2:3306", false},
		{"unnamed on one host", []link.Row{entry("", "3306"), entry("", "3307")}, dumps("10.0.0.1:5", "10.0.0.1:6"),
			"10.0.0.1:3306 10.0.0.1:3307", false},
		{"cannot be told apart", []link.Row{entry("", "3306"), entry("", "3307")}, dumps("10.0.0.1:5", "10.0.0.2:6"),
			"10.0.0.1:3306 10.0.0.1:3307 10.0.0.2:3306 10.0.0.2:3307", true},
		{"name beside unnamed", []link.Row{entry("db1", "3306"), entry("", "3306")}, dumps("10.0.0.1:5", "10.0.0.2:6"),
			"10.0.0.1:3306 10.0.0.2:3306 db1:3306", true},
		{"a reader of the binary log that is no replica", []link.Row{}, dumps("10.0.0.9:5"), "", false},
		{"not allowed to see them", nil, dumps("10.0.0.1:5", "10.0.0.2:5"), "10.0.0.1:3399 10.0.0.2:3399", false},
		{"nonsense port", []link.Row{entry("db1", "99999")}, nil, "db1:3399", false},
	}
	for _, test := range tests {
		keys, problem := replicas(test.registered, test.dumps, 3399)
		var got []string
		for _, k := range keys {
			got = append(got, k.String())
		}
		if strings.Join(got, " ") != test.want || (problem != "") != test.problem {
			t.Errorf("%s: got %v, %q; want %s", test.name, got, problem, test.want)
		}
	}
}

func TestSemiSyncNames(t *testing.T) {
	want := topology.SemiSync{
		Available: true, SourceEnabled: true, ReplicaEnabled: true, SourceOn: true, Clients: 2, WaitCount: 2,
		Timeout: 10 * time.Second, WaitNoReplica: true, AfterSync: true,
	}
	variables := map[string]string{
		"rpl_semi_sync_source_enabled": "ON", "rpl_semi_sync_replica_enabled": "ON",
		"rpl_semi_sync_source_timeout": "10000", "rpl_semi_sync_source_wait_no_replica": "ON",
		"rpl_semi_sync_source_wait_point": "AFTER_SYNC", "rpl_semi_sync_source_wait_for_replica_count": "2",
	}
	counters := map[string]string{
		"rpl_semi_sync_source_status": "ON", "rpl_semi_sync_replica_status": "OFF", "rpl_semi_sync_source_clients": "2",
	}
	if got := semiSync(variables, counters); got != want {
		t.Errorf("new names: got %+v, want %+v", got, want)
	}
	old := func(m map[string]string) map[string]string {
		words := strings.NewReplacer("wait_for_replica", "wait_for_slave", "wait_no_replica", "wait_no_slave",
			"source", "master", "sync_replica", "sync_slave")
		out := map[string]string{}
		for k, v := range m {
			out[words.Replace(k)] = v
		}
		return out
	}
	if got := semiSync(old(variables), old(counters)); got != want {
		t.Errorf("old names: got %+v, want %+v", got, want)
	}
	if got := semiSync(nil, nil); got != (topology.SemiSync{}) {
		t.Errorf("without plugins: got %+v", got)
	}
}

func mysqlAnswers() (dialect.Dialect, map[string][]link.Row) {
	d := dialect.Table()[len(dialect.Table())-1]
	return d, map[string][]link.Row{
		dialect.AskServer: {{
			"server_id": "7", "server_uuid": "8e2f9a8e-0000-11ee-8000-000000000007", "port": "3306", "report_port": "3306",
			"hostname": "h", "read_only": "1", "super_read_only": "0", "log_bin": "1", "gtid_mode": "ON",
			"gtid_executed": "8e2f9a8e-0000-11ee-8000-000000000007:1-5", "binlog_format": "ROW", "log_updates": "1",
		}},
		dialect.AskCounters: {{"Variable_name": "Uptime", "Value": "90"}},
	}
}

func TestParseChoosesTheDefaultChannel(t *testing.T) {
	d, answers := mysqlAnswers()
	channel := func(name, host string) link.Row {
		return link.Row{
			"Channel_Name": name, "Source_Host": host, "Source_Port": "3306", "Replica_IO_Running": "Yes",
			"Replica_SQL_Running": "Yes",
		}
	}
	answers[dialect.AskStatus] = []link.Row{channel("west", "db1"), channel("", "db2")}
	answers[dialect.AskHeartbeat] = []link.Row{
		{"channel": "west", "last": "then", "received": "1", "period": "1"},
		{"channel": "", "last": "now", "received": "2", "period": "0.5"},
	}
	i, err := parse(d, answers)
	if err != nil {
		t.Fatal(err)
	}
	r := i.Replication
	if r == nil || r.Source.Host != "db2" || r.Heartbeat != "now #2" || r.HeartbeatPeriod != 500*time.Millisecond {
		t.Errorf("got %+v", r)
	}
	if !slices.ContainsFunc(i.Unsupported, func(p string) bool { return strings.Contains(p, "2 channels") }) {
		t.Errorf("the other channel is not mentioned: %q", i.Unsupported)
	}
	answers[dialect.AskStatus] = []link.Row{channel("west", "db1"), channel("east", "db2")}
	if i, err = parse(d, answers); err != nil || i.Replication.Source.Host != "db1" {
		t.Errorf("without a default channel: got %+v, %v", i.Replication, err)
	}
	if !i.ReadOnly || i.SuperReadOnly || !i.CanSuperReadOnly || !i.GTIDMode || i.ServerID != 7 || i.Uptime != 90*time.Second {
		t.Errorf("got %+v", i)
	}
}

func TestParseRefuses(t *testing.T) {
	for column, value := range map[string]string{
		"server_id": "-1", "port": "x", "report_port": "x", "gtid_executed": "no set",
	} {
		d, answers := mysqlAnswers()
		answers[dialect.AskServer][0][column] = value
		if i, err := parse(d, answers); err == nil {
			t.Errorf("%s = %q: got %+v, want an error", column, value, i)
		}
	}
	d, _ := mysqlAnswers()
	if i, err := parse(d, nil); err == nil {
		t.Errorf("without answers: got %+v, want an error", i)
	}
}

// TestSuperReadOnlyIsOfTheServer: what a server cannot do is not held against it.
func TestSuperReadOnlyIsOfTheServer(t *testing.T) {
	knows := map[string]bool{"mysql-5.7.8": true, "mysql-8.0.11": true, "mysql-8.0.26": true, "mysql-8.2": true}
	for _, d := range dialect.Table() {
		_, answers := mysqlAnswers()
		if d.Flavor == gtid.MariaDB {
			answers[dialect.AskServer][0]["gtid_binlog_state"] = "0-1-5"
		}
		i, err := parse(d, answers)
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
		} else if i.CanSuperReadOnly != knows[d.Name] {
			t.Errorf("%s can be super read-only: %v", d.Name, i.CanSuperReadOnly)
		}
	}
}

func TestMissingIsWhatFailsAgain(t *testing.T) {
	for number, want := range map[uint16]bool{
		1227: true, 1142: true, 1146: true, // grants, tables
		1: false, 3: false, 1226: false, 1317: false, 1205: false, 1969: false, 3024: false, // disks, limits, kills
	} {
		err := link.NewError(topology.Key{Host: "db1", Port: 3306}, "query", &mysql.MySQLError{Number: number})
		if missing(err) != want {
			t.Errorf("error %d fails again: %v, want %v", number, !want, want)
		}
	}
	if missing(errors.New("no answer")) {
		t.Error("what the server did not say is taken for a refusal")
	}
}
