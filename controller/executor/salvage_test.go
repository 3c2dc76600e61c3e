package executor_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"switchyard/controller/executor"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
	"switchyard/store/ledger"
)

// newSalvage is a world in which the master crashed with what nobody received,
// and a sidecar beside it.
func newSalvage(t *testing.T) *world {
	w := newWorld(t)
	w.policy.SalvageTimeout = 200 * time.Millisecond
	m := w.servers[key("m")]
	m.Executed, m.down = set(t, "0-1-105"), true
	w.tails = map[topology.Key]executor.Tail{key("m"): {Set: set(t, "0-1-105"), Count: 5}}
	return w
}

func (w *world) noteOf(step string) string {
	for _, r := range w.State().Recoveries {
		for _, s := range r.Steps {
			if s.Name == step {
				return s.Note
			}
		}
	}
	return ""
}

func TestSalvage(t *testing.T) {
	w := newSalvage(t)
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || rec.Outcome != ledger.Completed {
		t.Fatalf("%+v, %v", rec, err)
	}
	if !strings.HasPrefix(rec.Durability, "no acknowledged write is lost") {
		t.Errorf("durability: %s", rec.Durability)
	}
	if a := w.servers[key("a")]; !a.Executed.Contains(set(t, "0-1-105")) {
		t.Errorf("the winner has %s", a.Executed)
	}
	order := []string{"take a", "wait-applied a", "detach a", "set-writable a"}
	for n := 1; n < len(order); n++ {
		if i, j := slices.Index(w.trace, order[n-1]), slices.Index(w.trace, order[n]); i < 0 || i > j {
			t.Errorf("%s must come before %s: %v", order[n-1], order[n], w.trace)
		}
	}
}

// Whatever keeps the tail from being taken holds up nobody, and is said.
func TestWhatIsNotSalvagedIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		change           func(*world)
		note, durability string
	}{
		"switched off": {func(w *world) { w.policy.SalvageTimeout = 0 }, "not done: salvage_timeout is 0", "not proven"},
		"no sidecar":   {func(w *world) { w.tails = nil }, "no sidecar is configured beside m:3306", "not proven"},
		"the sidecar does not answer": {func(w *world) {
			w.before = func(effect string) error {
				if effect == "tail m" {
					return errors.New("no answer")
				}
				return nil
			}
		}, "not possible: no answer", "could not be read: no answer"},
		"not in time": {func(w *world) { w.torn = true }, "given up after 200ms; not taken: 0-1-105",
			"not proven that nothing is lost: of 5 transactions that only the binary log of m:3306 has, these were not taken"},
		"the winner refuses": {func(w *world) {
			w.before = func(effect string) error {
				if effect == "take a" {
					return errors.New("error 1")
				}
				return nil
			}
		}, "error 1", "are lost: 0-1-105"},
		"it is frozen": {func(w *world) { w.servers[key("m")].down, w.servers[key("m")].hung = false, true },
			"not possible: that its process has ended is not proven", "not proven"},
		"it runs": {func(w *world) { w.servers[key("m")].down = false }, "not possible: it runs", "could not be read: it runs"},
		"it runs again": {func(w *world) {
			tail := w.tails[key("m")]
			tail.Restarted = true
			w.tails[key("m")] = tail
		}, "it has taken the 5 transactions", "not proven that nothing is lost: a:3306 has all"},
		"a bad checksum": {func(w *world) {
			tail := w.tails[key("m")]
			tail.Problem = "the checksum does not fit"
			w.tails[key("m")] = tail
		}, "it has taken the 5 transactions", "the checksum does not fit"},
		"nothing": {func(w *world) { w.tails[key("m")] = executor.Tail{} }, "nothing was left to take", "no acknowledged write is lost"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSalvage(t)
			c.change(w)
			rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
			if err != nil || !rec.Announced || rec.Winner != key("a") {
				t.Fatalf("%s: %s: %s, %v", rec.Outcome, rec.Winner, rec.Message, err)
			}
			if note := w.noteOf("salvage"); !strings.Contains(note, c.note) {
				t.Errorf("note: %q, want %q", note, c.note)
			}
			if !strings.Contains(rec.Durability, c.durability) {
				t.Errorf("durability: %q, want %q", rec.Durability, c.durability)
			}
		})
	}
}

// A tail that is half taken by one leader is taken by the next, and nobody is
// made writable without it.
func TestSalvageResumedAtEveryEffect(t *testing.T) {
	w := newSalvage(t)
	if _, err := run(t, w, "c1", w.claim(ledger.Failover, nil)); err != nil {
		t.Fatal(err)
	}
	for n := range len(w.trace) {
		w := newSalvage(t)
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
			continue
		}
		w.mu.Lock()
		w.before, w.deposed = nil, false
		w.mu.Unlock()
		rec, err := run(t, w, "c2", id)
		if err != nil || !rec.Announced || !w.servers[rec.Winner].Executed.Contains(set(t, "0-1-105")) {
			t.Errorf("deposed at effect %d (%s): %+v, %v", n, w.trace, rec, err)
		}
	}
}

// A winner that was lost after it took the tail leaves it to the next.
func TestTheNextWinnerSalvagesToo(t *testing.T) {
	w := newSalvage(t)
	w.policy.Rules = map[topology.Key]policy.Rule{}
	w.before = func(effect string) error {
		if effect == "set-writable a" {
			w.mu.Lock()
			w.servers[key("a")].down = true
			w.servers[key("b")].Replication.Received = set(t, "0-1-100")
			w.mu.Unlock()
		}
		return nil
	}
	rec, err := run(t, w, "c1", w.claim(ledger.Failover, nil))
	if err != nil || rec.Winner != key("b") || !rec.Announced {
		t.Fatalf("%s: %s: %s, %v", rec.Outcome, rec.Winner, rec.Message, err)
	}
	if b := w.servers[key("b")]; !b.Executed.Contains(set(t, "0-1-105")) {
		t.Errorf("the second winner has %s", b.Executed)
	}
}
