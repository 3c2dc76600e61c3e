package executor_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// newConverging is a world in which only b may become the master, and only a,
// which applies late, has received everything.
func newConverging(t *testing.T) *world {
	w := newWorld(t)
	w.policy.Rules = map[topology.Key]policy.Rule{key("a"): policy.MustNot}
	a := w.servers[key("a")]
	a.Executed, a.Replication.Received, a.Replication.Delay = set(t, "0-1-80"), set(t, "0-1-100"), time.Hour
	w.servers[key("m")].down = true
	return w
}

func (w *world) checkConverged(rec ledger.Recovery) {
	w.t.Helper()
	if rec.Outcome != ledger.Completed || rec.Winner != key("b") || rec.Via != key("a") {
		w.t.Fatalf("%s: %s via %s: %s", rec.Outcome, rec.Winner, rec.Via, rec.Message)
	}
	b := w.servers[key("b")]
	if !b.Executed.Contains(set(w.t, "0-1-100")) {
		w.t.Errorf("the winner has %s", b.Executed)
	}
	if got := w.writable(); !slices.Equal(got, []string{"b"}) {
		w.t.Errorf("writable: %v", got)
	}
	if r := w.servers[key("a")].Replication; r == nil || r.Source != key("b") {
		w.t.Errorf("a does not replicate from the winner: %+v", r)
	}
}

func TestConverge(t *testing.T) {
	w := newConverging(t)
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil {
		t.Fatal(err)
	}
	w.checkConverged(rec)
	at := func(effect string) int { return slices.Index(w.trace, effect) }
	order := []string{"undelay a", "wait-applied a", "repoint b", "wait-applied b", "detach b", "set-writable b", "repoint a"}
	for n, effect := range order {
		if at(effect) < 0 || n > 0 && at(effect) < at(order[n-1]) {
			t.Errorf("%s is not in its place: %v", effect, w.trace)
		}
	}
	// The receiver stopped, with the applier running, before anything was forgotten.
	if stop := slices.Index(w.trace[at("repoint b"):], "stop-receiver b"); stop < 0 || stop+at("repoint b") > at("detach b") {
		t.Errorf("the winner still receives when it is detached: %v", w.trace)
	}
}

func TestConvergeResumedAtEveryEffect(t *testing.T) {
	w := newConverging(t)
	if _, err := run(t, w, "c1", w.claim(ledger.Failover, nil)); err != nil {
		t.Fatal(err)
	}
	for n := range len(w.trace) {
		w := newConverging(t)
		id := w.claim(ledger.Failover, nil)
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
		w.before, w.deposed = nil, false
		rec, err := run(t, w, "c2", id)
		if err != nil {
			t.Fatalf("effect %d: %v", n, err)
		}
		w.checkConverged(rec)
	}
}

// The server that has everything dies before any one of the effects. As long as
// the winner has not got it all, nobody is promoted; from then on it is.
func TestViaDies(t *testing.T) {
	w := newConverging(t)
	if _, err := run(t, w, "c1", w.claim(ledger.Failover, nil)); err != nil {
		t.Fatal(err)
	}
	trace := w.trace
	begin, taken := slices.Index(trace, "undelay a"), slices.Index(trace, "wait-applied b")
	if begin < 0 || taken < begin {
		t.Fatal(trace)
	}
	for n := begin; n < len(trace); n++ {
		t.Run("before "+trace[n], func(t *testing.T) {
			t.Parallel() // holding on for somebody else takes its time
			w := newConverging(t)
			id := w.claim(ledger.Failover, nil)
			left := n
			w.before = func(string) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				if left--; left == -1 {
					w.servers[key("a")].down = true
				}
				return nil
			}
			rec, err := run(t, w, "c1", id)
			if err != nil {
				t.Fatal(err)
			}
			promoted := slices.Equal(w.writable(), []string{"b"})
			if complete := w.servers[key("b")].Executed.Contains(set(t, "0-1-100")); promoted && !complete {
				t.Error("promoted without what was received")
			}
			if want := n > taken+1; promoted != want && n != taken && n != taken+1 {
				t.Errorf("promoted: %v, %s: %s", promoted, rec.Outcome, rec.Message)
			}
		})
	}
}

// Where somebody else has everything too, the winner that lost its source is
// given up, and picked again with another.
func TestViaDiesAndAnotherHasIt(t *testing.T) {
	w := newConverging(t)
	w.add("c", "0-1-100", "m")
	w.must(ledger.RememberServers{Cluster: "shop", At: time.Now(), Servers: []ledger.ServerName{{Key: key("c")}}})
	w.policy.Rules[key("c")] = policy.MustNot
	w.servers[key("c")].DataCenter = "far" // so that a is asked first, were it not delayed
	w.servers[key("a")].Replication.Delay = 0
	id := w.claim(ledger.Failover, nil)
	w.before = func(effect string) error {
		if effect == "repoint b" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.servers[key("a")].down = true
		}
		return nil
	}
	rec, err := run(t, w, "c1", id)
	if err != nil || rec.Winner != key("b") || rec.Via != key("c") || rec.Epoch.Number != 3 {
		t.Fatalf("%v %s: %s via %s, epoch %s: %s", err, rec.Outcome, rec.Winner, rec.Via, rec.Epoch, rec.Message)
	}
	if !w.servers[key("b")].Executed.Contains(set(t, "0-1-100")) {
		t.Errorf("the winner has %s", w.servers[key("b")].Executed)
	}
}

// A winner that fails at any effect of its convergence is not promoted with
// less; one that fails once is tried again.
func TestConvergeFails(t *testing.T) {
	for _, effect := range []string{"undelay a", "wait-applied a", "repoint b", "wait-applied b"} {
		for _, once := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, once %v", effect, once), func(t *testing.T) {
				t.Parallel()
				w := newConverging(t)
				id := w.claim(ledger.Failover, nil)
				failed := false
				w.before = func(e string) error {
					w.mu.Lock()
					defer w.mu.Unlock()
					if e == effect && (!once || !failed) {
						failed = true
						return errors.New("broken by the test")
					}
					return nil
				}
				rec, err := run(t, w, "c1", id)
				if err != nil {
					t.Fatal(err)
				}
				got := len(w.writable())
				if once && rec.Outcome != ledger.Completed || !once && (got != 0 || rec.Outcome != ledger.Failed) {
					t.Errorf("%s %s, writable %v", rec.Outcome, rec.Message, w.writable())
				}
				if once && !w.servers[key("b")].Executed.Contains(set(t, "0-1-100")) {
					t.Error("promoted without what was received")
				}
				if !once && !strings.Contains(rec.Message, "broken by the test") {
					t.Error(rec.Message)
				}
			})
		}
	}
}

// A delayed winner that fails once its delay was taken may be picked again.
func TestDelayedWinnerFailsOnce(t *testing.T) {
	for _, effect := range []string{"undelay a", "wait-applied a", "detach a"} {
		w := newConverging(t)
		w.policy.Rules = map[topology.Key]policy.Rule{key("b"): policy.MustNot}
		id := w.claim(ledger.Failover, nil)
		failed := false
		w.before = func(e string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if e == effect && !failed {
				failed = true
				return errors.New("broken by the test")
			}
			return nil
		}
		rec, err := run(t, w, "c1", id)
		if err != nil || rec.Outcome != ledger.Completed || rec.Winner != key("a") {
			t.Errorf("%s: %v %s %s: %s", effect, err, rec.Outcome, rec.Winner, rec.Message)
		}
		if !w.servers[key("a")].Executed.Contains(set(t, "0-1-100")) {
			t.Errorf("%s: promoted without what was received", effect)
		}
	}
}
