package proxysql_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3" // ProxySQL's admin is SQLite too
	"pgregory.net/rapid"

	"switchyard/router/proxysql"
	"switchyard/router/routes"
)

// model is ProxySQL's three layers in the database that it keeps them in, with what its own commands do to them.
type model struct {
	t        *rapid.T
	db       *sql.DB
	sessions []proxysql.Session
}

const schema = ` (hostgroup_id INT NOT NULL, hostname VARCHAR NOT NULL, port INT NOT NULL, gtid_port INT NOT NULL,
	status VARCHAR CHECK (status IN ('ONLINE','SHUNNED','OFFLINE_SOFT','OFFLINE_HARD')) NOT NULL, weight INT NOT NULL,
	compression INT NOT NULL, max_connections INT NOT NULL, max_replication_lag INT NOT NULL, use_ssl INT NOT NULL,
	max_latency_ms INT UNSIGNED NOT NULL, comment VARCHAR NOT NULL, PRIMARY KEY (hostgroup_id, hostname, port))`

func newModel(t *rapid.T, memory, runtime, disk []proxysql.Row) *model {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	m := &model{t: t, db: db}
	m.exec("ATTACH DATABASE ':memory:' AS disk")
	for table, rows := range map[string][]proxysql.Row{
		"mysql_servers": memory, "runtime_mysql_servers": runtime, "disk.mysql_servers": disk} {
		m.exec("CREATE TABLE " + table + schema)
		for _, r := range rows {
			if _, err := db.Exec("INSERT INTO "+table+" VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", r.Hostgroup, r.Host, r.Port, r.GTIDPort,
				r.Status, r.Weight, r.Compression, r.MaxConnections, r.MaxReplicationLag, r.UseSSL, r.MaxLatency, r.Comment); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

func (m *model) exec(statement string) {
	if _, err := m.db.Exec(statement); err != nil {
		m.t.Fatalf("%s: %v", statement, err)
	}
}

// run carries out one command as ProxySQL would.
func (m *model) run(command proxysql.Command) {
	if command.SQL == "LOAD MYSQL SERVERS TO RUNTIME" {
		m.exec("DELETE FROM runtime_mysql_servers")
		m.exec("INSERT INTO runtime_mysql_servers SELECT * FROM mysql_servers")
		return
	}
	if id, ok := strings.CutPrefix(command.SQL, "KILL CONNECTION "); ok {
		m.sessions = slices.DeleteFunc(m.sessions, func(s proxysql.Session) bool { return fmt.Sprint(s.ID) == id })
		return
	}
	m.exec(command.SQL)
}

func (m *model) query(statement string) proxysql.Answer {
	rows, err := m.db.Query(statement)
	if err != nil {
		m.t.Fatalf("%s: %v", statement, err)
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		m.t.Fatal(err)
	}
	answer := proxysql.Answer{}
	for rows.Next() {
		values, into := make([]string, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			m.t.Fatal(err)
		}
		row := map[string]string{}
		for i, name := range names {
			row[name] = values[i]
		}
		answer = append(answer, row)
	}
	if err := rows.Err(); err != nil {
		m.t.Fatal(err)
	}
	return answer
}

// look reads the model with the product's own queries.
func (m *model) look() proxysql.State {
	queries := proxysql.ReadBack(slot)
	answers := []proxysql.Answer{m.query(queries[0]), {}, {},
		{{"kind": "variable", "a": "mysql-interfaces", "b": "0.0.0.0:6033;/tmp/p.sock"}}}
	for _, s := range m.sessions {
		answers[1] = append(answers[1], map[string]string{"SessionID": fmt.Sprint(s.ID), "hostgroup": fmt.Sprint(s.Server.Hostgroup),
			"srv_host": s.Server.Host, "srv_port": fmt.Sprint(s.Server.Port)})
		if s.Server.Hostgroup == slot.Hostgroup {
			answers[2] = append(answers[2], map[string]string{"hostgroup": fmt.Sprint(s.Server.Hostgroup),
				"srv_host": s.Server.Host, "srv_port": fmt.Sprint(s.Server.Port), "ConnUsed": "1"})
		}
	}
	state, err := proxysql.ParseState(slot, answers)
	if err != nil {
		m.t.Fatal(err)
	}
	return state
}

func anyRows(t *rapid.T, label string) []proxysql.Row {
	rows := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) proxysql.Row {
		return proxysql.Row{
			Server: proxysql.Server{Hostgroup: rapid.SampledFrom([]int{10, 10, 11, 20}).Draw(t, "hostgroup"),
				Host: rapid.SampledFrom([]string{"db1", "db2", "db3"}).Draw(t, "host"), Port: 3306},
			Status: rapid.SampledFrom([]string{"ONLINE", "ONLINE", "SHUNNED", "OFFLINE_SOFT", "OFFLINE_HARD"}).Draw(t, "status"),
			Weight: rapid.IntRange(0, 2).Draw(t, "weight"), MaxConnections: rapid.SampledFrom([]int{500, 7}).Draw(t, "connections"),
			Comment: rapid.SampledFrom([]string{"", "switchyard", "it's; theirs"}).Draw(t, "comment"),
		}
	}), 0, 6, func(r proxysql.Row) proxysql.Server { return r.Server }).Draw(t, label)
	return rows
}

