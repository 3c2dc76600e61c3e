package executor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"switchyard/controller/plan"
	"switchyard/router/routes"
	"switchyard/store/ledger"
)

// run runs a recovery by a clock that goes on only while all wait: what has a
// deadline is not missed because the machine is busy.
func run(t *testing.T, w *world, self, id string) (rec ledger.Recovery, err error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		rec, err = w.executor(self).Run(ctx, id)
	})
	return rec, err
}

func TestFailover(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	id := w.claim(ledger.Failover, func(c *ledger.ClaimRecovery) { c.OldProvenDead = true })
	rec, err := run(t, w, "c1", id)
	if err != nil || rec.Outcome != ledger.Completed || rec.Winner != key("a") {
		t.Fatalf("%v %+v", err, rec)
	}
	if got := w.writable(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("writable: %v", got)
	}
	if b := w.servers[key("b")].Replication; b.Source != key("a") {
		t.Errorf("b replicates from %s", b.Source)
	}
	if slices.ContainsFunc(w.pushed, func(t routes.Table) bool { return t.Planned }) {
		t.Errorf("what was under way on a dead master was waited for: %+v", w.pushed)
	}
	var done []string
	for _, s := range rec.Steps {
		done = append(done, s.Name)
	}
	for _, step := range plan.Build(ledger.Failover, false, false).Steps() {
		if !slices.Contains(done, string(step)) {
			t.Errorf("%s is not in the journal: %v", step, done)
		}
	}
	if st := w.State().Servers[key("m")].Standing; st != ledger.Deposed {
		t.Errorf("the old master is %s", st)
	}
}

// A proxy that may still lead to a master that may still live holds the
// promotion up. With proof of death, or the proxy not running, it does not.
func TestPromoteNeedsTheBarrier(t *testing.T) {
	hung := []routes.Receipt{{Receiver: "ha1", Answer: routes.Confirmed}, {Receiver: "ha2", Answer: routes.Unknown, Err: errors.New("timeout")}}
	for _, c := range []struct {
		name    string
		proxies []routes.Receipt
		dead    bool
		want    ledger.Outcome
	}{
		{"unknown proxy, living host", hung, false, ledger.Failed},
		{"unknown proxy, proven dead", hung, true, ledger.Incomplete},
		{"proxy not running", []routes.Receipt{{Receiver: "ha1", Answer: routes.Confirmed}, {Receiver: "ha2", Answer: routes.Down}}, false, ledger.Completed},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.servers[key("m")].down, w.servers[key("m")].hung = c.dead, !c.dead
			w.proxies = c.proxies
			id := w.claim(ledger.Failover, func(cl *ledger.ClaimRecovery) { cl.OldProvenDead = c.dead })
			rec, err := run(t, w, "c1", id)
			if err != nil || rec.Outcome != c.want {
				t.Fatalf("%v %s %s", err, rec.Outcome, rec.Message)
			}
			promoted := slices.ContainsFunc(w.trace, func(s string) bool { return strings.HasPrefix(s, "set-writable") })
			if promoted != (c.want != ledger.Failed) {
				t.Errorf("promoted %v: %v", promoted, w.trace)
			}
			if c.want == ledger.Failed && w.servers[key("a")].Replication.IO != "Yes" {
				t.Error("replicas were not started again")
			}
		})
	}
}

