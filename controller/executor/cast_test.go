package executor_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/gtid"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// Who was given up counts until a recovery has moved the master, also one that
// some receiver never confirmed.
func TestFormer(t *testing.T) {
	w := newWorld(t)
	former := func(want ...string) {
		t.Helper()
		got := executor.Former(w.State(), "shop")
		if len(got) != len(want) {
			t.Fatalf("former %v, want %v", got, want)
		}
		for n, name := range want {
			if got[n] != key(name) {
				t.Fatalf("former %v, want %v", got, want)
			}
		}
	}
	former()
	id := w.claim(ledger.Failover, nil)
	w.must(ledger.ChooseWinner{Recovery: id, Winner: key("a"), At: time.Now()})
	w.must(ledger.Rewind{Recovery: id, Reason: "lost", At: time.Now()})
	former("a")
	w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Failed, At: time.Now()})
	former("a")
	relocate := func() {
		t.Helper()
		r := ledger.OpenRelocation{
			Cluster: "shop", Finding: "DeadIntermediateMaster", Automatic: true, Subject: key("a"), Leader: "c1", At: time.Now(),
		}
		w.must(r)
		id := w.State().Clusters["shop"].Relocation
		w.must(ledger.CloseRelocation{Recovery: id, Winner: key("b"), Outcome: ledger.Completed, At: time.Now()})
		if _, err := run(t, w, "c1", id); err == nil {
			t.Fatal("a relocation was carried out as a recovery of the master")
		}
	}
	relocate()
	former("a")
	id = w.claim(ledger.Failover, nil)
	w.must(ledger.ChooseWinner{Recovery: id, Winner: key("b"), At: time.Now()})
	w.must(ledger.Announce{Recovery: id, At: time.Now()})
	w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Incomplete, At: time.Now()})
	former()
}

// A new master that dies before anybody followed it leaves servers behind that
// hold what it had: they run, unless they hold more than that.
func TestWhoWasLeftRuns(t *testing.T) {
	w := newWorld(t)
	id := w.claim(ledger.Failover, nil)
	w.must(ledger.ChooseWinner{Recovery: id, Winner: key("a"), At: time.Now()})
	w.must(ledger.Announce{Recovery: id, At: time.Now()})
	w.must(ledger.CloseRecovery{
		Recovery: id, Outcome: ledger.Completed, Lost: []topology.Key{key("c"), key("b")}, At: time.Now(),
	})
	holds := func(list string) topology.Server {
		set, err := gtid.ParseMariaDB(0, list)
		if err != nil {
			t.Fatal(err)
		}
		return topology.Server{Last: &topology.Instance{Flavor: gtid.MariaDB, Executed: set}}
	}
	for _, c := range []struct {
		b       string
		answers bool // the master before
		want    []topology.Key
	}{
		{"0-1-100", false, []topology.Key{key("b")}},
		{"0-1-100", true, []topology.Key{key("b"), key("m")}},
		{"0-1-101", false, nil},
	} {
		snap := topology.Snapshot{Cluster: "shop", Master: key("a"), Taker: "c1", Servers: map[topology.Key]topology.Server{
			key("a"): holds("0-1-100,0-2-7"), key("b"): holds(c.b), key("c"): {}, key("m"): holds("0-1-100"),
		}}
		if c.answers {
			seen := topology.Observation{Key: key("m"), Reach: topology.ReachOK, Instance: snap.Servers[key("m")].Last}
			snap.Views = []topology.View{{
				Observer: "c1", Observations: map[topology.Key]topology.Observation{key("m"): seen},
			}}
		}
		if got := executor.Runners(w.State(), snap); !slices.Equal(got, c.want) {
			t.Errorf("b holds %s, m answers %t: %v run, want %v", c.b, c.answers, got, c.want)
		}
	}
	// One that follows the master counts, whatever it was before.
	w.must(ledger.SetStanding{Server: key("b"), Standing: ledger.Deposed, At: time.Now()})
	follower := holds("0-1-100,0-2-9")
	follower.Source = key("a")
	snap := topology.Snapshot{Cluster: "shop", Master: key("a"), Servers: map[topology.Key]topology.Server{
		key("a"): holds("0-1-100,0-2-7"), key("b"): follower,
	}}
	if got := executor.Runners(w.State(), snap); !slices.Equal(got, []topology.Key{key("b")}) {
		t.Errorf("%v run", got)
	}
	if left := executor.Left(w.State(), "shop"); !slices.Equal(left, []topology.Key{key("b"), key("c"), key("m")}) {
		t.Errorf("left: %v", left)
	}
}

// A replica of the master that serves again is not pointed to it anew while it
// has yet to apply what it received: that would be dropped, and fetched again
// only if the master lives.
func TestReinstatementKeepsWhatReplicasReceived(t *testing.T) {
	for received, want := range map[string]string{"0-1-100": "start-replica b", "0-1-90": "repoint b"} {
		w := newWorld(t)
		w.servers[key("m")].ReadOnly = true
		w.servers[key("b")].Replication.IO = topology.ThreadConnecting
		w.servers[key("b")].Replication.Received = set(t, received)
		id := w.claim(ledger.Reinstate, nil)
		if _, err := run(t, w, "c1", id); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(w.trace, func(e string) bool { return strings.HasPrefix(e, want) }) {
			t.Errorf("b received %s: %q, want %s", received, w.trace, want)
		}
	}
}

func TestUnseen(t *testing.T) {
	w := newWorld(t)
	for name, reach := range map[string]topology.Reach{
		"new": "", "booting": topology.ReachRefused, "gone": topology.ReachTimeout, "frozen": topology.ReachHung,
	} {
		w.must(ledger.RememberServers{Cluster: "shop", At: time.Now(), Servers: []ledger.ServerName{{Key: key(name)}}})
		w.add(name, "0-1-1", "")
		if w.unseen == nil {
			w.unseen, w.sights = map[topology.Key]bool{}, map[topology.Key]topology.Reach{}
		}
		if w.unseen[key(name)] = true; reach != "" {
			w.sights[key(name)] = reach
		}
	}
	got := executor.Unseen(w.State(), w.Snapshot("shop", key("m")))
	if want := []topology.Key{key("booting"), key("new")}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
