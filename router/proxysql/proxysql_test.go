package proxysql_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"switchyard/router/proxysql"
	"switchyard/router/routes"
)

var (
	slot = proxysql.Slot{Hostgroup: 10, Reader: 11, Weight: 1, MaxConnections: 500}
	db1  = routes.Server{Host: "db1", Port: 3306}
	db2  = routes.Server{Host: "db2", Port: 3306}
)

func tableOf(writer *routes.Server) routes.Table {
	return routes.Table{Cluster: "shop", Epoch: routes.Epoch{Generation: 1, Number: 7}, Revision: 1, Writer: writer}
}

// rowOf is a row as this package writes it.
func rowOf(s routes.Server) proxysql.Row {
	return proxysql.Row{Server: proxysql.Server{Hostgroup: 10, Host: s.Host, Port: s.Port}, Status: proxysql.Online, Weight: 1,
		MaxConnections: 500, Comment: "switchyard"}
}

// foreign is a row of somebody else's.
func foreign(hostgroup int, host string, weight int) proxysql.Row {
	return proxysql.Row{Server: proxysql.Server{Hostgroup: hostgroup, Host: host, Port: 3306}, Status: proxysql.Online,
		Weight: weight, MaxConnections: 1000, Comment: "the billing's own"}
}

func stateOf(rows ...proxysql.Row) proxysql.State {
	return proxysql.State{Memory: rows, Runtime: rows, Disk: rows, Interfaces: []string{"0.0.0.0:6033"}}
}

// golden compares with a file; UPDATE_GOLDEN=1 writes it instead.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

func script(step proxysql.Step) string {
	var out strings.Builder
	fmt.Fprintf(&out, "-- %s, as %s (%d rows set aside)\n", step.Name, step.Why, step.Aside)
	for _, command := range step.Commands {
		out.WriteString(command.SQL)
		if command.MayFail {
			out.WriteString(" -- may fail")
		}
		out.WriteString("\n")
	}
	return out.String()
}

func next(t *testing.T, writer *routes.Server, state proxysql.State) proxysql.Step {
	t.Helper()
	step, err := proxysql.Next(slot, tableOf(writer), state, false)
	if err != nil {
		t.Fatal(err)
	}
	return step
}

func TestGolden(t *testing.T) {
	held := stateOf(rowOf(db1))
	left := stateOf()
	at := rowOf(db1).Server
	left.Sessions = []proxysql.Session{{ID: 7, Server: at}, {ID: 9, Server: at},
		{ID: 8, Server: proxysql.Server{Hostgroup: 20, Host: "db9", Port: 3306}}}
	left.Pool = []proxysql.Pool{{Server: at, Used: 2}}
	pending := stateOf(rowOf(db1))
	pending.Runtime = append(pending.Runtime, foreign(20, "db8", 1), foreign(20, "db9", 1))
	pending.Memory = append([]proxysql.Row{foreign(20, "db7", 3), foreign(20, "db9", 0)}, pending.Memory...)
	attributes := rowOf(db2)
	attributes.Weight = 0
	for name, got := range map[string]proxysql.Step{
		"withdraw.golden": next(t, nil, held), "kill.golden": next(t, nil, left), "announce.golden": next(t, &db2, stateOf()),
		"move.golden": next(t, &db2, held), "pending.golden": next(t, nil, pending),
		"attributes.golden": next(t, &db2, stateOf(attributes)), "quiet.golden": next(t, &db1, held),
	} {
		golden(t, name, script(got))
	}
	golden(t, "readback.golden", strings.Join(proxysql.ReadBack(slot), "\n")+"\n")
}

// TestNoLayerIsForgotten: one stranger in one layer is enough.
func TestNoLayerIsForgotten(t *testing.T) {
	for name, plant := range map[string]func(*proxysql.State, proxysql.Row){
		"memory":  func(s *proxysql.State, r proxysql.Row) { s.Memory = append(s.Memory, r) },
		"runtime": func(s *proxysql.State, r proxysql.Row) { s.Runtime = append(s.Runtime, r) },
		"disk":    func(s *proxysql.State, r proxysql.Row) { s.Disk = append(s.Disk, r) },
	} {
		for _, writer := range []*routes.Server{nil, &db2} {
			state := stateOf()
			if writer != nil {
				state = stateOf(rowOf(*writer))
			}
			if step := next(t, writer, state); step.Name != "" {
				t.Fatalf("%s: %s, as %s", name, step.Name, step.Why)
			}
			plant(&state, rowOf(db1))
			if step := next(t, writer, state); step.Name != "close" || !strings.Contains(step.Why, name) {
				t.Errorf("%s, writer %v: step %q, as %q", name, writer, step.Name, step.Why)
			}
		}
	}
}