// The leader loses its office before any one of its effects; the next one
// finishes what it began, with the same winner.
func TestResumedAtEveryEffect(t *testing.T) {
	count := func() int {
		w := newWorld(t)
		w.servers[key("m")].down = true
		id := w.claim(ledger.Failover, func(c *ledger.ClaimRecovery) { c.OldProvenDead = true })
		if _, err := run(t, w, "c1", id); err != nil {
			t.Fatal(err)
		}
		return len(w.trace)
	}()
	for n := range count {
		w := newWorld(t)
		w.servers[key("m")].down = true
		id := w.claim(ledger.Failover, func(c *ledger.ClaimRecovery) { c.OldProvenDead = true })
		left := n
		w.before = func(string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if left--; left < 0 {
				w.deposed = true
				return errDeposed
			}
			return nil
		}
		if _, err := run(t, w, "c1", id); err == nil {
			t.Fatalf("effect %d: the deposed leader did not notice", n)
		}
		chosen := w.State().Recoveries[id].Winner
		w.before, w.deposed = nil, false
		rec, err := run(t, w, "c2", id)
		if err != nil || rec.Outcome != ledger.Completed || rec.Leader != "c2" {
			t.Fatalf("effect %d: %v %+v", n, err, rec)
		}
		if !chosen.IsZero() && rec.Winner != chosen {
			t.Errorf("effect %d: the winner changed from %s to %s", n, chosen, rec.Winner)
		}
		if got := w.writable(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("effect %d: writable: %v", n, got)
		}
	}
}

func TestSwitchover(t *testing.T) {
	w := newWorld(t)
	w.before = func(string) error {
		time.Sleep(time.Millisecond)
		return nil
	}
	id := w.claim(ledger.Switchover, func(c *ledger.ClaimRecovery) { c.Target = key("b") })
	rec, err := run(t, w, "c1", id)
	if err != nil || rec.Outcome != ledger.Completed || rec.Winner != key("b") {
		t.Fatalf("%v %+v", err, rec)
	}
	if got := w.writable(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("writable: %v", got)
	}
	if first := w.pushed[0]; first.Writer != nil || !first.Planned || w.pushed[len(w.pushed)-1].Planned {
		t.Errorf("the proxies were not told that it is planned: %+v", w.pushed)
	}
	if !strings.Contains(rec.Message, "nobody could write for ") {
		t.Errorf("the gap is not told: %s", rec.Message)
	}
	for _, name := range []string{"m", "a"} {
		if r := w.servers[key(name)].Replication; r == nil || r.Source != key("b") {
			t.Errorf("%s does not replicate from b: %+v", name, r)
		}
	}
	demoted, promoted := slices.Index(w.trace, "set-read-only m"), slices.Index(w.trace, "set-writable b")
	if demoted < 0 || demoted > promoted {
		t.Errorf("promoted before the old master was read-only: %v", w.trace)
	}
}

// A switchover whose target breaks at any effect is turned back to the old
// master, under an epoch of its own, and nobody else is writable.
func TestSwitchoverUndone(t *testing.T) {
	for _, broken := range []string{"wait-applied b", "detach b", "set-writable b"} {
		w := newWorld(t)
		id := w.claim(ledger.Switchover, func(c *ledger.ClaimRecovery) { c.Target = key("b") })
		w.before = func(effect string) error {
			if effect == broken {
				return errors.New("broken by the test")
			}
			return nil
		}
		rec, err := run(t, w, "c1", id)
		if err != nil || rec.Outcome != ledger.Undone {
			t.Fatalf("%s: %v %s %s", broken, err, rec.Outcome, rec.Message)
		}
		if got := w.writable(); !slices.Equal(got, []string{"m"}) {
			t.Errorf("%s: writable: %v", broken, got)
		}
		c := w.State().Clusters["shop"]
		if c.Master != key("m") || c.Withdrawn || c.Epoch.Number != 3 {
			t.Errorf("%s: %+v", broken, c)
		}
		if r := w.servers[key("b")].Replication; r == nil || r.Source != key("m") {
			t.Errorf("%s: b does not replicate from the old master again: %+v", broken, r)
		}
	}
}

// A master that stalls once while it is made read-only does not turn the
// switchover back; one that fails again does.
func TestDemoteIsTriedTwice(t *testing.T) {
	for _, test := range []struct {
		failures int
		want     ledger.Outcome
	}{{1, ledger.Completed}, {2, ledger.Undone}} {
		w := newWorld(t)
		id := w.claim(ledger.Switchover, func(c *ledger.ClaimRecovery) { c.Target = key("b") })
		left := test.failures
		w.before = func(effect string) error {
			if effect == "set-read-only m" && left > 0 {
				left--
				return errors.New("broken by the test")
			}
			return nil
		}
		rec, err := run(t, w, "c1", id)
		if err != nil || rec.Outcome != test.want {
			t.Errorf("after %d failures: %v %s %s, want %s", test.failures, err, rec.Outcome, rec.Message, test.want)
		}
	}
}

