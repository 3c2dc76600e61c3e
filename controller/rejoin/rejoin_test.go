package rejoin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/rejoin"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// fenced is what fencing does, in order.
var fenced = []string{"open m", "end-clients m", "set-read-only m", "end-clients m"}

func tend(t *testing.T, w *world, r *rejoin.Rejoiner) {
	t.Helper()
	if err := r.Deposed(t.Context(), w.cluster()); err != nil {
		t.Fatal(err)
	}
}

func TestDeposedMasterIsRejoined(t *testing.T) {
	for _, semi := range []bool{false, true} {
		w := newWorld(t)
		w.semi = semi
		w.servers[key("m")].clients = 7
		r := w.rejoiner()
		tend(t, w, r)
		want := append(slices.Clone(fenced), "stop-receiver m")
		if semi {
			want = append(want, "semi-sync m")
		}
		w.check(append(want, "repoint m", "close m")...)
		m := w.servers[key("m")]
		if !m.ReadOnly || m.clients != 0 || m.Replication == nil || m.Replication.Source != key("a") {
			t.Errorf("%+v", m)
		}
		if s := w.standing("m"); s.Standing != ledger.Member || s.Extra != "" {
			t.Errorf("%+v", s)
		}
		tend(t, w, r)
		w.check()
		if p := r.Problems(); len(p) != 0 {
			t.Errorf("problems: %v", p)
		}
	}
}

// One that came back read-only is fenced all the same, for clients that pass
// that may be left; one
// that replicates from somebody is stopped before it is compared.
func TestDeposedReadOnlyMaster(t *testing.T) {
	w := newWorld(t)
	m := w.servers[key("m")]
	m.ReadOnly = true
	m.Replication = &topology.Replication{Source: key("x"), IO: topology.ThreadRunning}
	tend(t, w, w.rejoiner())
	w.check(append(slices.Clone(fenced), "stop-receiver m", "repoint m", "close m")...)
	if w.standing("m").Standing != ledger.Member {
		t.Errorf("%+v", w.standing("m"))
	}
}

func TestDeposedMasterWithMoreIsQuarantined(t *testing.T) {
	w := newWorld(t)
	w.holds("m", "0-1-107")
	r := w.rejoiner()
	tend(t, w, r)
	w.check(append(slices.Clone(fenced), "stop-receiver m", "close m")...)
	s := w.standing("m")
	if s.Standing != ledger.Quarantined || s.Extra != "0-1-107" {
		t.Errorf("%+v", s)
	}
	if m := w.servers[key("m")]; !m.ReadOnly || m.Replication != nil {
		t.Errorf("%+v", m)
	}
	for range 5 {
		tend(t, w, r)
	}
	w.check()

	// Somebody made it writable again: it is fenced again, and what was written
	// is listed.
	w.servers[key("m")].ReadOnly = false
	w.holds("m", "0-1-109")
	tend(t, w, r)
	w.check(append(slices.Clone(fenced), "stop-receiver m", "close m")...)
	if s := w.standing("m"); s.Standing != ledger.Quarantined || s.Extra != "0-1-109" {
		t.Errorf("%+v", s)
	}
}

// What it got between two looks counts: the sets are compared after it was
// fenced and its receiver stopped.
func TestComparedAfterTheFence(t *testing.T) {
	w := newWorld(t)
	w.before = func(effect string) error {
		if effect == "set-read-only m" || effect == "stop-receiver m" {
			w.holds("m", "0-1-101")
		}
		return nil
	}
	tend(t, w, w.rejoiner())
	if s := w.standing("m"); s.Standing != ledger.Quarantined || s.Extra != "0-1-101" {
		t.Errorf("%+v", s)
	}
}

// What both get after the master was looked at is nobody's alone. That look is
// the last one, so that it does not quarantine; repointing may be refused for
// it, and is tried again.
func TestMasterIsReadAfterTheDeposed(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].ReadOnly = true
	w.after = func(name string) {
		if name == "a" {
			w.holds("m", "0-1-100,0-2-115")
			w.holds("a", "0-1-100,0-2-116")
		}
	}
	r := w.rejoiner()
	if err := r.Deposed(t.Context(), w.cluster()); err == nil || w.standing("m").Standing != ledger.Deposed {
		t.Errorf("%v, %+v", err, w.standing("m"))
	}
	w.after = nil
	tend(t, w, r)
	if s := w.standing("m"); s.Standing != ledger.Member {
		t.Errorf("%+v", s)
	}
}