// TestDrain: only a planned withdrawal is soft, only within its bound, and only where a load does not cut anybody.
func TestDrain(t *testing.T) {
	table := tableOf(nil)
	table.Planned = true
	drain := func(state proxysql.State, table routes.Table, within bool) proxysql.Step {
		step, err := proxysql.Next(slot, table, state, within)
		if err != nil {
			t.Fatal(err)
		}
		return step
	}
	golden(t, "drain.golden", script(drain(stateOf(rowOf(db1)), table, true)))
	soft := rowOf(db1)
	soft.Status = "OFFLINE_SOFT"
	busy := stateOf(soft)
	busy.Pool = []proxysql.Pool{{Server: soft.Server, Used: 1}}
	moved := stateOf(rowOf(db1))
	moved.Memory = []proxysql.Row{rowOf(db2)}
	two := stateOf(rowOf(db1), rowOf(db2))
	announced := tableOf(&db2)
	announced.Planned = true
	for name, test := range map[string]struct {
		state    proxysql.State
		table    routes.Table
		within   bool
		want     string
		commands bool
	}{
		"at first":              {stateOf(rowOf(db1)), table, true, "drain", true},
		"while one is busy":     {busy, table, true, "drain", false},
		"when nobody is":        {stateOf(soft), table, true, "close", true},
		"when the time is over": {busy, table, false, "close", true},
		"unplanned":             {stateOf(rowOf(db1)), tableOf(nil), true, "close", true},
		"an announcement":       {stateOf(rowOf(db1)), announced, true, "close", true},
		"the row is pending":    {moved, table, true, "close", true},
		"two servers":           {two, table, true, "close", true},
		"withdrawn":             {stateOf(), table, true, "", false},
	} {
		if step := drain(test.state, test.table, test.within); step.Name != test.want || (len(step.Commands) > 0) != test.commands {
			t.Errorf("%s: %+v", name, step)
		}
	}
}

// TestDeletedIsNotServing: the runtime shows a deleted row for as long as it has connections.
func TestDeletedIsNotServing(t *testing.T) {
	gone := rowOf(db1)
	gone.Status = proxysql.OfflineHard
	state := stateOf()
	state.Runtime = []proxysql.Row{gone}
	if step := next(t, nil, state); step.Name != "" {
		t.Errorf("%s, as %s", step.Name, step.Why)
	}
	if state.Memory = []proxysql.Row{gone}; next(t, nil, state).Name != "close" {
		t.Error("a row that is only set offline is taken for a withdrawal: a status is no fence")
	}
}

// TestShunnedIsNoDrift: ProxySQL sets a server aside by itself; by hand it would be in memory too.
func TestShunnedIsNoDrift(t *testing.T) {
	shunned := rowOf(db1)
	shunned.Status = proxysql.Shunned
	state := stateOf(rowOf(db1))
	state.Runtime = []proxysql.Row{shunned}
	if step := next(t, &db1, state); step.Name != "" || len(state.Serving(slot)) != 0 {
		t.Errorf("%+v", step)
	}
	if state.Memory = state.Runtime; next(t, &db1, state).Name != "open" {
		t.Error("a server that was shunned by hand is left so")
	}
}

// TestAConnectionWithoutASessionIsNotForgotten: a session shows one of its connections.
func TestAConnectionWithoutASessionIsNotForgotten(t *testing.T) {
	state := stateOf()
	state.Pool = []proxysql.Pool{{Server: rowOf(db1).Server, Used: 1}}
	if step := next(t, nil, state); step.Name != "kill" || len(step.Commands) != 0 {
		t.Errorf("%+v", step)
	}
	reader := rowOf(db1).Server
	reader.Hostgroup = 11
	state.Sessions = []proxysql.Session{{ID: 5, Server: reader}}
	if step := next(t, nil, state); len(step.Commands) != 1 || step.Commands[0].SQL != "KILL CONNECTION 5" {
		t.Errorf("%+v", step)
	}
	// The wanted server's own sessions are left alone.
	state = stateOf(rowOf(db2))
	state.Pool = []proxysql.Pool{{Server: rowOf(db2).Server, Used: 3}}
	state.Sessions = []proxysql.Session{{ID: 6, Server: rowOf(db2).Server}}
	if step := next(t, &db2, state); step.Name != "" {
		t.Errorf("%+v", step)
	}
}