// A winner that dies before it was made writable is replaced under a new epoch.
func TestWinnerLost(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	w.servers[key("b")].Replication.Received = set(t, "0-1-100")
	id := w.claim(ledger.Failover, func(c *ledger.ClaimRecovery) { c.OldProvenDead = true })
	w.before = func(effect string) error {
		if effect == "detach a" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.servers[key("a")].down = true
		}
		return nil
	}
	rec, err := run(t, w, "c1", id)
	if err != nil || rec.Winner != key("b") || rec.Epoch.Number != 3 {
		t.Fatalf("%v %+v", err, rec)
	}
}

// A master that was gone at the claim and is back by the promotion holds it up,
// where a proxy may still lead there and it cannot be fenced.
func TestOldMasterBackBeforeThePromotion(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	w.proxies = []routes.Receipt{{Receiver: "ha1", Answer: routes.Unknown, Err: errors.New("timeout")}}
	id := w.claim(ledger.Failover, func(c *ledger.ClaimRecovery) { c.OldProvenDead = true })
	w.before = func(effect string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if effect == "detach a" { // the process was started again
			w.servers[key("m")].down = false
		}
		if effect == "set-read-only m" || effect == "end-clients m" {
			return errors.New("refused by the test")
		}
		return nil
	}
	rec, err := run(t, w, "c1", id)
	if err != nil || rec.Outcome != ledger.Failed {
		t.Fatalf("%v %s %s", err, rec.Outcome, rec.Message)
	}
	if got := w.writable(); slices.Contains(got, "a") {
		t.Errorf("writable: %v", got)
	}
}

// A winner that fails once keeps its place: nobody who holds less takes it.
func TestOneHiccupDoesNotChangeTheWinner(t *testing.T) {
	for _, effect := range []string{"detach a", "set-writable a"} {
		w := newWorld(t)
		w.servers[key("m")].down = true
		id := w.claim(ledger.Failover, nil)
		failed := false
		w.before = func(e string) error {
			if e == effect && !failed {
				failed = true
				return errors.New("a reply was lost")
			}
			return nil
		}
		rec, err := run(t, w, "c1", id)
		if err != nil || rec.Outcome != ledger.Completed || rec.Winner != key("a") || rec.Epoch.Number != 2 {
			t.Fatalf("%s: %v %+v", effect, err, rec)
		}
	}
}

// A winner that can never be made writable is given up for one that holds as
// much, and for nobody who holds less, although it was detached meanwhile.
func TestFormerWinnerStillCounts(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].down = true
	id := w.claim(ledger.Failover, nil)
	w.before = func(e string) error {
		if e == "set-writable a" {
			return errors.New("broken by the test")
		}
		return nil
	}
	rec, err := run(t, w, "c1", id)
	if err != nil || rec.Outcome != ledger.Failed {
		t.Fatalf("%v %s %s", err, rec.Outcome, rec.Message)
	}
	if got := w.writable(); len(got) != 0 {
		t.Errorf("writable: %v", got)
	}
}

// A master that thaws while its recovery still runs is fenced at once.
func TestOldMasterGuardedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.servers[key("m")].hung = true
	id := w.claim(ledger.Failover, nil)
	w.before = func(e string) error {
		if e == "set-writable a" {
			w.mu.Lock()
			w.servers[key("m")].hung = false
			w.mu.Unlock()
			deadline := time.Now().Add(5 * time.Second)
			for !slices.Equal(w.writable(), []string{}) && time.Now().Before(deadline) {
				time.Sleep(5 * time.Millisecond)
			}
		}
		return nil
	}
	rec, err := run(t, w, "c1", id)
	if err != nil || rec.Outcome != ledger.Completed {
		t.Fatalf("%v %s %s", err, rec.Outcome, rec.Message)
	}
	if got := w.writable(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("writable: %v", got)
	}
}