// What it acknowledges from now on counts, if the master dies in the next moment.
func TestRejoinedServerIsSeenToReplicate(t *testing.T) {
	w := newWorld(t)
	seen := false
	w.after = func(name string) { seen = name == "m" && w.servers[key("m")].Replication != nil }
	tend(t, w, w.rejoiner())
	if w.standing("m").Standing != ledger.Member || !seen {
		t.Error("it was not looked at after it was pointed to the master")
	}
}

func TestUnreachableServersAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	r := w.rejoiner()
	tend(t, w, r)
	w.check()
	if w.standing("m").Standing != ledger.Deposed || len(r.Problems()) != 0 {
		t.Errorf("%+v, problems %v", w.standing("m"), r.Problems())
	}
}

// Without the master's set nothing can be compared: the deposed one is fenced
// and waits.
func TestUnreachableMaster(t *testing.T) {
	w := newWorld(t)
	w.servers[key("a")].down = true
	r := w.rejoiner()
	tend(t, w, r)
	w.check(append(slices.Clone(fenced), "stop-receiver m", "close m")...)
	if w.standing("m").Standing != ledger.Deposed {
		t.Errorf("%+v", w.standing("m"))
	}
	w.servers[key("a")].down = false
	tend(t, w, r)
	w.check(append(slices.Clone(fenced), "stop-receiver m", "repoint m", "close m")...)
}

// Who no longer leads touches nothing, from whichever moment on that is.
func TestLeadershipLost(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		w := newWorld(t)
		w.deposed = true
		if err := w.rejoiner().Deposed(t.Context(), w.cluster()); !errors.Is(err, errDeposed) {
			t.Errorf("%v", err)
		}
		w.check()
		b := w.servers[key("b")]
		b.Replication.Source = key("m")
		if err := w.rejoiner().Strays(t.Context(), w.cluster(), w.snapshot()); !errors.Is(err, errDeposed) {
			t.Errorf("%v", err)
		}
		w.check()
	})
	t.Run("before it is repointed", func(t *testing.T) {
		w := newWorld(t)
		w.before = func(effect string) error {
			if effect == "stop-receiver m" {
				w.deposed = true
			}
			return nil
		}
		if err := w.rejoiner().Deposed(t.Context(), w.cluster()); !errors.Is(err, errDeposed) {
			t.Errorf("%v", err)
		}
		w.check(append(slices.Clone(fenced), "stop-receiver m", "close m")...)
	})
	t.Run("and won again, with another master", func(t *testing.T) {
		w := newWorld(t)
		w.before = func(effect string) error {
			if effect == "stop-receiver m" {
				w.must(ledger.ClaimRecovery{
					Cluster: "shop", RecoveryKind: ledger.Failover, Finding: "DeadMaster", Old: key("a"), Leader: "c2", At: w.now,
					ExpectEpoch: w.cluster().Epoch,
				})
			}
			return nil
		}
		if err := w.rejoiner().Deposed(t.Context(), w.cluster()); !errors.Is(err, executor.ErrDeposed) {
			t.Errorf("%v", err)
		}
		w.check(append(slices.Clone(fenced), "stop-receiver m", "close m")...)
	})
}