func TestNextRefuses(t *testing.T) {
	other := func(change func(*proxysql.Slot)) proxysql.Slot {
		s := slot
		change(&s)
		return s
	}
	for name, test := range map[string]struct {
		slot  proxysql.Slot
		table routes.Table
		want  string
	}{
		"hostgroup":   {other(func(s *proxysql.Slot) { s.Hostgroup = -1 }), tableOf(nil), "writer_hostgroup"},
		"reader":      {other(func(s *proxysql.Slot) { s.Reader = -2 }), tableOf(nil), "reader_hostgroup"},
		"same":        {other(func(s *proxysql.Slot) { s.Reader = 10 }), tableOf(nil), "of their own"},
		"weight":      {other(func(s *proxysql.Slot) { s.Weight = 0 }), tableOf(nil), "weight"},
		"connections": {other(func(s *proxysql.Slot) { s.MaxConnections = 0 }), tableOf(nil), "max_connections"},
		"epoch":       {slot, routes.Table{Cluster: "shop"}, "epoch"},
		"statement":   {slot, tableOf(&routes.Server{Host: "db1'; DROP TABLE x", Port: 1}), "not allowed"},
		"long":        {slot, tableOf(&routes.Server{Host: strings.Repeat("d", 300), Port: 1}), "longer"},
	} {
		if step, err := proxysql.Next(test.slot, test.table, stateOf(), false); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %+v, %v; want %q", name, step, err, test.want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	for name, test := range map[string]struct {
		other proxysql.Slot
		want  bool
	}{
		"writer":          {proxysql.Slot{Hostgroup: 10, Reader: proxysql.NoReader}, true},
		"writer is ours":  {proxysql.Slot{Hostgroup: 11, Reader: proxysql.NoReader}, true},
		"reader":          {proxysql.Slot{Hostgroup: 20, Reader: 11}, true},
		"others":          {proxysql.Slot{Hostgroup: 20, Reader: 21}, false},
		"without readers": {proxysql.Slot{Hostgroup: 20, Reader: proxysql.NoReader}, false},
	} {
		if _, shared := slot.Overlaps(test.other); shared != test.want {
			t.Errorf("%s: %v", name, shared)
		}
	}
}

func TestConflicts(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*proxysql.State)
		want   []string
		undoes bool
	}{
		"none":         {func(*proxysql.State) {}, nil, false},
		"pair":         {func(s *proxysql.State) { s.Pairs = []proxysql.Pair{{10, 11}} }, []string{"hostgroup 10", "delete that row"}, true},
		"reads of it":  {func(s *proxysql.State) { s.Pairs = []proxysql.Pair{{40, 10}} }, []string{"writer 40, reader 10"}, true},
		"another pair": {func(s *proxysql.State) { s.Pairs = []proxysql.Pair{{20, 21}} }, nil, false},
		"cluster": {func(s *proxysql.State) { s.Peers, s.ClusterDiffs = []string{"p2:6032"}, 3 },
			[]string{"p2:6032", "SET admin-cluster_mysql_servers_diffs_before_sync=0"}, true},
		"cluster without sync": {func(s *proxysql.State) { s.Peers = []string{"p2:6032"} }, nil, false},
		"nobody to sync with":  {func(s *proxysql.State) { s.ClusterDiffs = 3 }, nil, false},
		"retries":              {func(s *proxysql.State) { s.QueryRetries = 1 }, []string{"executed twice", "SET mysql-query_retries_on_failure=0"}, false},
	} {
		state := stateOf(rowOf(db1))
		test.change(&state)
		found := proxysql.Conflicts(slot, state)
		if (len(found) > 0) != (test.want != nil) {
			t.Errorf("%s: %+v", name, found)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(found[0].Text, want) || found[0].Undoes != test.undoes {
				t.Errorf("%s: %+v, want %q", name, found[0], want)
			}
		}
		if warned := proxysql.ProofOf(slot, state).Warning != ""; warned != (test.want != nil && !test.undoes) {
			t.Errorf("%s: warned %v", name, warned)
		}
	}
}