func others(rows []proxysql.Row) []string {
	var out []string
	for _, r := range rows {
		if r.Hostgroup != slot.Hostgroup {
			out = append(out, fmt.Sprintf("%+v", r))
		}
	}
	slices.Sort(out)
	return out
}

// TestAnyStateEndsAsWanted: whatever the layers are, the steps end, in that order, with the wanted writer in all three and
// nobody's rows changed; and no step ever lets the wanted server in beside another.
func TestAnyStateEndsAsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		memory, disk := anyRows(t, "memory"), anyRows(t, "disk")
		runtime := memory
		if rapid.Bool().Draw(t, "edited") {
			runtime = anyRows(t, "runtime")
		}
		m := newModel(t, memory, runtime, disk)
		defer func() { _ = m.db.Close() }()
		for id, r := range runtime {
			m.sessions = append(m.sessions, proxysql.Session{ID: uint64(id + 1), Server: r.Server})
		}
		writer := rapid.SampledFrom([]*routes.Server{nil, &db1, &db2}).Draw(t, "writer")
		before, sessions := m.look(), slices.Clone(m.sessions)
		table, patience := tableOf(writer), rapid.IntRange(0, 2).Draw(t, "patience")
		table.Planned = rapid.Bool().Draw(t, "planned")
		rank, saved := 0, others(m.allDisk())
		for steps := 0; ; steps++ {
			step, err := proxysql.Next(slot, table, m.look(), steps < patience)
			if err != nil || steps > patience+3 {
				t.Fatalf("after %d steps: %+v, %v", steps, step, err)
			}
			if step.Name == "" {
				break
			}
			if now := slices.Index([]string{"drain", "close", "kill", "open"}, step.Name); now < rank {
				t.Fatalf("%s came too late", step.Name)
			} else {
				rank = now
			}
			for _, command := range step.Commands {
				m.run(command)
				m.neverBeside(writer, before)
			}
		}
		m.ended(writer, before, sessions, saved)
	})
}

// neverBeside fails when the wanted server was let in while another serves.
func (m *model) neverBeside(writer *routes.Server, before proxysql.State) {
	serving := m.look().Serving(slot)
	for _, s := range serving {
		if !slices.Contains(before.Serving(slot), s) && (writer == nil || s.Host != writer.Host || len(serving) > 1) {
			m.t.Fatalf("%s was let in: %v", s, serving)
		}
	}
}

func (m *model) allDisk() []proxysql.Row {
	rows := m.query("SELECT 'disk' AS layer, hostgroup_id, hostname, port, gtid_port, status, weight, compression, max_connections, " +
		"max_replication_lag, use_ssl, max_latency_ms, comment FROM disk.mysql_servers")
	answers := []proxysql.Answer{rows, {}, {}, {{"kind": "variable", "a": "mysql-interfaces", "b": "x"}}}
	state, err := proxysql.ParseState(slot, answers)
	if err != nil {
		m.t.Fatal(err)
	}
	return state.Disk
}

func (m *model) ended(writer *routes.Server, before proxysql.State, sessions []proxysql.Session, saved []string) {
	t, after := m.t, m.look()
	for name, layer := range map[string][]proxysql.Row{"memory": after.Memory, "runtime": after.Runtime, "disk": after.Disk} {
		mine := slices.DeleteFunc(slices.Clone(layer), func(r proxysql.Row) bool { return r.Hostgroup != slot.Hostgroup })
		deleted := func(r proxysql.Row) bool { return name == "runtime" && r.Status == proxysql.OfflineHard }
		mine = slices.DeleteFunc(mine, deleted)
		if name == "runtime" && len(mine) == 1 && mine[0].Status == proxysql.Shunned {
			mine[0].Status = proxysql.Online // by ProxySQL itself, for a while
		}
		if writer == nil && len(mine) > 0 || writer != nil && (len(mine) != 1 || mine[0] != rowOf(*writer)) {
			t.Fatalf("%s ended as %+v", name, mine)
		}
	}
	if got, want := others(after.Memory), others(before.Memory); !slices.Equal(got, want) {
		t.Fatalf("others' rows in memory: %v, were %v", got, want)
	}
	if got := others(m.allDisk()); !slices.Equal(got, saved) {
		t.Fatalf("others' rows on disk: %v, were %v", got, saved)
	}
	// A load makes a shunned server online, as ProxySQL's does; nothing else may have changed.
	healed := func(rows []proxysql.Row) []string {
		var out []proxysql.Row
		for _, r := range rows {
			if r.Status == proxysql.Shunned {
				r.Status = proxysql.Online
			}
			if r.Status != proxysql.OfflineHard {
				out = append(out, r)
			}
		}
		return others(out)
	}
	if got, want := healed(after.Runtime), healed(before.Runtime); !slices.Equal(got, want) {
		t.Fatalf("others' rows in the runtime: %v, were %v", got, want)
	}
	for _, s := range sessions {
		spared := s.Server.Hostgroup != slot.Hostgroup || writer != nil && s.Server.Host == writer.Host
		if spared != slices.Contains(m.sessions, s) {
			t.Fatalf("session %+v: spared %v", s, spared)
		}
	}
}