func TestStrays(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		stray  bool
	}{
		{"in its place", func(*world) {}, false},
		{"below the deposed master", func(w *world) { w.servers[key("b")].Replication.Source = key("m") }, true},
		{"below a quarantined master", func(w *world) {
			w.servers[key("b")].Replication.Source = key("m")
			w.must(ledger.SetStanding{Server: key("m"), Standing: ledger.Quarantined, Extra: "0-1-107", At: w.now})
		}, true},
		{"below a member", func(w *world) {
			w.add("c", 4, "0-1-100", "a")
			w.must(ledger.RememberServers{Cluster: "shop", At: w.now, Servers: []ledger.ServerName{{Key: key("c")}}})
			w.servers[key("b")].Replication.Source = key("c")
		}, false},
		{"below a member, and lost by the last recovery", func(w *world) {
			w.add("c", 4, "0-1-100", "a")
			w.must(ledger.RememberServers{Cluster: "shop", At: w.now, Servers: []ledger.ServerName{{Key: key("c")}}})
			w.servers[key("b")].Replication.Source = key("c")
			w.must(ledger.ClaimRecovery{Cluster: "shop", RecoveryKind: ledger.Reinstate, Finding: "test", Old: key("a"),
				ExpectEpoch: w.cluster().Epoch, Leader: "c1", At: w.now})
			id := w.cluster().Recovery
			w.must(ledger.ChooseWinner{Recovery: id, Winner: key("a"), At: w.now})
			w.must(ledger.Announce{Recovery: id, At: w.now})
			w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Completed, Lost: []topology.Key{key("b")}, At: w.now})
			// A relocation after it lost nobody, and does not make it forgotten.
			w.must(ledger.OpenRelocation{Cluster: "shop", Finding: "test", Automatic: true, Subject: key("c"), Leader: "c1", At: w.now})
			w.must(ledger.CloseRelocation{Recovery: "shop-r1", Outcome: ledger.Failed, At: w.now})
		}, true},
		{"below a member, and lost by the last recovery, which has dealt with it", func(w *world) {
			w.add("c", 4, "0-1-100", "a")
			w.must(ledger.RememberServers{Cluster: "shop", At: w.now, Servers: []ledger.ServerName{{Key: key("c")}}})
			w.servers[key("b")].Replication.Source = key("c")
			w.must(ledger.ClaimRecovery{Cluster: "shop", RecoveryKind: ledger.Reinstate, Finding: "test", Old: key("a"),
				ExpectEpoch: w.cluster().Epoch, Leader: "c1", At: w.now})
			id := w.cluster().Recovery
			w.must(ledger.ChooseWinner{Recovery: id, Winner: key("a"), At: w.now})
			w.must(ledger.Announce{Recovery: id, At: w.now})
			w.must(ledger.RecordSteps{Recovery: id, Steps: []ledger.Step{{
				Name: "detach-lost", Leader: "c1", StartedAt: w.now, EndedAt: w.now, Outcome: ledger.StepDone,
			}}})
			w.must(ledger.CloseRecovery{Recovery: id, Outcome: ledger.Completed, Lost: []topology.Key{key("b")}, At: w.now})
		}, false},
		{"below a stranger", func(w *world) { w.servers[key("b")].Replication.Source = key("x") }, false},
		{"below nobody", func(w *world) { w.servers[key("b")].Replication = nil }, false},
		{"does not answer", func(w *world) {
			w.servers[key("b")].Replication.Source = key("m")
			w.servers[key("b")].down = true
		}, false},
		{"was never seen", func(w *world) { delete(w.servers, key("b")) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.change(w)
			if err := w.rejoiner().Strays(t.Context(), w.cluster(), w.snapshot()); err != nil {
				t.Fatal(err)
			}
			if !c.stray {
				w.check()
				return
			}
			w.check("open b", "stop-receiver b", "repoint b", "close b")
			if b := w.servers[key("b")].Replication; b.Source != key("a") || b.IO != topology.ThreadRunning {
				t.Errorf("%+v", b)
			}
			if w.standing("b").Standing != ledger.Member {
				t.Errorf("%+v", w.standing("b"))
			}
		})
	}
}

// A stray that received what its old master alone wrote cannot follow the new
// one: it is quarantined, too.
func TestStrayWithMore(t *testing.T) {
	w := newWorld(t)
	w.servers[key("b")].Replication.Source = key("m")
	w.holds("b", "0-1-103")
	if err := w.rejoiner().Strays(t.Context(), w.cluster(), w.snapshot()); err != nil {
		t.Fatal(err)
	}
	w.check("open b", "stop-receiver b", "close b")
	if s := w.standing("b"); s.Standing != ledger.Quarantined || s.Extra != "0-1-103" {
		t.Errorf("%+v", s)
	}
}

