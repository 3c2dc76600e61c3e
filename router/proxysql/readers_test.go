package proxysql_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"switchyard/router/proxysql"
	"switchyard/router/routes"
)

func readersOf(servers ...routes.Server) []routes.Reader {
	var out []routes.Reader
	for _, s := range servers {
		out = append(out, routes.Reader{Server: s, Weight: 2})
	}
	return out
}

// readerRow is a row as this package writes it.
func readerRow(s routes.Server) proxysql.Row {
	row := rowOf(s)
	row.Hostgroup, row.Weight = 11, 2
	return row
}

func TestReadersGolden(t *testing.T) {
	left := stateOf(rowOf(db1), readerRow(db2))
	at := readerRow(db1).Server
	// Session 8 is the writer's, whatever else it holds.
	left.Sessions = []proxysql.Session{{ID: 7, Server: at}, {ID: 8, Server: rowOf(db1).Server}, {ID: 9, Server: readerRow(db2).Server}}
	left.Pool = []proxysql.Pool{{Server: at, Used: 2}, {Server: rowOf(db1).Server, Used: 1}, {Server: readerRow(db2).Server, Used: 1}}
	for name, test := range map[string]struct {
		readers []routes.Reader
		state   proxysql.State
	}{
		"readers-first.golden":  {readersOf(db1, db2), stateOf(rowOf(db1))},
		"readers-move.golden":   {readersOf(db2), stateOf(rowOf(db1), readerRow(db1))},
		"readers-kill.golden":   {readersOf(db2), left},
		"readers-none.golden":   {nil, stateOf(rowOf(db1), readerRow(db1), foreign(20, "db9", 1))},
		"readers-follow.golden": {readersOf(db1), stateOf(rowOf(db1), readerRow(db1))},
	} {
		step, remarks := proxysql.NextReaders(slot, test.readers, test.state)
		if len(remarks) > 0 {
			t.Errorf("%s: %v", name, remarks)
		}
		golden(t, name, script(step))
	}
	if got := proxysql.ProofOfReaders(slot, readersOf(db2), left); got.Left != 2 || got.Sessions != 3 ||
		!slices.Equal(got.Serving, []string{"db2:3306"}) {
		t.Errorf("proof %+v", got)
	}
	if got := proxysql.ProofOf(slot, left); got.Sessions != 1 || got.Host != "db1:3306" {
		t.Errorf("the writer's proof counts readers: %+v", got)
	}
}

func TestReadersThatMustNotBecomeRows(t *testing.T) {
	step, remarks := proxysql.NextReaders(slot, readersOf(db1, routes.Server{Host: "db2'; DROP TABLE x", Port: 1}), stateOf(readerRow(db1)))
	if step.Name != "" || len(remarks) != 1 || !strings.Contains(remarks[0], "not allowed") {
		t.Errorf("%+v, %v", step, remarks)
	}
	without := slot
	without.Reader = proxysql.NoReader
	if step, _ := proxysql.NextReaders(without, readersOf(db1), stateOf()); step.Name != "" {
		t.Errorf("without a hostgroup: %+v", step)
	}
}

// TestReadersOnDiskAreHarmless: a proxy that starts with other readers than it should have leads no writer astray.
func TestReadersOnDiskAreHarmless(t *testing.T) {
	if !proxysql.Harmless(slot, tableOf(nil), []proxysql.Row{readerRow(db1)}) {
		t.Error("a reader on the disk was taken for a writer")
	}
}

// TestAnyReadersEndAsWanted: whatever the layers are, after the writer's steps the readers' end with the wanted rows in all of
// them, the writer's and everybody else's as they were, and no session but those on former readers ended.
func TestAnyReadersEndAsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		memory, disk := anyRows(t, "memory"), anyRows(t, "disk")
		runtime := memory
		if rapid.Bool().Draw(t, "edited") {
			runtime = anyRows(t, "runtime")
		}
		m := newModel(t, memory, runtime, disk)
		defer func() { _ = m.db.Close() }()
		writer := rapid.SampledFrom([]*routes.Server{nil, &db1, &db2}).Draw(t, "writer")
		for steps := 0; ; steps++ {
			step, err := proxysql.Next(slot, tableOf(writer), m.look(), false)
			if err != nil || steps > 3 {
				t.Fatalf("the writer's steps do not end: %+v, %v", step, err)
			}
			if step.Name == "" {
				break
			}
			for _, command := range step.Commands {
				m.run(command)
			}
		}
		for id, r := range runtime {
			if r.Hostgroup != slot.Hostgroup {
				m.sessions = append(m.sessions, proxysql.Session{ID: uint64(id + 1), Server: r.Server})
			}
		}
		var want []routes.Reader
		for _, s := range []routes.Server{db1, db2, {Host: "db3", Port: 3306}} {
			if rapid.Bool().Draw(t, "wanted") {
				want = append(want, routes.Reader{Server: s, Weight: rapid.IntRange(1, 3).Draw(t, "weight")})
			}
		}
		sessions, before, saved := slices.Clone(m.sessions), m.look(), foreigners(m.allDisk())
		for steps := 0; ; steps++ {
			step, _ := proxysql.NextReaders(slot, want, m.look())
			if steps > 2 {
				t.Fatalf("no end: %s", step)
			}
			if step.Name == "" {
				break
			}
			for _, command := range step.Commands {
				m.run(command)
			}
		}
		after := m.look()
		if step, err := proxysql.Next(slot, tableOf(writer), after, false); err != nil || step.Name != "" {
			t.Fatalf("the readers have left the writer to do: %s, %v", step, err)
		}
		if got, was := foreigners(after.Memory), foreigners(before.Memory); !slices.Equal(got, was) {
			t.Fatalf("others' rows in memory: %v, were %v", got, was)
		}
		if got := foreigners(m.allDisk()); !slices.Equal(got, saved) {
			t.Fatalf("others' rows on disk: %v, were %v", got, saved)
		}
		if proof := proxysql.ProofOfReaders(slot, want, after); proof.Left != 0 || len(proof.Serving) > len(want) {
			t.Fatalf("proof %+v", proof)
		}
		for _, r := range want {
			row := readerRow(r.Server)
			row.Weight = r.Weight
			if !slices.Contains(after.Memory, row) || !slices.Contains(after.Disk, row) {
				t.Fatalf("%+v is not everywhere: %+v", row, after)
			}
		}
		for _, s := range sessions {
			stays := s.Server.Hostgroup != slot.Reader || slices.ContainsFunc(want, func(r routes.Reader) bool { return r.Host == s.Server.Host })
			if stays != slices.Contains(m.sessions, s) {
				t.Fatalf("session %+v: stays %v", s, stays)
			}
		}
	})
}

// foreigners are the rows of neither hostgroup of the slot.
func foreigners(rows []proxysql.Row) []string {
	var out []string
	for _, r := range rows {
		if r.Hostgroup != slot.Hostgroup && r.Hostgroup != slot.Reader {
			out = append(out, fmt.Sprintf("%+v", r))
		}
	}
	slices.Sort(out)
	return out
}
