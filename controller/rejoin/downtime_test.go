package rejoin_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// A deposed master that is writable is fenced whatever anybody said; it is
// rejoined when it is no longer to be left alone.
func TestDeposedMasterIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name     string
		set, end ledger.Command
	}{
		{"in downtime",
			ledger.BeginDowntime{Server: key("m"), Owner: "ann", Reason: "repair", At: start, Until: start.Add(time.Hour)},
			ledger.EndDowntime{Server: key("m"), By: "ann", At: start}},
		{"detached",
			ledger.SetDetached{Server: key("m"), From: key("a"), By: "ann", Reason: "repair", At: start},
			ledger.SetDetached{Server: key("m"), By: "ann", At: start}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.must(c.set)
			r := w.rejoiner()
			tend(t, w, r)
			w.check(append(slices.Clone(fenced), "close m")...)
			if m := w.servers[key("m")]; !m.ReadOnly || m.Replication != nil {
				t.Errorf("%+v", m)
			}
			tend(t, w, r)
			w.check()
			w.must(c.end)
			tend(t, w, r)
			if m := w.servers[key("m")]; m.Replication == nil || w.standing("m").Standing != ledger.Member {
				t.Errorf("%+v %+v", m, w.standing("m"))
			}
		})
	}
}

// A downtime that has run out holds nothing up.
func TestDowntimeRunsOut(t *testing.T) {
	w := newWorld(t)
	w.must(ledger.BeginDowntime{Server: key("m"), Owner: "ann", Reason: "repair", At: w.now, Until: w.now.Add(time.Minute)})
	w.now = w.now.Add(2 * time.Minute)
	tend(t, w, w.rejoiner())
	if w.standing("m").Standing != ledger.Member {
		t.Errorf("%+v", w.standing("m"))
	}
}

func TestStraysAreLeftAlone(t *testing.T) {
	for _, set := range []ledger.Command{
		ledger.BeginDowntime{Server: key("b"), Owner: "ann", Reason: "backup", At: start, Until: start.Add(time.Hour)},
		ledger.SetDetached{Server: key("b"), From: key("m"), By: "ann", Reason: "backup", At: start},
	} {
		w := newWorld(t)
		w.must(set)
		w.servers[key("b")].Replication.Source = key("m")
		if err := w.rejoiner().Strays(t.Context(), w.cluster(), w.snapshot()); err != nil {
			t.Fatal(err)
		}
		w.check()
	}
}

// A server that was lost is brought back when it answers, and its downtime ends
// once it follows the master.
func TestLostServerIsFound(t *testing.T) {
	w := newWorld(t)
	w.must(ledger.BeginDowntime{
		Server: key("b"), Owner: "switchyard", Reason: ledger.LostInRecovery, At: w.now, Until: w.now.Add(time.Hour),
	})
	b := w.servers[key("b")]
	b.Replication.Source, b.down = key("m"), true
	r := w.rejoiner()
	strays := func() {
		t.Helper()
		if err := r.Strays(t.Context(), w.cluster(), w.snapshot()); err != nil {
			t.Fatal(err)
		}
	}
	strays()
	w.check()
	b.down = false
	strays()
	w.check("open b", "stop-receiver b", "repoint b", "close b")
	if _, ok := w.State().Downtimes[key("b")]; !ok {
		t.Error("the downtime ended before it was seen to follow")
	}
	b.Replication.IO = topology.ThreadConnecting
	strays()
	if _, ok := w.State().Downtimes[key("b")]; !ok {
		t.Error("the downtime ended although it does not receive")
	}
	b.Replication.IO = topology.ThreadRunning
	strays()
	if d, ok := w.State().Downtimes[key("b")]; ok {
		t.Errorf("the downtime goes on: %+v", d)
	}
	w.check()
}

// owes has a recovery that wants its master to wait for two acknowledgements.
func owes(t *testing.T) *world {
	w := newWorld(t)
	w.must(ledger.ClaimRecovery{Cluster: "shop", RecoveryKind: ledger.Reinstate, Finding: "test", Old: key("a"),
		ExpectEpoch: w.cluster().Epoch, Leader: "c1", At: w.now})
	id := w.cluster().Recovery
	w.must(ledger.ChooseWinner{Recovery: id, Winner: key("a"), Acks: 2, At: w.now})
	w.must(ledger.Announce{Recovery: id, At: w.now})
	w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Completed, At: w.now})
	w.add("c", 4, "0-1-100", "a")
	w.must(ledger.RememberServers{Cluster: "shop", At: w.now, Servers: []ledger.ServerName{{Key: key("c")}}})
	for _, name := range []string{"a", "b", "c"} {
		w.servers[key(name)].SemiSync.Available = true
	}
	w.servers[key("b")].SemiSync.ReplicaEnabled = true
	w.servers[key("a")].SemiSync.SourceEnabled, w.servers[key("a")].SemiSync.WaitCount = true, 1
	return w
}

func TestSemiSyncIsRestored(t *testing.T) {
	w := owes(t)
	r := w.rejoiner()
	strays := func(want ...string) {
		t.Helper()
		if err := r.Strays(t.Context(), w.cluster(), w.snapshot()); err != nil {
			t.Fatal(err)
		}
		w.check(want...)
	}
	strays() // one acknowledges, two are wanted
	w.servers[key("c")].SemiSync.ReplicaEnabled = true
	w.servers[key("c")].Replication.IO = topology.ThreadConnecting
	strays() // the second does not receive
	w.servers[key("c")].Replication.IO = topology.ThreadRunning
	strays("open a", "semi-sync a", "close a")
	if s := w.servers[key("a")].SemiSync; !s.SourceEnabled || s.WaitCount != 2 {
		t.Errorf("%+v", s)
	}
	// What an operator sets afterwards is his.
	w.servers[key("a")].SemiSync.WaitCount = 1
	strays()
}

// A server that is rejoined acknowledges where the master waits for nobody only
// because there is nobody.
func TestRejoinedAcknowledges(t *testing.T) {
	w := owes(t)
	w.servers[key("a")].SemiSync.SourceEnabled = false
	tend(t, w, w.rejoiner())
	w.check(append(slices.Clone(fenced), "stop-receiver m", "semi-sync m", "repoint m", "close m")...)
}

// Nothing is written down as restored that is not; it is tried again.
func TestRestoreFailsAtEachEffect(t *testing.T) {
	for _, effect := range []string{"open a", "semi-sync a"} {
		w := owes(t)
		w.servers[key("c")].SemiSync.ReplicaEnabled = true
		r := w.rejoiner()
		w.before = func(e string) error {
			if e == effect {
				return errors.New("broken by the test")
			}
			return nil
		}
		if err := r.Strays(t.Context(), w.cluster(), w.snapshot()); err == nil || len(r.Problems()) != 1 {
			t.Errorf("%s: %v, problems %v", effect, err, r.Problems())
		}
		w.before = nil
		if err := r.Strays(t.Context(), w.cluster(), w.snapshot()); err != nil || len(r.Problems()) != 0 {
			t.Errorf("%s: %v, problems %v", effect, err, r.Problems())
		}
		if s := w.servers[key("a")].SemiSync; s.WaitCount != 2 {
			t.Errorf("%s: %+v", effect, s)
		}
	}
}