func TestHarmless(t *testing.T) {
	for name, test := range map[string]struct {
		writer *routes.Server
		saved  []proxysql.Row
		want   bool
	}{
		"withdrawn, and told so":        {nil, nil, true},
		"withdrawn, and saved a master": {nil, []proxysql.Row{rowOf(db1)}, false},
		"saved the new one":             {&db2, []proxysql.Row{rowOf(db2)}, true},
		"saved nobody":                  {&db2, nil, true},
		"saved the old one":             {&db2, []proxysql.Row{rowOf(db1)}, false},
		"saved both":                    {&db2, []proxysql.Row{rowOf(db2), rowOf(db1)}, false},
	} {
		if got := proxysql.Harmless(slot, tableOf(test.writer), test.saved); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestProofOf(t *testing.T) {
	state := stateOf(rowOf(db1))
	state.Pool = []proxysql.Pool{{Server: rowOf(db1).Server, Used: 3}}
	if got := proxysql.ProofOf(slot, state).String(); got != "serving db1:3306 with 3 sessions" {
		t.Error(got)
	}
	state = stateOf(rowOf(routes.Server{Host: "10.0.0.1", Port: 3306}))
	if got := proxysql.ProofOf(slot, state).String(); got != "serving 10.0.0.1:3306 with 0 sessions" {
		t.Error(got)
	}
	if got := proxysql.ProofOf(slot, stateOf()).String(); got != "serving nobody with 0 sessions" {
		t.Error(got)
	}
}

// TestParseState: what is not understood is an error that names its query; NULL is no number.
func TestParseState(t *testing.T) {
	row := map[string]string{"layer": "memory", "hostgroup_id": "10", "hostname": "db1", "port": "3306", "gtid_port": "0", "status": "ONLINE",
		"weight": "1", "compression": "0", "max_connections": "500", "max_replication_lag": "0", "use_ssl": "0", "max_latency_ms": "0",
		"comment": "switchyard"}
	answers := func() []proxysql.Answer {
		copied := map[string]string{}
		for column, value := range row {
			copied[column] = value
		}
		return []proxysql.Answer{{copied}, {{"SessionID": "4", "hostgroup": "10"}, {"SessionID": "5", "hostgroup": "10", "srv_host": "db1", "srv_port": "3306"}},
			{{"hostgroup": "10", "srv_host": "db1", "srv_port": "3306", "ConnUsed": "2"}},
			{{"kind": "variable", "a": "mysql-interfaces", "b": "0.0.0.0:6033;/tmp/p.sock"}, {"kind": "variable", "a": "mysql-query_retries_on_failure", "b": "1"},
				{"kind": "variable", "a": "admin-cluster_mysql_servers_diffs_before_sync", "b": "3"}, {"kind": "pair", "a": "10", "b": "11"},
				{"kind": "peer", "a": "p2", "b": "6032"}}}
	}
	got, err := proxysql.ParseState(slot, answers())
	want := proxysql.State{Memory: []proxysql.Row{rowOf(db1)}, Sessions: []proxysql.Session{{ID: 5, Server: rowOf(db1).Server}},
		Pool: []proxysql.Pool{{Server: rowOf(db1).Server, Used: 2}}, QueryRetries: 1, ClusterDiffs: 3,
		Interfaces: []string{"0.0.0.0:6033", "/tmp/p.sock"}, Peers: []string{"p2:6032"}, Pairs: []proxysql.Pair{{Writer: 10, Reader: 11}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, spoil := range map[string]func([]proxysql.Answer) []proxysql.Answer{
		"too few":       func(a []proxysql.Answer) []proxysql.Answer { return a[:3] },
		"layer":         func(a []proxysql.Answer) []proxysql.Answer { a[0][0]["layer"] = "attic"; return a },
		"weight":        func(a []proxysql.Answer) []proxysql.Answer { delete(a[0][0], "weight"); return a },
		"port":          func(a []proxysql.Answer) []proxysql.Answer { a[0][0]["port"] = "70000"; return a },
		"SessionID":     func(a []proxysql.Answer) []proxysql.Answer { a[1][1]["SessionID"] = "x"; return a },
		"ConnUsed":      func(a []proxysql.Answer) []proxysql.Answer { delete(a[2][0], "ConnUsed"); return a },
		"where clients": func(a []proxysql.Answer) []proxysql.Answer { a[3] = nil; return a },
	} {
		if _, err := proxysql.ParseState(slot, spoil(answers())); err == nil || name != "too few" && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