func TestFailuresAreShownAndClear(t *testing.T) {
	for _, effect := range []string{"open m", "set-read-only m", "stop-receiver m", "semi-sync m", "repoint m"} {
		w := newWorld(t)
		w.semi = true
		r := w.rejoiner()
		w.before = func(e string) error {
			if e == effect {
				return errors.New("broken by the test")
			}
			return nil
		}
		for range 2 {
			err := r.Deposed(t.Context(), w.cluster())
			if err == nil || !strings.Contains(err.Error(), "broken by the test") {
				t.Errorf("%s: %v", effect, err)
			}
			p := r.Problems()
			if len(p) != 1 || !strings.Contains(p[0], "m:3306") || !strings.Contains(p[0], "broken by the test") {
				t.Errorf("%s: problems %v", effect, p)
			}
			if w.standing("m").Standing != ledger.Deposed {
				t.Errorf("%s: %+v", effect, w.standing("m"))
			}
		}
		w.before = nil
		tend(t, w, r)
		if p := r.Problems(); len(p) != 0 || w.standing("m").Standing != ledger.Member {
			t.Errorf("%s: problems %v, %+v", effect, p, w.standing("m"))
		}
	}
}

// A server on which clients are left is not rejoined in the same turn, and its
// session is given back.
func TestClientsThatStay(t *testing.T) {
	w := newWorld(t)
	w.before = func(e string) error {
		if e == "end-clients m" {
			return errors.New("broken by the test")
		}
		return nil
	}
	r := w.rejoiner()
	if err := r.Deposed(t.Context(), w.cluster()); err == nil || len(r.Problems()) != 1 {
		t.Errorf("%v, problems %v", err, r.Problems())
	}
	w.check("open m", "set-read-only m", "close m")
	if w.standing("m").Standing != ledger.Deposed {
		t.Errorf("%+v", w.standing("m"))
	}
}

// What nobody tries any more is no problem of this controller: another leads
// now, or somebody else has put the server right.
func TestOldProblemsAreForgotten(t *testing.T) {
	w := newWorld(t)
	r := w.rejoiner()
	w.deposed = true
	if err := r.Deposed(t.Context(), w.cluster()); err == nil {
		t.Fatal("no error")
	}
	w.now = w.now.Add(20 * time.Second)
	if p := r.Problems(); len(p) != 1 {
		t.Errorf("problems %v", p)
	}
	w.now = w.now.Add(time.Minute)
	if p := r.Problems(); len(p) != 0 {
		t.Errorf("problems %v", p)
	}
}

func TestOneFailureDoesNotHoldUpTheOthers(t *testing.T) {
	w := newWorld(t)
	w.must(ledger.SetStanding{Server: key("b"), Standing: ledger.Deposed, At: w.now})
	w.servers[key("b")].ReadOnly = false
	w.before = func(e string) error {
		if e == "open b" {
			return errors.New("broken by the test")
		}
		return nil
	}
	if err := w.rejoiner().Deposed(t.Context(), w.cluster()); err == nil {
		t.Error("no error")
	}
	if w.standing("m").Standing != ledger.Member || w.standing("b").Standing != ledger.Deposed {
		t.Errorf("%+v %+v", w.standing("m"), w.standing("b"))
	}
}

func TestWanted(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"z", "c", "q"} {
		w.must(ledger.RememberServers{Cluster: "shop", At: w.now, Servers: []ledger.ServerName{{Key: key(name)}}})
	}
	w.must(ledger.SetStanding{Server: key("q"), Standing: ledger.Quarantined, At: w.now})
	w.must(ledger.AdoptMaster{Cluster: "other", Master: key("o"), At: w.now})
	deposed, members := rejoin.Wanted(w.State(), w.cluster())
	if !slices.Equal(deposed, []topology.Key{key("m"), key("q")}) ||
		!slices.Equal(members, []topology.Key{key("b"), key("c"), key("z")}) {
		t.Errorf("deposed %v, members %v", deposed, members)
	}
}
